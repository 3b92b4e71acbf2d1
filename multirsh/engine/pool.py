"""The connections of a run's hosts, and the pool that keeps them open from one run to the next.

A run gets a host's connection from the connector of the host's transport.
With a pool, only the first run logs in::

    connection(host)        an idle connection of the pool if it is alive, else a new one
    close()                 returns it to the pool if it can be used again, else closes it
    ConnectionPool.aclose() closes all of them; the remote end closes first

An idle connection may die. If that is known, it is opened anew. If it is
noticed only when a command is requested, before the remote has opened a
channel for it, then the command has surely not run, and the host is tried
again.

What a connection of a run depends on stays open as long as the connection is
used: jump hosts are logged in to by the run's connectors, and the connections
through them live no longer than those.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from multirsh.errors import HostError
from multirsh.inventory import fold
from multirsh.model import ClosedBy, Fate, Host, Outcome, Phase, TransportName
from multirsh.ports.tally import PortStatistics, SharedTally, Tally
from multirsh.transports.base import (
    Connection,
    Connector,
    Destination,
    HasSubsystems,
    Killable,
    Reusable,
    Sink,
    Stdin,
    Transport,
    Warn,
)
from multirsh.transports.dialling import Dialler
from multirsh.transports.login_deadline import LoginDeadline
from multirsh.transports.passwords import Password


def transport_of(host: Host) -> str:
    """The name of the transport by which ``host`` is reached."""
    return host.settings.transport or TransportName.SSH


class Connectors:
    """Those of a run that closes all that it opens."""

    def __init__(self, transports: Mapping[str, Transport], dialler: Dialler, tally: Tally) -> None:
        """Connect to nobody yet.

        Args:
            transports: Prepared, by name.
            dialler: Makes the run's TCP connections.
            tally: Counts the run's local ports.
        """
        self._by_transport: Mapping[str, Connector] = {
            name: transport.connector(dialler) for name, transport in transports.items()
        }
        self.dialler = dialler
        self.tally = tally

    def connector_for(self, host: Host) -> Connector:
        """The connector by which ``host`` is reached."""
        return self._by_transport[transport_of(host)]

    def begin(self, hosts: Sequence[Host]) -> None:
        """The run begins, over ``hosts``."""

    def are_open(self, hosts: Sequence[Host]) -> bool:  # noqa: ARG002 - none is, before the run
        """Whether all of ``hosts`` are connected to already."""
        return False

    def prefetch(self, host: Host) -> None:
        """Have the name of a host that comes soon looked up."""
        destination = self.connector_for(host).destination(host)
        if destination is not None:
            self.dialler.prefetch(destination.address, destination.family)

    def is_stale(self, connection: Connection) -> bool:  # noqa: ARG002 - none of these is of before
        """Whether ``connection`` was one of before, and had died before anything was asked of it."""
        return False

    def abandon(self) -> None:
        """Wait for no remote any more."""
        self.dialler.abandon()

    async def settle(self) -> None:
        """At the end of the run: see to it that nothing is open that is not meant to be."""
        for connector in self._by_transport.values():
            await connector.release()
        await self.dialler.drained()


class ReusableConnection(Connection, Reusable, Protocol):
    """What can be kept."""


class PooledConnection(NamedTuple):
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


class IdleConnection(NamedTuple):
    """A connection put aside, and where it comes from."""

    connection: ReusableConnection
    origin: Origin


class ConnectionPool:
    """The connections of a fleet that are open between its runs, one a host.

    Attributes:
        tally: Counts the local ports of all of them.
    """

    def __init__(self, *, most: int, warn: Warn) -> None:
        """ConnectionPool none yet.

        Args:
            most: How many may be kept.
            warn: Takes lines for people.
        """
        self.tally = SharedTally(self._drop_idle)
        self._most = most
        self._warn = warn
        self._has_warned = False
        self._is_closed = False
        self._idle: dict[str, IdleConnection] = {}
        self._origins: list[Origin] = []

    def connections(self) -> tuple[PooledConnection, ...]:
        """Those that are open now and in no use, as far as is known."""
        return tuple(
            PooledConnection(name, kept.user, kept.local_port, kept.authenticated_at or 0.0)
            for name, (kept, _) in self._idle.items()
            if kept.is_idle
        )

    def has(self, host: Host) -> bool:
        """Whether ``host`` has one that lives, as far as is known."""
        found = self._idle.get(host.name)
        return found is not None and found.connection.is_idle

    def take(self, host: Host) -> IdleConnection | None:
        """Take a host's connection out, if it has one that lives."""
        found = self._idle.pop(host.name, None)
        if found is None or found.connection.is_idle:
            return found
        self._let_go(found)
        return None

    def put(self, host: Host, idle: IdleConnection) -> bool:
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

    def report_lost(self, names: Iterable[str]) -> None:
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
        self._drop_idle()
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

    def add_origins(self, origins: Iterable[Origin]) -> None:
        """A run has begun that may leave connections."""
        self._origins.extend(origins)

    def _let_go(self, idle: IdleConnection) -> None:
        idle.origin.kept -= 1
        idle.connection.close()

    def _drop_idle(self) -> None:
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


