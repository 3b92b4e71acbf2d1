"""What one run does to the local ports: how many at once, closed by whom, and who had to wait for one."""

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
        closed_by: Connections that have ended, by who closed first.
        waiting: Connections that wait for a port now.
        next_free: When the first of them may have one, on the loop's clock; ``None`` where it is not known.
        waited: Connections that have waited, or do.
        longest_wait: Seconds, of those that have.
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
        """A port is held."""
        self._held += 1
        self._peak = max(self._peak, self._held)

    def given_back(self) -> None:
        """It is not any more."""
        self._held -= 1

    def closed(self, local: Endpoint, remote: Endpoint, closed_by: ClosedBy, now: float) -> None:
        """A connection has ended."""
        self._closed_by[closed_by] += 1
        self._returned.append((now, local, remote))
        self._forget(now)

    def waits(self, who: object, until: float | None) -> None:
        """``who`` waits for a port, as far as is known until ``until``; may be told again."""
        self._waited += who not in self._waiting
        self._waiting[who] = until

    def waits_no_more(self, who: object, seconds: float) -> None:
        """``who`` has waited for so long; it is nothing where it was never told to."""
        if who in self._waiting:
            del self._waiting[who]
            self._longest_wait = max(self._longest_wait, seconds)

    def recent(self, now: float) -> frozenset[tuple[Endpoint, Endpoint]]:
        """The (local, remote) pairs closed so lately that the kernel may still keep them.

        Every one, whoever closed it: what is really kept is the kernel's to say.
        """
        self._forget(now)
        return frozenset((local, remote) for _, local, remote in self._returned)

    def statistics(self) -> PortStatistics:
        """A snapshot of the counts."""
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
        """Count as held what was so before."""
        self._held = self._peak = held

    def _forget(self, now: float) -> None:
        """Drop what no kernel table can hold any more, so that a fleet kept open for days stays small."""
        while self._returned and self._returned[0][0] < now - REST_SECONDS:
            self._returned.popleft()


class SharedTally(Tally):
    """That of connections which outlive runs: what happens is told to those of the runs that go on, too.

    So a run's own figures are of all that happened while it went on. Ports that were held before are among
    those it held at once; who closed a connection counts for the run in whose time that was.
    """

    def __init__(self, on_wait: Callable[[], None]) -> None:
        """Begin with no runs.

        Args:
            on_wait: Called when somebody waits for a port.
        """
        super().__init__()
        self._on_wait = on_wait
        self._listeners: list[Tally] = []

    def attach(self, tally: Tally) -> None:
        """Tell ``tally`` of all from now on."""
        tally.begin_with(self._held)
        self._listeners.append(tally)

    def detach(self, tally: Tally) -> None:
        """Tell it no more; it may not have been told of anything."""
        if tally in self._listeners:
            self._listeners.remove(tally)

    def leased(self) -> None:
        """As of ``Tally``, and so the next."""
        super().leased()
        for tally in self._listeners:
            tally.leased()

    def given_back(self) -> None:
        """As said."""
        super().given_back()
        for tally in self._listeners:
            tally.given_back()

    def closed(self, local: Endpoint, remote: Endpoint, closed_by: ClosedBy, now: float) -> None:
        """As said."""
        super().closed(local, remote, closed_by, now)
        for tally in self._listeners:
            tally.closed(local, remote, closed_by, now)

    def waits(self, who: object, until: float | None) -> None:
        """As said."""
        super().waits(who, until)
        for tally in self._listeners:
            tally.waits(who, until)
        self._on_wait()

    def waits_no_more(self, who: object, seconds: float) -> None:
        """As said."""
        super().waits_no_more(who, seconds)
        for tally in self._listeners:
            tally.waits_no_more(who, seconds)
