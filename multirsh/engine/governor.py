"""How many logins may be under way at one server at once, learnt from what it drops. Pure.

A governor for each *hop*: the server that a handshake goes to, which is an
address and port, and the jump hosts that lead there. sshd counts the connections that have not logged in yet,
and beyond ``MaxStartups`` it drops new ones; the client sees a connection
that ends before the key exchange. So the window counts logins under way, as
TCP's counts bytes, and moves like it: up by one a round while all is well,
down to a half when something was dropped (AIMD; Chiu and Jain, 1989).

What differs from TCP, and why:

- It begins at 8 and not by doubling. The limit of most servers is known: 10
  (MaxStartups 10:30:100). Below it nothing is dropped, and every drop is a
  line in the server's log.
- It remembers where the last drop was. Up to there it grows quickly, then it
  stays for some rounds before it tries one more: else every tenth login would
  be a wasted one.
- A drop names its login, so the limit is known at once: those who were under
  way when it began, less itself.
- After a drop nobody starts for about as long as a login takes, and where
  nobody gets in any more, for longer and longer. The pauses for a server that
  *says* that it is busy add up to more than 15 seconds at the least, the
  shortest time for which sshd 9.8 shuts out an address (PerSourcePenalties).

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
"""Logins under way at a hop of which nothing is known. Two below MaxStartups' 10: other clients are there
too, and sshd hears of a login's end a little later than the client."""

SMALLEST_WINDOW: Final = 1
DECREASE: Final = 0.5

_FREE_GROWTH: Final = 1 / FIRST_WINDOW
"""Where no limit was met yet, the window grows by an eighth a round: to 64 in 17 rounds, not in 56."""

PROBE_ROUNDS: Final = 10
"""Rounds for which the window stays where the last drop was, before it is tried again."""

FIRST_PAUSE: Final = 0.5
"""Seconds, at the most, after a first round in which nobody got in; each further one doubles it."""

PATIENCE: Final = {Congestion.SAID: 7, Congestion.LIKELY: 4}
"""In how many rounds in a row may nobody get in, before a drop there is an ending. In words it is sure that
waiting helps: six pauses, 15.75 to 31.5 seconds. Without, it may as well be a filter or no SSH server: three
pauses, at most 3.5 seconds, unless it has let somebody in before."""

MOST_DROPS: Final = 20
"""How often one host may be dropped. A server that drops every other login does so to one host in a
million."""

_NEWEST: Final = 0.125
"""The part of the newest login in the mean time of a login, as of a round trip in RFC 6298."""


class Login(NamedTuple):
    """A login that was begun.

    Attributes:
        began: When, in seconds.
        beside: How many were under way at its hop then, itself included.
    """

    began: float
    beside: int


class _Hop:
    """What is known of one hop."""

    __slots__ = ("ceiling", "cut_at", "futile", "has_let_in", "in_flight", "login", "paused_until", "window")

    def __init__(self) -> None:
        self.window: float = FIRST_WINDOW
        self.ceiling = math.inf
        """How many were let in together when one more was not; beyond, growth is slow."""
        self.in_flight = 0
        self.cut_at = -math.inf
        """When the window was cut last; drops of what began before belong to the same round."""
        self.paused_until = -math.inf
        self.futile = 0
        """Rounds in a row in which something was dropped and nobody got in."""
        self.login: float | None = None
        """How long a login takes, in seconds."""
        self.has_let_in = False

    @property
    def is_unremarkable(self) -> bool:
        return not self.in_flight and self.window == FIRST_WINDOW and self.ceiling == math.inf


class Governor:
    """The windows of all hops.

    Only hops with a login under way, or with a window that has moved, are kept:
    100,000 hosts with an address each leave nothing, since a window that is
    not half used does not grow.
    """

    __slots__ = ("_hops",)

    def __init__(self) -> None:
        self._hops: dict[Hashable, _Hop] = {}

    def __len__(self) -> int:
        """How many hops something is known of."""
        return len(self._hops)

    def window(self, hop: Hashable) -> int:
        """How many logins may be under way at ``hop``; 1 or more."""
        known = self._hops.get(hop)
        return FIRST_WINDOW if known is None else int(known.window)

    def may_start(self, hop: Hashable, now: float) -> bool:
        """Whether one more login may begin at ``hop``.

        Args:
            hop: Where the handshake goes to.
            now: Monotonic time, in seconds; so in all calls.
        """
        known = self._hops.get(hop)
        return known is None or (now >= known.paused_until and known.in_flight < int(known.window))

    def next_at(self, hop: Hashable) -> float | None:
        """When one more may begin, if nothing else happens; the past means at once.

        Returns:
            ``None`` while the window is full: then a login has to end first.
        """
        known = self._hops.get(hop)
        if known is None:
            return -math.inf
        return known.paused_until if known.in_flight < int(known.window) else None

    def started(self, hop: Hashable, now: float) -> Login:
        """A login begins at ``hop``; ``succeeded``, ``dropped`` or ``failed`` has to follow."""
        known = self._hops.get(hop)
        if known is None:
            known = self._hops[hop] = _Hop()
        known.in_flight += 1
        return Login(now, known.in_flight)

    def succeeded(self, hop: Hashable, login: Login, now: float) -> None:
        """A login is through: the window grows, if it was in use.

        Raises:
            KeyError: None is under way there.
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
        """A login ended in another way: refused, timed out, given up. That says nothing of the window.

        Raises:
            KeyError: None is under way there.
        """
        self._left(hop, self._hops[hop])

    def dropped(self, hop: Hashable, login: Login, how: Congestion, now: float, rng: random.Random) -> bool:
        """A login was dropped: the window shrinks, once a round.

        Args:
            hop: Where.
            login: As ``started`` gave it.
            how: How sure it is that it was congestion.
            now: When its end was seen.
            rng: Draws the pause.

        Returns:
            Whether it is worth another attempt: ``False`` where nobody has got in for many rounds.

        Raises:
            KeyError: None is under way there.
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
            known.paused_until = now  # it has been waited for: those who are left need not wait to hear no
        known.in_flight -= 1
        return is_worth_it

    def _left(self, hop: Hashable, known: _Hop) -> None:
        known.in_flight -= 1
        if known.is_unremarkable:
            del self._hops[hop]


