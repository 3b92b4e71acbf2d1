"""Reserved ports, 512-1023: which one to bind for which destination.

The kernel does not choose them, so this module does (rresvport(3)): from 1023
down and round again, so that each port rests as long as possible. There are
two ways to bind:

* *shared*, with SO_REUSEADDR: sockets that all have it can use one port
  towards different destinations, so that 512 ports serve thousands of hosts
  at once. But with it, and with TCP timestamps, the kernel allows the reuse of
  a 4-tuple that it still keeps (``tcp_twsk_unique``, net/ipv4/tcp_ipv4.c);
* *alone*, without it: bind(2) then refuses a port that any socket still has
  (``inet_bind_conflict``, net/ipv4/inet_connection_sock.c).

So a port is bound alone towards a destination that it was used for lately, and
shared towards any other.

Pure: no socket, no clock.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from multirsh.ports.sockets import Busy, Endpoint, Lease, Route, TcpSocket, TcpState

RESERVED_PORTS: Final = range(1023, 511, -1)
"""IPPORT_RESERVED - 1 down to IPPORT_RESERVED / 2: the ports that rshd(8) accepts clients from (RFC 1282)."""

REST_SECONDS: Final = 67.5
"""How long a port is bound alone after its use: the minute of TIME_WAIT, and the eighth of it by which the
kernel's timers may be late (kernel/time/timer.c)."""

FIRST_RETRY_SECONDS: Final = 0.05
LONGEST_RETRY_SECONDS: Final = 1.0
"""Bounds of the time before a port that was refused for an unknown reason is tried again; it doubles."""

ANYWHERE: Final = Endpoint("", 0)
"""The destination of a listener's route."""

_LONG_AGO: Final = -math.inf
_NOT_KNOWN: Final = math.inf


class _Visit(NamedTuple):
    """A past use of a port towards a destination.

    Attributes:
        kept_until: Until when the kernel is known to keep the 4-tuple.
        rest_until: Until when the kernel may keep it: its timer may be late, or TIME_WAIT began later.
    """

    kept_until: float
    rest_until: float


@dataclass(slots=True)
class _ReservedUse:
    """The known use of one route.

    Attributes:
        held: The number of leases in use by port: a peer that resets and connects to the listener again may
            have two for a moment.
        visits: The past uses by port.
        is_queued: Whether the route is queued to have outdated visits removed.
    """

    held: dict[int, int] = field(default_factory=dict)
    visits: dict[int, _Visit] = field(default_factory=dict)
    is_queued: bool = False

    @property
    def is_empty(self) -> bool:
        return not self.held and not self.visits


@dataclass(slots=True)
class _Port:
    """One port of the pool.

    Attributes:
        held: The number of leases of connections that hold it.
        alone: Whether the connection that holds it has no SO_REUSEADDR.
        is_ours_to_listen: Whether a listener of this pool holds it.
        is_listened_on: Whether another program listens on it, by the kernel's table.
        blocked_until: Until when it is not tried, because the kernel refused to bind even a shared socket.
        left_until: Until when the kernel would refuse to bind it alone, because a socket still has it.
        retry_seconds: How long it is not tried after the next refusal.
    """

    held: int = 0
    alone: bool = False
    is_ours_to_listen: bool = False
    is_listened_on: bool = False
    blocked_until: float = _LONG_AGO
    left_until: float = _LONG_AGO
    retry_seconds: float = FIRST_RETRY_SECONDS

    def shared_at(self) -> float:
        """Return when a socket with SO_REUSEADDR can bind it, as far as is known."""
        is_taken = self.alone or self.is_ours_to_listen or self.is_listened_on
        return _NOT_KNOWN if is_taken else self.blocked_until

    def free_at(self, visit: _Visit | None) -> float:
        """Return when it can be bound, in either way, towards a destination with the past use ``visit``."""
        shared = self.shared_at()
        if visit is None:
            return shared
        alone = _NOT_KNOWN if self.held else max(shared, visit.kept_until, self.left_until)
        return min(max(shared, visit.rest_until), alone)

    def refused(self, now: float, *, shared: bool) -> None:
        """Do not try it for a while. A port that was refused alone may still be shared."""
        until = now + self.retry_seconds
        self.retry_seconds = min(2 * self.retry_seconds, LONGEST_RETRY_SECONDS)
        if shared:
            self.blocked_until = until
        else:
            self.left_until = max(self.left_until, until)

    def unlearn(self, now: float) -> None:
        """Drop what the kernel's table will show again."""
        self.is_listened_on = False
        self.left_until = _LONG_AGO
        self.blocked_until = min(self.blocked_until, now + LONGEST_RETRY_SECONDS)


