"""inetd(8) in a few lines: one TCP port, and one process of a program for each connection.

Run as a program of its own: ``python inetd.py PORT PROGRAM [ARG]...``. Unlike the real one it serves one
port, in whatever namespaces it was started in, and has no bound on the connections of a minute.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Final

BACKLOG: Final = 4096


def serve(port: int, argv: list[str]) -> None:
    """Listen, and for each connection start ``argv`` with the socket as its descriptors 0, 1 and 2."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    with socket.create_server(("0.0.0.0", port), backlog=BACKLOG) as listener:
        print(f"inetd: listening on port {port}", file=sys.stderr, flush=True)  # noqa: T201 - it is a program
        while True:
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:
                    _become(argv, connection)


def _become(argv: list[str], connection: socket.socket) -> None:
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # it would stay ignored, and shells would lose statuses
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it
        for descriptor in (0, 1, 2):
            os.dup2(connection.fileno(), descriptor)
        os.execv(argv[0], argv)  # noqa: S606 - no shell is wanted
    finally:
        os._exit(127)


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2:])
