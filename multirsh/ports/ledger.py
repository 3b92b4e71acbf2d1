"""The ledger of local ports: which are held, which the kernel still keeps and until when, which are free.

It *predicts* that from which end closed first; ``correct`` replaces the prediction by the kernel's table. It
has two pools with the same methods. Reserved ports are chosen here (``ports.reserved``). Ephemeral ports are
chosen by the kernel when a connection is made, and a port is unique to a 4-tuple: what can run out is the
ports of *one route*, a source address and a destination. So they are counted by route, and 30,000 hosts do
not need 30,000 ports.

Pure: no socket, no clock. ``ports.allocator`` is the shell around it.
"""

from __future__ import annotations

import heapq
import ipaddress
import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Final

from multirsh.arguments import check_fields
from multirsh.errors import UsageError
from multirsh.model import ClosedBy, SourcePort
from multirsh.ports.reserved import RESERVED_PORTS, ReservedPool
from multirsh.ports.sockets import Busy, Lease, Route, TcpSocket, TcpState
from multirsh.ports.sysctls import KernelPorts

TIME_WAIT_SECONDS: Final = 60.0
"""How long Linux keeps a socket in TIME_WAIT: TCP_TIMEWAIT_LEN, include/net/tcp.h."""

FIRST_RETRY_SECONDS: Final = 0.05
LONGEST_RETRY_SECONDS: Final = 1.0
"""Bounds of the time before the next attempt if it is unknown when a port will be free; it doubles."""

FORGOTTEN_SECONDS: Final = 60.0
"""Seconds after which an unused route is forgotten; the kernel's table still has it."""

