"""A slow way to a server: a relay that holds every chunk for a while."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tests.servers.loop_thread import LoopThread
from tests.servers.namespace import Namespace
from tests.servers.ports import free_port
from tests.servers.stoppable import Stoppable


class SlowRelay(Stoppable):
    """Relays TCP to a port of 127.0.0.1, each chunk ``delay_s`` late in either direction.

    It runs in a thread of its own and ends as a context manager does.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        turns: How often the client has spoken after the server had: what it waited for, and went on.
    """

    def __init__(self, target_port: int, *, delay_s: float, namespace: Namespace | None = None) -> None:
        self.turns = 0
        self._target_port = target_port
        self._delay_s = delay_s
        self._client_spoke_last = False
        self.port = free_port(namespace)
        self._thread = LoopThread(namespace)
        self._writers: set[asyncio.StreamWriter] = set()
        self._server = self._thread.call(asyncio.start_server(self._relay, "127.0.0.1", self.port))

    def stop(self) -> None:
        """Close its listener and connections, and end its thread."""
        self._thread.call(self._end())
        self._thread.stop()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        self._writers |= {writer, far_writer}
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pump(reader, far_writer, is_client=True))
            group.create_task(self._pump(far_reader, writer, is_client=False))

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_client: bool
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                self.turns += is_client and not self._client_spoke_last
                self._client_spoke_last = is_client
                await asyncio.sleep(self._delay_s)
                writer.write(data)
                await writer.drain()
        with suppress(ConnectionError):
            await asyncio.sleep(self._delay_s)
            writer.close()

    async def _end(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
