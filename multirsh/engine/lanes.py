"""Those who wait for a hop that takes no more logins for now, apart from the others. Pure.

A *lane* is for one hop. It is looked at again when its hop may have room: so
one busy bastion with 100,000 hosts behind it costs the others nothing.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable
from typing import NamedTuple

from multirsh.engine.governor import Governor


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
