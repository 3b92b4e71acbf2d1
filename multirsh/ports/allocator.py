"""Who gets a local port next: the shell around the ledger.

Who finds none free waits for the first that will be, in order. The ledger
predicts when that is, and the kernel's table corrects it: before the first
lease, when a route runs low, when the kernel has refused, and as long as
somebody waits.
"""

from __future__ import annotations

import asyncio
import bisect
import heapq
import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from multirsh.model import ClosedBy, SourcePort
from multirsh.ports.budget import EVERY_PORT, PortBudget
from multirsh.ports.kernel import read_table
from multirsh.ports.lease import Busy, Lease, Route
from multirsh.ports.ledger import Ledger
from multirsh.ports.reserved import RESERVED_PORTS, parse_blacklist
from multirsh.ports.sockets import Endpoint, TcpSocket
from multirsh.ports.sysctls import read_kernel_ports

BLACKLIST: Final = Path("/etc/bindresvport.blacklist")

FIRST_POLL_SECONDS: Final = 0.05
LONGEST_POLL_SECONDS: Final = 1.0
"""How often the kernel is asked while somebody waits, since other programs' ports end unannounced: soon at
first, and twice as late each time in vain."""

BETWEEN_READS_SECONDS: Final = 0.02
"""A table is not read again sooner, nor sooner than ten times what the last reading took."""

REMEMBERED_READS: Final = 1024


class ReadTable(Protocol):
    """How the kernel is asked for its sockets: ``ports.kernel.read_table``."""

    def __call__(
        self, *, towards: Collection[Endpoint] | None = None, local_ports: range | None = None
    ) -> Sequence[TcpSocket] | None:
        """All sockets, or only some; ``None`` where they are not known."""


@dataclass(slots=True, order=True)
class _Waiter:
    """Somebody who waits for a port.

    Attributes:
        turn: Who asked first has the lower.
        told: Called with each new estimate of when there is a port.
        lease: What it waits for.
    """

    turn: int
    told: Callable[[float | None], None] = field(compare=False)
    lease: asyncio.Future[Lease] = field(compare=False)


