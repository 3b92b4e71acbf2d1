"""The hosts as columns of figures, which the page's script draws."""

from __future__ import annotations

from typing import Any

from multirsh.events import HostFinished
from multirsh.output.escape import escape_text
from multirsh.output.words import ending_words, status_words
from multirsh.report.outputs import Selection
from multirsh.report.record import NO_END, OUTCOMES, Record, Row

_DIGITS = 4
"""A tenth of a millisecond is finer than anything that is drawn."""


def figures(record: Record, selection: Selection) -> dict[str, Any]:
    """What ``assets/data.js`` reads.

    Args:
        record: The run's.
        selection: The outputs, of which each host is told its own.

    Returns:
        ``hosts`` has a list for each column, all of them in the selection's order; words that many hosts
        share stand once in ``words``, and the columns have their places there.
    """
    words = _Words()
    group_of = {host: number for number, group in enumerate(selection.shown) for host in group.hosts}
    rows = record.rows.items()
    return {
        "seconds": _rounded(record.last if record.finished is None else record.finished.seconds),
        "fanout": 0 if record.started is None else record.started.fanout,
        "outcomes": [status.value for status in OUTCOMES],
        "hosts": {
            "name": [escape_text(host) for host, _ in rows],
            "outcome": [OUTCOMES.index(row.outcome) for _, row in rows],
            "ending": [words.place(_ending(row)) for _, row in rows],
            "message": [words.place(_message(row)) for _, row in rows],
            "starts": [[_rounded(start) for start in row.starts] for _, row in rows],
            "times": [_times(row.finished) for _, row in rows],
            "port": [None if row.finished is None else row.finished.local_port for _, row in rows],
            "closedBy": [words.place(_closed_by(row.finished)) for _, row in rows],
            "bytes": [_bytes(row.finished) for _, row in rows],
            "group": [group_of.get(host) for host, _ in rows],
        },
        "words": words.all,
    }


class _Words:
    """Each word once."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._places: dict[str, int] = {}

    def place(self, word: str) -> int:
        if word not in self._places:
            self._places[word] = len(self.all)
            self.all.append(word)
        return self._places[word]


def _ending(row: Row) -> str:
    return status_words(row.outcome) if row.finished is None else ending_words(row.finished)


def _message(row: Row) -> str:
    if row.finished is None:
        return NO_END if row.starts else ""
    return "" if row.finished.error is None else escape_text(row.finished.error.message)


def _closed_by(finished: HostFinished | None) -> str:
    return "" if finished is None or finished.closed_by is None else finished.closed_by.value


def _times(finished: HostFinished | None) -> list[float | None] | None:
    """Connect, login, run, close, total, and when the host was over."""
    if finished is None:
        return None
    seconds = finished.seconds
    parts = (seconds.connect, seconds.auth, seconds.run, seconds.close, seconds.total, finished.t)
    return [_rounded(part) for part in parts]


def _bytes(finished: HostFinished | None) -> list[int]:
    return [0, 0] if finished is None else [finished.stdout_bytes, finished.stderr_bytes]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, _DIGITS)
