"""This process's ends of the pipes to a program, with flow control in both directions."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

from multirsh.shortage import relieve
from multirsh.transports.base import Stdin

READ_BYTES: Final = 64 * 1024
"""Asked of one read(2): what a pipe holds, pipe(7)."""


FEW_BYTES: Final = 2 * 1024
"""The same, where there is no memory for more."""


class Outlet:
    """The end of a pipe that is read.

    Attributes:
        name: What ``/proc/PID/fd`` calls the pipe.
        ended: Done when no process can write to it any more and all has been read.
    """

    def __init__(self, descriptor: int, take: Callable[[bytes], None]) -> None:
        """Read ``descriptor``, which is ours from now on.

        Args:
            descriptor: Set not to block.
            take: Given what came; may pause.
        """
        self._loop = asyncio.get_running_loop()
        self._descriptor = descriptor
        self._take = take
        self._is_paused = True
        self.name = f"pipe:[{os.fstat(descriptor).st_ino}]"
        self.ended: asyncio.Future[None] = self._loop.create_future()
        os.set_blocking(descriptor, False)
        self.resume()

    def pause(self) -> None:
        """Take no more: the pipe fills, and the program waits."""
        if not self.ended.done() and not self._is_paused:
            self._is_paused = True
            self._loop.remove_reader(self._descriptor)

    def resume(self) -> None:
        """Take again."""
        if not self.ended.done() and self._is_paused:
            self._is_paused = False
            self._loop.add_reader(self._descriptor, self._read)

    def drain(self) -> None:
        """Take what is there now, paused or not."""
        while not self.ended.done() and self._read():
            pass

    def close(self) -> None:
        """Be done with it: the program gets SIGPIPE if it goes on to write."""
        if not self.ended.done():
            self.pause()
            self.ended.set_result(None)
            os.close(self._descriptor)

    def _read(self) -> bool:
        """Read once, and return whether there was anything."""
        try:
            data = self._some()
        except BlockingIOError:
            return False
        if not data:
            self.close()
            return False
        self._take(data)
        return True

    def _some(self) -> bytes:
        try:
            return os.read(self._descriptor, READ_BYTES)
        except MemoryError:
            relieve()
            return os.read(self._descriptor, FEW_BYTES)


class Inlet:
    """The end of a pipe that is written."""

    def __init__(self, descriptor: int) -> None:
        """Write to ``descriptor``, which is ours from now on."""
        self._loop = asyncio.get_running_loop()
        self._descriptor: int | None = descriptor
        os.set_blocking(descriptor, False)

    async def feed(self, stdin: Stdin) -> None:
        """Write all of the input, as fast as it is read, then its end.

        A program that wants no more is left alone: how it ended is what counts.

        Raises:
            OSError: The input cannot be read; the program has not got its end.
        """
        offset = 0
        while data := await stdin.read(offset):
            offset += len(data)
            if not await self._written(data):
                break
        self.close()

    def close(self) -> None:
        """Close the pipe, so that the program reads end of file. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    async def _written(self, data: bytes) -> bool:
        """Write all of ``data``; ``False`` if no process reads any more."""
        rest = memoryview(data)
        while rest and self._descriptor is not None:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                await self._writable(self._descriptor)
            except BrokenPipeError:
                return False
        return not rest

    async def _writable(self, descriptor: int) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_writer(descriptor, lambda: None if ready.done() else ready.set_result(None))
        try:
            await ready
        finally:
            self._loop.remove_writer(descriptor)
