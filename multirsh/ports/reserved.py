"""Reserved ports, 512-1023: which one to bind for which destination.

Here we choose the port ourselves (rresvport(3)), from 1023 down and round
again, so that each rests as long as can be. Two ways to bind:

* *shared*, with SO_REUSEADDR: sockets that all have it may use one port
  towards different destinations, so that 512 ports serve thousands of hosts
  at once. But with it, and TCP timestamps, the kernel lets a 4-tuple be
  reused that it still keeps (``tcp_twsk_unique``, net/ipv4/tcp_ipv4.c);
* *alone*, without: bind(2) then refuses a port on which anything is left.

So a port is shared towards a destination it has not just been to, and bound
alone towards one it has.

Pure: no socket, no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from multirsh.ports.lease import Busy, Lease, Route
from multirsh.ports.sockets import Endpoint, TcpSocket, TcpState

RESERVED_PORTS: Final = range(1023, 511, -1)
"""IPPORT_RESERVED - 1 down to IPPORT_RESERVED / 2: what rshd(8) takes for a client's port (RFC 1282)."""

REST_SECONDS: Final = 60.0
"""How long a port is remembered to have been somewhere: TIME_WAIT's length."""

FIRST_RETRY_SECONDS: Final = 0.05
LONGEST_RETRY_SECONDS: Final = 1.0
"""When to ask again for a port that somebody holds of whom nothing is known; each refusal doubles it."""

ANYBODY: Final = Endpoint("", 0)
"""The far end of a listener's route."""


@dataclass(slots=True)
class _Port:
    """One port of the pool.

    Attributes:
        held: By how many leases of connections.
        alone: Whether the one that holds it does so without SO_REUSEADDR.
        is_ours_to_listen: Whether a listener of ours holds it.
        is_listened_on: Whether the kernel says that somebody listens on it.
        blocked_until: The kernel refused to bind it; ``None`` where it does not.
        retry_seconds: How long it is left alone after the next refusal.
    """

    held: int = 0
    alone: bool = False
    is_ours_to_listen: bool = False
    is_listened_on: bool = False
    blocked_until: float | None = None
    retry_seconds: float = FIRST_RETRY_SECONDS

    def may_be_bound(self, now: float) -> bool:
        """Whether a socket with SO_REUSEADDR may have it, as far as is known."""
        return not (
            self.alone
            or self.is_ours_to_listen
            or self.is_listened_on
            or (self.blocked_until is not None and now < self.blocked_until)
        )

    def block(self, now: float) -> None:
        """Leave it alone for a while."""
        self.blocked_until = now + self.retry_seconds
        self.retry_seconds = min(2 * self.retry_seconds, LONGEST_RETRY_SECONDS)


@dataclass(frozen=True, slots=True)
class _Visit:
    """A port was towards a destination, and nobody of ours holds it any more.

    Attributes:
        until: When the kernel lets go of it, or it is forgotten.
        kept: Whether the kernel is known to keep it; else it is only not known to be free.
    """

    until: float
    kept: bool


@dataclass(slots=True)
class _Use:
    """What is known of one route: the ports held, and those lately left."""

    held: set[int] = field(default_factory=set)
    visits: dict[int, _Visit] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not self.held and not self.visits


