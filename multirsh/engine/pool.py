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
    """The connectors of one run, one for each transport; the run closes every connection that it opens."""

    def __init__(self, transports: Mapping[str, Transport], dialler: Dialler, tally: Tally) -> None:
        """Make the connectors; nothing is connected yet.

        Args:
            transports: The prepared transports by name.
            dialler: Makes the run's TCP connections.
            tally: Counts the run's local ports.
        """
        self._by_transport: Mapping[str, Connector] = {
            name: transport.connector(dialler) for name, transport in transports.items()
        }
        self.dialler = dialler
        self.tally = tally

    def connector_for(self, host: Host) -> Connector:
        """Return the connector of the host's transport."""
        return self._by_transport[transport_of(host)]

    def begin(self, hosts: Sequence[Host]) -> None:
        """Note that the run begins, with these hosts."""

    def are_open(self, hosts: Sequence[Host]) -> bool:  # noqa: ARG002 - none is, before the run
        """Return whether all of ``hosts`` have an open connection already."""
        return False

    def prefetch(self, host: Host) -> None:
        """Start to look up the name of a host that will be started soon."""
        destination = self.connector_for(host).destination(host)
        if destination is not None:
            self.dialler.prefetch(destination.address, destination.family)

    def is_stale(self, connection: Connection) -> bool:  # noqa: ARG002 - all of these are new
        """Return whether ``connection`` was reused and had died before its first command was requested."""
        return False

    def abandon(self) -> None:
        """Stop waiting for remote ends to close."""
        self.dialler.abandon()

    async def settle(self) -> None:
        """End the run: release the connectors and wait until every socket is closed."""
        for connector in self._by_transport.values():
            await connector.release()
        await self.dialler.drained()


class ReusableConnection(Connection, Reusable, Protocol):
    """A connection that can be used by more than one run."""


class PooledConnection(NamedTuple):
    """A description of a connection that is open between runs.

    Attributes:
        host: The name of the host.
        user: The user that is logged in.
        local_port: Its local port; ``None`` if it has no local port of its own.
        since: When the login ended, in seconds of the loop's clock.
    """

    host: str
    user: str | None
    local_port: int | None
    since: float


@dataclass(slots=True, eq=False)
class Origin:
    """What a pooled connection depends on: one connector of the run that opened it, and the run's dialler.

    Attributes:
        connector: Holds the connections to jump hosts.
        dialler: Holds the sockets.
        kept: The number of its connections that are idle in the pool or used by another run.
        is_over: Whether the run has ended.
    """

    connector: Connector
    dialler: Dialler
    kept: int = 0
    is_over: bool = False


class IdleConnection(NamedTuple):
    """A connection, and what it depends on."""

    connection: ReusableConnection
    origin: Origin


