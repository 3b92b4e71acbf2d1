"""Counts the local ports that a run uses: how many at once, which end closed first, and the waits for one."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from multirsh.model import ClosedBy
from multirsh.ports.reserved import REST_SECONDS
from multirsh.ports.sockets import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class PortStatistics:
    """A snapshot of a run's use of local ports.

    Attributes:
        held: Ports held now.
        peak: The most that were held at once.
        closed_by: The number of ended connections, by the end that closed first.
        waiting: Connections that wait for a port now.
        next_free: When the first of them may get one, on the loop's clock; ``None`` if that is not known.
        waited: Connections that have waited, or still do.
        longest_wait: The longest completed wait, in seconds.
    """

    held: int = 0
    peak: int = 0
    closed_by: Mapping[ClosedBy, int]
    waiting: int = 0
    next_free: float | None = None
    waited: int = 0
    longest_wait: float = 0.0


class Tally:
    """Counts for one run what its connections do; pure."""

    def __init__(self) -> None:
        self._held = 0
        self._peak = 0
        self._closed_by: Counter[ClosedBy] = Counter()
        self._returned: deque[tuple[float, Endpoint, Endpoint]] = deque()
        self._waiting: dict[object, float | None] = {}
        self._waited = 0
        self._longest_wait = 0.0

    def leased(self) -> None:
        """Count a port as held."""
        self._held += 1
        self._peak = max(self._peak, self._held)

    def given_back(self) -> None:
        """Count a port as held no more."""
        self._held -= 1

    def closed(self, local: Endpoint, remote: Endpoint, closed_by: ClosedBy, now: float) -> None:
        """Count a connection that has ended."""
        self._closed_by[closed_by] += 1
        self._returned.append((now, local, remote))
        self._forget(now)

    def waits(self, waiter: object, until: float | None) -> None:
        """Note that a connection waits for a port until about ``until``; later calls update the estimate."""
        self._waited += waiter not in self._waiting
        self._waiting[waiter] = until

    def waits_no_more(self, waiter: object, seconds: float) -> None:
        """Note that a connection has waited ``seconds``; ignored if it has not waited."""
        if waiter in self._waiting:
            del self._waiting[waiter]
            self._longest_wait = max(self._longest_wait, seconds)

    def recent(self, now: float) -> frozenset[tuple[Endpoint, Endpoint]]:
        """Return the (local, remote) pairs closed so lately that the kernel may still keep them.

        It includes every pair, whichever end closed first; the kernel's table shows which are really kept.
        """
        self._forget(now)
        return frozenset((local, remote) for _, local, remote in self._returned)

    def statistics(self) -> PortStatistics:
        """Return a snapshot of the counts."""
        return PortStatistics(
            held=self._held,
            peak=self._peak,
            closed_by=dict(self._closed_by),
            waiting=len(self._waiting),
            next_free=min((until for until in self._waiting.values() if until is not None), default=None),
            waited=self._waited,
            longest_wait=self._longest_wait,
        )

    def begin_with(self, held: int) -> None:
        """Begin with the number of ports that are held already."""
        self._held = self._peak = held

    def _forget(self, now: float) -> None:
        """Drop pairs that the kernel cannot keep any more, so that a fleet can stay open for days."""
        while self._returned and self._returned[0][0] < now - REST_SECONDS:
            self._returned.popleft()


class SharedTally(Tally):
    """The tally of connections that outlive runs; it forwards every event to the tallies of the current runs.

    So the figures of a run include all that happened during it. Ports that were held before count as held at
    once; the end of a connection counts for the run during which it was closed.
    """

    def __init__(self, on_wait: Callable[[], None]) -> None:
        """Begin with no runs.

        Args:
            on_wait: Called when a connection begins to wait for a port.
        """
        super().__init__()
        self._on_wait = on_wait
        self._listeners: list[Tally] = []

    def attach(self, tally: Tally) -> None:
        """Forward all events to ``tally`` from now on."""
        tally.begin_with(self._held)
        self._listeners.append(tally)

    def detach(self, tally: Tally) -> None:
        """Stop forwarding to ``tally``, if it is attached."""
        if tally in self._listeners:
            self._listeners.remove(tally)

    def leased(self) -> None:
        """As in ``Tally``."""
        super().leased()
        for tally in self._listeners:
            tally.leased()

    def given_back(self) -> None:
        """As in ``Tally``."""
        super().given_back()
        for tally in self._listeners:
            tally.given_back()

    def closed(self, local: Endpoint, remote: Endpoint, closed_by: ClosedBy, now: float) -> None:
        """As in ``Tally``."""
        super().closed(local, remote, closed_by, now)
        for tally in self._listeners:
            tally.closed(local, remote, closed_by, now)

    def waits(self, waiter: object, until: float | None) -> None:
        """As in ``Tally``."""
        super().waits(waiter, until)
        for tally in self._listeners:
            tally.waits(waiter, until)
        self._on_wait()

    def waits_no_more(self, waiter: object, seconds: float) -> None:
        """As in ``Tally``."""
        super().waits_no_more(waiter, seconds)
        for tally in self._listeners:
            tally.waits_no_more(waiter, seconds)