class ReservedPool:
    """The reserved ports of this machine, as far as they are ours to use."""

    def __init__(self, ports: Sequence[int] = RESERVED_PORTS, *, limit: int | None = None) -> None:
        """Begin with nothing in use.

        Args:
            ports: Which, in the order to take them.
            limit: Only so many of them are touched: a port that we hold is lost to other programs,
                whatever the destination.
        """
        self._order = tuple(ports)[:limit]
        self._ports = {port: _Port() for port in self._order}
        self._places = {port: place for place, port in enumerate(self._order)}
        self._next_place = 0
        self._uses: dict[Route, _Use] = {}
        self._left: deque[tuple[float, Route, int]] = deque()

    def request(self, route: Route, now: float) -> Lease | Busy:
        """Choose a port for ``route``."""
        self._forget(now)
        use = self._uses.get(route) or _Use()
        if len(use.held) < len(self._order):
            for number, port in self._in_turn():
                if number in use.held or not port.may_be_bound(now):
                    continue
                visit = use.visits.get(number)
                if visit is None or visit.until <= now:
                    return self._take(Lease(route, port=number, shared=True), port)
                if not visit.kept and not port.held:
                    return self._take(Lease(route, port=number, shared=False), port)
        return Busy(self._next_end(use, now))

    def request_listener(self, source: str, now: float) -> Lease | Busy:
        """Choose a port to listen on at the address ``source``: one that nobody of ours uses."""
        self._forget(now)
        for number, port in self._in_turn():
            if not port.held and port.may_be_bound(now):
                return self._take(Lease(Route(source, ANYBODY), port=number, shared=True), port)
        return Busy(self._next_end(_Use(), now))

    def adopt(self, route: Route, number: int) -> Lease:
        """Count a connection that a listener has accepted on port ``number``."""
        lease = Lease(route, port=number, shared=True)
        self._hold(lease)
        return lease

    def granted(self, lease: Lease) -> None:
        """Note that the kernel has let the port be bound."""
        port = self._ports.get(_number(lease))
        if port is not None:
            port.blocked_until, port.retry_seconds = None, FIRST_RETRY_SECONDS

    def give_back(self, lease: Lease, now: float, *, until: float | None) -> None:
        """Note that nobody holds it any more.

        Args:
            lease: One that is out.
            now: The time.
            until: When the kernel lets go of the port, where it is known to keep it.

        Raises:
            KeyError: It is not out.
        """
        number = _number(lease)
        port = self._ports.get(number)
        if lease.route.remote == ANYBODY:
            if port is None or not port.is_ours_to_listen:
                raise KeyError(lease)
            port.is_ours_to_listen = False
            return
        use = self._uses[lease.route]
        use.held.remove(number)
        kept = until is not None
        self._note(lease.route, number, _Visit(now + REST_SECONDS if until is None else until, kept), now)
        if port is not None:
            port.held -= 1
            if port.alone and kept:
                port.blocked_until = until
            port.alone = False

    def refused(self, lease: Lease, now: float, *, four_tuple: bool) -> None:
        """Take back a lease that the kernel did not grant.

        Args:
            lease: One that is out.
            now: The time.
            four_tuple: Whether only this destination was refused (EADDRNOTAVAIL of connect(2)), and not the
                port as such (EADDRINUSE of bind(2)).
        """
        self.give_back(lease, now, until=now + LONGEST_RETRY_SECONDS if four_tuple else None)
        port = self._ports.get(_number(lease))
        if port is not None and not four_tuple:
            port.block(now)

    def correct(self, rows: Iterable[TcpSocket], now: float) -> None:
        """Believe the kernel.

        Args:
            rows: All sockets of this machine whose local port is one of the pool's.
            now: When they were read.
        """
        seen: dict[Route, dict[int, float]] = {}
        listening: set[int] = set()
        ends: dict[int, float] = {}
        for row in rows:
            number = row.local.port
            if row.state is TcpState.LISTEN:
                listening.add(number)
                continue
            left = LONGEST_RETRY_SECONDS if row.seconds_left is None else row.seconds_left
            seen.setdefault(Route(row.local.address, row.remote), {})[number] = now + left
            if row.seconds_left is not None:
                ends[number] = max(ends.get(number, 0.0), now + left)
        for number, port in self._ports.items():
            port.is_listened_on = number in listening
            if port.blocked_until is not None and number in ends:
                port.blocked_until = max(now + port.retry_seconds, ends[number])
        for use in self._uses.values():
            use.visits.clear()
        for route, there in seen.items():
            held = self._uses[route].held if route in self._uses else ()
            for number, end in there.items():
                if number not in held:
                    self._note(route, number, _Visit(end, kept=True), now)
        self._uses = {route: use for route, use in self._uses.items() if not use.is_empty}

    def routes(self) -> int:
        """How many routes something is known of; for tests."""
        return len(self._uses)

    def _in_turn(self) -> Iterator[tuple[int, _Port]]:
        """Every port, beginning where the last search ended."""
        for place in range(self._next_place, self._next_place + len(self._order)):
            number = self._order[place % len(self._order)]
            yield number, self._ports[number]

    def _take(self, lease: Lease, port: _Port) -> Lease:
        self._next_place = (self._places[_number(lease)] + 1) % len(self._order)
        if lease.route.remote == ANYBODY:
            port.is_ours_to_listen = True
        else:
            port.alone = not lease.shared
            self._hold(lease)
        return lease

    def _hold(self, lease: Lease) -> None:
        number = _number(lease)
        use = self._uses.setdefault(lease.route, _Use())
        if number in use.held:
            raise AssertionError(f"held already: {lease}")
        use.held.add(number)
        use.visits.pop(number, None)
        if number in self._ports:
            self._ports[number].held += 1

    def _note(self, route: Route, number: int, visit: _Visit, now: float) -> None:
        self._uses.setdefault(route, _Use()).visits[number] = visit
        self._left.append((now + REST_SECONDS, route, number))

    def _forget(self, now: float) -> None:
        """Drop what is over, so that a fleet kept open for days stays small."""
        while self._left and self._left[0][0] <= now:
            _, route, number = self._left.popleft()
            use = self._uses.get(route)
            if use is None:
                continue
            visit = use.visits.get(number)
            if visit is not None and visit.until <= now:
                del use.visits[number]
            if use.is_empty:
                del self._uses[route]

    def _next_end(self, use: _Use, now: float) -> float | None:
        ends = [visit.until for visit in use.visits.values() if visit.kept]
        ends += [port.blocked_until for port in self._ports.values() if port.blocked_until is not None]
        return min((end for end in ends if end > now), default=None)


def parse_blacklist(text: str) -> frozenset[int]:
    """Read /etc/bindresvport.blacklist: a port a line, ``#`` begins a comment; other lines mean nothing.

    Source: bindresvport.blacklist(5) of libtirpc and glibc's sunrpc.
    """
    words = (line.partition("#")[0].strip() for line in text.splitlines())
    return frozenset(int(word) for word in words if word.isascii() and word.isdigit())


def _number(lease: Lease) -> int:
    if lease.port is None:
        raise ValueError("not a lease of a reserved port")
    return lease.port
