"""ProxyCommand: a local program stands in for the TCP connection (ssh_config(5))."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import suppress

from multirsh.transports.dialler import Dialler
from multirsh.transports.remote_first import RemoteFirstTransport

SHELL = "/bin/sh"


async def start_proxy(command: str, dialler: Dialler) -> RemoteFirstTransport:
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
            process = await asyncio.create_subprocess_exec(
                SHELL,
                "-c",
                f"exec {command}",
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                start_new_session=True,
            )
    except BaseException:
        ours.close()
        raise
    transport = dialler.adopt_pipe(ours)

    def end_program(_closed: object) -> None:
        if process.returncode is None:
            # Not process.terminate(): that one polls, and would take the status from under asyncio's watcher.
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)

    transport.closed.add_done_callback(end_program)
    return transport
