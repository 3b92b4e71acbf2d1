"""A door before a server that shuts everybody out for a while, as sshd 9.8 does with PerSourcePenalties.

Debian's sshd of today has none, so this plays it: what comes during a ban is
told so and closed, right after accept; what comes later is relayed.

Source: OpenSSH 9.8's srclimit.c and ``drop_connection`` in sshd.c.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from tests.servers.loop_thread import LoopThread
from tests.servers.namespace import Namespace
from tests.servers.ports import free_port
from tests.servers.stoppable import Stoppable

_CHUNK = 65_536


class BanningRelay(Stoppable):
    """Relays TCP to a port of 127.0.0.1, except during a ban. Ends as a context manager does.

    Attributes:
        port: Where it listens.
        turned_away: Connections that came during a ban.
        let_in: Connections that were relayed.
    """

    def __init__(
        self, target_port: int, *, address: str, ban_s: float, namespace: Namespace | None = None
    ) -> None:
        self._target_port = target_port
        self._ban_s = ban_s
        self._banned_until = 0.0
        self.turned_away = 0
        self.let_in = 0
        self.port = free_port(namespace, address=address)
        self._thread = LoopThread(namespace)
        self._writers: set[asyncio.StreamWriter] = set()
        self._server = self._thread.call(asyncio.start_server(self._relay, address, self.port))

    def ban(self) -> None:
        """Shut everybody out from now on, for the time that was given."""
        self._banned_until = time.monotonic() + self._ban_s

    def lift(self) -> None:
        """Let everybody in again."""
        self._banned_until = 0.0

    def stop(self) -> None:
        """Close its listener and connections, and end its thread."""
        self._thread.call(self._end())
        self._thread.stop()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if time.monotonic() < self._banned_until:
            self.turned_away += 1
            writer.write(b"Not allowed at this time\r\n")
            writer.close()
            return
        self.let_in += 1
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        self._writers.add(far_writer)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pump(reader, far_writer))
            group.create_task(self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(_CHUNK):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _end(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
