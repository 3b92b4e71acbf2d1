"""Accepting that loses nobody.

``loop.sock_accept`` accepts in one turn of the loop and hands over in the
next; whoever is cancelled in between leaves a socket that nobody knows.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any


async def accept(listener: socket.socket) -> tuple[socket.socket, Any]:
    """Accept from a non-blocking listener; what is accepted is non-blocking, too."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            connection, peer = listener.accept()
        except BlockingIOError:
            readable = asyncio.Event()
            loop.add_reader(listener, readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(listener)
        else:
            connection.setblocking(False)
            return connection, peer
