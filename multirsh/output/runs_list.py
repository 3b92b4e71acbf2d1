"""Recorded runs for people and programs: the list of them, and what is said of one.

On a terminal the list is a table that rich lays out::

    run     began         took    hosts                     exit     command
    c0ffee  Nov 21 16:30  3.2 s   495 ok, 3 failed, 2 lost  3        uptime
    7f3a21  Nov 21 16:12          120 ok of 500             broken   apt-get -y upgrade

In a pipe it has the same columns without colour, and nothing is cut off. That text is joined here, since
scripts list a thousand runs in the time that it takes to import rich.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from multirsh.events import Copied, Event, Output, RunStarted
from multirsh.inventory import fold
from multirsh.journal.record import RunState, RunSummary
from multirsh.model import Status
from multirsh.output.escape import escape_text
from multirsh.output.formatting import TROUBLES, duration, format_copied, format_status, plural
from multirsh.output.ndjson import safe

_HEAD: Final = ("run", "began", "took", "hosts", "exit", "command")
_GAP: Final = "  "
_COMMAND_WIDTH: Final = 24
"""Columns that a command should have before the statuses of hosts are listed one by one."""
_LEAST_COMMAND_WIDTH: Final = 12
_HALF_A_YEAR_S: Final = 15_778_476.0
"""The age from which ls(1) shows the year and not the hour."""
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""The names of the months in any locale: scripts read them, too."""
_DISPENSABLE: Final = ("took", "began")
"""Columns that a narrow terminal does without, in the order in which they go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the list is laid out.

    Attributes:
        width: The columns of the terminal; ``None`` if nothing is to be cut off.
        color: Whether endings are coloured.
        now: Seconds since the epoch.
    """

    width: int | None
    color: bool
    now: float


def listing(entries: Sequence[RunSummary], layout: Layout) -> str:
    """Write the list, with a head; nothing if there are no runs.

    Args:
        entries: The runs, in the order of their lines.
        layout: The width, the colours and the time.
    """
    if not entries:
        return ""
    rows = [_row(entry, layout.now, in_full=True) for entry in entries]
    if layout.width is None and not layout.color:
        widths = _widths(rows)
        lines = [_GAP.join(map(str.ljust, row[:-1], widths)) + _GAP + row[-1] for row in (_HEAD, *rows)]
        return "".join(f"{line}\n" for line in lines)
    if layout.width is not None and layout.width - _fixed_width(rows) < _COMMAND_WIDTH:
        rows = [_row(entry, layout.now, in_full=False) for entry in entries]
    return _table(entries, rows, layout)


def _table(entries: Sequence[RunSummary], rows: Sequence[Sequence[str]], layout: Layout) -> str:
    from rich.text import Text  # noqa: PLC0415 - for a terminal only, as is all of it

    from multirsh.output import tables  # noqa: PLC0415

    columns = dict(zip(_HEAD, zip(*rows, strict=True), strict=True))
    widths = dict(zip(_HEAD, _widths(rows), strict=False))
    commands = max(len(_HEAD[-1]), *map(len, columns[_HEAD[-1]])) * 2  # letters may be wide
    if layout.width is not None:
        left = layout.width - 1 - _fixed_width(rows)  # the last column of the terminal stays free
        for name in _DISPENSABLE:
            if left < _LEAST_COMMAND_WIDTH:
                del columns[name]
                left += widths[name] + len(_GAP)
        commands = min(commands, max(_LEAST_COMMAND_WIDTH, left))
    made = tables.table(*columns)
    for column in made.columns:
        column.no_wrap = True
    made.columns[-1].overflow = "ellipsis"
    made.columns[-1].max_width = commands
    for entry, row in zip(entries, zip(*columns.values(), strict=True), strict=True):
        cells = {name: Text(cell) for name, cell in zip(columns, row, strict=True)}
        if entry.state is RunState.FINISHED:
            cells["exit"].style = tables.BAD if entry.exit_code else tables.GOOD
        elif entry.state is RunState.BROKEN:
            cells["exit"].style = tables.BAD
        made.add_row(*cells.values())
    width = sum(widths[name] + len(_GAP) for name in columns if name in widths)
    return tables.rendered([made], width=width + commands + len(_GAP), color=layout.color)


def listing_json(entries: Sequence[RunSummary]) -> str:
    """Write an object for each run, a line each; the keys are documented in docs/runs.md."""
    return "".join(
        safe(json.dumps(entry.to_dict(), ensure_ascii=False, allow_nan=False, separators=(",", ":"))) + "\n"
        for entry in entries
    )


