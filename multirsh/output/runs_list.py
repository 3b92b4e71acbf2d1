"""``multirsh runs``: the list of recorded runs, the newest first; and what ``runs show`` says of one.

::

    run     began         took    hosts                     exit     command
    c0ffee  Nov 21 16:30  3.2 s   495 ok, 3 failed, 2 lost  3        uptime
    7f3a21  Nov 21 16:12          120 ok of 500             broken   apt-get -y upgrade
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from multirsh.events import Copied, Event, Output, RunStarted
from multirsh.inventory import fold
from multirsh.journal.record import RunState, RunSummary
from multirsh.model import Status
from multirsh.output.escape import escape_text
from multirsh.output.formatting import (
    TROUBLES,
    Style,
    columns,
    cut,
    duration,
    format_copied,
    format_status,
    paint,
    plural,
)
from multirsh.output.ndjson import safe

_HEAD: Final = ("run", "began", "took", "hosts", "exit", "command")
_GAP: Final = "  "
_ROOM_FOR_COMMAND: Final = 24
"""Columns that a command should have before the hosts are told in full."""
_LEAST_COMMAND: Final = 12
_HALF_A_YEAR_S: Final = 15_778_476.0
"""Beyond which ls(1) tells the year and not the hour."""
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""Whatever the locale says: scripts read this, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the list is laid out.

    Attributes:
        width: Columns of the terminal; ``None`` where nothing is cut off.
        color: Whether endings are coloured.
        now: Seconds since the epoch.
    """

    width: int | None
    color: bool
    now: float


class _Cell(NamedTuple):
    text: str
    style: Style | None = None


def listing(entries: Sequence[RunSummary], layout: Layout) -> str:
    """The list, with a line of heads; nothing where there are no runs.

    Args:
        entries: The runs in the order of their lines.
        layout: How.
    """
    if not entries:
        return ""
    rows = [_row(entry, layout.now, in_full=True) for entry in entries]
    if layout.width is not None and layout.width - sum(_widths(rows)) < _ROOM_FOR_COMMAND:
        rows = [_row(entry, layout.now, in_full=False) for entry in entries]
    widths = _widths(rows)
    room = None if layout.width is None else max(_LEAST_COMMAND, layout.width - 1 - sum(widths))
    head = "".join(name.ljust(width) for name, width in zip(_HEAD, widths, strict=False)) + _HEAD[-1]
    lines = [paint(head, Style.FAINT, color=layout.color)]
    for entry, row in zip(entries, rows, strict=True):
        cells = "".join(
            paint(cell.text, cell.style, color=layout.color) + " " * (width - len(cell.text))
            for cell, width in zip(row, widths, strict=True)
        )
        lines.append(cells + _cut(escape_text(entry.command), room))
    return "".join(f"{line}\n" for line in lines)


def listing_json(entries: Sequence[RunSummary]) -> str:
    """An object a run, a line each; the keys are documented in docs/runs.md."""
    return "".join(
        safe(json.dumps(entry.to_dict(), ensure_ascii=False, allow_nan=False, separators=(",", ":"))) + "\n"
        for entry in entries
    )


def short(run: str) -> str:
    """What tells a run from others in few letters: its identifier without the time."""
    return run.rpartition("-")[2]


def format_began(began: float, now: float) -> str:
    """A time as ``ls -l`` tells it, where we are: with the hour, or with the year."""
    there = time.localtime(began)
    is_near = 0 <= now - began < _HALF_A_YEAR_S
    month = _MONTHS[there.tm_mon - 1]
    return f"{month} {there.tm_mday:2} " + (
        f"{there.tm_hour:02}:{there.tm_min:02}" if is_near else f" {there.tm_year}"
    )


