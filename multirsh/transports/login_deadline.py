"""The deadlines of one host's login.

A deadline does not count time in which the whole process was suspended. A
closed laptop lid, Ctrl-Z, a debugger or a paused virtual machine can stop it
for longer than any timeout, while the remotes' answers wait in its sockets.
On resumption the loop would first call every timer that came due meanwhile,
and all hosts in flight would time out, even those that had answered. So a
timeout checks the clock periodically. The loop calls timers in the order in
which they were due (asyncio's ``BaseEventLoop._run_once``): a check runs
before the deadline itself, sees that it is late, and postpones the deadline.

A deadline does not count the wait for a local port either, which has a bound
of its own: a host without a local port is not slow, this machine is full.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

LOOK_S: Final = 1.0
"""Seconds between two checks of the clock."""

STILL_S: Final = 3.0
"""A check that is late by up to this many seconds means a busy machine, not a suspended process."""

_JUST_BEFORE_S: Final = 1e-6
"""Seconds from the last check to the deadline; the loop's clock resolves nanoseconds."""


@asynccontextmanager
async def awake_timeout(seconds: float | None) -> AsyncGenerator[asyncio.Timeout, None]:
    """Act as ``asyncio.timeout``, but do not count the time in which this process was suspended.

    Args:
        seconds: The bound in seconds; ``None`` for no bound, even if the timeout is rescheduled.

    Raises:
        TimeoutError: The body took longer.
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
    """The periodic checks of the clock for one timeout."""

    def __init__(self, scope: asyncio.Timeout) -> None:
        self._scope = scope
        self._loop = asyncio.get_running_loop()
        self._looked_at = self._due = 0.0
        self._handle: asyncio.TimerHandle | None = None
        self._plan()

    def end(self) -> None:
        """Stop the checks."""
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
            # Add all the time since the last check: when the process stopped is not known, and the loop needs
            # some turns to handle what has arrived.
            self._scope.reschedule(deadline + now - self._looked_at)
        self._plan()


class PortWaitOver(Exception):  # noqa: N818 - the dialler turns it into an error
    """No local port became free within the time that this host may wait for one."""


class LoginDeadline:
    """The deadlines of one host's login, from the look-up on.

    Attributes:
        followers: The deadlines that are paused whenever this one is.
        passed: Called each time a jump host has opened the way to the next hop.
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
            scope: The timeout of the whole login, which the caller enters and leaves.
            port_seconds: The longest total wait for local ports; ``None`` for no bound.
            passed: See the class.
        """
        self.passed = passed
        self._port_left = port_seconds
        self._scopes = [] if scope is None else [scope]
        self.followers: list[LoginDeadline] = []
        self._seconds_left: dict[asyncio.Timeout, float] = {}
        self._stops = 0

    @asynccontextmanager
    async def within(self, seconds: float | None) -> AsyncGenerator[None, None]:
        """Add a deadline for a part of the login.

        Raises:
            TimeoutError: The body took longer.
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
        """Also pause while ``other`` is paused: it opens a connection that this host needs as well."""
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
        """The earliest deadline, in seconds on the loop's clock; ``None`` without one, or while paused."""
        times = [when for scope in self._scopes if (when := scope.when()) is not None]
        return min(times, default=None)

    @property
    def stands_still(self) -> bool:
        """Whether its deadlines are paused."""
        return self._stops > 0

    @asynccontextmanager
    async def for_a_port(self) -> AsyncGenerator[None, None]:
        """Wait for a port inside: the deadlines are paused, and the bound on such waits applies.

        Raises:
            PortWaitOver: The wait reached its bound.
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
        """Pause the deadlines inside, for example while a prompt waits for the user."""
        self.stop()
        try:
            yield
        finally:
            self.go_on()

    def stop(self) -> None:
        """Pause the deadlines until ``go_on`` has been called as often as this."""
        self._stops += 1
        if self._stops > 1:
            return
        for scope in self._scopes:
            self._stop(scope)
        for follower in self.followers:
            follower.stop()

    def go_on(self) -> None:
        """Resume the deadlines, postponed by the time for which they were paused."""
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
