"""ProxyCommand: a local program stands in for the TCP connection (ssh_config(5))."""

from __future__ import annotations

import socket
import subprocess
import threading

from multirsh.shortage import NoThreadError, relieve
from multirsh.transports.dialling import Dialler
from multirsh.transports.remote_first import RemoteFirstTransport

SHELL = "/bin/sh"


def start_proxy(command: str, dialler: Dialler) -> RemoteFirstTransport:
    """Start ``command`` with its standard input and output joined to a transport.

    Its end is closed like any other's: we say goodbye, the server closes, the program sees that and
    ends, and its end of the pair closes before ours. A program that stays is ended with the pair.

    Args:
        command: With its tokens expanded; run by ``/bin/sh -c exec ...``, as ssh does.
        dialler: Watches the pair.

    Raises:
        OSError: The program could not be started.
    """
    ours, theirs = socket.socketpair()
    try:
        ours.setblocking(False)
        with theirs:
            program = subprocess.Popen(  # noqa: S603 - the user's own command, from ssh_config or -o
                [SHELL, "-c", f"exec {command}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                start_new_session=True,
            )
    except BaseException:
        ours.close()
        raise
    # Not asyncio's subprocess: that one belongs to the loop, and the program may outlive it by a moment.
    try:
        threading.Thread(target=program.wait, name="multirsh-proxy", daemon=True).start()
    except (RuntimeError, MemoryError):
        relieve()
        ours.close()
        program.kill()
        program.wait()
        raise NoThreadError from None
    transport = dialler.adopt_pipe(ours)
    transport.closed.add_done_callback(lambda _closed_by: program.terminate())
    return transport
