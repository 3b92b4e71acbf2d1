"""sshd's MaxStartups, and runs against it, in simulated time: what the governor is judged by."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from multirsh.engine.schedule.admission import LOOKS, Admission, Start
from multirsh.engine.schedule.governor import Governor
from multirsh.model import Host
from multirsh.transports.base import Congestion


@dataclass
class BusyServer:
    """A server that drops logins as sshd does.

    Attributes:
        startups: MaxStartups, ``start:rate:full``; may be changed while the run goes on.
        login: Seconds that a login takes, from and to.
        lag: Seconds from a login's end, as the client sees it, to the listener's knowing it.
        others: Logins of other clients that are always under way.
        banned_until: When the penalty of our address ends (PerSourcePenalties).
        how: What the client can tell of a drop.
    """

    startups: tuple[int, int, int] = (10, 30, 100)
    login: tuple[float, float] = (0.01, 0.1)
    lag: float = 0.0
    others: int = 0
    banned_until: float = 0.0
    how: Congestion = Congestion.SAID
    under_way: int = 0
    peak: int = 0

    def drops(self, now: float, rng: random.Random) -> bool:
        """Whether a connection that comes now is dropped.

        Source: ``should_drop_connection`` in OpenSSH's sshd.c, integer division included.
        """
        if now < self.banned_until:
            return True
        start, rate, full = self.startups
        startups = self.under_way + self.others
        if startups < start:
            return False
        if startups >= full or rate == 100:
            return True
        percent = (100 - rate) * (startups - start) // (full - start) + rate
        return rng.randrange(100) < percent

    def leave(self) -> None:
        """A login is over, as far as the listener knows."""
        self.under_way -= 1


@dataclass
class Outcomes:
    """What a simulated run came to.

    Attributes:
        seconds: From its start to its last ending.
        ok: Hosts that logged in.
        given_up: Hosts that did not.
        drops: Attempts that were dropped.
        attempts: Of each host.
        ok_at: When each host logged in.
        order: Hosts in the order in which they started first.
    """

    seconds: float = 0.0
    ok: int = 0
    given_up: int = 0
    drops: int = 0
    attempts: Counter[str] = field(default_factory=Counter)
    ok_at: dict[str, float] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)

    @property
    def wasted(self) -> float:
        """The part of all attempts that was dropped."""
        return self.drops / self.attempts.total()


class _Simulation:
    """One run, in simulated time: an agenda of events, and the admission that reacts to them."""

    def __init__(
        self,
        servers: Sequence[BusyServer],
        hosts: int,
        *,
        fanout: int,
        trip: float,
        command: float,
        seed: int,
    ) -> None:
        self.outcomes = Outcomes()
        self._servers = servers
        self._trip = trip
        self._command = command
        self._dice = random.Random(seed)
        self._fanout = fanout
        self._hop_of = {f"h{place}": place % len(servers) for place in range(hosts)}
        self._admission = Admission(
            [Host(name) for name in self._hop_of],
            fanout=fanout,
            governor=Governor(),
            hop_of=lambda host: self._hop_of[host.name],
            rng=random.Random(seed + 1),
        )
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._now = 0.0

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (when, next(self._order), what))

    def run(self) -> None:
        called_at_once = 0
        while not self._admission.is_over:
            for start in self._admission.admit(self._now):
                self._begin(start)
            wake = self._admission.next_at(self._now)
            if self._agenda and (wake is None or self._agenda[0][0] <= wake):
                self._now, _, what = heapq.heappop(self._agenda)
                what()
            else:
                assert wake is not None, "nothing happens, and nothing is scheduled: the run hangs"
                called_at_once += wake <= self._now
                assert called_at_once <= len(self._hop_of) / LOOKS, "called again at once, for nothing"
                self._now = max(self._now, wake)
        self.outcomes.seconds = self._now

    def _begin(self, start: Start) -> None:
        self.outcomes.attempts[start.host.name] += 1
        if start.attempt == 1:
            self.outcomes.order.append(start.host.name)
        self.at(self._now + self._trip / 2, lambda: self._arrive(start.host))

    def _arrive(self, host: Host) -> None:
        server = self._servers[self._hop_of[host.name]]
        if server.drops(self._now, self._dice):
            self.at(self._now + self._trip / 2, lambda: self._drop(host, server))
            return
        server.under_way += 1
        server.peak = max(server.peak, server.under_way)
        self.at(self._now + self._dice.uniform(*server.login), lambda: self._let_in(host, server))

    def _drop(self, host: Host, server: BusyServer) -> None:
        self.outcomes.drops += 1
        if not self._admission.ended(host, self._now, congestion=server.how):
            self.outcomes.given_up += 1

    def _let_in(self, host: Host, server: BusyServer) -> None:
        self.outcomes.ok += 1
        self.outcomes.ok_at[host.name] = self._now
        self._admission.logged_in(host, self._now)
        self.at(self._now + server.lag, server.leave)
        self.at(self._now + self._command, lambda: self._end(host))

    def _end(self, host: Host) -> None:
        assert not self._admission.ended(host, self._now)


def simulate(
    servers: Sequence[BusyServer],
    hosts: int,
    *,
    fanout: int = 64,
    trip: float = 0.001,
    command: float = 0.0,
    seed: int = 0,
    changes: Sequence[tuple[float, Callable[[], None]]] = (),
) -> Outcomes:
    """Run on ``hosts`` hosts, dealt out to ``servers`` in turn, until all have ended.

    Args:
        servers: Each is one hop.
        hosts: How many.
        fanout: Of the run.
        trip: Seconds to the server and back: a drop is seen after it.
        command: Seconds for which a host stays in flight once it is logged in.
        seed: Of the servers' dice and of the governor's.
        changes: What is done to the servers, and when.
    """
    simulation = _Simulation(servers, hosts, fanout=fanout, trip=trip, command=command, seed=seed)
    for when, change in changes:
        simulation.at(when, change)
    simulation.run()
    return simulation.outcomes