Result = TypeVar("Result")


class PooledConnectors(Connectors):
    """The connectors of a run whose connections are kept for the next."""

    def __init__(
        self, pool: ConnectionPool, transports: Mapping[str, Transport], dialler: Dialler, tally: Tally
    ) -> None:
        """Connect to nobody yet.

        Args:
            pool: Where connections come from, and stay.
            transports: As of ``Connectors``.
            dialler: The run's own; its tally is the keep's.
            tally: Counts what happens while the run goes on.
        """
        super().__init__(transports, dialler, tally)
        self._pool = pool
        self._origins = {name: Origin(connector, dialler) for name, connector in self._by_transport.items()}
        self._by_transport = {
            name: _PoolingConnector(origin, pool, self) for name, origin in self._origins.items()
        }
        self._stale: list[str] = []
        self._waits: set[asyncio.Timeout] = set()
        self._is_abandoned = False

    def begin(self, hosts: Sequence[Host]) -> None:
        """The run begins: what died since the last one is found out, and told."""
        self._pool.add_origins(self._origins.values())
        self._pool.tally.attach(self.tally)
        self._pool.report_lost(self._pool.drop_lost(hosts))

    def are_open(self, hosts: Sequence[Host]) -> bool:
        """Whether all of ``hosts`` are connected to already."""
        return all(map(self._pool.has, hosts))

    def is_stale(self, connection: Connection) -> bool:
        """Whether ``connection`` was one of before, and had died before anything was asked of it."""
        if not isinstance(connection, _Borrowed) or not connection.is_stale:
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
        self._pool.report_lost(self._stale)
        try:
            await self.patiently(self.dialler.drained(closing=True))
            if not self._is_abandoned:
                await self._pool.sweep()
        finally:
            self._pool.tally.detach(self.tally)

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


class _PoolingConnector:
    """A ``Connector`` that gives what was kept, and else what the run's own gives."""

    def __init__(self, origin: Origin, pool: ConnectionPool, connectors: PooledConnectors) -> None:
        self._origin = origin
        self._inner = origin.connector
        self._pool = pool
        self._connectors = connectors

    def destination(self, host: Host) -> Destination | None:
        """Nowhere, for a host that is connected to."""
        return None if self._pool.has(host) else self._inner.destination(host)

    def hop(self, host: Host) -> Hashable | None:
        """None, for a host that is logged in to: there is nothing to govern."""
        return None if self._pool.has(host) else self._inner.hop(host)

    def connection(self, host: Host) -> Connection:
        """A connection to ``host``: one of before, or one not yet begun."""
        idle = self._pool.take(host)
        if idle is None:
            fresh = self._inner.connection(host)
            if not isinstance(fresh, Reusable):
                return fresh
            return self._borrowed(host, IdleConnection(fresh, self._origin), is_reused=False)
        return self._borrowed(host, idle, is_reused=True)

    def _borrowed(self, host: Host, idle: IdleConnection, *, is_reused: bool) -> _Borrowed:
        kind = _BorrowedWithSubsystems if isinstance(idle.connection, HasSubsystems) else _Borrowed
        return kind(host, idle, self._pool, self._connectors, is_reused=is_reused)

    async def release(self) -> None:
        """Release nothing: what is shared is kept, too."""


class _Borrowed:
    """One run's use of a connection; a ``Connection`` itself.

    Attributes:
        host: Whose.
        is_stale: Whether it was one of before, and had died before anything was asked of it.
    """

    def __init__(
        self,
        host: Host,
        idle: IdleConnection,
        pool: ConnectionPool,
        connectors: PooledConnectors,
        *,
        is_reused: bool,
    ) -> None:
        self.host = host
        self.is_stale = False
        self._idle = idle
        self._inner = idle.connection
        self._pool = pool
        self._connectors = connectors
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
        self._is_kept = self._pool.put(self.host, self._idle)
        if self._is_kept and not self._is_reused:
            self._idle.origin.kept += 1
        if not self._is_kept:
            if self._is_reused:
                self._idle.origin.kept -= 1
            self._inner.close()

    async def closed(self) -> ClosedBy | None:
        """Who closed it first; ``None`` where it is kept."""
        return None if self._is_kept else await self._connectors.patiently(self._inner.closed())


class _BorrowedWithSubsystems(_Borrowed):
    """Of a connection that has those."""

    async def subsystem(self, name: str, sink: Sink, stdin: Stdin) -> Outcome:
        """Talk to the service ``name``."""
        if not isinstance(self._inner, HasSubsystems):
            raise TypeError("the connection has no subsystems")
        return await self._first(self._inner.subsystem(name, sink, stdin))
