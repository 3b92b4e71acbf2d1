"""Connections that stay open from one run to the next, so that only the first run logs in.

::

    connection(host)   one of before if it lives, else a new one
    close()            it is put aside if nothing goes on in it, else really closed
    Keep.aclose()      all are closed, the remote ends first

What was put aside may die meanwhile. If that is known, it is opened anew. If
it is found out by asking for a command, before the remote has opened a channel
for that, then the command has surely not run, and the host is tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Hashable, Mapping, Sequence
from typing import TypeVar

from multirsh.engine.keep import Idle, Keep, Origin
from multirsh.engine.ways import Ways
from multirsh.errors import HostError
from multirsh.model import ClosedBy, Fate, Host, Outcome, Phase
from multirsh.ports.tally import Tally
from multirsh.transports.base import (
    Connection,
    Destination,
    HasSubsystems,
    Killable,
    Reusable,
    Sink,
    Stdin,
    Transport,
)
from multirsh.transports.dialling import Dialler
from multirsh.transports.login_deadline import LoginDeadline
from multirsh.transports.passwords import Password

Result = TypeVar("Result")


class KeptWays(Ways):
    """The ways of a run whose connections are kept for the next."""

    def __init__(
        self, keep: Keep, transports: Mapping[str, Transport], dialler: Dialler, tally: Tally
    ) -> None:
        """Connect to nobody yet.

        Args:
            keep: Where connections come from, and stay.
            transports: As of ``Ways``.
            dialler: The run's own; its tally is the keep's.
            tally: Counts what happens while the run goes on.
        """
        super().__init__(transports, dialler, tally)
        self._keep = keep
        self._origins = {name: Origin(connector, dialler) for name, connector in self.connectors.items()}
        self.connectors = {name: _KeptConnector(origin, keep, self) for name, origin in self._origins.items()}
        self._stale: list[str] = []
        self._waits: set[asyncio.Timeout] = set()
        self._is_abandoned = False

    def begin(self, hosts: Sequence[Host]) -> None:
        """The run begins: what died since the last one is found out, and told."""
        self._keep.begun(self._origins.values())
        self._keep.tally.attach(self.tally)
        self._keep.tell_lost(self._keep.drop_lost(hosts))

    def are_open(self, hosts: Sequence[Host]) -> bool:
        """Whether all of ``hosts`` are connected to already."""
        return all(map(self._keep.has, hosts))

    def is_stale(self, connection: Connection) -> bool:
        """Whether ``connection`` was one of before, and had died before anything was asked of it."""
        if not isinstance(connection, _Use) or not connection.is_stale:
            return False
        self._stale.append(connection.host.name)
        return True

    def abandon(self) -> None:
        """Wait for no remote any more; those connections that nobody uses stay."""
        self._is_abandoned = True
        for scope in self._waits:
            scope.reschedule(0)

    async def settle(self) -> None:
        """At the end of the run: nothing of it goes on but what is kept."""
        for origin in self._origins.values():
            origin.is_over = True
        self._keep.tell_lost(self._stale)
        try:
            await self.patiently(self.dialler.drained(closing=True))
            if not self._is_abandoned:
                await self._keep.sweep()
        finally:
            self._keep.tally.detach(self.tally)

    async def patiently(self, ending: Awaitable[Result]) -> Result | None:
        """Wait for ``ending``; ``None`` once the run is abandoned."""
        scope = asyncio.timeout(0 if self._is_abandoned else None)
        self._waits.add(scope)
        try:
            async with scope:
                return await ending
        except TimeoutError:
            return None
        finally:
            self._waits.discard(scope)


class _KeptConnector:
    """A ``Connector`` that gives what was kept, and else what the run's own gives."""

    def __init__(self, origin: Origin, keep: Keep, ways: KeptWays) -> None:
        self._origin = origin
        self._inner = origin.connector
        self._keep = keep
        self._ways = ways

    def destination(self, host: Host) -> Destination | None:
        """Nowhere, for a host that is connected to."""
        return None if self._keep.has(host) else self._inner.destination(host)

    def hop(self, host: Host) -> Hashable | None:
        """None, for a host that is logged in to: there is nothing to govern."""
        return None if self._keep.has(host) else self._inner.hop(host)

    def connection(self, host: Host) -> Connection:
        """A connection to ``host``: one of before, or one not yet begun."""
        idle = self._keep.take(host)
        if idle is None:
            fresh = self._inner.connection(host)
            if not isinstance(fresh, Reusable):
                return fresh
            return self._use(host, Idle(fresh, self._origin), is_reused=False)
        return self._use(host, idle, is_reused=True)

    def _use(self, host: Host, idle: Idle, *, is_reused: bool) -> _Use:
        kind = _UseWithSubsystems if isinstance(idle.connection, HasSubsystems) else _Use
        return kind(host, idle, self._keep, self._ways, is_reused=is_reused)

    async def release(self) -> None:
        """Release nothing: what is shared is kept, too."""