class ReservedPool:
    """The reserved ports of this machine that the fleet may use."""

    def __init__(self, ports: Sequence[int] = RESERVED_PORTS, *, limit: int | None = None) -> None:
        """Begin with nothing in use.

        Args:
            ports: The ports, in the order to use them.
            limit: How many of them may be used: no other program can use a port that is held here, whatever
                its destination.
        """
        self._order = tuple(ports)[:limit]
        self._ports = {port: _Port() for port in self._order}
        self._places = {port: place for place, port in enumerate(self._order)}
        self._next_place = 0
        self._out: set[Lease] = set()
        self._uses: dict[Route, _ReservedUse] = {}
        self._queue: deque[tuple[float, Route]] = deque()

    def request(self, route: Route, now: float) -> Lease | Busy:
        """Choose a port for ``route``."""
        self._forget(now)
        use = self._uses.get(route) or _ReservedUse()
        if len(use.held) >= len(self._order):
            return Busy(None)
        for number in self._in_turn():
            if number in use.held:
                continue
            visit = use.visits.get(number)
            if visit is not None and now < visit.kept_until:
                continue  # free_at() would say so, too, and take longer
            if self._ports[number].free_at(visit) <= now:
                return self._lease(route, number, shared=visit is None or visit.rest_until <= now)
        free = (
            port.free_at(use.visits.get(number))
            for number, port in self._ports.items()
            if number not in use.held
        )
        return _busy(free)

    def request_listener(self, source: str, now: float) -> Lease | Busy:
        """Choose a port that no lease holds, to listen on at the address ``source``."""
        self._forget(now)
        for number in self._in_turn():
            port = self._ports[number]
            if not port.held and port.shared_at() <= now:
                return self._lease(Route(source, ANYWHERE), number, shared=True)
        return _busy(port.shared_at() for port in self._ports.values() if not port.held)

    def adopt(self, route: Route, number: int) -> Lease:
        """Count a connection that a listener has accepted on port ``number``."""
        lease = Lease(route, port=number, shared=True)
        self._hold(lease, number)
        return lease

    def granted(self, lease: Lease) -> None:
        """Note that the kernel has bound the port."""
        port = self._ports.get(_number(lease))
        if port is not None:
            port.blocked_until, port.retry_seconds = _LONG_AGO, FIRST_RETRY_SECONDS

    def give_back(self, lease: Lease, now: float, *, was_open: bool, until: float | None) -> None:
        """Note that a lease has ended.

        Args:
            lease: A lease in use.
            now: The time.
            was_open: Whether there was a connection.
            until: When the kernel releases the port; ``None`` if it is not known to keep it.

        Raises:
            KeyError: The lease is not in use.
        """
        number = self._release(lease)
        if not was_open:
            return
        kept_until = _LONG_AGO if until is None else until
        self._note(lease.route, number, _Visit(kept_until, max(now, kept_until) + REST_SECONDS), now)
        port = self._ports.get(number)
        if port is not None:
            port.left_until = max(port.left_until, kept_until)
            if not lease.shared:
                port.blocked_until = max(port.blocked_until, kept_until)

    def refused(self, lease: Lease, now: float, *, four_tuple: bool) -> None:
        """Take back a lease that the kernel did not grant.

        Args:
            lease: A lease in use.
            now: The time.
            four_tuple: Whether only this destination was refused (EADDRNOTAVAIL of connect(2)), and not the
                port as such (EADDRINUSE of bind(2)).

        Raises:
            KeyError: The lease is not in use.
        """
        number = self._release(lease)
        port = self._ports.get(number)
        if four_tuple:
            end = now + LONGEST_RETRY_SECONDS
            self._note(lease.route, number, _Visit(end, end + REST_SECONDS), now)
        elif port is not None:
            port.refused(now, shared=lease.shared)

    def correct(self, rows: Iterable[TcpSocket], now: float) -> None:
        """Replace what is known by the kernel's table.

        Args:
            rows: All sockets of this machine whose local port is in the pool.
            now: When they were read.
        """
        for use in self._uses.values():
            use.visits.clear()
        for port in self._ports.values():
            port.unlearn(now)
        for row in rows:
            self._see(row, now)
        self._uses = {route: use for route, use in self._uses.items() if not use.is_empty}
        self._queue.clear()
        for route, use in self._uses.items():
            use.is_queued = bool(use.visits)
            if use.is_queued:
                self._queue.append((now + REST_SECONDS, route))

    def routes(self) -> int:
        """Return the number of routes in the pool; for tests."""
        return len(self._uses)

    def _see(self, row: TcpSocket, now: float) -> None:
        number = row.local.port
        port = self._ports.get(number)
        if port is None:
            return
        if row.state is TcpState.LISTEN:
            port.is_listened_on = not port.is_ours_to_listen
            return
        route = Route(row.local.address, row.remote)
        use = self._uses.get(route)
        is_ours = use is not None and number in use.held
        if is_ours or row.remote.port == 0:  # a socket without a remote port is merely bound
            return
        # The kernel's timer may be late, so the port is kept at least until the next retry. A socket without
        # a timer may still enter TIME_WAIT.
        left, rest = row.seconds_left, REST_SECONDS
        if left is None:
            left, rest = LONGEST_RETRY_SECONDS, 2 * REST_SECONDS
        end = now + max(left, port.retry_seconds)
        port.left_until = max(port.left_until, end)
        if row.seconds_left is not None and port.blocked_until > _LONG_AGO:
            # It was refused and not granted since, and this socket is the reason.
            port.blocked_until = max(port.blocked_until, end)
        self._note(route, number, _Visit(end, end + rest), now)

    def _in_turn(self) -> Iterator[int]:
        """Yield every port, beginning where the last search ended."""
        for place in range(self._next_place, self._next_place + len(self._order)):
            yield self._order[place % len(self._order)]

    def _lease(self, route: Route, number: int, *, shared: bool) -> Lease:
        self._next_place = (self._places[number] + 1) % len(self._order)
        lease = Lease(route, port=number, shared=shared)
        port = self._ports[number]
        if route.remote == ANYWHERE:
            port.is_ours_to_listen = True
            self._out.add(lease)
        else:
            port.alone = not shared
            self._hold(lease, number)
        return lease

    def _hold(self, lease: Lease, number: int) -> None:
        self._out.add(lease)
        held = self._uses.setdefault(lease.route, _ReservedUse()).held
        held[number] = held.get(number, 0) + 1
        if number in self._ports:
            self._ports[number].held += 1

    def _release(self, lease: Lease) -> int:
        """Take a lease back, and return its port.

        Raises:
            KeyError: The lease is not in use.
        """
        self._out.remove(lease)
        number = _number(lease)
        port = self._ports.get(number)
        if lease.route.remote == ANYWHERE:
            if port is not None:
                port.is_ours_to_listen = False
            return number
        if port is not None:
            port.held -= 1
            port.alone = False
        use = self._uses[lease.route]
        use.held[number] -= 1
        if not use.held[number]:
            del use.held[number]
            if use.is_empty:
                del self._uses[lease.route]
        return number

    def _note(self, route: Route, number: int, visit: _Visit, now: float) -> None:
        use = self._uses.setdefault(route, _ReservedUse())
        use.visits[number] = visit
        if not use.is_queued:
            use.is_queued = True
            self._queue.append((now + REST_SECONDS, route))

    def _forget(self, now: float) -> None:
        """Drop outdated entries, so that the memory of a fleet that is open for days stays small."""
        while self._queue and self._queue[0][0] <= now:
            _, route = self._queue.popleft()
            use = self._uses.get(route)
            if use is None:
                continue
            use.visits = {number: visit for number, visit in use.visits.items() if visit.rest_until > now}
            use.is_queued = bool(use.visits)
            if use.is_queued:
                self._queue.append((now + REST_SECONDS, route))
            elif not use.held:
                del self._uses[route]


def parse_blacklist(text: str) -> frozenset[int]:
    """Parse /etc/bindresvport.blacklist: one port a line; ``#`` begins a comment; other lines are ignored.

    Source: bindresvport.blacklist(5) of libtirpc and glibc's sunrpc.
    """
    words = (line.partition("#")[0].strip() for line in text.splitlines())
    return frozenset(int(word) for word in words if _PORT.fullmatch(word))


_PORT: Final = re.compile(r"[0-9]{1,5}")


def _busy(free_at: Iterable[float]) -> Busy:
    """Return the time when the first port is free, from the times of all."""
    soonest = min(free_at, default=_NOT_KNOWN)
    return Busy(None if soonest == _NOT_KNOWN else soonest)


def _number(lease: Lease) -> int:
    if lease.port is None:
        raise ValueError("not a lease of a reserved port")
    return lease.port
