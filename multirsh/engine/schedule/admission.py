"""Which hosts may start now. Pure: it is given what happened, and returns the hosts to start.

It combines all that can hold a host back: the fanout, the number of logins at
once, the start rate, the governor's windows, a pause before a retry, and the
batch. One rule holds for all: of the hosts that may start, the one nearest to
the front does. A host that waits for its hop stands aside in a *lane*, so that
it holds no other host back and is not looked at again until its hop may accept
a login. A host that is retried keeps its turn; one that was dropped lets some
others pass.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Hashable, Iterable
from typing import Final, NamedTuple

from multirsh.engine.schedule.governor import MOST_DROPS, Governor, Lanes, Login, Pace, Waiting
from multirsh.model import Host
from multirsh.transports.base import Congestion
from multirsh.waits import Awaited, Wait

LOOKS: Final = 1024
"""The largest number of hosts that one call of ``admit`` sets aside: with 100,000 hosts behind one bastion,
the loop has other things to do in between."""


DETOUR: Final = 64
"""The number of hosts that may pass one that was dropped: if the cause is the host itself and not its hop,
the others must not wait behind it while its pauses grow."""


class Start(NamedTuple):
    """The start of an attempt at a host.

    Attributes:
        host: The host.
        attempt: The number of the attempt, from 1.
        drops: How many earlier attempts a busy server dropped; these do not count as retries.
    """

    host: Host
    attempt: int
    drops: int


class _Flight:
    """A host in flight; ``login`` is ``None`` if no hop's window governs it."""

    __slots__ = ("hop", "is_logging_in", "login", "waited_as")

    def __init__(self, waited_as: Waiting, hop: Hashable | None, login: Login | None) -> None:
        self.waited_as = waited_as
        self.hop = hop
        self.login = login
        self.is_logging_in = True