def short(run: str) -> str:
    """Shorten a run's identifier to the part without the time, which tells it from others."""
    return run.rpartition("-")[2]


def format_began(began: float, now: float) -> str:
    """Write a local time as ``ls -l`` does: with the hour, or with the year."""
    local = time.localtime(began)
    is_near = 0 <= now - began < _HALF_A_YEAR_S
    month = _MONTHS[local.tm_mon - 1]
    return f"{month} {local.tm_mday:2} " + (
        f"{local.tm_hour:02}:{local.tm_min:02}" if is_near else f" {local.tm_year}"
    )


def format_hosts(entry: RunSummary, *, in_full: bool = True) -> str:
    """Count the hosts of a run by status.

    Args:
        entry: The run.
        in_full: Whether each status is counted, or only ok and all others.
    """
    counts = entry.counts
    ended = sum(counts.values())
    by_status = [(Status.OK, counts.get(Status.OK, 0))]
    by_status += [(trouble, counts.get(trouble, 0)) for trouble in TROUBLES]
    parts = [f"{count} {format_status(status)}" for status, count in by_status if count]
    if not in_full:
        ok = by_status[0][1]
        parts = [f"{ok} ok"] if ok or not ended else []
        parts += [f"{ended - ok} not"] if ended > ok else []
    of = "" if ended == entry.hosts else f" of {entry.hosts}"
    return (", ".join(parts) or "none") + of


def _row(entry: RunSummary, now: float, *, in_full: bool) -> tuple[str, ...]:
    took = max(0.0, now - entry.began) if entry.state is RunState.RUNNING else entry.seconds
    return (
        short(entry.run),
        format_began(entry.began, now),
        "" if took is None else duration(took),
        format_hosts(entry, in_full=in_full),
        str(entry.exit_code) if entry.state is RunState.FINISHED else entry.state.value,
        escape_text(entry.command),
    )


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """The widths of all columns but the command's."""
    return [max(map(len, column)) for column in zip(_HEAD[:-1], *(row[:-1] for row in rows), strict=True)]


def _fixed_width(rows: Sequence[Sequence[str]]) -> int:
    """The width of all columns but the command's, with their gaps."""
    return sum(width + len(_GAP) for width in _widths(rows))


def facts(
    entry: RunSummary, started: RunStarted | None, *, done_before: int = 0, cut_off: Collection[str] = ()
) -> list[str]:
    """Describe a run in a few lines; words of a remote, and of the user, are not escaped.

    Args:
        entry: The run.
        started: Its first event; ``None`` if that is not in the record.
        done_before: The number of hosts that were done by the runs that this one resumes.
        cut_off: Hosts whose output exceeded the size of the record.
    """
    took = "" if entry.seconds is None else f", took {duration(entry.seconds)}, exit {entry.exit_code}"
    lines = [f"run {entry.run}: began {_when(entry)}{took}", f"command: {entry.command}"]
    if started is not None:
        lines.append(
            f"{plural(len(started.hosts), 'host')}, {started.fanout} at once, by multirsh {started.version}"
        )
    if entry.resumes is not None:
        lines.append(f"it resumes run {entry.resumes}: {plural(done_before, 'host')} done before")
    match entry.state:
        case RunState.RUNNING:
            lines.append(f"it is still running: {format_hosts(entry)} so far")
        case RunState.BROKEN:
            lines.append(
                f"the record breaks off: {format_hosts(entry)}; --resume {short(entry.run)} continues it"
            )
        case RunState.FINISHED:
            pass
    if cut_off:
        lines.append(f"the output of these hosts was too long to be kept in full: {fold(cut_off)}")
    return lines


def titles(entries: tuple[RunSummary, RunSummary]) -> list[bytes]:
    """Name two runs as ``diff -u`` names files: a line each, with its end, escaped."""
    return [
        f"{escape_text(f'{sign} {short(entry.run)} {_when(entry)} {entry.command}')}\n".encode()
        for sign, entry in zip(("---", "+++"), entries, strict=True)
    ]


def _when(entry: RunSummary) -> str:
    """Write the local time at which a run began, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.began))


def with_copy_errors(events: Iterable[Event]) -> Iterator[Event]:
    """Add a line of stderr after each file that was not copied, as it is shown while a run goes on."""
    for event in events:
        yield event
        words = format_copied(event) if isinstance(event, Copied) else None
        if isinstance(event, Copied) and words is not None:
            yield Output(
                run=event.run, t=event.t, host=event.host, stream="stderr", data=f"{words}\n".encode()
            )
