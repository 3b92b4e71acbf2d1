"""A host's way in: how long it may take, standing still while it waits for a local port; and how far it is.

A host that finds no local port is not slow, this machine is full: that wait
has a bound of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from multirsh.transports.awake import awake_timeout


class PortWaitOver(Exception):  # noqa: N818 - the wait is over; what it means the dialler says
    """No local port was free for as long as this host may wait for one."""


class Patience:
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
        self.followers: list[Patience] = []
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
    def beside(self, other: Patience | None) -> Iterator[None]:
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
