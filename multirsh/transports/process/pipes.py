"""This process's ends of the pipes to a program, with flow control in both directions."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

from multirsh.shortage import relieve
from multirsh.transports.base import Stdin

READ_BYTES: Final = 64 * 1024
"""The size of one read(2), which is the capacity of a pipe (pipe(7))."""


FEW_BYTES: Final = 2 * 1024
"""The size of one read(2) when there is no memory for more."""


class Outlet:
    """The reading end of a pipe.

    Attributes:
        name: The name of the pipe in ``/proc/PID/fd``.
        ended: Done when no process can write to it any more and all has been read.
    """

    def __init__(self, descriptor: int, take: Callable[[bytes], None]) -> None:
        """Read from ``descriptor``, which this object owns from now on.

        Args:
            descriptor: The descriptor; it is made non-blocking.
            take: Called with the data that was read; it may call ``pause``.
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
        """Stop reading, so that the program waits once the pipe is full."""
        if not self.ended.done() and not self._is_paused:
            self._is_paused = True
            self._loop.remove_reader(self._descriptor)

    def resume(self) -> None:
        """Read again."""
        if not self.ended.done() and self._is_paused:
            self._is_paused = False
            self._loop.add_reader(self._descriptor, self._read)

    def drain(self) -> None:
        """Read everything that is in the pipe now, even while paused."""
        while not self.ended.done() and self._read():
            pass

    def close(self) -> None:
        """Close the pipe; the program gets SIGPIPE if it writes more."""
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
    """The writing end of a pipe."""

    def __init__(self, descriptor: int) -> None:
        """Write to ``descriptor``, which this object owns from now on."""
        self._loop = asyncio.get_running_loop()
        self._descriptor: int | None = descriptor
        os.set_blocking(descriptor, False)

    async def feed(self, stdin: Stdin) -> None:
        """Write all of the input, as fast as the program reads it, then end of file.

        It is no error if the program closes its input early.

        Raises:
            OSError: The input cannot be read; the pipe is still open.
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
