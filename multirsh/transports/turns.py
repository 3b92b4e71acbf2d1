"""Reading by turns: many connections that have much to read share the time of one loop.

What is read is taken apart on the loop's thread, and the cost is that of the
packets, not of the bytes: a quarter of a megabyte of SSH packets that hold one
byte each takes a tenth of a second. If every connection took that in each turn
of the loop, timers and signals would wait for all of them. So a turn of the
loop has a budget for what is read, and a connection that has used its *slice*
goes to the end of a queue.

A connection's slice is as many bytes as it is expected to handle within
``SLICE_S``: it shrinks when the bytes turn out to be expensive, and grows when
they are cheap, up to all that one recv(2) gives. A connection that has little
to read while there is time is served at once, and nothing is queued for it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias
from weakref import WeakKeyDictionary

BUDGET_S: Final = 0.02
"""Seconds of a turn of the loop for all that is read; what is left then comes in the next turn."""

SLICE_S: Final = 0.004
"""Seconds that one connection should use before the next is served."""

FIRST_SLICE_BYTES: Final = 16 * 1024
LEAST_SLICE_BYTES: Final = 2 * 1024
MOST_SLICE_BYTES: Final = 256 * 1024

Clock: TypeAlias = Callable[[], float]

Serve: TypeAlias = Callable[[], bool]
"""Handles one slice; returns whether there is another."""


class Slice:
    """How many bytes a connection handles at once.

    Attributes:
        size: That many.
    """

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = FIRST_SLICE_BYTES

    def took(self, count: int, seconds: float) -> None:
        """``count`` bytes took so many seconds: learn from it."""
        if seconds > SLICE_S:
            self.size = max(LEAST_SLICE_BYTES, self.size // 2)
        elif count >= self.size and seconds < SLICE_S / 4:
            self.size = min(MOST_SLICE_BYTES, self.size * 2)


class Turns:
    """The queue of one loop's connections that have something left to read.

    Attributes:
        clock: What time is measured by, in seconds.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, clock: Clock = time.thread_time) -> None:
        """Queue nothing yet.

        Args:
            loop: Whose time is shared.
            clock: By default the processor time of the thread: a machine that is busy otherwise does not
                make bytes expensive.
        """
        self.clock = clock
        self._loop = loop
        self._queue: deque[Serve] = deque()
        self._used = 0.0
        self._is_scheduled = False

    @property
    def has_time(self) -> bool:
        """Whether a connection may read at once; else it is to ``wait``."""
        return not self._is_scheduled

    def used(self, seconds: float) -> None:
        """A connection has used so many seconds, in its turn or at once."""
        self._used += seconds
        if self._used >= BUDGET_S:
            self._schedule()

    def wait(self, serve: Serve) -> None:
        """Have ``serve`` called in turn, until it returns that there is no more."""
        self._queue.append(serve)
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Serve the queue, as far as there is time in this turn of the loop."""
        self._is_scheduled = False
        self._used = 0.0
        try:
            while self._queue and self._used < BUDGET_S:
                serve = self._queue.popleft()
                if serve():
                    self._queue.append(serve)
        finally:
            if self._queue:
                self._schedule()


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()


def turns_of(loop: asyncio.AbstractEventLoop) -> Turns:
    """The queue of ``loop``, whichever runs and fleets the connections belong to."""
    turns = _turns.get(loop)
    if turns is None:
        turns = _turns[loop] = Turns(loop)
    return turns
