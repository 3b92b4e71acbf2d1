"""Leases local ports to connections: the asynchronous shell around the ledger.

A connection that finds no port free waits for the next one, in the order of requests. The ledger predicts
when that is, and the kernel's table corrects it: before the first lease, when a route runs low, when the
kernel has refused a port, and as long as a connection waits.
"""

from __future__ import annotations

import asyncio
import bisect
import heapq
import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from multirsh.model import ClosedBy, SourcePort
from multirsh.ports.ledger import EVERY_PORT, Ledger, PortBudget
from multirsh.ports.reserved import ANYWHERE, RESERVED_PORTS, parse_blacklist
from multirsh.ports.socket_table import read_table
from multirsh.ports.sockets import Busy, Endpoint, Lease, Route, TcpSocket
from multirsh.ports.sysctls import KernelPorts, read_kernel_ports

BLACKLIST: Final = Path("/etc/bindresvport.blacklist")

FIRST_POLL_SECONDS: Final = 0.05
LONGEST_POLL_SECONDS: Final = 1.0
"""Bounds of the time between two readings of the kernel's table while a connection waits, since other
programs release ports without notice. The time doubles after each reading in vain."""

BETWEEN_READS_SECONDS: Final = 0.02
"""The sockets of a route, or of the reserved ports, are not read again sooner."""

READS_REST: Final = 10
"""The table is not read again until this many times the duration of the last reading has passed."""

REMEMBERED_READS: Final = 1024


class ReadTable(Protocol):
    """Reads the kernel's sockets: ``ports.socket_table.read_table``."""

    def __call__(
        self, *, towards: Collection[Endpoint] | None = None, local_ports: range | None = None
    ) -> Sequence[TcpSocket] | None:
        """Return all sockets, or those selected; ``None`` if they are not known."""


@dataclass(slots=True, order=True)
class _Waiter:
    """A connection that waits for a port.

    Attributes:
        turn: Its place in the order of requests; lower is earlier.
        on_estimate: Called when it begins to wait, and with each new estimate when it is first in line.
        lease: The lease that it waits for; cancelled if it has given up and not yet left the line.
    """

    turn: int
    on_estimate: Callable[[float | None], None] = field(compare=False)
    lease: asyncio.Future[Lease] = field(compare=False)


@dataclass(slots=True)
class _Line:
    """The connections that wait for a port of one pool, in order, and the estimate of when one is free."""

    waiters: list[_Waiter] = field(default_factory=list)
    until: float | None = None

    @property
    def head(self) -> _Waiter:
        return self.waiters[0]


