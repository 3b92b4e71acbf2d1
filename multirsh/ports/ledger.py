"""The ledger of local ports: who holds one now, how each was given back.

Pure: no socket, no clock. A port is unique to a 4-tuple and not to the
machine, so a lease names both ends. The ledger *predicts* what the kernel
still keeps from who closed first; ``ports.kernel`` says what it really
keeps.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from multirsh.model import ClosedBy
from multirsh.ports.sockets import Endpoint

TIME_WAIT_SECONDS: Final = 60.0
"""How long Linux keeps a socket in TIME_WAIT: TCP_TIMEWAIT_LEN, include/net/tcp.h."""


@dataclass(frozen=True, slots=True, eq=False)
class Lease:
    """The use of one local port towards one destination; each lease is only equal to itself.

    Attributes:
        local: Our end.
        remote: The other end.
    """

    local: Endpoint
    remote: Endpoint


@dataclass(frozen=True, slots=True)
class LedgerStatistics:
    """A snapshot for displays and tests.

    Attributes:
        held: Leases out now.
        peak: The most that were out at once.
        closed_by: Leases given back, by who closed first.
    """

    held: int
    peak: int
    closed_by: Mapping[ClosedBy, int]


class Ledger:
    """Counts the local ports of every connection, of any transport."""

    def __init__(self) -> None:
        self._held: set[Lease] = set()
        self._peak = 0
        self._closed_by: Counter[ClosedBy] = Counter()
        self._returned: deque[tuple[float, Lease]] = deque()

    def take(self, local: Endpoint, remote: Endpoint) -> Lease:
        """Note that a connection holds ``local`` towards ``remote``; the lease is given back when it ends."""
        lease = Lease(local, remote)
        self._held.add(lease)
        self._peak = max(self._peak, len(self._held))
        return lease

    def give_back(self, lease: Lease, closed_by: ClosedBy, now: float) -> None:
        """Note that our socket is closed.

        Args:
            lease: As ``take`` gave it; once only.
            closed_by: Whose FIN came first.
            now: Monotonic time, in seconds.

        Raises:
            KeyError: The lease is not out: a bug, which would spoil every later count.
        """
        self._held.remove(lease)
        self._closed_by[closed_by] += 1
        self._returned.append((now, lease))
        self._forget(now)

    def recent(self, now: float) -> frozenset[tuple[Endpoint, Endpoint]]:
        """The (local, remote) pairs given back so lately that the kernel may still keep them.

        Every one, whoever closed it: what is really kept is the kernel's to say.
        """
        self._forget(now)
        return frozenset((lease.local, lease.remote) for _, lease in self._returned)

    def statistics(self) -> LedgerStatistics:
        """A snapshot of the counts."""
        return LedgerStatistics(held=len(self._held), peak=self._peak, closed_by=dict(self._closed_by))

    def _forget(self, now: float) -> None:
        """Drop what no kernel table can hold any more, so that a fleet kept open for days stays small."""
        while self._returned and self._returned[0][0] < now - TIME_WAIT_SECONDS:
            self._returned.popleft()
