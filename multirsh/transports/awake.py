"""Timeouts that do not count the time in which this whole process stood still.

A laptop's lid, Ctrl-Z, a debugger or a paused virtual machine stops us for
longer than any timeout, and the remotes' answers lie in our sockets when we
go on. The loop would first call every timer that is due meanwhile: all hosts
in flight would be timeouts, and those that had answered, too.

So a timeout looks at the clock now and then. The loop calls what is due in
the order of when it was due (asyncio's ``BaseEventLoop._run_once``): a look
comes before the deadline itself, sees that it is called late, and puts the
deadline off.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

LOOK_S: Final = 1.0
"""Seconds from one look at the clock to the next."""

STILL_S: Final = 3.0
"""A look that is late by no more than so many seconds was late because the machine is busy, as it may be."""

_JUST_BEFORE_S: Final = 1e-6
"""How long before the deadline the last look is; the loop's clock tells nanoseconds apart."""


@asynccontextmanager
async def awake_timeout(seconds: float | None) -> AsyncGenerator[asyncio.Timeout, None]:
    """Do as ``asyncio.timeout`` does, but for the time that this process stood still.

    Args:
        seconds: As of ``asyncio.timeout``; ``None`` for no bound, whatever is rescheduled.

    Raises:
        TimeoutError: It took longer.
    """
    async with asyncio.timeout(seconds) as scope:
        if seconds is None:
            yield scope
            return
        looks = _Looks(scope)
        try:
            yield scope
        finally:
            looks.end()


class _Looks:
    """The looks at the clock of one timeout."""

    def __init__(self, scope: asyncio.Timeout) -> None:
        self._scope = scope
        self._loop = asyncio.get_running_loop()
        self._looked_at = self._due = 0.0
        self._handle: asyncio.TimerHandle | None = None
        self._plan()

    def end(self) -> None:
        """Look no more."""
        if self._handle is not None:
            self._handle.cancel()

    def _plan(self) -> None:
        self._looked_at = now = self._loop.time()
        deadline = self._scope.when()
        self._due = now + LOOK_S
        if deadline is not None:
            self._due = min(self._due, deadline - _JUST_BEFORE_S)
        self._handle = self._loop.call_at(self._due, self._look) if self._due > now else None

    def _look(self) -> None:
        now, deadline = self._loop.time(), self._scope.when()
        stood_still = now - self._due > STILL_S
        if stood_still and deadline is not None and not self._scope.expired():
            # All since the last look: when we stopped is not known, and what waits for us needs some turns.
            self._scope.reschedule(deadline + now - self._looked_at)
        self._plan()
