"""Ephemeral ports: how many are in use towards each destination.

The kernel chooses the port, when the connection is made, and a port is
unique to a 4-tuple: what can run out is the ports of *one route*, a source
address and a destination. So they are counted by route, and 30,000 hosts
need no 30,000 ports.

Pure: no socket, no clock.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from multirsh.ports.lease import Busy, Lease, Route
from multirsh.ports.sockets import TcpSocket, TcpState

FIRST_RETRY_SECONDS: Final = 0.05
LONGEST_RETRY_SECONDS: Final = 1.0
"""When to try again where nothing says when a port will be free; each refusal doubles it."""

FORGOTTEN_SECONDS: Final = 60.0
"""After how long what nobody has asked about is forgotten; the kernel can be asked again."""

LOW_SHARE: Final = 0.1
"""A route with less than this share of its ports left is running low."""


@dataclass(slots=True)
class _Use:
    """What is known of one route.

    Attributes:
        held: Leases that are out, with their ports as far as the kernel has chosen them.
        kept: Ports that nobody of ours holds and the kernel keeps, with the end of it; ``None`` where
            that is not known, as of another program's connection.
        ends: The known ends, soonest first; entries that ``kept`` contradicts are dead.
        retry_at: After a refusal that the counts do not explain: when to believe them again.
        retry_seconds: How long that takes next time.
        corrected_at: When the kernel's table was last believed.
        is_queued: Whether it will be looked at for what is to be forgotten.
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
        """Drop what is over, or so old that it says nothing any more."""
        self.expire(now)
        if self.corrected_at <= now - FORGOTTEN_SECONDS:
            self.kept = {port: until for port, until in self.kept.items() if until is not None}
        if self.retry_at is not None and self.retry_at <= now - FORGOTTEN_SECONDS:
            self.retry_at, self.retry_seconds = None, FIRST_RETRY_SECONDS

    def _is_dead(self, end: tuple[float, int]) -> bool:
        return self.kept.get(end[1]) != end[0]

    @property
    def has_memories(self) -> bool:
        """Whether anything is known but the leases that are out."""
        return bool(self.kept) or self.retry_at is not None


class EphemeralPool:
    """The ports the kernel chooses from, by route."""

    def __init__(self, ports: int) -> None:
        """Begin with nothing in use.

        Args:
            ports: How many there are to choose from, for each route.
        """
        self._ports = ports
        self._uses: dict[Route, _Use] = {}
        self._queue: deque[tuple[float, Route]] = deque()

    def request(self, route: Route, now: float) -> Lease | Busy:
        """Count one more connection on ``route``, if there is a port for it."""
        self._forget(now)
        use = self._uses.get(route)
        if use is None:
            if self._ports < 1:
                return Busy(None)
            use = self._uses[route] = _Use()
        use.expire(now)
        if use.retry_at is not None and now < use.retry_at:
            return Busy(use.retry_at)
        if self._free(use) <= 0:
            return Busy(use.ends[0][0] if use.ends else None)
        if use.retry_at is not None:
            use.retry_at = now + use.retry_seconds  # one tries; the others wait for what comes of it
        lease = Lease(route)
        use.held[lease] = None
        return lease

    def connected(self, lease: Lease, port: int) -> None:
        """Note which port the kernel chose: the counts are right, or right again.

        Raises:
            KeyError: It is not out.
        """
        use = self._uses[lease.route]
        if lease not in use.held:
            raise KeyError(lease)
        use.held[lease] = port
        use.kept.pop(port, None)
        use.retry_at, use.retry_seconds = None, FIRST_RETRY_SECONDS

    def give_back(self, lease: Lease, now: float, *, until: float | None) -> None:
        """Note that nobody holds it any more.

        Args:
            lease: One that is out.
            now: The time.
            until: When the kernel lets go of the port, where it still keeps it; ``None`` where it does not.

        Raises:
            KeyError: It is not out.
        """
        use = self._uses[lease.route]
        port = use.held.pop(lease)
        if until is not None and port is not None:
            use.keep(port, until)
        self._file(lease.route, use, now)

    def refused(self, lease: Lease, now: float) -> None:
        """Take back a lease for which the kernel had no port, whatever the counts say.

        Raises:
            KeyError: It is not out.
        """
        use = self._uses[lease.route]
        del use.held[lease]
        use.retry_at = now + use.retry_seconds
        use.retry_seconds = min(2 * use.retry_seconds, LONGEST_RETRY_SECONDS)
        self._file(lease.route, use, now)

    def correct(self, route: Route, rows: Iterable[TcpSocket], now: float) -> None:
        """Believe the kernel.

        Args:
            route: Which route.
            rows: All of its sockets with a port of this pool.
            now: When they were read.
        """
        use = self._uses.get(route) or _Use()
        ours = set(use.held.values())
        # Some leases are in the kernel's hands and have no port that we know of: a row may be theirs.
        unknown = sum(port is None for port in use.held.values())
        # The kernel's timer may be late: a row whose time is over counts once more only for as long as we
        # would have waited anyway. From each reading anew, it would never be over.
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
        """How many routes something is known of; for tests."""
        return len(self._uses)

    def _free(self, use: _Use) -> int:
        return self._ports - len(use.held) - len(use.kept)

    def _file(self, route: Route, use: _Use, now: float) -> None:
        """Keep what is known of ``route``, if anything is, and see to it that it is forgotten in time."""
        if use.held or use.has_memories or use.is_queued:
            self._uses[route] = use
        else:
            self._uses.pop(route, None)
        if use.has_memories and not use.is_queued:
            use.is_queued = True
            self._queue.append((now + FORGOTTEN_SECONDS, route))

    def _forget(self, now: float) -> None:
        """Drop what is over, so that a fleet kept open for days stays small."""
        while self._queue and self._queue[0][0] <= now:
            _, route = self._queue.popleft()
            use = self._uses[route]
            use.forget(now)
            use.is_queued = False
            self._file(route, use, now)


_MAY_BE_OURS: Final = frozenset({TcpState.SYN_SENT, TcpState.ESTABLISHED, TcpState.CLOSE_WAIT})
"""States that a connection is seen in before we have heard which port it got."""
