"""Where connections stay between runs, one a host.

What of a run is needed as long as one of its connections is used stays, too:
jump hosts are entered by the run's connectors, and those who are reached
through them live no longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from multirsh.inventory import fold
from multirsh.model import ClosedBy, Host
from multirsh.ports.tally import PortStatistics, SharedTally
from multirsh.transports.base import Connection, Connector, Reusable, Warn
from multirsh.transports.dialling import Dialler


class ReusableConnection(Connection, Reusable, Protocol):
    """What can be kept."""


class KeptConnection(NamedTuple):
    """A connection that is open between runs.

    Attributes:
        host: Whose.
        user: Who is logged in.
        local_port: Where it left from; ``None`` where it has no local port of its own.
        since: When the login was through, on the loop's clock, in seconds.
    """

    host: str
    user: str | None
    local_port: int | None
    since: float


@dataclass(slots=True, eq=False)
class Origin:
    """What of a run stays as long as a connection does that was opened in it, by one transport.

    Attributes:
        connector: The run's, which holds the jump hosts.
        dialler: The run's, which knows the sockets.
        kept: Its connections that are put aside, or used by another run.
        is_over: Whether the run has ended.
    """

    connector: Connector
    dialler: Dialler
    kept: int = 0
    is_over: bool = False


class Idle(NamedTuple):
    """A connection put aside, and where it comes from."""

    connection: ReusableConnection
    origin: Origin


class Keep:
    """The connections of a fleet that are open between its runs, one a host.

    Attributes:
        tally: Counts the local ports of all of them.
    """

    def __init__(self, *, most: int, warn: Warn) -> None:
        """Keep none yet.

        Args:
            most: How many may be kept.
            warn: Takes lines for people.
        """
        self.tally = SharedTally(self._make_room)
        self._most = most
        self._warn = warn
        self._has_warned = False
        self._is_closed = False
        self._idle: dict[str, Idle] = {}
        self._origins: list[Origin] = []

    def connections(self) -> tuple[KeptConnection, ...]:
        """Those that are open now and in no use, as far as is known."""
        return tuple(
            KeptConnection(name, kept.user, kept.local_port, kept.authenticated_at or 0.0)
            for name, (kept, _) in self._idle.items()
            if kept.is_idle
        )

    def has(self, host: Host) -> bool:
        """Whether ``host`` has one that lives, as far as is known."""
        found = self._idle.get(host.name)
        return found is not None and found.connection.is_idle

    def take(self, host: Host) -> Idle | None:
        """Take a host's connection out, if it has one that lives."""
        found = self._idle.pop(host.name, None)
        if found is None or found.connection.is_idle:
            return found
        self._let_go(found)
        return None

    def put(self, host: Host, idle: Idle) -> bool:
        """Put a connection aside; whether that was done."""
        is_scarce = self.tally.statistics().waiting > 0
        if self._is_closed or is_scarce or host.name in self._idle or not idle.connection.is_idle:
            return False
        if len(self._idle) >= self._most:
            self._warn_of_descriptors()
            return False
        self._idle[host.name] = idle
        idle.connection.reset()
        return True

    def drop_lost(self, hosts: Iterable[Host]) -> list[str]:
        """Forget the connections of ``hosts`` that have died; whose they were."""
        lost = [host.name for host in hosts if host.name in self._idle and not self.has(host)]
        for name in lost:
            self._let_go(self._idle.pop(name))
        return lost

    def tell_lost(self, names: Iterable[str]) -> None:
        """Say that connections were lost, and are opened anew."""
        if names:
            self._warn(f"connections lost meanwhile, opened anew: {fold(names)}")

    async def release(self, hosts: Iterable[Host]) -> dict[str, ClosedBy | None]:
        """Close the connections of ``hosts`` that are in no use; who closed each first."""
        chosen = {host.name: self._idle.pop(host.name) for host in hosts if host.name in self._idle}
        for idle in chosen.values():
            self._let_go(idle)
        closed_by = {name: await idle.connection.closed() for name, idle in chosen.items()}
        await self.sweep()
        return closed_by

    def statistics(self) -> PortStatistics:
        """What all the connections have done to the local ports so far."""
        return self.tally.statistics()

    async def aclose(self) -> None:
        """Close all; a cancellation meanwhile resets what is still open."""
        self._is_closed = True
        self._make_room()
        try:
            await self.sweep(drain=True)
        except asyncio.CancelledError:
            for origin in self._origins:
                origin.dialler.abandon()
            await self.sweep(drain=True)
            raise

    async def sweep(self, *, drain: bool = False) -> None:
        """Let go of what ended runs have left that nobody uses any more, such as jump hosts.

        Args:
            drain: Wait for sockets, too, that their runs did not wait for; else those stay known.
        """
        for origin in [each for each in self._origins if each.is_over and not each.kept]:
            await origin.connector.release()
            if drain:
                await origin.dialler.drained()
            others = [each for each in self._origins if each is not origin]
            is_known = any(each.dialler is origin.dialler for each in others)
            if is_known or origin.dialler.is_drained:
                self._origins = others

    def begun(self, origins: Iterable[Origin]) -> None:
        """A run has begun that may leave connections."""
        self._origins.extend(origins)

    def _let_go(self, idle: Idle) -> None:
        idle.origin.kept -= 1
        idle.connection.close()

    def _make_room(self) -> None:
        """Let all go that nobody uses: somebody waits for a local port, which one of them may hold."""
        for idle in self._idle.values():
            self._let_go(idle)
        self._idle.clear()

    def _warn_of_descriptors(self) -> None:
        if self._has_warned:
            return
        self._has_warned = True
        self._warn(
            f"{self._most} connections at most are kept open, and the others are closed after each run:"
            " raise the limit of open files ('ulimit -n')"
        )
