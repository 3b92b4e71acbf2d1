"""The dialler: looks up names and connects sockets, each with its lease of a local port.

Every TCP connection of every transport is made here, so this module reports
each one to the ledger, and can wait for all that are still draining.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from multirsh.model import ClosedBy, ErrorKind, Failure, Phase, SourcePort, Status
from multirsh.ports.allocator import PortAllocator
from multirsh.ports.reserved import ANYWHERE
from multirsh.ports.sockets import Lease, Route
from multirsh.ports.tally import Tally
from multirsh.transports.login_deadline import LoginDeadline, PortWaitOver
from multirsh.transports.remote_first import RemoteFirstTransport
from multirsh.transports.resolver import Address, NameNotFound, Resolver
from multirsh.transports.tcp import (
    ATTEMPT_DELAY_SECONDS,
    DialError,
    NoneConnected,
    PortRefused,
    SockAddr,
    Spare,
    bind,
    connected,
    dial_error,
    endpoint,
    family_of,
    first_to_connect,
    interleaved,
    local_error,
    none_connected,
    reset,
    source_towards,
)

SHORT_WAIT_SECONDS: Final = 1.0
"""Shorter waits for a port are not reported: connections of the run itself are about to end."""


class ReservedPort(NamedTuple):
    """A port that is reserved for a listener.

    Attributes:
        sock: A socket that is bound to the port.
        lease: The lease of the port.
    """

    sock: socket.socket
    lease: Lease


@dataclass(frozen=True, slots=True, eq=False)
class _Asking:
    """One attempt to connect that needs a local port.

    Attributes:
        address: The remote address.
        source: The local address.
        is_bound: Whether the local address was given, rather than chosen by the kernel.
        source_port: The pool that the local port comes from.
        turn: Its place in the queue for ports.
        route: The local address and the remote endpoint.
    """

    address: Address
    source: SockAddr
    is_bound: bool
    source_port: SourcePort
    turn: int

    @property
    def route(self) -> Route:
        return Route(endpoint(self.source).address, endpoint(self.address.sockaddr))


class Dialler:
    """Makes the TCP connections of a run and tracks those that are not closed yet."""

    def __init__(
        self,
        *,
        ports: PortAllocator,
        tally: Tally,
        close_timeout: float,
        bind_address: str | None = None,
        warn: Callable[[str], None] = lambda _line: None,
        resolver: Resolver | None = None,
        spare: Spare | None = None,
        on_address: Callable[[str], None] = lambda _address: None,
    ) -> None:
        """Make a dialler.

        Args:
            ports: Leases a local port to each connection.
            tally: Counts every connection.
            close_timeout: The longest that a connection waits for the remote's FIN, in seconds.
            bind_address: The local address to bind, numeric; ``None`` for the one that the route implies.
            warn: Shows a one-line warning, the first time that a connection must wait for a port.
            resolver: Looks up names.
            spare: The extra sockets for trying several addresses of a host at once; ``None`` for no limit.
            on_address: Called with each host's first address before it is connected to.
        """
        self._warn: Callable[[str], None] | None = warn
        self._ports = ports
        self._tally = tally
        self._close_timeout = close_timeout
        self._bind_address = bind_address
        self._resolver = resolver or Resolver()
        self._spare = spare or Spare()
        self._on_address = on_address
        self._open: set[RemoteFirstTransport] = set()

    @property
    def close_timeout(self) -> float:
        """The longest that a connection waits for the remote's FIN, in seconds."""
        return self._close_timeout

    async def dial(
        self,
        host: str,
        port: int,
        *,
        on_phase: Callable[[Phase], None],
        login_deadline: LoginDeadline,
        family: int = socket.AF_UNSPEC,
        bind_address: str | None = None,
        source_port: SourcePort = SourcePort.EPHEMERAL,
    ) -> RemoteFirstTransport:
        """Connect to the first address of ``host`` that accepts the connection.

        Args:
            host: A name or an IP literal.
            port: 1-65535.
            on_phase: Called when the look-up, each connect and each wait for a local port begins.
            login_deadline: Bounds the wait for a local port.
            family: ``AF_INET`` or ``AF_INET6`` to allow only one.
            bind_address: The local address to bind, numeric; the run's own takes precedence.
            source_port: The pool that the local port comes from.

        Returns:
            A transport that has no protocol attached yet.

        Raises:
            DialError: No address could be connected to; its message names each that was tried.
        """
        addresses = await self._looked_up(host, port, family, on_phase)
        bound_to = self._bind_address or bind_address
        if bound_to is not None:
            addresses = [address for address in addresses if address.family is family_of(bound_to)]
            if not addresses:
                message = f"{host} has no address of the family of {bound_to}, which we are to leave from"
                raise DialError(Status.UNREACHABLE, Failure(ErrorKind.NO_ROUTE, Phase.CONNECT, message))
        self._on_address(str(addresses[0].sockaddr[0]))

        async def connect(address: Address) -> tuple[socket.socket, Lease]:
            source = (bound_to, 0) if bound_to is not None else source_towards(address)
            asking = _Asking(address, source, bound_to is not None, source_port, self._ports.turn())
            return await self._connect(asking, on_phase, login_deadline)

        on_phase(Phase.CONNECT)
        # One after another from reserved ports: there are 512 for all hosts, and a server that trusts them
        # would see connections that are dropped at once.
        in_turn = source_port is SourcePort.RESERVED
        try:
            sock, lease = await first_to_connect(
                interleaved(addresses),
                connect,
                discard=self._discard,
                spare=self._spare,
                delay=math.inf if in_turn else ATTEMPT_DELAY_SECONDS,
            )
            return self._hold(sock, lease)
        except NoneConnected as none:
            raise none_connected(
                [(str(address.sockaddr[0]), error) for address, error in none.failures]
            ) from None
        except OSError as error:
            raise dial_error(error) from None

    def prefetch(self, host: str, family: int = socket.AF_UNSPEC) -> None:
        """Start to look up ``host``, which will be dialled soon."""
        self._resolver.prefetch(host, family)

    def known_addresses(self, host: str, family: int = socket.AF_UNSPEC) -> list[str]:
        """Return the cached addresses of ``host``, without a look-up."""
        return self._resolver.known(host, family)

    async def _looked_up(
        self, host: str, port: int, family: int, on_phase: Callable[[Phase], None]
    ) -> list[Address]:
        """Return the addresses of ``host``.

        Raises:
            DialError: The name has no address.
        """
        on_phase(Phase.RESOLVE)
        try:
            return await self._resolver.resolve(host, port, family)
        except NameNotFound as error:
            if error.is_ours:
                raise local_error(ErrorKind.MEMORY, error.reason, Phase.RESOLVE) from None
            failure = Failure(ErrorKind.NAME, Phase.RESOLVE, f"{host}: {error.reason}")
            raise DialError(Status.UNREACHABLE, failure) from None

    async def reserve_listener(self, login_deadline: LoginDeadline) -> ReservedPort:
        """Wait for a reserved port to listen on, before any step that will need one.

        Raises:
            DialError: No port was free within the time that ``login_deadline`` allows, or this user may not
                bind it.
        """
        route, turn, waiting = Route("", ANYWHERE), self._ports.turn(), object()
        loop = asyncio.get_running_loop()
        began, has_waited = loop.time(), False
        try:
            while True:
                lease = self._ports.lease(route, SourcePort.RESERVED, turn=turn)
                if lease is None:
                    has_waited = True
                    lease = await self._waited_for(
                        route, SourcePort.RESERVED, turn, waiting, login_deadline, began
                    )
                # Bound, and not only leased: only a refused bind shows that another process has the port.
                sock = self._bound(lease, "0.0.0.0")  # noqa: S104 - it does not listen
                if sock is not None:
                    return ReservedPort(sock, lease)
        finally:
            if has_waited:
                self._tally.waits_no_more(waiting, loop.time() - began)

    def listen_reserved(
        self, source: str, *, backlog: int, reserved: ReservedPort | None = None
    ) -> tuple[socket.socket, Lease]:
        """Listen on a reserved port, for a server that connects back (rcmd).

        Args:
            source: The local address to listen on, numeric, without a zone.
            backlog: The backlog of listen(2).
            reserved: The result of ``reserve_listener``, which is tried first.

        Returns:
            A non-blocking listener with SO_REUSEADDR, which accepted sockets inherit; and the lease of its
            port, for ``unlisten``.

        Raises:
            DialError: No such port is free now, or this user may not bind it.
        """
        route, turn = Route(source, ANYWHERE), self._ports.turn()
        lease = None
        if reserved is not None:
            reserved.sock.close()
            lease = reserved.lease
        while lease := lease or self._ports.lease(route, SourcePort.RESERVED, turn=turn):
            sock = self._bound(lease, source)
            if sock is not None:
                sock.listen(backlog)
                return sock, lease
            lease = None
        raise local_error(ErrorKind.PORTS, "no reserved port is free to listen on", Phase.PORT)

    def _bound(self, lease: Lease, source: str) -> socket.socket | None:
        """Bind a socket to the leased port; return ``None``, with the lease withdrawn, if it is refused.

        Raises:
            DialError: This user may not bind the port.
        """
        sock = socket.socket(family_of(source), socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bind(sock, (source, 0), lease.port or 0)
        except PortRefused:
            sock.close()
            self._ports.refused(lease, four_tuple=False)
            return None
        except BaseException:
            self.unlisten(sock, lease)
            raise
        return sock

    def unlisten(self, listener: socket.socket, lease: Lease) -> None:
        """Close a listener of ``listen_reserved`` and give back its lease."""
        listener.close()
        self._ports.give_back(lease, None)

    def adopt(self, sock: socket.socket, *, spares_peer: bool = False) -> RemoteFirstTransport:
        """Take over a connection that one of our listeners has accepted.

        Args:
            sock: The socket from accept(2).
            spares_peer: As in ``RemoteFirstTransport``.

        Raises:
            OSError: The peer has already disconnected; the socket is closed.
        """
        sock.setblocking(False)
        try:
            route = Route(endpoint(sock.getsockname()).address, endpoint(sock.getpeername()))
        except OSError:
            sock.close()
            raise
        lease = self._ports.adopt(route, sock.getsockname()[1])
        self._tally.leased()
        return self._hold(sock, lease, spares_peer=spares_peer)

    def adopt_pipe(self, sock: socket.socket) -> RemoteFirstTransport:
        """Take over a connected socket that uses no port, such as one end of a ProxyCommand's pipe."""
        return self._watch(sock, lambda _closed_by: None)

    @property
    def is_drained(self) -> bool:
        """Whether all connections are closed."""
        return not self._open

    async def drained(self, *, closing: bool = False) -> None:
        """Wait until all connections are closed; one that is closing takes at most its close timeout.

        Args:
            closing: Wait only for the connections that are closing already.
        """
        while ending := {each.closed for each in self._open if each.is_closing() or not closing}:
            await asyncio.wait(ending)

    def abandon(self) -> None:
        """Reset every connection that is still open, without waiting for the remote."""
        for transport in list(self._open):
            transport.abandon()

    async def _connect(
        self, asking: _Asking, on_phase: Callable[[Phase], None], login_deadline: LoginDeadline
    ) -> tuple[socket.socket, Lease]:
        """Connect to one address, from a port that the kernel grants.

        Returns:
            The socket and its lease, for ``_hold`` or ``_discard``.

        Raises:
            DialError: No port was free in time, or this user may not bind it.
            OSError: The address could not be connected to.
        """
        while True:
            lease = self._ports.lease(asking.route, asking.source_port, turn=asking.turn)
            if lease is None:
                return await self._connect_in_turn(asking, on_phase, login_deadline)
            sock = await self._socket(asking, lease)
            if sock is not None:
                return sock, lease

    async def _connect_in_turn(
        self, asking: _Asking, on_phase: Callable[[Phase], None], login_deadline: LoginDeadline
    ) -> tuple[socket.socket, Lease]:
        """Connect after waiting for a port; refused ports prolong the wait, which counts as one."""
        loop = asyncio.get_running_loop()
        began, waited = loop.time(), 0.0
        lease: Lease | None = None
        try:
            while True:
                if lease is None:
                    on_phase(Phase.PORT)
                    lease = await self._waited_for(
                        asking.route, asking.source_port, asking.turn, asking, login_deadline, began
                    )
                    on_phase(Phase.CONNECT)
                waited = loop.time() - began
                sock = await self._socket(asking, lease)
                if sock is not None:
                    return sock, lease
                lease = self._ports.lease(asking.route, asking.source_port, turn=asking.turn)
        finally:
            self._tally.waits_no_more(asking, waited or loop.time() - began)

    async def _socket(self, asking: _Asking, lease: Lease) -> socket.socket | None:
        """Connect from the port of ``lease``; return ``None``, with the lease withdrawn, if it is refused.

        Raises:
            DialError: This user may not bind the port.
            OSError: The address could not be connected to.
        """
        self._tally.leased()
        try:
            return await connected(
                asking.address,
                lease,
                source=asking.source,
                bind_source=asking.is_bound,
                window=self._ports.window,
            )
        except PortRefused as refusal:
            self._tally.given_back()
            self._ports.refused(lease, four_tuple=refusal.four_tuple)
            return None
        except BaseException:
            self._give_back(lease, None)
            raise

    async def _waited_for(
        self,
        route: Route,
        source_port: SourcePort,
        turn: int,
        who: object,
        login_deadline: LoginDeadline,
        began: float | None = None,
    ) -> Lease:
        """Wait in turn for a port; the wait began at ``began``, and ``who`` identifies it in the tally."""
        loop = asyncio.get_running_loop()
        began = loop.time() if began is None else began
        self._tally.waits(who, None)  # only the first in the queue gets an estimate, but all are waiting
        is_listener = route.remote == ANYWHERE
        what = "reserved port" if source_port is SourcePort.RESERVED else "local port"
        where = (
            " to listen on" if is_listener else f" towards {route.remote.address} port {route.remote.port}"
        )

        def told(until: float | None) -> None:
            self._tally.waits(who, until)
            now = loop.time()
            is_long = now - began > SHORT_WAIT_SECONDS or (until or 0.0) - now > SHORT_WAIT_SECONDS
            if is_long and self._warn is not None:
                about = "" if until is None else f", in about {max(1.0, until - now):.0f} s"
                self._warn(
                    f"no {what} is free{where}: waiting for the first{about};"
                    " 'multirsh ports' tells who has them"
                )
                self._warn = None

        try:
            async with login_deadline.for_a_port():
                return await self._ports.wait_for_lease(route, source_port, turn=turn, on_estimate=told)
        except PortWaitOver:
            message = f"no {what} was free{where} for {loop.time() - began:.0f} s"
            raise local_error(ErrorKind.PORTS, message, Phase.PORT) from None

    def _hold(self, sock: socket.socket, lease: Lease, *, spares_peer: bool = False) -> RemoteFirstTransport:
        """Take over a connected socket with its lease.

        Raises:
            OSError: The peer has already disconnected.
        """
        loop = asyncio.get_running_loop()

        def closed(closed_by: ClosedBy) -> None:
            self._tally.closed(local, remote, closed_by, loop.time())
            self._give_back(lease, closed_by)

        try:
            transport = self._watch(sock, closed, spares_peer=spares_peer)
        except OSError:
            sock.close()
            self._give_back(lease, None)
            raise
        local = endpoint(transport.get_extra_info("sockname"))
        remote = endpoint(transport.get_extra_info("peername"))
        self._ports.connected(lease, local.port)
        return transport

    def _discard(self, connected: tuple[socket.socket, Lease]) -> None:
        """Reset an unused connection: another address of the host connected first."""
        sock, lease = connected
        reset(sock)
        self._give_back(lease, None)

    def _give_back(self, lease: Lease, closed_by: ClosedBy | None) -> None:
        self._tally.given_back()
        self._ports.give_back(lease, closed_by)

    def _watch(
        self, sock: socket.socket, on_closed: Callable[[ClosedBy], None], *, spares_peer: bool = False
    ) -> RemoteFirstTransport:
        loop = asyncio.get_running_loop()

        def closed(closed_by: ClosedBy) -> None:
            self._open.discard(transport)
            on_closed(closed_by)

        transport = RemoteFirstTransport(
            loop, sock, close_timeout=self._close_timeout, on_closed=closed, spares_peer=spares_peer
        )
        self._open.add(transport)
        return transport