class _Use:
    """One run's use of a connection; a ``Connection`` itself.

    Attributes:
        host: Whose.
        is_stale: Whether it was one of before, and had died before anything was asked of it.
    """

    def __init__(self, host: Host, idle: Idle, keep: Keep, ways: KeptWays, *, is_reused: bool) -> None:
        self.host = host
        self.is_stale = False
        self._idle = idle
        self._inner = idle.connection
        self._keep = keep
        self._ways = ways
        self._is_reused = is_reused
        self._reused_at: float | None = None
        self._is_asked = False
        self._is_done = False
        self._is_kept = False

    @property
    def phase(self) -> Phase:
        """Where it is."""
        return self._inner.phase

    @property
    def local_port(self) -> int | None:
        """The local port it left from."""
        return self._inner.local_port

    @property
    def user(self) -> str | None:
        """Who is logged in."""
        return self._inner.user

    @property
    def connected_at(self) -> float | None:
        """When it was connected; ``None`` where that was for a run before."""
        return None if self._is_reused else self._inner.connected_at

    @property
    def authenticated_at(self) -> float | None:
        """When the login was through, or the run got hold of it."""
        return self._reused_at if self._is_reused else self._inner.authenticated_at

    async def open(self, login_deadline: LoginDeadline) -> None:
        """Open it, unless it is open."""
        if self._is_reused:
            self._reused_at = asyncio.get_running_loop().time()
        else:
            await self._inner.open(login_deadline)

    async def run(
        self, command: str, sink: Sink, stdin: Stdin | None = None, *, tty: bool = False
    ) -> Outcome:
        """Run ``command``."""
        return await self._first(self._inner.run(command, sink, stdin, tty=tty))

    async def _first(self, asking: Awaitable[Outcome]) -> Outcome:
        """Await what was asked for, and find out whether it came too late."""
        is_first, self._is_asked = not self._is_asked, True
        try:
            return await asking
        except HostError as error:
            never_began = error.failure is not None and error.failure.phase is Phase.SESSION
            # A channel that is refused on a connection that lives is the remote's answer.
            self.is_stale = self._is_reused and is_first and never_began and not self._inner.is_open
            raise

    def kill_command(self) -> bool:
        """Kill what was asked for, where the connection can."""
        return isinstance(self._inner, Killable) and self._inner.kill_command()

    async def end_command(self, *, kill_after: float, password: Password | None = None) -> Fate:
        """End what was given up on."""
        return await self._inner.end_command(kill_after=kill_after, password=password)

    def pause_output(self) -> None:
        """Hand no more output to the sink."""
        self._inner.pause_output()

    def resume_output(self) -> None:
        """Hand output to the sink again."""
        self._inner.resume_output()

    def close(self) -> None:
        """Be done with it: keep it if it can be used again."""
        if self._is_done:
            return
        self._is_done = True
        self._is_kept = self._keep.put(self.host, self._idle)
        if self._is_kept and not self._is_reused:
            self._idle.origin.kept += 1
        if not self._is_kept:
            if self._is_reused:
                self._idle.origin.kept -= 1
            self._inner.close()

    async def closed(self) -> ClosedBy | None:
        """Who closed it first; ``None`` where it is kept."""
        return None if self._is_kept else await self._ways.patiently(self._inner.closed())


class _UseWithSubsystems(_Use):
    """Of a connection that has those."""

    async def subsystem(self, name: str, sink: Sink, stdin: Stdin) -> Outcome:
        """Talk to the service ``name``."""
        if not isinstance(self._inner, HasSubsystems):
            raise TypeError("the connection has no subsystems")
        return await self._first(self._inner.subsystem(name, sink, stdin))
