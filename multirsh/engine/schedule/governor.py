"""How many logins may be under way at one server at once, learnt from the connections that it drops. Pure.

The ``Governor`` has a window for each *hop*: the server that a handshake goes
to, which is an address and port, and the jump hosts that lead there. sshd
counts the connections that have not logged in yet, and beyond ``MaxStartups``
it drops new ones; the client sees a connection that ends before the key
exchange. So the window counts logins under way, as TCP's window counts bytes,
and moves like it: up by one a round while nothing is dropped, down to a half
after a drop (AIMD; Chiu and Jain, 1989).

What differs from TCP, and why:

- It begins at 8 instead of doubling from 1. The limit of most servers is
  known: 10 (MaxStartups 10:30:100). Below it nothing is dropped, and every
  drop is a line in the server's log.
- It remembers the size at the last drop. Up to there it grows quickly; then it
  stays for some rounds before it tries one more, or every tenth login would be
  wasted.
- It is known which login was dropped, and so at once what the limit is: the
  logins that were under way when that one began, without itself.
- After a drop no login begins for about as long as a login takes, and while
  none succeeds, for longer and longer. The pauses for a server that *says*
  that it is busy add up to more than 15 seconds, the shortest time for which
  sshd 9.8 refuses an address (PerSourcePenalties).

``Lanes`` keeps the hosts that wait for a hop apart from the others. A *lane*
is for one hop, and is looked at again when its hop may accept a login: so one
busy bastion with 100,000 hosts behind it costs the others nothing.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Hashable
from typing import Final, NamedTuple

from multirsh.transports.base import Congestion

FIRST_WINDOW: Final = 8
"""The window of a hop of which nothing is known. It is two below the 10 of MaxStartups: there are other
clients, and sshd notices the end of a login a little later than the client."""

SMALLEST_WINDOW: Final = 1
DECREASE: Final = 0.5

_FREE_GROWTH: Final = 1 / FIRST_WINDOW
"""While no limit was met, the window grows by an eighth a round: to 64 in 17 rounds instead of 56."""

PROBE_ROUNDS: Final = 10
"""Rounds for which the window stays at the size of the last drop before it grows beyond."""

FIRST_PAUSE: Final = 0.5
"""The longest pause in seconds after one round without a successful login; each further round doubles it."""

PATIENCE: Final = {Congestion.SAID: 7, Congestion.LIKELY: 4}
"""The number of rounds in a row without a successful login after which a drop is final. If the server says
that it is busy, waiting helps: six pauses, 15.75 to 31.5 seconds. If it does not, it may be a filter or not
an SSH server: three pauses, at most 3.5 seconds, unless a login there has succeeded before."""

MOST_DROPS: Final = 20
"""How often one host may be dropped. Of a server that drops every other login, one host in a million reaches
this."""

_NEWEST: Final = 0.125
"""The weight of the newest login in the mean duration of logins, as that of a round trip in RFC 6298."""


class Login(NamedTuple):
    """A login that has begun.

    Attributes:
        began: When it began, in seconds of monotonic time.
        beside: How many logins were under way at its hop then, itself included.
    """

    began: float
    beside: int


class _Hop:
    """What is known of one hop."""

    __slots__ = ("ceiling", "cut_at", "futile", "has_let_in", "in_flight", "login", "paused_until", "window")

    def __init__(self) -> None:
        self.window: float = FIRST_WINDOW
        self.ceiling = math.inf
        """How many logins succeeded together when one more was dropped; beyond it the window grows slowly."""
        self.in_flight = 0
        self.cut_at = -math.inf
        """When the window was last reduced; drops of logins that began before belong to the same round."""
        self.paused_until = -math.inf
        self.futile = 0
        """Rounds in a row in which a login was dropped and none succeeded."""
        self.login: float | None = None
        """The mean duration of a login, in seconds."""
        self.has_let_in = False

    @property
    def is_unremarkable(self) -> bool:
        return not self.in_flight and self.window == FIRST_WINDOW and self.ceiling == math.inf


class Governor:
    """The windows of all hops.

    It only stores hops with a login under way or a window that has moved:
    100,000 hosts with an address each leave nothing behind, since a window
    that is less than half used does not grow.
    """

    __slots__ = ("_hops",)

    def __init__(self) -> None:
        self._hops: dict[Hashable, _Hop] = {}

    def __len__(self) -> int:
        """The number of hops of which something is known."""
        return len(self._hops)

    def window(self, hop: Hashable) -> int:
        """Return how many logins may be under way at ``hop``; 1 or more."""
        known = self._hops.get(hop)
        return FIRST_WINDOW if known is None else int(known.window)

    def may_start(self, hop: Hashable, now: float) -> bool:
        """Return whether one more login may begin at ``hop``.

        Args:
            hop: The server that the handshake goes to.
            now: Monotonic time, in seconds, as in all methods.
        """
        known = self._hops.get(hop)
        return known is None or (now >= known.paused_until and known.in_flight < int(known.window))

    def next_at(self, hop: Hashable) -> float | None:
        """Return when one more login may begin, if nothing else happens; a time in the past means now.

        Returns:
            The time; ``None`` while the window is full, since a login must end first.
        """
        known = self._hops.get(hop)
        if known is None:
            return -math.inf
        return known.paused_until if known.in_flight < int(known.window) else None

    def started(self, hop: Hashable, now: float) -> Login:
        """Note that a login begins at ``hop``; ``succeeded``, ``dropped`` or ``failed`` must follow."""
        known = self._hops.get(hop)
        if known is None:
            known = self._hops[hop] = _Hop()
        known.in_flight += 1
        return Login(now, known.in_flight)

    def succeeded(self, hop: Hashable, login: Login, now: float) -> None:
        """Note that a login has succeeded: the window grows if it was in use.

        Raises:
            KeyError: No login is under way there.
        """
        known = self._hops[hop]
        known.futile = 0
        known.has_let_in = True
        took = now - login.began
        known.login = took if known.login is None else known.login + _NEWEST * (took - known.login)
        if 2 * max(login.beside, known.in_flight) >= int(known.window):
            _grow(known)
        self._left(hop, known)

    def failed(self, hop: Hashable) -> None:
        """Note that a login was refused, timed out or was given up: the window stays as it is.

        Raises:
            KeyError: No login is under way there.
        """
        self._left(hop, self._hops[hop])

    def dropped(self, hop: Hashable, login: Login, how: Congestion, now: float, rng: random.Random) -> bool:
        """Note that a login was dropped: the window shrinks, once a round.

        Args:
            hop: The hop that dropped it.
            login: What ``started`` returned.
            how: How certain it is that congestion was the cause.
            now: When its end was noticed.
            rng: Draws the pause.

        Returns:
            Whether another attempt is worthwhile: ``False`` if no login has succeeded for many rounds.

        Raises:
            KeyError: No login is under way there.
        """
        known = self._hops[hop]
        limit = max(SMALLEST_WINDOW, login.beside - 1)
        if login.began <= known.cut_at:
            known.ceiling = min(known.ceiling, limit)
        else:
            known.ceiling = limit
            known.window *= DECREASE
            known.cut_at = now
            known.paused_until = now + _pause(known, rng)
            known.futile += 1
        known.window = max(SMALLEST_WINDOW, min(known.window, known.ceiling))
        is_worth_it = known.futile < PATIENCE[Congestion.SAID if known.has_let_in else how]
        if not is_worth_it:
            known.paused_until = now  # waiting did not help: the hosts that are left fail without it
        known.in_flight -= 1
        return is_worth_it

    def _left(self, hop: Hashable, known: _Hop) -> None:
        known.in_flight -= 1
        if known.is_unremarkable:
            del self._hops[hop]


def _grow(known: _Hop) -> None:
    """Grow a little for a success: by one a round; from the ceiling to one above it in ``PROBE_ROUNDS``."""
    if known.ceiling == math.inf:
        known.window += max(1 / known.window, _FREE_GROWTH)
        return
    if known.window < known.ceiling:
        known.window = min(known.window + 1 / known.window, known.ceiling)
        return
    known.window += 1 / known.window / PROBE_ROUNDS
    if known.window >= known.ceiling + 1:
        known.ceiling = math.inf  # if the limit still holds, it costs one drop to find out


def _pause(known: _Hop, rng: random.Random) -> float:
    """Draw a pause: about the duration of a login; while no login succeeds, longer after each round."""
    if not known.futile and known.login is not None:
        longest = known.login
    else:
        longest = FIRST_PAUSE * 2.0 ** min(known.futile, max(PATIENCE.values()) - 2)
    return rng.uniform(longest / 2, longest)


class Waiting(NamedTuple):
    """A host that waits to be started. They sort by turn.

    Attributes:
        turn: Its position in the order of starts.
        place: Its index among the hosts of the run.
        attempts: How often it was started.
        drops: How many of these attempts a busy server dropped.
    """

    turn: int
    place: int
    attempts: int = 0
    drops: int = 0


class _Lane:
    """The hosts that wait for one hop; it is *listed* while it is among the open or the paused lanes."""

    __slots__ = ("hop", "is_listed", "waiting")

    def __init__(self, hop: Hashable) -> None:
        self.hop = hop
        self.waiting: list[Waiting] = []
        self.is_listed = False


class Lanes:
    """The lanes of one run.

    Attributes:
        count: The number of hosts in all lanes.
    """

    def __init__(self, governor: Governor | None) -> None:
        """Begin without lanes.

        Args:
            governor: Says which hop accepts a login; ``None`` if all always do.
        """
        self._governor = governor
        self._lanes: dict[Hashable, _Lane] = {}
        # Lanes whose hop may accept a login, by their first host, and those whose hop will, by when.
        self._open: list[tuple[Waiting, _Lane]] = []
        self._paused: list[tuple[float, Waiting, _Lane]] = []
        self.count = 0

    def __bool__(self) -> bool:
        """Whether any host waits."""
        return bool(self._lanes)

    def is_held(self, hop: Hashable | None, now: float) -> bool:
        """Return whether ``hop`` accepts no login now."""
        return self._governor is not None and hop is not None and not self._governor.may_start(hop, now)

    def set_aside(self, waiting: Waiting, hop: Hashable | None, now: float) -> None:
        """Put a host into the lane of ``hop``."""
        lane = self._lanes.get(hop)
        if lane is None:
            lane = self._lanes[hop] = _Lane(hop)
        heapq.heappush(lane.waiting, waiting)
        self.count += 1
        self.look_at(hop, now)

    def look_at(self, hop: Hashable | None, now: float) -> None:
        """Schedule the lane of ``hop``, where something has changed, for when it may accept a login.

        Args:
            hop: The hop.
            now: Monotonic time, in seconds. If time alone does not help, the next change at the hop will.
        """
        lane = self._lanes.get(hop)
        if lane is None or lane.is_listed or self._governor is None:
            return
        at = self._governor.next_at(hop)
        if at is None:
            return
        if at <= now:
            self._open_lane(lane)
        else:
            lane.is_listed = True
            heapq.heappush(self._paused, (at, lane.waiting[0], lane))

    def open(self, now: float) -> None:
        """Open the lanes whose pause is over."""
        while self._paused and self._paused[0][0] <= now:
            self._open_lane(heapq.heappop(self._paused)[2])

    def first_turn(self, now: float) -> int | None:
        """Return the earliest turn in a lane whose hop accepts a login; ``None`` if there is none."""
        while self._open:
            waiting, lane = self._open[0]
            if not self.is_held(lane.hop, now):
                return waiting.turn
            heapq.heappop(self._open)
            lane.is_listed = False
            self.look_at(lane.hop, now)
        return None

    def take(self) -> tuple[Waiting, Hashable]:
        """Remove the host whose turn ``first_turn`` has returned.

        Returns:
            The host, and the hop that it waited for.
        """
        lane = heapq.heappop(self._open)[1]
        lane.is_listed = False
        waiting = heapq.heappop(lane.waiting)
        self.count -= 1
        if not lane.waiting:
            del self._lanes[lane.hop]
        return waiting, lane.hop

    def next_at(self, now: float) -> float:
        """Return when a host may be taken if nothing else happens; infinity for never."""
        if self._open:
            return now
        return self._paused[0][0] if self._paused else math.inf

    def clear(self) -> list[Waiting]:
        """Remove all hosts from the lanes and return them."""
        given_up = [waiting for lane in self._lanes.values() for waiting in lane.waiting]
        for queue in (self._lanes, self._open, self._paused):
            queue.clear()
        self.count = 0
        return given_up

    def _open_lane(self, lane: _Lane) -> None:
        lane.is_listed = True
        heapq.heappush(self._open, (lane.waiting[0], lane))


BURST_SECONDS: Final = 0.1
"""Seconds of starts that may be made up for after a late wake-up: logins keep the loop busy for longer than a
short interval."""


class Pace:
    """A token bucket, stored as one time: when the next start is due (GCRA, ITU-T I.371).

    In any ``t`` seconds it allows ``rate * t`` starts and at most ``burst`` more.
    """

    __slots__ = ("_due", "_interval", "_slack")

    def __init__(self, rate: float) -> None:
        """Begin with a full bucket.

        Args:
            rate: Starts per second, above 0.

        Raises:
            ValueError: The rate is not above 0.
        """
        if not rate > 0:
            raise ValueError(f"rate {rate} <= 0")
        self._interval = 1.0 / rate
        self._slack = max(0.0, BURST_SECONDS - self._interval)
        self._due = -math.inf

    @property
    def burst(self) -> float:
        """The largest number of starts at once after a rest: those of a tenth of a second, and at least 1."""
        return 1.0 + self._slack / self._interval

    def next_at(self) -> float:
        """Return when one more may start; a time in the past means now."""
        return self._due - self._slack

    def took(self, now: float) -> None:
        """Note a start at ``now``."""
        self._due = max(self._due, now) + self._interval
