"""The figures of a run that its page shows: a small row a host, sums, and columns for the script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from multirsh.events import Copied, Event, HostFinished, HostStarted, RunFinished, RunStarted
from multirsh.model import ClosedBy, Seconds, Status
from multirsh.output.escape import escape_text
from multirsh.output.formatting import TROUBLES, format_ending, format_status
from multirsh.output.summary import FailureGroup, FailureGroups, format_reason
from multirsh.report.outputs import PageOutputs

OUTCOMES: Final = (Status.OK, *TROUBLES)
"""The statuses of hosts, in the order in which they are shown."""

NO_END: Final = "no end is recorded"
"""The reason why a host is ``lost`` that has begun and has no end in the record: the run broke off, or goes
on."""

FILES_NAMED: Final = 200
"""The most files that could not be copied that the page names."""


@dataclass(slots=True)
class HostRow:
    """The record of one host.

    Attributes:
        starts: When its attempts began, in seconds since the run began.
        finished: How it ended; ``None`` while it has not.
    """

    starts: tuple[float, ...] = ()
    finished: HostFinished | None = None

    @property
    def outcome(self) -> Status:
        """The status of the host, as far as it is known."""
        if self.finished is not None:
            return self.finished.status
        return Status.LOST if self.starts else Status.NOT_RUN

    @property
    def reason(self) -> str:
        """What tells the host from others of its status; may be empty."""
        if self.finished is not None:
            return format_reason(self.finished)
        return NO_END if self.starts else ""


class PartTimes(NamedTuple):
    """How long a part of the run took, in seconds.

    Attributes:
        name: The name of the part.
        hosts: The number of hosts that got so far.
        median: The median of the times.
        most: The time that 95 of 100 hosts did not exceed.
        longest: The longest time.
        slowest: The name of the host that took it.
    """

    name: str
    hosts: int
    median: float
    most: float
    longest: float
    slowest: str


_PARTS: Final[tuple[tuple[str, Callable[[Seconds], float | None]], ...]] = (
    ("connect", lambda seconds: seconds.connect),
    ("login", lambda seconds: seconds.auth),
    ("run", lambda seconds: seconds.run),
    ("close", lambda seconds: seconds.close),
    ("in all", lambda seconds: seconds.total),
)


class ReportData:
    """The events of a run, as far as the page needs them.

    Attributes:
        started: The first event; ``None`` before it.
        finished: The last event; ``None`` if the run broke off.
        rows: The hosts, in the order of the selection.
        last: The time of the last event, in seconds since the run began.
        copies: The number of files ``copied``, ``failed``, or left out for a reason.
        copied_bytes: The size of all of them.
        failed_files: The first files that could not be copied: host, path, reason.
    """

    def __init__(self) -> None:
        self.started: RunStarted | None = None
        self.finished: RunFinished | None = None
        self.rows: dict[str, HostRow] = {}
        self.last = 0.0
        self.copies: Counter[str] = Counter()
        self.copied_bytes = 0
        self.failed_files: list[tuple[str, str, str]] = []

    def feed(self, event: Event) -> None:
        """Take the next event."""
        self.last = max(self.last, event.t)
        match event:
            case RunStarted():
                self.started = event
                self.rows = {host: HostRow() for host in event.hosts}
            case HostStarted():
                row = self._row(event.host)
                row.starts = (*row.starts, event.t)
            case HostFinished():
                self._row(event.host).finished = event
            case Copied():
                self._copied(event)
            case RunFinished():
                self.finished = event
            case _:
                pass

    def _row(self, host: str) -> HostRow:
        """Find or make the row of a host: the beginning of a damaged record may not name it."""
        return self.rows.setdefault(host, HostRow())

    def _copied(self, event: Copied) -> None:
        self.copied_bytes += event.size
        if event.error is None:
            self.copies[event.skipped or "copied"] += 1
            return
        self.copies["failed"] += 1
        if len(self.failed_files) < FILES_NAMED:
            self.failed_files.append((event.host, event.path, event.error))

    def counts(self) -> dict[Status, int]:
        """Count the hosts of each status that occurs, in the order of ``OUTCOMES``."""
        counted = Counter(row.outcome for row in self.rows.values())
        return {outcome: counted[outcome] for outcome in OUTCOMES if counted[outcome]}

    def failures(self) -> list[FailureGroup]:
        """Group the hosts that are not ok as the summary does."""
        groups = FailureGroups()
        for host, row in self.rows.items():
            if row.outcome is not Status.OK:
                error = None if row.finished is None else row.finished.error
                groups.add(host, row.outcome, row.reason, error)
        return groups.in_order()

    def times(self) -> list[PartTimes]:
        """Measure how long each part of the run took, for the hosts that got so far."""
        found = []
        ended = [row.finished for row in self.rows.values() if row.finished is not None and row.starts]
        for name, part in _PARTS:
            took = sorted((value, each.host) for each in ended if (value := part(each.seconds)) is not None)
            if took:
                at = [value for value, _ in took]
                median, most = at[(len(at) - 1) // 2], at[(len(at) - 1) * 95 // 100]
                found.append(PartTimes(name, len(at), median, most, *took[-1]))
        return found

    def closed_by(self) -> dict[ClosedBy, int]:
        """Count connections by the end that closed first, as the run counted them or as the hosts report."""
        if self.finished is not None:
            return dict(self.finished.ports.closed_by)
        ends = (row.finished.closed_by for row in self.rows.values() if row.finished is not None)
        return dict(Counter(end for end in ends if end is not None))


_DIGITS = 4
"""Digits of seconds: a tenth of a millisecond is finer than anything that is drawn."""


def figures(record: ReportData, selection: PageOutputs) -> dict[str, Any]:
    """Make the data that ``assets/data.js`` reads.

    Args:
        record: The events of the run.
        selection: The outputs of the page, which hosts refer to by number.

    Returns:
        ``hosts`` has a list for each column, all of them in the order of the selection. Strings that many
        hosts share are in ``words`` once, and the columns have their indices.
    """
    words = _StringTable()
    group_of = {host: number for number, group in enumerate(selection.shown) for host in group.hosts}
    rows = record.rows.items()
    return {
        "seconds": _rounded(record.last if record.finished is None else record.finished.seconds),
        "fanout": 0 if record.started is None else record.started.fanout,
        "outcomes": [status.value for status in OUTCOMES],
        "hosts": {
            "name": [escape_text(host) for host, _ in rows],
            "outcome": [OUTCOMES.index(row.outcome) for _, row in rows],
            "ending": [words.index(_ending(row)) for _, row in rows],
            "message": [words.index(_message(row)) for _, row in rows],
            "starts": [[_rounded(start) for start in row.starts] for _, row in rows],
            "times": [_times(row.finished) for _, row in rows],
            "port": [None if row.finished is None else row.finished.local_port for _, row in rows],
            "closedBy": [words.index(_closed_by(row.finished)) for _, row in rows],
            "bytes": [_bytes(row.finished) for _, row in rows],
            "group": [group_of.get(host) for host, _ in rows],
        },
        "words": words.all,
    }


class _StringTable:
    """Strings, each of them once."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._indices: dict[str, int] = {}

    def index(self, word: str) -> int:
        if word not in self._indices:
            self._indices[word] = len(self.all)
            self.all.append(word)
        return self._indices[word]


def _ending(row: HostRow) -> str:
    return format_status(row.outcome) if row.finished is None else format_ending(row.finished)


def _message(row: HostRow) -> str:
    if row.finished is None:
        return NO_END if row.starts else ""
    return "" if row.finished.error is None else escape_text(row.finished.error.message)


def _closed_by(finished: HostFinished | None) -> str:
    return "" if finished is None or finished.closed_by is None else finished.closed_by.value


def _times(finished: HostFinished | None) -> list[float | None] | None:
    """The times of connect, login, run, close and total, and when the host ended."""
    if finished is None:
        return None
    seconds = finished.seconds
    parts = (seconds.connect, seconds.auth, seconds.run, seconds.close, seconds.total, finished.t)
    return [_rounded(part) for part in parts]


def _bytes(finished: HostFinished | None) -> list[int]:
    return [0, 0] if finished is None else [finished.stdout_bytes, finished.stderr_bytes]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, _DIGITS)
