"""Several files of one host at once: a few lanes, so that a small file's round trips do not add up."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Final

LANES: Final = 8

IN_FLIGHT_BYTES: Final = 2 * 1024 * 1024
"""Of one host, asked for or sent and not answered: as much as OpenSSH's window holds."""


class Lanes:
    """Files that are copied now."""

    def __init__(self, group: asyncio.TaskGroup, lanes: int) -> None:
        self._group = group
        self._free = asyncio.Semaphore(lanes)

    async def start(self, copy: Coroutine[Any, Any, None]) -> None:
        """Begin with a file, as soon as there is a lane."""
        try:
            await self._free.acquire()
        except BaseException:
            copy.close()
            raise
        self._group.create_task(self._run(copy))

    async def _run(self, copy: Coroutine[Any, Any, None]) -> None:
        try:
            await copy
        finally:
            self._free.release()


@contextlib.asynccontextmanager
async def open_lanes(lanes: int = LANES) -> AsyncIterator[Lanes]:
    """Have lanes while inside; leaving waits for them. The first that fails ends all, with its own error."""
    try:
        async with asyncio.TaskGroup() as group:
            yield Lanes(group, lanes)
    except BaseExceptionGroup as errors:
        raise _first(errors) from None


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


class Flight:
    """Bytes of one host that are under way, bounded; first come, first served.

    Attributes:
        size: The bound.
    """

    def __init__(self, size: int = IN_FLIGHT_BYTES) -> None:
        self.size = size
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int) -> None:
        """Wait until ``size`` more may be under way."""
        if not self._waiting and self._free >= size:
            self._free -= size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(size)
            raise

    def take_now(self, size: int) -> bool:
        """Take ``size`` if nobody has to be waited for; whether it was."""
        if self._waiting or self._free < size:
            return False
        self._free -= size
        return True

    def give(self, size: int) -> None:
        """So many have arrived."""
        self._free += size
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.cancelled():
                if self._free < size:
                    return
                self._free -= size
                turn.set_result(None)
            self._waiting.popleft()