class PortAllocator:
    """Leases local ports to the connections of a fleet; one for each fleet, used in one event loop."""

    def __init__(
        self,
        *,
        budget: PortBudget = EVERY_PORT,
        blacklist: Path = BLACKLIST,
        read_table: ReadTable = read_table,
    ) -> None:
        """Read the kernel's settings.

        Args:
            budget: How many ports may be used towards one destination.
            blacklist: The file of reserved ports that are not to be taken.
            read_table: How the kernel is asked for its sockets.
        """
        spared = _read_blacklist(blacklist)
        reserved = [port for port in RESERVED_PORTS if port not in spared]
        self._ledger = Ledger(read_kernel_ports(), budget=budget, reserved=reserved)
        self._read_table = read_table
        self._waiters: dict[_Pool, list[_Waiter]] = {}
        self._turns = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._poll_seconds = FIRST_POLL_SECONDS
        self._not_before: dict[Route, float] = {}
        self._at_start: dict[Endpoint, list[TcpSocket]] | None = None
        self._started_at = 0.0

    @property
    def window(self) -> range | None:
        """The part of the ephemeral range to choose from; ``None`` for the whole of it."""
        return self._ledger.window

    def turn(self) -> int:
        """A place in the order of those who ask."""
        return next(self._turns)

    def lease(self, route: Route, source_port: SourcePort, *, turn: int) -> Lease | None:
        """Lease a port now, if there is one and nobody with an earlier turn waits for it.

        Args:
            route: From where to where.
            source_port: From which pool.
            turn: The caller's place among those who ask; one that was refused comes back with its own.
        """
        pool = _Pool(route, source_port)
        waiters = self._waiters.get(pool)
        if waiters and waiters[0].turn < turn:
            return None
        answer = self._ask(pool)
        return answer if isinstance(answer, Lease) else None

    async def wait_for_lease(
        self, route: Route, source_port: SourcePort, *, turn: int, told: Callable[[float | None], None]
    ) -> Lease:
        """Wait for a port, in turn.

        Args:
            route: From where to where.
            source_port: From which pool.
            turn: As for ``lease``, which had none.
            told: Called with each estimate of when there will be one, on the loop's clock; ``None`` where
                that is not known.
        """
        pool = _Pool(route, source_port)
        waiter = _Waiter(turn, told, asyncio.get_running_loop().create_future())
        waiters = self._waiters.setdefault(pool, [])
        bisect.insort(waiters, waiter)
        self._serve()
        try:
            return await waiter.lease
        except asyncio.CancelledError:
            if waiter.lease.done() and not waiter.lease.cancelled():
                self.give_back(waiter.lease.result(), None)
            raise
        finally:
            if waiter in waiters:
                self._leave(pool, waiters, waiter)

    def lease_listener(self, source: str) -> Lease | None:
        """Lease a reserved port to listen on at the address ``source``; ``None`` if there is none."""
        self._look_once()
        answer = self._ledger.request_listener(source, _now())
        return answer if isinstance(answer, Lease) else None

    def adopt(self, route: Route, port: int) -> Lease:
        """Lease the port of a connection that a listener has accepted."""
        return self._ledger.adopt(route, port)

    def connected(self, lease: Lease, port: int) -> None:
        """Note that a connection is open, and the port it has got."""
        self._ledger.connected(lease, port)

    def give_back(self, lease: Lease, closed_by: ClosedBy | None) -> None:
        """Note that the socket is closed, and by whom first; ``None`` where there was no connection."""
        self._ledger.give_back(lease, closed_by, _now())
        self._serve()

    def refused(self, lease: Lease, *, four_tuple: bool) -> None:
        """Take back a lease that the kernel did not grant: EADDRINUSE, or EADDRNOTAVAIL for a 4-tuple."""
        self._ledger.refused(lease, _now(), four_tuple=four_tuple)
        if lease.port is None:
            self._correct(_Pool(lease.route, SourcePort.EPHEMERAL))

    def _ask(self, pool: _Pool) -> Lease | Busy:
        self._look_once()
        started_with = self._at_start.pop(pool.route.remote, None) if self._at_start else None
        if started_with is not None and pool.source_port is SourcePort.EPHEMERAL:
            self._ledger.correct(pool.route, pool.source_port, started_with, self._started_at)
        answer = self._request(pool)
        if isinstance(answer, Lease):
            if answer.port is None and self._ledger.is_low(pool.route):
                self._correct(pool)
            return answer
        return self._request(pool) if self._correct(pool) else answer

    def _request(self, pool: _Pool) -> Lease | Busy:
        return self._ledger.request(pool.route, pool.source_port, _now())

    # Waiting.

    def _leave(self, pool: _Pool, waiters: list[_Waiter], waiter: _Waiter) -> None:
        waiters.remove(waiter)
        if not waiters:
            del self._waiters[pool]

    def _serve(self) -> None:
        """Give what is free to those who wait, those first who asked first."""
        heads = [(waiters[0].turn, pool) for pool, waiters in self._waiters.items()]
        heapq.heapify(heads)
        while heads:
            _, pool = heapq.heappop(heads)
            waiters = self._waiters[pool]
            answer = self._request(pool)
            if isinstance(answer, Busy):
                waiters[0].told(answer.until)
                self._wake_at(answer.until)
                continue
            first = waiters[0]
            self._leave(pool, waiters, first)
            self._poll_seconds = FIRST_POLL_SECONDS
            first.lease.set_result(answer)
            if waiters:
                heapq.heappush(heads, (waiters[0].turn, pool))

    def _wake_at(self, when: float | None) -> None:
        """Look again at ``when``, and in any case soon: what other programs hold ends unannounced."""
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
        for pool in list(self._waiters):
            self._correct(pool)
        self._serve()

    # Asking the kernel.

    def _look_once(self) -> None:
        """Read the whole table before the first lease."""
        if self._at_start is not None:
            return
        self._at_start = {}
        self._started_at = _now()
        rows = self._read_table() or ()
        for row in rows:
            self._at_start.setdefault(row.remote, []).append(row)
        self._ledger.correct(_NOWHERE, SourcePort.RESERVED, rows, self._started_at)

    def _correct(self, pool: _Pool) -> bool:
        """Believe the kernel's table, if it was not read just now.

        Returns:
            Whether it was read.
        """
        began = _now()
        subject = _NOWHERE if pool.source_port is SourcePort.RESERVED else pool.route
        if began < self._not_before.get(subject, 0.0):
            return False
        if subject is _NOWHERE:
            rows = self._read_table(local_ports=_RESERVED)
        else:
            rows = self._read_table(towards=[pool.route.remote])
        if rows is None:
            return False
        self._ledger.correct(pool.route, pool.source_port, rows, began)
        if len(self._not_before) > REMEMBERED_READS:
            self._not_before = {route: when for route, when in self._not_before.items() if when > began}
        self._not_before[subject] = began + max(BETWEEN_READS_SECONDS, 10 * (_now() - began))
        return True


class _Pool(NamedTuple):
    """What a waiter waits for: a port of one kind, for one route."""

    route: Route
    source_port: SourcePort


_RESERVED: Final = range(min(RESERVED_PORTS), max(RESERVED_PORTS) + 1)

_NOWHERE: Final = Route("", Endpoint("", 0))
"""Stands for all routes: reserved ports are corrected together."""


def _read_blacklist(path: Path) -> frozenset[int]:
    try:
        return parse_blacklist(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return frozenset()


def _now() -> float:
    return asyncio.get_running_loop().time()
