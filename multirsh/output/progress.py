"""What the progress line says: how far, how well, how much longer, and at last for whom.

::

    [=======>    ]  312/500  305 ok  4 failed  3 timeout  64 in flight  0:05 left  40/s
    [===========>]  498/500  491 ok  4 failed  3 timeout  waiting for db1 and 1 more  0:42

Below it, as long as there is something to tell, and room: what the run waits for
besides its commands, who has been in flight for long, and who was the last not to end well::

    waiting for: a local port (12, the first in 0:42), the next attempt (3)
    longest: db7 0:41, web113 0:12, web118 0:12
    not ok: db9 timeout, web03 exit 3

It fits into any width: what matters least goes first, and troubles are told as
one number (``7 not ok``) before one of them is left out. It is plain ASCII but for
host names, since a terminal's locale is not ours to guess.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, assert_never

from multirsh.events import Copied, Event, HostFinished, HostStarted, Output, RunFinished, RunStarted
from multirsh.model import Status
from multirsh.output.escape import escape_text
from multirsh.output.formatting import (
    TROUBLES,
    Style,
    clock,
    columns,
    ending_words,
    paint,
    size,
    status_words,
    waits_words,
)
from multirsh.waits import NO_WAITS, Waits

_GAP: Final = "  "
_BAR: Final = 12
"""Columns of the bar, its brackets not counted."""
_WIDE: Final = 99
"""Columns from which a bar is drawn: on less it would come and go as counts come up."""
LONGEST_TOLD: Final = 5
"""Hosts named by the status, those that have been in flight longest."""
LAST_TOLD: Final = 5
"""Of the hosts that did not end well, the last so many are named."""
LONG_S: Final = 5.0
"""From which on a host has been in flight for long, and is named though nobody asks."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """A part of the line.

    Attributes:
        text: What it says.
        rank: Who has the lower one gets a place before others do; 0 is what a line must say.
        style: Its colour, if colour is used.
    """

    text: str
    rank: int
    style: Style | None = None


class Progress:
    """Knows how far a run is.

    It keeps the names of the hosts in flight, no more.

    Args:
        began: When the run began, in seconds of the clock that ``render`` is given.
    """

    def __init__(self, *, began: float) -> None:
        self._began = began
        self._total = 0
        self._done: Counter[Status] = Counter()
        self._in_flight: dict[str, float] = {}
        self._last_troubles: deque[str] = deque(maxlen=LAST_TOLD)
        self._waits = NO_WAITS
        self._copied: tuple[int, int | None] | None = None

    def begin(self, now: float) -> None:
        """The run begins only now."""
        self._began = now

    def waits_for(self, waits: Waits) -> None:
        """That is what the run waits for now."""
        self._waits = waits

    def copying(self, done: int, total: int | None) -> None:
        """So many bytes were copied, of so many if that is known."""
        self._copied = done, total

    def feed(self, event: Event) -> None:
        """Take the next event."""
        match event:
            case RunStarted():
                self._total = len(event.hosts)
            case HostStarted():
                # A second attempt keeps the place of the first: the oldest stands first.
                self._in_flight.setdefault(event.host, event.t)
            case HostFinished():
                self._in_flight.pop(event.host, None)
                self._done[event.status] += 1
                if event.status in _TOLD:
                    self._last_troubles.appendleft(f"{escape_text(event.host)} {ending_words(event)}")
            case Output() | Copied() | RunFinished():
                pass
            case _:
                assert_never(event)

    def render(self, width: int, now: float, *, color: bool = False, alone: bool = False) -> str:
        """Word the line.

        Args:
            width: Columns it may take; never exceeded, colour not counted.
            now: Seconds, by the clock of ``began``.
            color: Whether counts are coloured.
            alone: Whether no details stand below it: then it says itself what is waited for.

        Returns:
            One line, without an end.
        """
        outlook = self._outlook(max(0.0, now - self._began))
        bar = [_Segment(self._bar(), rank=6, style=Style.FAINT)] if width >= _WIDE else []
        outlook += [*self._bytes(), *(self._waiting(now) if alone else ())]
        segments = [*bar, *self._counts(), *outlook]
        if not _says_all_it_must(segments, width):
            # Some of the troubles named and others left out would be half the truth.
            segments = [*bar, *self._counts_in_brief(), *outlook]
        return _GAP.join(
            paint(segment.text, segment.style, color=color) for segment in _that_fit(segments, width)
        )

    def details(self, width: int, now: float) -> list[str]:
        """Word what stands below the line.

        Args:
            width: Columns that each may take.
            now: As of ``render``.

        Returns:
            Lines without ends; none where there is nothing to tell.
        """
        elapsed = max(0.0, now - self._began)
        long = [f"{name} {clock(time)}" for name, time in self._longest(elapsed) if time >= LONG_S]
        awaited = [waits_words([wait], now) for wait in self._waits.waits]
        lines = [
            _listed("waiting for:", awaited, width),
            _listed("longest:", long, width),
            _listed("not ok:", self._last_troubles, width),
        ]
        return [line for line in lines if line]

    def _longest(self, elapsed: float) -> Iterator[tuple[str, float]]:
        """Who has been in flight longest, and for how many seconds."""
        running = (
            (escape_text(name), elapsed - since)
            for name, since in self._in_flight.items()
            if name not in self._waits.again
        )
        return itertools.islice(running, LONGEST_TOLD)

    @property
    def _running(self) -> int:
        """Hosts in flight. Those between two attempts were not told as finished, and are not."""
        return len(self._in_flight) - len(self._waits.again)

    def status(self, now: float, *, starts_more: bool = True) -> list[str]:
        """Word how far the run is, for somebody who asks.

        Args:
            now: Seconds, by the clock of ``began``.
            starts_more: Whether those that have not begun still will.

        Returns:
            The counts, then those that have been running longest, then what is waited for.
        """
        elapsed = max(0.0, now - self._began)
        waiting = self._total - self._done.total() - len(self._in_flight)
        counts = ", ".join(segment.text for segment in self._counts())
        to_start = f"{waiting} to start" if starts_more else "no more to start"
        lines = [f"{counts}, {self._running} in flight, {to_start}, {clock(elapsed)}"]
        oldest = ", ".join(f"{name} {clock(time)}" for name, time in self._longest(elapsed))
        if oldest:
            lines.append(f"longest in flight: {oldest}")
        lines += [segment.text for segment in (*self._bytes(), *self._waiting(now))]
        return lines

    def _counts(self) -> list[_Segment]:
        return [
            *self._how_far(),
            *(
                _Segment(f"{self._done[status]} {status_words(status)}", rank=0, style=Style.BAD)
                for status in TROUBLES
                if self._done[status]
            ),
        ]

    def _counts_in_brief(self) -> list[_Segment]:
        troubles = self._done.total() - self._done[Status.OK]
        brief = [_Segment(f"{troubles} not ok", rank=0, style=Style.BAD)] if troubles else []
        return [*self._how_far(), *brief]

    def _how_far(self) -> list[_Segment]:
        ok = self._done[Status.OK]
        return [
            _Segment(f"{self._done.total()}/{self._total}", rank=0),
            *([_Segment(f"{ok} ok", rank=1, style=Style.GOOD)] if ok else []),
        ]

    def _bar(self) -> str:
        done = self._done.total()
        filled = _BAR * done // self._total if self._total else 0
        bar = "=" * _BAR if filled >= _BAR else "=" * filled + ">"
        return f"[{bar:<{_BAR}}]"

    def _outlook(self, elapsed: float) -> list[_Segment]:
        """What is to come. With no host left to start, an average says nothing of those still running."""
        done = self._done.total()
        running, left = self._running, len(self._in_flight)
        if left and done + left >= self._total:
            oldest = escape_text(next(iter(self._in_flight)))
            others = f" and {left - 1} more" if left > 1 else ""
            return [_Segment(f"waiting for {oldest}{others}", rank=0), _Segment(clock(elapsed), rank=2)]
        segments = [_Segment(f"{running} in flight", rank=3)]
        if running and done and elapsed > 0:  # where nobody runs, as at a gate, time passes and says nothing
            rate = done / elapsed
            segments.append(_Segment(f"{clock((self._total - done) / rate)} left", rank=2))
            segments.append(_Segment(f"{rate:.0f}/s" if rate >= 1 else f"{rate * 60:.0f}/min", rank=5))
        else:
            segments.append(_Segment(clock(elapsed), rank=2))
        return segments

    def _bytes(self) -> list[_Segment]:
        """How much of a copy is there."""
        if self._copied is None:
            return []
        done, total = self._copied
        of = "" if total is None else f" of {size(total)}"
        return [_Segment(f"{size(done)}{of}", rank=1)]

    def _waiting(self, now: float) -> list[_Segment]:
        """Why nothing seems to happen."""
        words = waits_words(self._waits.waits, now)
        return [_Segment(f"waiting for {words}", rank=1)] if words else []


_TOLD: Final = frozenset(TROUBLES) - {Status.CANCELLED, Status.NOT_RUN}
"""What is told of as it happens: who was stopped with the run is no news."""


def _listed(title: str, items: Iterable[str], width: int) -> str:
    """As many as there is room for; empty where there is none for the first."""
    line, room = "", width - columns(title)
    for item in items:
        needed = columns(item) + len(", ")
        if needed > room:
            break
        line += f"{',' if line else ''} {item}"
        room -= needed
    return title + line if line else ""


def _says_all_it_must(segments: list[_Segment], width: int) -> bool:
    needed = [columns(segment.text) + len(_GAP) for segment in segments if segment.rank == 0]
    return sum(needed) <= width + len(_GAP)


def _that_fit(segments: list[_Segment], width: int) -> list[_Segment]:
    """Those that get a place, in their order; none where not even the first of them does."""
    room = width + len(_GAP)
    chosen: set[int] = set()
    for index in sorted(range(len(segments)), key=lambda index: segments[index].rank):
        needed = columns(segments[index].text) + len(_GAP)
        if needed <= room:
            chosen.add(index)
            room -= needed
        elif not chosen:
            return []
    return [segments[index] for index in sorted(chosen)]