class ConnectionPool:
    """The connections of a fleet that stay open between its runs, at most one for each host.

    Attributes:
        tally: Counts the local ports of all of them.
    """

    def __init__(self, *, most: int, warn: Warn) -> None:
        """Make an empty pool.

        Args:
            most: The largest number of connections to keep.
            warn: Called with each warning, a line for people.
        """
        self.tally = SharedTally(self._drop_idle)
        self._most = most
        self._warn = warn
        self._has_warned = False
        self._is_closed = False
        self._idle: dict[str, IdleConnection] = {}
        self._origins: list[Origin] = []

    def connections(self) -> tuple[PooledConnection, ...]:
        """Return the connections that are idle now and, as far as is known, alive."""
        return tuple(
            PooledConnection(name, kept.user, kept.local_port, kept.authenticated_at or 0.0)
            for name, (kept, _) in self._idle.items()
            if kept.is_idle
        )

    def has(self, host: Host) -> bool:
        """Return whether ``host`` has an idle connection that, as far as is known, is alive."""
        found = self._idle.get(host.name)
        return found is not None and found.connection.is_idle

    def take(self, host: Host) -> IdleConnection | None:
        """Remove and return the host's idle connection; ``None`` if it has none that is alive."""
        found = self._idle.pop(host.name, None)
        if found is None or found.connection.is_idle:
            return found
        self._let_go(found)
        return None

    def put(self, host: Host, idle: IdleConnection) -> bool:
        """Add an idle connection; return ``False`` if the pool does not keep it."""
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
        """Remove the connections of ``hosts`` that have died; return the names of their hosts."""
        lost = [host.name for host in hosts if host.name in self._idle and not self.has(host)]
        for name in lost:
            self._let_go(self._idle.pop(name))
        return lost

    def report_lost(self, names: Iterable[str]) -> None:
        """Warn that connections were lost and are opened anew."""
        if names:
            self._warn(f"connections lost meanwhile, opened anew: {fold(names)}")

    async def release(self, hosts: Iterable[Host]) -> dict[str, ClosedBy | None]:
        """Close the idle connections of ``hosts``; return which end closed each of them first."""
        chosen = {host.name: self._idle.pop(host.name) for host in hosts if host.name in self._idle}
        for idle in chosen.values():
            self._let_go(idle)
        closed_by = {name: await idle.connection.closed() for name, idle in chosen.items()}
        await self.sweep()
        return closed_by

    def statistics(self) -> PortStatistics:
        """Return the use of local ports by all connections so far."""
        return self.tally.statistics()

    async def aclose(self) -> None:
        """Close all connections; if it is cancelled, those that are still open are reset."""
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
        """Release what ended runs have left and no connection needs any more, such as jump hosts.

        Args:
            drain: Whether to wait for sockets that their runs did not wait for; otherwise they are kept for
                a later call.
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
        """Add the origins of a run that has begun and may leave connections."""
        self._origins.extend(origins)

    def _let_go(self, idle: IdleConnection) -> None:
        idle.origin.kept -= 1
        idle.connection.close()

    def _drop_idle(self) -> None:
        """Close all idle connections: a host waits for a local port, which one of them may hold."""
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
    """The connectors of a run that takes connections from a pool and returns them to it."""

    def __init__(
        self, pool: ConnectionPool, transports: Mapping[str, Transport], dialler: Dialler, tally: Tally
    ) -> None:
        """Make the connectors; nothing is connected yet.

        Args:
            pool: Where connections come from and return to.
            transports: The prepared transports by name.
            dialler: The run's own dialler, which counts into the pool's tally.
            tally: Counts the local ports while the run lasts.
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
        """Note that the run begins, and warn of the connections that have died since the last one."""
        self._pool.add_origins(self._origins.values())
        self._pool.tally.attach(self.tally)
        self._pool.report_lost(self._pool.drop_lost(hosts))

    def are_open(self, hosts: Sequence[Host]) -> bool:
        """Return whether all of ``hosts`` have an open connection already."""
        return all(map(self._pool.has, hosts))

    def is_stale(self, connection: Connection) -> bool:
        """Return whether ``connection`` was reused and had died before its first command was requested."""
        if not isinstance(connection, _Borrowed) or not connection.is_stale:
            return False
        self._stale.append(connection.host.name)
        return True

    def abandon(self) -> None:
        """Stop waiting for remote ends to close; idle connections stay open."""
        self._is_abandoned = True
        for scope in self._waits:
            scope.reschedule(0)

    async def settle(self) -> None:
        """End the run: wait until every socket is closed but those of pooled connections."""
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
        """Wait for ``ending`` and return its result; return ``None`` once the run is abandoned."""
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
    """A ``Connector`` that takes connections from the pool, or else from the run's own connector."""

    def __init__(self, origin: Origin, pool: ConnectionPool, connectors: PooledConnectors) -> None:
        self._origin = origin
        self._inner = origin.connector
        self._pool = pool
        self._connectors = connectors

    def destination(self, host: Host) -> Destination | None:
        """Return where the host will be connected to; ``None`` for a host with a pooled connection."""
        return None if self._pool.has(host) else self._inner.destination(host)

    def hop(self, host: Host) -> Hashable | None:
        """Return the hop of the host's login; ``None`` for a host that is logged in to already."""
        return None if self._pool.has(host) else self._inner.hop(host)

    def connection(self, host: Host) -> Connection:
        """Return a connection to ``host``: a pooled one, or one that is not open yet."""
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
        """Do nothing: the pool releases what its connections share."""


class _Borrowed:
    """One run's use of a connection; it is itself a ``Connection``.

    Attributes:
        host: The host that it leads to.
        is_stale: Whether it was reused and had died before its first command was requested.
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
        self._has_run = False
        self._is_done = False
        self._is_kept = False

    @property
    def phase(self) -> Phase:
        """The phase that the connection is in."""
        return self._inner.phase

    @property
    def local_port(self) -> int | None:
        """The local port of the connection."""
        return self._inner.local_port

    @property
    def user(self) -> str | None:
        """The user that is logged in."""
        return self._inner.user

    @property
    def connected_at(self) -> float | None:
        """When it was connected, in seconds of the loop's clock; ``None`` if an earlier run did that."""
        return None if self._is_reused else self._inner.connected_at

    @property
    def authenticated_at(self) -> float | None:
        """When the login ended, or this run took the connection, in seconds of the loop's clock."""
        return self._reused_at if self._is_reused else self._inner.authenticated_at

    async def open(self, login_deadline: LoginDeadline) -> None:
        """Open the connection unless it is open already."""
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
        """Await what was requested, and note whether the connection was stale."""
        is_first, self._has_run = not self._has_run, True
        try:
            return await asking
        except HostError as error:
            never_began = error.failure is not None and error.failure.phase is Phase.SESSION
            # A channel that is refused on a connection that lives is the remote's answer.
            self.is_stale = self._is_reused and is_first and never_began and not self._inner.is_open
            raise

    def kill_command(self) -> bool:
        """Kill the command if the connection can do so; return whether it did."""
        return isinstance(self._inner, Killable) and self._inner.kill_command()

    async def end_command(self, *, kill_after: float, password: Password | None = None) -> Fate:
        """End a command that was given up."""
        return await self._inner.end_command(kill_after=kill_after, password=password)

    def pause_output(self) -> None:
        """Pass no more output to the sink."""
        self._inner.pause_output()

    def resume_output(self) -> None:
        """Pass output to the sink again."""
        self._inner.resume_output()

    def close(self) -> None:
        """Return the connection to the pool, or close it if it cannot be used again."""
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
        """Wait until the connection is closed; return which end closed it first, ``None`` if it is pooled."""
        return None if self._is_kept else await self._connectors.patiently(self._inner.closed())


class _BorrowedWithSubsystems(_Borrowed):
    """The use of a connection that has subsystems."""

    async def subsystem(self, name: str, sink: Sink, stdin: Stdin) -> Outcome:
        """Start the subsystem ``name`` and exchange data with it."""
        if not isinstance(self._inner, HasSubsystems):
            raise TypeError("the connection has no subsystems")
        return await self._first(self._inner.subsystem(name, sink, stdin))