class Admission:
    """The queue of a run's hosts, of which at most ``fanout`` are in flight.

    A host is in flight from its admission to its result. Its socket may drain
    for longer; that takes no place in the fanout, but it takes a descriptor,
    and descriptors may be scarce.

    Attributes:
        draining: The number of sockets that drain.
    """

    def __init__(
        self,
        hosts: Iterable[Host],
        *,
        fanout: int,
        handshakes: int | None = None,
        pace: Pace | None = None,
        governor: Governor | None = None,
        hop_of: Callable[[Host], Hashable | None] = lambda _host: None,
        rng: random.Random | None = None,
        allowed: int | None = None,
        open_at_most: int | None = None,
    ) -> None:
        """Queue ``hosts``.

        Args:
            hosts: The hosts in the order to start them; their names are unique.
            fanout: The largest number of hosts in flight at once, 1 or more.
            handshakes: The largest number of hosts that are logging in at once, 1 or more; ``None`` for no
                limit.
            pace: Limits the starts per second; ``None`` for no limit.
            governor: Limits the logins at one hop; ``None`` for no limit.
            hop_of: Returns where the next login on the way to a host is, such as its address and port, or
                a bastion that is not logged in to yet; ``None`` for a host that nothing governs. It is called
                when the host's turn comes, and again when it has waited for a hop or has passed one.
            rng: Draws the governor's pauses.
            allowed: The number of hosts, from the front, that may start before ``allow`` is called: those of
                the first batch; ``None`` for all.
            open_at_most: The largest number of hosts that are in flight or whose sockets drain, 1 or more;
                ``None`` for no limit.

        Raises:
            ValueError: A limit is below 1, so that nothing would ever start.
        """
        if fanout < 1:
            raise ValueError(f"fanout {fanout} < 1")
        if handshakes is not None and handshakes < 1:
            raise ValueError(f"handshakes {handshakes} < 1")
        if open_at_most is not None and open_at_most < 1:
            raise ValueError(f"open_at_most {open_at_most} < 1")
        self._hosts = tuple(hosts)
        self._open_at_most = open_at_most
        self.draining = 0
        self._announced = 0
        self._fanout = fanout
        self._handshakes = fanout if handshakes is None else handshakes
        self._pace = pace
        self._governor = governor
        self._hop_of = hop_of
        self._rng = rng or random.Random()  # noqa: S311 - it only spreads load
        self._allowed = len(self._hosts) if allowed is None else min(allowed, len(self._hosts))
        self._fresh = 0
        self._flights: dict[str, _Flight] = {}
        self._logging_in = 0
        # Hosts that were started before: those that wait for a time, and those whose time has come, by turn.
        self._due: list[tuple[float, Waiting]] = []
        self._again: list[Waiting] = []
        self._lanes = Lanes(governor)
        self._is_stopped = False

    @property
    def in_flight(self) -> int:
        """The number of hosts that were admitted and have not ended."""
        return len(self._flights)

    @property
    def logging_in(self) -> int:
        """The number of hosts in flight that are not logged in yet."""
        return self._logging_in

    @property
    def is_batch_over(self) -> bool:
        """Whether no host is in flight, and none that is allowed to start waits."""
        return not (self._flights or self._due or self._again or self._lanes or self._fresh < self._allowed)

    @property
    def is_over(self) -> bool:
        """Whether no host waits and none is in flight."""
        return self.is_batch_over and self._fresh == len(self._hosts)

    def allow(self, count: int) -> None:
        """Let ``count`` more hosts start: those of the next batch."""
        self._allowed = min(self._allowed + count, len(self._hosts))

    def has_place(self) -> bool:
        """Return whether one more host may be in flight and log in, if there is one that may start."""
        return (
            len(self._flights) < self._fanout
            and self._logging_in < self._handshakes
            and (self._open_at_most is None or len(self._flights) + self.draining < self._open_at_most)
        )

    def admit(self, now: float) -> list[Start]:
        """Return the hosts that may start, in order; each is now in flight and logging in.

        Args:
            now: Monotonic time, in seconds, as in all methods.
        """
        while self._due and self._due[0][0] <= now:
            heapq.heappush(self._again, heapq.heappop(self._due)[1])
        self._lanes.open(now)
        starts: list[Start] = []
        looks = LOOKS
        while looks and self.has_place() and (self._pace is None or self._pace.next_at() <= now):
            waiting, hop = self._nearest(now)
            if waiting is None:
                break
            if self._lanes.is_held(hop, now):
                looks -= 1
                self._lanes.set_aside(waiting, hop, now)
            else:
                starts.append(self._start(waiting, hop, now))
        return starts

    def next_at(self, now: float) -> float | None:
        """Return when to call ``admit`` again if nothing else happens.

        Returns:
            The time; ``None`` if only an ending, a login or a batch can let another host start.
        """
        if not self.has_place():
            return None
        if self._again or self._fresh < self._allowed:
            at = now
        else:
            at = min(self._due[0][0] if self._due else math.inf, self._lanes.next_at(now))
        if at == math.inf:
            return None
        return at if self._pace is None else max(at, self._pace.next_at())

    def passed(self, host: Host, now: float) -> None:
        """Note that a host in flight has passed a jump host and goes on to the next hop.

        Raises:
            ValueError: The host is not in flight, or is logged in already.
        """
        flight = self._flights.get(host.name)
        if flight is None or not flight.is_logging_in:
            raise ValueError(f"{host.name} is not logging in")
        if self._governor is None or flight.login is None:
            return
        hop = self._hop_of(host)
        if hop is None or hop == flight.hop:
            return
        self._governor.succeeded(flight.hop, flight.login, now)
        self._lanes.look_at(flight.hop, now)
        # Even if the window of the next hop is full, since the login is under way. So as many hosts wait for
        # a jump host as fit into the window of a hop of which nothing is known.
        flight.hop, flight.login = hop, self._governor.started(hop, now)

    def logged_in(self, host: Host, now: float) -> None:
        """Note that a host in flight is logged in: another login may begin.

        Raises:
            ValueError: The host is not in flight, or was logged in already.
        """
        flight = self._flights.get(host.name)
        if flight is None or not flight.is_logging_in:
            raise ValueError(f"{host.name} is not logging in")
        flight.is_logging_in = False
        self._logging_in -= 1
        if self._governor is not None and flight.login is not None:
            self._governor.succeeded(flight.hop, flight.login, now)
            self._lanes.look_at(flight.hop, now)

    def ended(
        self,
        host: Host,
        now: float,
        *,
        congestion: Congestion | None = None,
        again_at: float | None = None,
    ) -> bool:
        """Note that the attempt at a host in flight has ended: its place is free.

        Args:
            host: The host.
            now: When the attempt ended.
            congestion: Whether the server of its present hop was busy and dropped it (``congestion_of``).
                If the governor finds it worthwhile, the host starts again when that hop accepts a login.
            again_at: The earliest time to start it again otherwise (``retry.decide``); ``None`` for never.

        Returns:
            Whether the host will be started again, or returned by ``stop``. If not, it has ended.

        Raises:
            ValueError: The host is not in flight.
        """
        flight = self._flights.pop(host.name, None)
        if flight is None:
            raise ValueError(f"{host.name} is not in flight")
        self.draining += 1
        is_to_come_back = self._left_login(flight, now, congestion)
        turn, place, attempts, drops = flight.waited_as
        if self._is_stopped:
            return False
        if is_to_come_back and drops < MOST_DROPS:
            heapq.heappush(self._again, Waiting(turn + DETOUR, place, attempts + 1, drops + 1))
        elif again_at is not None:
            heapq.heappush(self._due, (again_at, Waiting(turn, place, attempts + 1, drops)))
        else:
            return False
        return True

    def closed(self) -> None:
        """Note that the socket of an attempt that has ended is closed.

        Raises:
            ValueError: No socket drains.
        """
        if not self.draining:
            raise ValueError("no host's socket drains")
        self.draining -= 1

    def upcoming(self, count: int) -> tuple[Host, ...]:
        """Return those of the next ``count`` hosts that no earlier call has returned."""
        start, stop = max(self._announced, self._fresh), min(self._fresh + count, len(self._hosts))
        self._announced = max(start, stop)
        return self._hosts[start:stop]

    def waits(self, now: float) -> list[Wait]:
        """Return what hosts wait for that would have a place in the fanout."""
        waits = []
        if self._due:
            waits.append(Wait(Awaited.RETRY, len(self._due), self._due[0][0]))
        if len(self._flights) >= self._fanout or self._has_few_descriptors():
            return waits
        if self._lanes:
            waits.append(Wait(Awaited.SERVER, self._lanes.count))
        is_host_next = self._again or self._fresh < self._allowed or self._lanes.next_at(now) <= now
        if is_host_next and self._logging_in >= self._handshakes:
            waits.append(Wait(Awaited.HANDSHAKES))
        elif is_host_next and self._pace is not None and self._pace.next_at() > now:
            waits.append(Wait(Awaited.START_RATE, until=self._pace.next_at()))
        return waits

    def stop(self) -> list[Start]:
        """Admit no more hosts.

        Returns:
            The starts that will not take place, in order. Attempt 1 is a host that was never tried; any other
            is one that waited to be tried again, which ends as its last attempt did.
        """
        self._is_stopped = True
        given_up = self._again + [waiting for _, waiting in self._due] + self._lanes.clear()
        given_up += [Waiting(place, place) for place in range(self._fresh, len(self._hosts))]
        given_up.sort(key=lambda waiting: waiting.place)
        self._again.clear()
        self._due.clear()
        self._fresh = self._allowed = len(self._hosts)
        return [self._as_start(waiting) for waiting in given_up]

    # Who is next.

    def _has_few_descriptors(self) -> bool:
        return self._open_at_most is not None and len(self._flights) + self.draining >= self._open_at_most

    def _nearest(self, now: float) -> tuple[Waiting | None, Hashable | None]:
        """Remove the host nearest to the front whose hop is not known to accept no login.

        Returns:
            The host, if there is one, and its hop.
        """
        fresh = self._fresh if self._fresh < self._allowed else math.inf
        again = self._again[0].turn if self._again else math.inf
        held = self._lanes.first_turn(now)
        if held is not None and held <= min(fresh, again):
            waiting, awaited = self._lanes.take()
            hop = self._hop_of(self._hosts[waiting.place])
            if hop != awaited:  # a jump host was logged in to, or lost, meanwhile
                self._lanes.look_at(awaited, now)
            return waiting, hop
        if self._again and again <= fresh:
            waiting = heapq.heappop(self._again)
        elif self._fresh < self._allowed:
            waiting = Waiting(self._fresh, self._fresh)
            self._fresh += 1
        else:
            return None, None
        return waiting, None if self._governor is None else self._hop_of(self._hosts[waiting.place])

    def _start(self, waiting: Waiting, hop: Hashable | None, now: float) -> Start:
        start = self._as_start(waiting)
        login = None
        if self._governor is not None and hop is not None:
            login = self._governor.started(hop, now)
            self._lanes.look_at(hop, now)
        if self._pace is not None:
            self._pace.took(now)
        self._flights[start.host.name] = _Flight(waiting, hop, login)
        self._logging_in += 1
        return start

    def _as_start(self, waiting: Waiting) -> Start:
        return Start(self._hosts[waiting.place], waiting.attempts + 1, waiting.drops)

    def _left_login(self, flight: _Flight, now: float, congestion: Congestion | None) -> bool:
        """Note the end of an attempt for the login limits, if it had not logged in.

        Returns:
            Whether the governor lets the host try again.
        """
        if not flight.is_logging_in:
            return False
        self._logging_in -= 1
        if self._governor is None or flight.login is None:
            return False
        is_to_come_back = False
        if congestion is None:
            self._governor.failed(flight.hop)
        else:
            is_to_come_back = self._governor.dropped(flight.hop, flight.login, congestion, now, self._rng)
        self._lanes.look_at(flight.hop, now)
        return is_to_come_back
