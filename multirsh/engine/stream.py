"""From many hosts to one reader: a bounded stream that holds hosts back instead of growing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final, Generic, Protocol, TypeVar

HIGH_WATER_BYTES: Final = 8 * 1024 * 1024
"""Output that may wait for the reader; a reader holds as much again in the batch it took."""

LOW_WATER_BYTES: Final = HIGH_WATER_BYTES // 2

LEAST_HIGH_WATER_BYTES: Final = 64 * 1024

HIGH_WATER_PART: Final = 32
"""Where this process may have little memory, one part in so many of it: what waits is held several times."""

BATCH_ITEMS: Final = 1024
"""Given to the reader at once, at the most: nothing else of the loop may come in between."""

Item = TypeVar("Item")


class Source(Protocol):
    """What can be held back: a connection."""

    def pause_output(self) -> None:
        """Hand on nothing until told so."""

    def resume_output(self) -> None:
        """Hand on again, first what was kept."""


class BoundedStream(Generic[Item]):
    """Items from many writers to one reader, in order.

    Writers never wait, so that no host's timers are bent by a slow reader:
    above the high-water mark each source that writes is paused, and all are
    resumed below the low one. Only output has weight; the few events of a
    host that are not output are always taken.
    """

    def __init__(
        self, *, high_water_bytes: int = HIGH_WATER_BYTES, low_water_bytes: int = LOW_WATER_BYTES
    ) -> None:
        self._high_water = high_water_bytes
        self._low_water = low_water_bytes
        self._items: list[Item] = []
        self._waiting_bytes = 0
        self._held: set[Source] = set()
        self._closed = False
        self._failure: BaseException | None = None
        self._news = asyncio.Event()
        self._all_read = asyncio.Event()

    @property
    def waiting_bytes(self) -> int:
        """Output that the reader has not taken."""
        return self._waiting_bytes

    def put(self, item: Item, *, weight: int = 0, source: Source | None = None) -> None:
        """Append ``item``.

        Args:
            item: Dropped if the stream is closed: its reader has left.
            weight: Bytes it holds.
            source: Whom to hold back if it is too much.
        """
        if self._closed:
            return
        self._items.append(item)
        self._all_read.clear()
        self._waiting_bytes += weight
        self._news.set()
        if source is not None and self._waiting_bytes > self._high_water and source not in self._held:
            self._held.add(source)
            source.pause_output()

    def forget(self, source: Source) -> None:
        """``source`` has ended: never resume it."""
        self._held.discard(source)

    def close(self, failure: BaseException | None = None) -> None:
        """End the stream: the reader gets what waits, then the end, or ``failure``."""
        self._closed = True
        self._failure = failure
        self._news.set()
        self._all_read.set()

    async def read_up(self) -> None:
        """Wait until the reader is done with all that was put, and wants more; or has left."""
        await self._all_read.wait()

    async def batches(self) -> AsyncIterator[list[Item]]:
        """Everything that waits, again and again until the stream is closed; in parts where it is much."""
        while True:
            if not self._items:
                self._all_read.set()
            await self._news.wait()
            self._news.clear()
            items, self._items = self._items, []
            self._waiting_bytes = 0
            self._let_go()
            for start in range(0, len(items), BATCH_ITEMS):
                if start:
                    await asyncio.sleep(0)  # timers and signals are not to wait for the reader
                yield items[start : start + BATCH_ITEMS]
            if self._closed and not self._items:
                if self._failure is not None:
                    raise self._failure
                return

    def _let_go(self) -> None:
        held, self._held = self._held, set()
        for source in held:
            if self._waiting_bytes > self._low_water:
                self._held.add(
                    source
                )  # those before it have filled the stream again: it goes first next time
            else:
                source.resume_output()