class PortAllocator:
    """Leases local ports to the connections of a fleet; one for each fleet, used in one event loop."""

    def __init__(
        self,
        *,
        budget: PortBudget = EVERY_PORT,
        blacklist: Path = BLACKLIST,
        kernel: KernelPorts | None = None,
        read_table: ReadTable = read_table,
    ) -> None:
        """Begin with nothing leased; the kernel's table is read before the first lease.

        Args:
            budget: How many ports may be used towards one destination.
            blacklist: The file of reserved ports that are not to be taken.
            kernel: This network namespace's settings; ``None`` to read them now.
            read_table: Reads the kernel's sockets.
        """
        self._ledger = Ledger(
            kernel or read_kernel_ports(), budget=budget, reserved=lambda: _reserved_ports(blacklist)
        )
        self._read_table = read_table
        self._lines: dict[_Pool, _Line] = {}
        self._turns = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._poll_seconds = FIRST_POLL_SECONDS
        self._not_before: dict[Route, float] = {}
        self._reads_rest_until = 0.0
        self._at_start: dict[Route, list[TcpSocket]] | None = None
        self._started_at = 0.0

    @property
    def window(self) -> range | None:
        """The part of the ephemeral range to choose from; ``None`` for the whole of it."""
        return self._ledger.window

    def turn(self) -> int:
        """Return the next place in the order of requests."""
        return next(self._turns)

    def lease(self, route: Route, source_port: SourcePort, *, turn: int) -> Lease | None:
        """Lease a port now, if one is free and no earlier request waits for one like it.

        Args:
            route: The source and the destination, which is ``ANYWHERE`` for a listener.
            source_port: The pool of the port.
            turn: The place of the request; a request that was refused is repeated with the same one.
        """
        pool = _Pool(route, source_port)
        if any(self._lines[rival].head.turn < turn for rival in self._rivals(pool)):
            return None
        answer = self._ask(pool)
        return answer if isinstance(answer, Lease) else None

    async def wait_for_lease(
        self, route: Route, source_port: SourcePort, *, turn: int, on_estimate: Callable[[float | None], None]
    ) -> Lease:
        """Wait for a port, in turn.

        Args:
            route: The source and the destination.
            source_port: The pool of the port.
            turn: The turn that was given to ``lease``, which returned ``None``.
            on_estimate: Called if no port is free at once, and with each later estimate of when one will be
                free, on the loop's clock; ``None`` if that is not known.
        """
        pool = _Pool(route, source_port)
        waiter = _Waiter(turn, on_estimate, asyncio.get_running_loop().create_future())
        line = self._lines.setdefault(pool, _Line())
        bisect.insort(line.waiters, waiter)
        self._serve(self._rivals(pool))
        try:
            if not waiter.lease.done() and line.head is not waiter:
                on_estimate(line.until)
            return await waiter.lease
        except asyncio.CancelledError:
            if waiter.lease.done() and not waiter.lease.cancelled():
                self.give_back(waiter.lease.result(), None)
            raise
        finally:
            self._leave(pool, waiter)

    def adopt(self, route: Route, port: int) -> Lease:
        """Lease the port of a connection that a listener has accepted."""
        return self._ledger.adopt(route, port)

    def connected(self, lease: Lease, port: int) -> None:
        """Note that a connection is open, and the port it has got."""
        self._ledger.connected(lease, port)
        if lease.port is None:
            self._serve(self._rivals(_pool_of(lease)))  # one tried after a refusal, the others waited

    def give_back(self, lease: Lease, closed_by: ClosedBy | None) -> None:
        """Note that the socket is closed, and which end closed first; ``None`` if there was no connection."""
        self._ledger.give_back(lease, closed_by, _now())
        self._serve(self._rivals(_pool_of(lease)))

    def refused(self, lease: Lease, *, four_tuple: bool) -> None:
        """Take back a lease that the kernel did not grant: EADDRINUSE, or EADDRNOTAVAIL for a 4-tuple."""
        self._ledger.refused(lease, _now(), four_tuple=four_tuple)
        # No line is served now: the request that was refused is repeated, with its own turn.
        self._correct([_pool_of(lease)])

    def _ask(self, pool: _Pool) -> Lease | Busy:
        self._look_once()
        if self._at_start and (rows := self._at_start.pop(_subject(pool), None)):
            self._ledger.correct(pool.route, pool.source_port, rows, self._started_at)
        if pool.source_port is SourcePort.EPHEMERAL and self._ledger.is_low(pool.route, _now()):
            # Not after the lease: as long as that has no socket, one of the rows would be taken for it.
            self._correct([pool])
        answer = self._request(pool)
        if isinstance(answer, Busy) and self._correct([pool]):
            return self._request(pool)
        return answer

    def _request(self, pool: _Pool) -> Lease | Busy:
        if pool.route.remote == ANYWHERE:
            return self._ledger.request_listener(pool.route.source, _now())
        return self._ledger.request(pool.route, pool.source_port, _now())

    # Waiting.

    def _rivals(self, pool: _Pool) -> list[_Pool]:
        """Return the pools whose waiters a port of ``pool`` would serve: routes share the reserved ports."""
        if pool.source_port is SourcePort.RESERVED:
            return [other for other in self._lines if other.source_port is SourcePort.RESERVED]
        return [pool] if pool in self._lines else []

    def _leave(self, pool: _Pool, waiter: _Waiter) -> None:
        """Take ``waiter`` out of its line, if it is still there."""
        line = self._lines.get(pool)
        if line is None:
            return
        place = bisect.bisect_left(line.waiters, waiter)
        if place < len(line.waiters) and line.waiters[place] is waiter:
            del line.waiters[place]
            if not line.waiters:
                del self._lines[pool]

    def _serve(self, pools: Iterable[_Pool]) -> None:
        """Lease free ports to the waiters of these lines, in the order of their requests."""
        heads = [(self._lines[pool].head.turn, pool) for pool in pools]
        heapq.heapify(heads)
        while heads:
            _, pool = heapq.heappop(heads)
            line = self._lines[pool]
            first = line.head
            if not first.lease.cancelled():
                answer = self._request(pool)
                if isinstance(answer, Busy):
                    line.until = answer.until
                    first.on_estimate(answer.until)
                    self._wake_at(answer.until)
                    continue
                self._poll_seconds = FIRST_POLL_SECONDS
                first.lease.set_result(answer)
            self._leave(pool, first)
            if line.waiters:
                heapq.heappush(heads, (line.head.turn, pool))

    def _wake_at(self, when: float | None) -> None:
        """Read the table again at ``when``, or sooner: other programs release ports without notice."""
        loop = asyncio.get_running_loop()
        soonest = loop.time() + self._poll_seconds
        if when is not None:
            soonest = min(soonest, when)
        if self._timer is not None and self._timer.when() <= soonest:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(soonest, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._poll_seconds = min(2 * self._poll_seconds, LONGEST_POLL_SECONDS)
        self._correct(self._lines)
        self._serve(list(self._lines))

    # Reading the kernel's table.

    def _look_once(self) -> None:
        """Read the whole table before the first lease."""
        if self._at_start is not None:
            return
        self._at_start = {}
        self._started_at = _now()
        for row in self._read_table() or ():
            self._at_start.setdefault(Route(row.local.address, row.remote), []).append(row)
            if row.local.port in _RESERVED_RANGE:
                self._at_start.setdefault(_NOWHERE, []).append(row)

    def _correct(self, pools: Iterable[_Pool]) -> bool:
        """Correct ``pools`` by the kernel's table, unless it was read just now.

        One reading serves all routes, and one the reserved ports.

        Returns:
            Whether it was read.
        """
        began = _now()
        subjects = {_subject(pool) for pool in pools}
        due = {subject for subject in subjects if began >= self._not_before.get(subject, 0.0)}
        if not due or began < self._reads_rest_until:
            return False
        is_read = [self._correct_reserved(began)] if _NOWHERE in due else []
        if routes := due - {_NOWHERE}:
            is_read.append(self._correct_routes(routes, began))
        if len(self._not_before) > REMEMBERED_READS:
            self._not_before = {route: when for route, when in self._not_before.items() if when > began}
        self._not_before.update(dict.fromkeys(due, began + BETWEEN_READS_SECONDS))
        ended = _now()
        self._reads_rest_until = ended + READS_REST * (ended - began)
        return any(is_read)

    def _correct_reserved(self, now: float) -> bool:
        rows = self._read_table(local_ports=_RESERVED_RANGE)
        if rows is not None:
            self._ledger.correct(_NOWHERE, SourcePort.RESERVED, rows, now)
        return rows is not None

    def _correct_routes(self, routes: Collection[Route], now: float) -> bool:
        rows = self._read_table(towards={route.remote for route in routes})
        if rows is None:
            return False
        seen: dict[Route, list[TcpSocket]] = {route: [] for route in routes}
        for row in rows:
            route = Route(row.local.address, row.remote)
            if route in seen:
                seen[route].append(row)
        for route, its in seen.items():
            self._ledger.correct(route, SourcePort.EPHEMERAL, its, now)
        return True


class _Pool(NamedTuple):
    """A kind of port on one route, for which connections wait."""

    route: Route
    source_port: SourcePort


_RESERVED_RANGE: Final = range(min(RESERVED_PORTS), max(RESERVED_PORTS) + 1)

_NOWHERE: Final = Route("", Endpoint("", 0))
"""Stands for all routes: reserved ports are corrected together."""

_RESERVED: Final = _Pool(_NOWHERE, SourcePort.RESERVED)


def _pool_of(lease: Lease) -> _Pool:
    return _Pool(lease.route, SourcePort.EPHEMERAL if lease.port is None else SourcePort.RESERVED)


def _subject(pool: _Pool) -> Route:
    """Return the route under which ``pool`` is corrected."""
    return _NOWHERE if pool.source_port is SourcePort.RESERVED else pool.route


def _reserved_ports(blacklist: Path) -> list[int]:
    """Return the reserved ports that are not in the blacklist, if there is one."""
    try:
        spared = parse_blacklist(blacklist.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        spared = frozenset()
    return [port for port in RESERVED_PORTS if port not in spared]


def _now() -> float:
    return asyncio.get_running_loop().time()