def _grow(known: _Hop) -> None:
    """A little for each success: by one a round; from the ceiling to one above it in ``PROBE_ROUNDS``."""
    if known.ceiling == math.inf:
        known.window += max(1 / known.window, _FREE_GROWTH)
        return
    if known.window < known.ceiling:
        known.window = min(known.window + 1 / known.window, known.ceiling)
        return
    known.window += 1 / known.window / PROBE_ROUNDS
    if known.window >= known.ceiling + 1:
        known.ceiling = math.inf  # if the limit is still there, the next drop tells, and is one


def _pause(known: _Hop, rng: random.Random) -> float:
    """How long nobody starts: a login's time; where nobody has got in since the last pause, ever longer."""
    if not known.futile and known.login is not None:
        longest = known.login
    else:
        longest = FIRST_PAUSE * 2.0 ** min(known.futile, max(PATIENCE.values()) - 2)
    return rng.uniform(longest / 2, longest)


class Waiting(NamedTuple):
    """A host that is not in flight, and how often it was started and dropped. They sort by turn.

    Attributes:
        turn: When its turn is, beside the others'.
        place: Which host it is: its place among those of the run.
        attempts: How often it was started.
        drops: How often of these a busy server dropped it.
    """

    turn: int
    place: int
    attempts: int = 0
    drops: int = 0


class _Lane:
    """It is *listed* while it is among the open or the paused ones, once."""

    __slots__ = ("hop", "is_listed", "waiting")

    def __init__(self, hop: Hashable) -> None:
        self.hop = hop
        self.waiting: list[Waiting] = []
        self.is_listed = False


class Lanes:
    """The lanes of one run.

    Attributes:
        count: Hosts in all lanes.
    """

    def __init__(self, governor: Governor | None) -> None:
        """Have none.

        Args:
            governor: Says which hop has room; ``None`` if all always have.
        """
        self._governor = governor
        self._lanes: dict[Hashable, _Lane] = {}
        # Those that may have room, by their first host, and those that will, by when.
        self._open: list[tuple[Waiting, _Lane]] = []
        self._paused: list[tuple[float, Waiting, _Lane]] = []
        self.count = 0

    def __bool__(self) -> bool:
        """Whether somebody waits."""
        return bool(self._lanes)

    def is_held(self, hop: Hashable | None, now: float) -> bool:
        """Whether ``hop`` takes nobody now."""
        return self._governor is not None and hop is not None and not self._governor.may_start(hop, now)

    def set_aside(self, waiting: Waiting, hop: Hashable | None, now: float) -> None:
        """Let a host wait for ``hop``."""
        lane = self._lanes.get(hop)
        if lane is None:
            lane = self._lanes[hop] = _Lane(hop)
        heapq.heappush(lane.waiting, waiting)
        self.count += 1
        self.look_at(hop, now)

    def look_at(self, hop: Hashable | None, now: float) -> None:
        """Something has changed at ``hop``: see to it that its lane is asked when it may have room.

        Args:
            hop: Which.
            now: Monotonic time, in seconds. If time alone makes no room, the next change does.
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
        """The earliest turn in a lane that has room; ``None`` if there is none."""
        while self._open:
            waiting, lane = self._open[0]
            if not self.is_held(lane.hop, now):
                return waiting.turn
            heapq.heappop(self._open)
            lane.is_listed = False
            self.look_at(lane.hop, now)
        return None

    def take(self) -> tuple[Waiting, Hashable]:
        """Take the one whose turn ``first_turn`` has told.

        Returns:
            Who, and the hop that was waited for.
        """
        lane = heapq.heappop(self._open)[1]
        lane.is_listed = False
        waiting = heapq.heappop(lane.waiting)
        self.count -= 1
        if not lane.waiting:
            del self._lanes[lane.hop]
        return waiting, lane.hop

    def next_at(self, now: float) -> float:
        """When somebody may be taken if nothing else happens; infinity for never."""
        if self._open:
            return now
        return self._paused[0][0] if self._paused else math.inf

    def clear(self) -> list[Waiting]:
        """Let nobody wait any more.

        Returns:
            Those who did.
        """
        given_up = [waiting for lane in self._lanes.values() for waiting in lane.waiting]
        for queue in (self._lanes, self._open, self._paused):
            queue.clear()
        self.count = 0
        return given_up

    def _open_lane(self, lane: _Lane) -> None:
        lane.is_listed = True
        heapq.heappush(self._open, (lane.waiting[0], lane))
