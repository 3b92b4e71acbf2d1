"""What the progress line says: how far the run is, how well it goes, how much longer it takes.

::

    [=======>    ]  312/500  305 ok  4 failed  3 timeout  64 in flight  0:05 left  40/s
    [===========>]  498/500  491 ok  4 failed  3 timeout  waiting for db1 and 1 more  0:42

Below it, while there is anything to report and the terminal is high enough: what the run waits for besides
its
commands, the hosts that have been in flight for long, and the last hosts that did not end well::

    waiting for: a local port (12, the first in 0:42), the next attempt (3)
    longest: db7 0:41, web113 0:12, web118 0:12
    not ok: db9 timeout, web03 exit 3

It fits into any width: what matters least goes first, and failures are counted as one number (``7 not ok``)
before one of them is left out. It is plain ASCII but for host names, since a terminal may show nothing else.
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
    format_ending,
    format_status,
    format_waits,
    paint,
    size,
)
from multirsh.waits import NO_WAITS

_GAP: Final = "  "
_BAR: Final = 12
"""Columns of the bar, its brackets not counted."""
_WIDE: Final = 99
"""Columns from which a bar is drawn: on less it would come and go as counts come up."""
LONGEST_HOSTS: Final = 5
"""Hosts named as those that have been in flight longest."""
LAST_FAILURES: Final = 5
"""Hosts named as the last that did not end well."""
LONG_S: Final = 5.0
"""The time in flight from which a host is named in the details."""

_REPORTED: Final = frozenset(TROUBLES) - {Status.CANCELLED, Status.NOT_RUN}
"""The statuses that are reported at once: hosts that were stopped with the run are no news."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """A part of the line.

    Attributes:
        text: The words.
        rank: Segments of lower rank are placed first; those of rank 0 must be in the line.
        style: The colour, if colour is used.
    """

    text: str
    rank: int
    style: Style | None = None


class RunProgress:
    """How far a run is. It keeps the names of the hosts in flight, and of no others.

    Args:
        began: When the run began, in seconds of the clock that ``render`` is given.

    Attributes:
        began: The same; it may be set anew.
        waits: What the run waits for now.
        copied: Bytes copied so far, and in all if that is known; ``None`` if nothing is copied.
    """

    def __init__(self, *, began: float) -> None:
        self.began = began
        self.waits = NO_WAITS
        self.copied: tuple[int, int | None] | None = None
        self._total = 0
        self._done: Counter[Status] = Counter()
        self._in_flight: dict[str, float] = {}
        self._last_troubles: deque[str] = deque(maxlen=LAST_FAILURES)

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
                if event.status in _REPORTED:
                    self._last_troubles.appendleft(f"{escape_text(event.host)} {format_ending(event)}")
            case Output() | Copied() | RunFinished():
                pass
            case _:
                assert_never(event)

    def render(self, width: int, now: float, *, color: bool = False, alone: bool = False) -> str:
        """Format the line.

        Args:
            width: Columns it may take; it never takes more, colour not counted.
            now: Seconds, by the clock of ``began``.
            color: Whether counts are coloured.
            alone: Whether there are no details below it; then the line itself says what the run waits for.

        Returns:
            One line, without an end.
        """
        outlook = self._outlook(max(0.0, now - self.began))
        bar = [_Segment(self._bar(), rank=6, style=Style.FAINT)] if width >= _WIDE else []
        outlook += [*self._bytes(), *(self._waiting(now) if alone else ())]
        segments = [*bar, *self._counts(), *outlook]
        if not _says_all_it_must(segments, width):
            # To name some of the failures and leave others out would be half the truth.
            segments = [*bar, *self._counts_in_brief(), *outlook]
        return _GAP.join(
            paint(segment.text, segment.style, color=color) for segment in _that_fit(segments, width)
        )

    def details(self, width: int, now: float) -> list[str]:
        """Format the details below the line.

        Args:
            width: Columns that each may take.
            now: Seconds, as for ``render``.

        Returns:
            Lines without ends; none if there is nothing to report.
        """
        elapsed = max(0.0, now - self.began)
        long = [f"{name} {clock(time)}" for name, time in self._longest(elapsed) if time >= LONG_S]
        awaited = [format_waits([wait], now) for wait in self.waits.waits]
        lines = [
            _listed("waiting for:", awaited, width),
            _listed("longest:", long, width),
            _listed("not ok:", self._last_troubles, width),
        ]
        return [line for line in lines if line]

    def _longest(self, elapsed: float) -> Iterator[tuple[str, float]]:
        """Name the hosts that have been in flight longest, with the seconds."""
        running = (
            (escape_text(name), elapsed - since)
            for name, since in self._in_flight.items()
            if name not in self.waits.again
        )
        return itertools.islice(running, LONGEST_HOSTS)

    @property
    def _running(self) -> int:
        """The number of hosts in flight. Hosts between two attempts are neither finished nor in flight."""
        return len(self._in_flight) - len(self.waits.again)

    def status(self, now: float, *, starts_more: bool = True) -> list[str]:
        """Report how far the run is.

        Args:
            now: Seconds, by the clock of ``began``.
            starts_more: Whether hosts that have not begun still will.

        Returns:
            The counts, then the hosts that have been running longest, then what the run waits for.
        """
        elapsed = max(0.0, now - self.began)
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
                _Segment(f"{self._done[status]} {format_status(status)}", rank=0, style=Style.BAD)
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
        """Say what is to come. With no host left to start, an average says nothing of those still running."""
        done = self._done.total()
        running, left = self._running, len(self._in_flight)
        if left and done + left >= self._total:
            oldest = escape_text(next(iter(self._in_flight)))
            others = f" and {left - 1} more" if left > 1 else ""
            return [_Segment(f"waiting for {oldest}{others}", rank=0), _Segment(clock(elapsed), rank=2)]
        segments = [_Segment(f"{running} in flight", rank=3)]
        if running and done and elapsed > 0:  # while no host runs, as at a gate, time says nothing
            rate = done / elapsed
            segments.append(_Segment(f"{clock((self._total - done) / rate)} left", rank=2))
            segments.append(_Segment(f"{rate:.0f}/s" if rate >= 1 else f"{rate * 60:.0f}/min", rank=5))
        else:
            segments.append(_Segment(clock(elapsed), rank=2))
        return segments

    def _bytes(self) -> list[_Segment]:
        """Say how much was copied."""
        if self.copied is None:
            return []
        done, total = self.copied
        of = "" if total is None else f" of {size(total)}"
        return [_Segment(f"{size(done)}{of}", rank=1)]

    def _waiting(self, now: float) -> list[_Segment]:
        """Say what the run waits for."""
        words = format_waits(self.waits.waits, now)
        return [_Segment(f"waiting for {words}", rank=1)] if words else []


def _listed(title: str, items: Iterable[str], width: int) -> str:
    """List as many items as fit; empty if not even the first fits."""
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
    """Choose the segments that fit, by rank, and keep their order; none if the first by rank does not fit."""
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
