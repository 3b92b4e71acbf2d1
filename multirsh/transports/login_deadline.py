"""The deadlines of one host's login, and how far it has come.

A deadline does not count the time in which this whole process stood still: a
laptop's lid, Ctrl-Z, a debugger or a paused virtual machine stops it for
longer than any timeout, and the remotes' answers lie in its sockets when it
goes on. The loop would first call every timer that came due meanwhile, and
all hosts in flight would time out, even those that had answered. So a timeout
looks at the clock now and then. The loop calls what is due in the order of
when it was due (asyncio's ``BaseEventLoop._run_once``): a look comes before
the deadline itself, sees that it is called late, and puts the deadline off.

Nor does it count the wait for a local port, which has a bound of its own: a
host that finds no local port is not slow, this machine is full.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
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


class PortWaitOver(Exception):  # noqa: N818 - the wait is over; what it means the dialler says
    """No local port was free for as long as this host may wait for one."""


class LoginDeadline:
    """The deadlines of one host's way in.

    Attributes:
        followers: Those that stand still when this one does.
        passed: Called each time when the host is let through by a jump host.
    """

    def __init__(
        self,
        scope: asyncio.Timeout | None = None,
        *,
        port_seconds: float | None = None,
        passed: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin with one deadline, or none.

        Args:
            scope: What bounds the host's way in; entered and left by the caller.
            port_seconds: How long the host may wait for local ports in all; ``None`` for no bound.
            passed: As of the class.
        """
        self.passed = passed
        self._port_left = port_seconds
        self._scopes = [] if scope is None else [scope]
        self.followers: list[LoginDeadline] = []
        self._seconds_left: dict[asyncio.Timeout, float] = {}
        self._stops = 0

    @asynccontextmanager
    async def within(self, seconds: float | None) -> AsyncGenerator[None, None]:
        """Bound a part of the way, too.

        Raises:
            TimeoutError: It took longer.
        """
        async with awake_timeout(seconds) as scope:
            self._scopes.append(scope)
            if self.stands_still:
                self._stop(scope)
            try:
                yield
            finally:
                self._scopes.remove(scope)
                self._seconds_left.pop(scope, None)

    @contextmanager
    def beside(self, other: LoginDeadline | None) -> Iterator[None]:
        """Stand still also while ``other`` does: it opens what this host needs, too."""
        if other is None:
            yield
            return
        other.followers.append(self)
        if other.stands_still:
            self.stop()
        try:
            yield
        finally:
            other.followers.remove(self)
            if other.stands_still:
                self.go_on()

    @property
    def deadline(self) -> float | None:
        """When its first deadline is, on the loop's clock; ``None`` for never, or while it stands still."""
        times = [when for scope in self._scopes if (when := scope.when()) is not None]
        return min(times, default=None)

    @property
    def stands_still(self) -> bool:
        """Whether its deadlines do."""
        return self._stops > 0

    @asynccontextmanager
    async def for_a_port(self) -> AsyncGenerator[None, None]:
        """Wait for a port inside: the deadlines stand still, and the bound of such waits holds.

        Raises:
            PortWaitOver: It took too long.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        bound = asyncio.timeout(self._port_left)
        self.stop()
        try:
            async with bound:
                yield
        except TimeoutError:
            if not bound.expired():
                raise
            raise PortWaitOver from None
        finally:
            self.go_on()
            if self._port_left is not None:
                self._port_left = max(0.0, self._port_left - (loop.time() - began))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the deadlines stand still inside, as while a person is asked."""
        self.stop()
        try:
            yield
        finally:
            self.go_on()

    def stop(self) -> None:
        """Let the deadlines stand still until as many ``go_on`` have come."""
        self._stops += 1
        if self._stops > 1:
            return
        for scope in self._scopes:
            self._stop(scope)
        for follower in self.followers:
            follower.stop()

    def go_on(self) -> None:
        """Let them go on, later by as long as they stood still."""
        self._stops -= 1
        if self._stops:
            return
        now = asyncio.get_running_loop().time()
        for scope, seconds in self._seconds_left.items():
            scope.reschedule(now + seconds)
        self._seconds_left.clear()
        for follower in self.followers:
            follower.go_on()

    def _stop(self, scope: asyncio.Timeout) -> None:
        deadline = scope.when()
        if deadline is not None and not scope.expired():
            self._seconds_left[scope] = deadline - asyncio.get_running_loop().time()
            scope.reschedule(None)