def format_hosts(entry: RunSummary, *, in_full: bool = True) -> str:
    """How many hosts ended how.

    Args:
        entry: The run.
        in_full: Whether each status is told, or only how many are not ok.
    """
    counts = entry.counts
    ended = sum(counts.values())
    told = [(Status.OK, counts.get(Status.OK, 0))]
    told += [(trouble, counts.get(trouble, 0)) for trouble in TROUBLES]
    parts = [f"{count} {format_status(status)}" for status, count in told if count]
    if not in_full:
        ok = told[0][1]
        parts = [f"{ok} ok"] if ok or not ended else []
        parts += [f"{ended - ok} not"] if ended > ok else []
    of = "" if ended == entry.hosts else f" of {entry.hosts}"
    return (", ".join(parts) or "none") + of


def _row(entry: RunSummary, now: float, *, in_full: bool) -> tuple[_Cell, ...]:
    took = entry.seconds
    if entry.state is RunState.RUNNING:
        took = max(0.0, now - entry.began)
    return (
        _Cell(short(entry.run)),
        _Cell(format_began(entry.began, now)),
        _Cell("" if took is None else duration(took)),
        _Cell(format_hosts(entry, in_full=in_full)),
        _exit(entry),
    )


def _exit(entry: RunSummary) -> _Cell:
    if entry.state is not RunState.FINISHED:
        return _Cell(entry.state.value, None if entry.state is RunState.RUNNING else Style.BAD)
    return _Cell(str(entry.exit_code), Style.BAD if entry.exit_code else Style.GOOD)


def _widths(rows: Sequence[Sequence[_Cell]]) -> list[int]:
    """Of all columns but the command's, the gap to the next included."""
    heads = [[_Cell(name)] for name in _HEAD[:-1]]
    columns = zip(*rows, strict=True)
    return [
        max(len(cell.text) for cell in (*head, *column)) + len(_GAP)
        for head, column in zip(heads, columns, strict=True)
    ]


def _cut(text: str, room: int | None) -> str:
    return text if room is None or columns(text) <= room else f"{cut(text, room - 3)}..."


def facts(
    entry: RunSummary, started: RunStarted | None, *, done_before: int = 0, cut_off: Collection[str] = ()
) -> list[str]:
    """A few lines; a remote's words, and the user's, are not escaped.

    Args:
        entry: The run.
        started: How it began; ``None`` where its record does not say.
        done_before: Hosts that were done by the runs that it goes on with.
        cut_off: Hosts whose output was more than the record was to hold.
    """
    took = "" if entry.seconds is None else f", took {duration(entry.seconds)}, exit {entry.exit_code}"
    lines = [f"run {entry.run}: began {_when(entry)}{took}", f"command: {entry.command}"]
    if started is not None:
        lines.append(
            f"{plural(len(started.hosts), 'host')}, {started.fanout} at once, by multirsh {started.version}"
        )
    if entry.resumes is not None:
        lines.append(f"it goes on with run {entry.resumes}: {plural(done_before, 'host')} done before")
    match entry.state:
        case RunState.RUNNING:
            lines.append(f"it is still running: {format_hosts(entry)} so far")
        case RunState.BROKEN:
            lines.append(
                f"the record breaks off: {format_hosts(entry)}; --resume {short(entry.run)} goes on with it"
            )
        case RunState.FINISHED:
            pass
    if cut_off:
        lines.append(f"output was too much to be kept in full: {fold(cut_off)}")
    return lines


def titles(entries: tuple[RunSummary, RunSummary]) -> list[bytes]:
    """Two runs that are compared, as ``diff -u`` names files: a line each, with its end, fit to be shown."""
    return [
        f"{escape_text(f'{sign} {short(entry.run)} {_when(entry)} {entry.command}')}\n".encode()
        for sign, entry in zip(("---", "+++"), entries, strict=True)
    ]


def _when(entry: RunSummary) -> str:
    """The time here, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.began))


def with_copies_told(events: Iterable[Event]) -> Iterator[Event]:
    """Put a line of stderr behind each file that was not copied, as it is shown while a run goes on."""
    for event in events:
        yield event
        words = format_copied(event) if isinstance(event, Copied) else None
        if isinstance(event, Copied) and words is not None:
            yield Output(
                run=event.run, t=event.t, host=event.host, stream="stderr", data=f"{words}\n".encode()
            )