LOW_SHARE: Final = 0.1
"""A route with less than this share of its ports left is running low."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortBudget:
    """How many local ports a run may use towards one destination (``--ports``): a number, or a share.

    The rest is left to other programs.

    Attributes:
        count: The number of ports, 1 or more; ``None`` for no such limit.
        share: The share of the pool, above 0 and up to 1.

    Raises:
        UsageError: A value is out of range.
    """

    count: int | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.count is not None and self.count < 1:
            raise UsageError(f"a budget of {self.count} local ports allows no connection", hint=_HINT)
        if not 0 < self.share <= 1:
            raise UsageError(f"{self.share:.0%} of the local ports cannot be used", hint=_HINT)

    @classmethod
    def parse(cls, text: str) -> PortBudget:
        """Read ``N`` or ``P%``.

        Raises:
            UsageError: It is neither.
        """
        digits = text.removesuffix("%")
        if not _DIGITS.fullmatch(digits):
            raise UsageError(f"{text!r} is not a number of local ports", hint=_HINT)
        return cls(count=int(digits)) if digits == text else cls(share=int(digits) / 100)

    def __str__(self) -> str:
        return f"{self.share:.0%}" if self.count is None else str(self.count)

    def of(self, pool: int) -> int:
        """Return how many of ``pool`` ports may be used: at least one, unless there is none."""
        allowed = pool if self.count is None else min(pool, self.count)
        # It is rounded before it is truncated: 100 times 0.29 is 28.999999999999996.
        return min(allowed, max(1, int(round(pool * self.share, 6))))


_DIGITS: Final = re.compile(r"[0-9]{1,9}")
_HINT: Final = "give a number such as 500, or a share such as 50%"

EVERY_PORT: Final = PortBudget()


class Ledger:
    """The local ports of this machine, as far as a fleet uses them."""

    def __init__(
        self,
        kernel: KernelPorts,
        *,
        budget: PortBudget = EVERY_PORT,
        reserved: Callable[[], Sequence[int]] = lambda: RESERVED_PORTS,
    ) -> None:
        """Begin with nothing in use.

        Args:
            kernel: This network namespace's settings.
            budget: How many ports may be used towards one destination.
            reserved: Returns the reserved ports that may be used, in the order to take them; called when the
                first one is requested.
        """
        self._kernel = kernel
        self._window = _window(kernel, budget)
        self._choice = frozenset(self._window) - kernel.reserved_by_admin
        self._ephemeral = EphemeralPool(len(self._choice))
        self._budget = budget
        self._reserved_ports = reserved

    @cached_property
    def _reserved(self) -> ReservedPool:
        """The pool of reserved ports. It is made when it is first used: most fleets never do."""
        ports = self._reserved_ports()
        return ReservedPool(ports, limit=self._budget.of(len(ports)))

    @property
    def window(self) -> range | None:
        """The part of the ephemeral range that may be used; ``None`` for the whole range.

        It is a fixed part and not only a number, so that several runs at once with the same budget use the
        same part, and the rest stays free for other programs.
        """
        return None if len(self._window) == len(self._kernel.ephemeral) else self._window

    def request(self, route: Route, source_port: SourcePort, now: float) -> Lease | Busy:
        """Request a port.

        Args:
            route: The source and the destination.
            source_port: The pool of the port.
            now: The monotonic time, in seconds, as in all calls.

        Returns:
            A lease, which must be given back or reported as refused; or when to request again.
        """
        if source_port is SourcePort.RESERVED:
            return self._reserved.request(route, now)
        return self._ephemeral.request(route, now)

    def request_listener(self, source: str, now: float) -> Lease | Busy:
        """Request a reserved port to listen on at the address ``source``."""
        return self._reserved.request_listener(source, now)

    def adopt(self, route: Route, port: int) -> Lease:
        """Count a connection that a listener has accepted."""
        return self._reserved.adopt(route, port)

    def connected(self, lease: Lease, port: int) -> None:
        """Note that a connection is open, and the port it has got."""
        if lease.port is None:
            self._ephemeral.connected(lease, port)
        else:
            self._reserved.granted(lease)

    def give_back(self, lease: Lease, closed_by: ClosedBy | None, now: float) -> None:
        """Note that the local socket is closed.

        If the remote closed first, the port is free as soon as the FIN of this end is acknowledged. A reset
        leaves nothing. A connection that this end closed first stays in TIME_WAIT.

        Args:
            lease: The lease; it can be given back once.
            closed_by: The end whose FIN came first; ``None`` if there was no connection.
            now: The monotonic time, in seconds.

        Raises:
            KeyError: The lease is not in use, which is a bug: every later count would be wrong.
        """
        is_kept = closed_by is ClosedBy.LOCAL
        if lease.port is None:
            until = now + self._time_wait(lease.route) if is_kept else None
            self._ephemeral.give_back(lease, now, until=until)
        else:
            until = now + TIME_WAIT_SECONDS if is_kept else None
            self._reserved.give_back(lease, now, was_open=closed_by is not None, until=until)

    def refused(self, lease: Lease, now: float, *, four_tuple: bool) -> None:
        """Take back a lease that the kernel did not grant.

        Args:
            lease: The lease.
            now: The monotonic time, in seconds.
            four_tuple: Whether connect(2) refused it, and not bind(2).
        """
        if lease.port is None:
            self._ephemeral.refused(lease, now)
        else:
            self._reserved.refused(lease, now, four_tuple=four_tuple)

    def correct(self, route: Route, source_port: SourcePort, rows: Iterable[TcpSocket], now: float) -> None:
        """Replace the prediction by the kernel's table.

        Args:
            route: The route whose ephemeral ports are corrected; reserved ports are corrected all together.
            source_port: The pool.
            rows: The kernel's table: at least the sockets of the route, or those with a reserved local port.
            now: When it was read.
        """
        if source_port is SourcePort.RESERVED:
            self._reserved.correct((row for row in rows if row.local.port in _RESERVED), now)
            return
        spared = TIME_WAIT_SECONDS - self._time_wait(route)
        self._ephemeral.correct(
            route,
            (
                _sooner(row, spared)
                for row in rows
                if row.remote == route.remote
                and row.local.address == route.source
                and row.local.port in self._choice
            ),
            now,
        )

    def is_low(self, route: Route, now: float) -> bool:
        """Whether most ephemeral ports of ``route`` are in use, as far as is known."""
        return self._ephemeral.is_low(route, now)

    def routes(self) -> int:
        """Return the number of routes in the ledger."""
        return self._ephemeral.routes() + self._reserved.routes()

    def _time_wait(self, route: Route) -> float:
        """Return after how many seconds connect(2) may choose a port that is in TIME_WAIT.

        This holds for ephemeral ports only: bind(2) to a certain port, such as a reserved one, ignores
        tcp_tw_reuse.

        Source: ``tcp_twsk_unique`` in net/ipv4/tcp_ipv4.c; ``tcp_tw_reuse`` in ip-sysctl.rst.
        """
        reuse = self._kernel.tw_reuse
        reusable = reuse == _REUSE or (reuse == _REUSE_ON_LOOPBACK and _is_loopback(route.remote.address))
        return self._kernel.tw_reuse_delay if reusable and self._kernel.timestamps else TIME_WAIT_SECONDS


_RESERVED: Final = frozenset(RESERVED_PORTS)
_REUSE: Final = 1
_REUSE_ON_LOOPBACK: Final = 2


def _window(kernel: KernelPorts, budget: PortBudget) -> range:
    """Return the end of the ephemeral range that has as many usable ports as the budget allows."""
    whole = kernel.ephemeral
    usable = [port for port in whole if port not in kernel.reserved_by_admin]
    wanted = budget.of(len(usable))
    return whole if wanted == len(usable) else range(usable[-wanted], whole.stop)


def _sooner(row: TcpSocket, seconds: float) -> TcpSocket:
    if row.state is not TcpState.TIME_WAIT or row.seconds_left is None or not seconds:
        return row
    return row._replace(seconds_left=max(0.0, row.seconds_left - seconds))


@lru_cache(maxsize=1024)
def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


@dataclass(slots=True)
class _RouteUse:
    """The known use of one route.

    Attributes:
        held: The leases in use, with their ports as far as the kernel has chosen them.
        kept: The ports that the kernel keeps and no lease holds, with the time when it releases them;
            ``None`` if that is not known, as for a connection of another program.
        ends: The known times of release, soonest first; entries that ``kept`` contradicts are outdated.
        retry_at: After a refusal that the counts do not explain: when to trust them again.
        retry_seconds: How long to wait after the next such refusal.
        corrected_at: When the route was last corrected by the kernel's table.
        is_queued: Whether the route is queued to have outdated entries removed.
    """

    held: dict[Lease, int | None] = field(default_factory=dict)
    kept: dict[int, float | None] = field(default_factory=dict)
    ends: list[tuple[float, int]] = field(default_factory=list)
    retry_at: float | None = None
    retry_seconds: float = FIRST_RETRY_SECONDS
    corrected_at: float = -math.inf
    is_queued: bool = False

    def keep(self, port: int, until: float | None) -> None:
        self.kept[port] = until
        if until is not None:
            heapq.heappush(self.ends, (until, port))

    def expire(self, now: float) -> None:
        while self.ends and (self.ends[0][0] <= now or self._is_dead(self.ends[0])):
            end = heapq.heappop(self.ends)
            if not self._is_dead(end):
                del self.kept[end[1]]

    def forget(self, now: float) -> None:
        """Drop entries that are outdated, or too old to be reliable."""
        self.expire(now)
        if self.corrected_at <= now - FORGOTTEN_SECONDS:
            self.kept = {port: until for port, until in self.kept.items() if until is not None}
        if self.retry_at is not None and self.retry_at <= now - FORGOTTEN_SECONDS:
            self.retry_at, self.retry_seconds = None, FIRST_RETRY_SECONDS

    def _is_dead(self, end: tuple[float, int]) -> bool:
        return self.kept.get(end[1]) != end[0]

    @property
    def has_memories(self) -> bool:
        """Whether anything but the leases in use is known."""
        return bool(self.kept) or self.retry_at is not None


class EphemeralPool:
    """The ports the kernel chooses from, by route."""

    def __init__(self, ports: int) -> None:
        """Begin with nothing in use.

        Args:
            ports: How many ports the kernel can choose from, for each route.
        """
        self._ports = ports
        self._uses: dict[Route, _RouteUse] = {}
        self._queue: deque[tuple[float, Route]] = deque()

    def request(self, route: Route, now: float) -> Lease | Busy:
        """Count one more connection on ``route``, if there is a port for it."""
        self._forget(now)
        use = self._uses.get(route)
        if use is None:
            if self._ports < 1:
                return Busy(None)
            use = self._uses[route] = _RouteUse()
        use.expire(now)
        if use.retry_at is not None and now < use.retry_at:
            return Busy(use.retry_at)
        if self._free(use) <= 0:
            return Busy(use.ends[0][0] if use.ends else None)
        if use.retry_at is not None:
            use.retry_at = now + use.retry_seconds  # one request tries; the others wait for its result
        lease = Lease(route)
        use.held[lease] = None
        return lease

    def connected(self, lease: Lease, port: int) -> None:
        """Note which port the kernel chose, which shows that the counts are right.

        Raises:
            KeyError: The lease is not in use.
        """
        use = self._uses[lease.route]
        if lease not in use.held:
            raise KeyError(lease)
        use.held[lease] = port
        use.kept.pop(port, None)
        use.retry_at, use.retry_seconds = None, FIRST_RETRY_SECONDS

    def give_back(self, lease: Lease, now: float, *, until: float | None) -> None:
        """Note that a lease has ended.

        Args:
            lease: A lease in use.
            now: The time.
            until: When the kernel releases the port; ``None`` if it has done so.

        Raises:
            KeyError: The lease is not in use.
        """
        use = self._uses[lease.route]
        port = use.held.pop(lease)
        if until is not None and port is not None:
            use.keep(port, until)
        self._file(lease.route, use, now)

    def refused(self, lease: Lease, now: float) -> None:
        """Take back a lease for which the kernel had no port, whatever the counts say.

        Raises:
            KeyError: The lease is not in use.
        """
        use = self._uses[lease.route]
        del use.held[lease]
        use.retry_at = now + use.retry_seconds
        use.retry_seconds = min(2 * use.retry_seconds, LONGEST_RETRY_SECONDS)
        self._file(lease.route, use, now)

    def correct(self, route: Route, rows: Iterable[TcpSocket], now: float) -> None:
        """Replace the prediction of a route by the kernel's table.

        Args:
            route: The route.
            rows: All sockets of the route with a port of this pool.
            now: When they were read.
        """
        use = self._uses.get(route) or _RouteUse()
        ours = set(use.held.values())
        # Some leases are connecting, and their ports are not known yet: a row may be theirs.
        unknown = sum(port is None for port in use.held.values())
        # The kernel's timer may be late: a row whose time is over counts only until the time of the next
        # retry. If it counted anew with each reading, it would never end.
        not_before = now if use.retry_at is None else max(now, use.retry_at)
        use.kept.clear()
        use.ends.clear()
        for row in rows:
            port = row.local.port
            if port in ours:
                continue
            if unknown and row.state in _MAY_BE_OURS:
                unknown -= 1
                continue
            left = row.seconds_left
            use.keep(port, None if left is None else max(now + left, not_before))
        if self._free(use) <= 0:
            use.retry_at = None  # the refusal is explained
        use.corrected_at = now
        self._file(route, use, now)

    def is_low(self, route: Route, now: float) -> bool:
        """Whether most ports of ``route`` are in use, as far as is known."""
        use = self._uses.get(route)
        if use is None:
            return False
        use.expire(now)
        return self._free(use) <= LOW_SHARE * self._ports

    def routes(self) -> int:
        """Return the number of routes in the pool; for tests."""
        return len(self._uses)

    def _free(self, use: _RouteUse) -> int:
        return self._ports - len(use.held) - len(use.kept)

    def _file(self, route: Route, use: _RouteUse, now: float) -> None:
        """Store the use of ``route`` unless it is empty, and queue it to be cleaned up in time."""
        if use.held or use.has_memories or use.is_queued:
            self._uses[route] = use
        else:
            self._uses.pop(route, None)
        if use.has_memories and not use.is_queued:
            use.is_queued = True
            self._queue.append((now + FORGOTTEN_SECONDS, route))

    def _forget(self, now: float) -> None:
        """Drop outdated entries, so that the memory of a fleet that is open for days stays small."""
        while self._queue and self._queue[0][0] <= now:
            _, route = self._queue.popleft()
            use = self._uses[route]
            use.forget(now)
            use.is_queued = False
            self._file(route, use, now)


_MAY_BE_OURS: Final = frozenset({TcpState.SYN_SENT, TcpState.ESTABLISHED, TcpState.CLOSE_WAIT})
"""States in which a row may belong to a lease whose port is not known yet."""
