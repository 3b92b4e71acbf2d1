"""What is known of a run at a glance, and what became of each of its hosts: values."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from multirsh.events import Event, HostFinished, HostStarted, JsonObject, RunStarted
from multirsh.model import Phase, Status


class State(enum.StrEnum):
    """How far a run has come."""

    RUNNING = "running"
    """It is still written."""
    FINISHED = "finished"
    """Its ``run_finished`` is there."""
    BROKEN = "broken"
    """It is not, and nobody writes any more: the process was killed, or the record could not be kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A run at a glance.

    Attributes:
        run: Its identifier.
        began: When, in seconds since the epoch.
        state: How far it has come.
        command: What it ran, as events tell it.
        hosts: How many it was for.
        counts: Hosts of each status, of those that have ended.
        exit_code: Of a finished run, else ``None``.
        seconds: How long a finished run took, else ``None``.
        size: Bytes of its record.
        resumes: The run that it goes on with, or ``None``.
    """

    run: str
    began: float
    state: State
    command: str
    hosts: int
    counts: Mapping[Status, int]
    exit_code: int | None
    seconds: float | None
    size: int
    resumes: str | None

    def to_dict(self) -> JsonObject:
        """As a row of the index, and as programs are shown it."""
        return {
            "run": self.run,
            "began": stamp_of(self.began),
            "state": self.state.value,
            "command": self.command,
            "hosts": self.hosts,
            "counts": {status.value: self.counts[status] for status in Status if self.counts.get(status)},
            "exit_code": self.exit_code,
            "seconds": None if self.seconds is None else round(self.seconds, 6),
            "bytes": self.size,
            "resumes": self.resumes,
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Entry:
        """Make the entry of its row.

        Raises:
            ValueError: It is no such row.
        """
        try:
            return cls(
                run=str(row["run"]),
                began=time_of(row["began"]),
                state=State(row["state"]),
                command=str(row["command"]),
                hosts=int(row["hosts"]),
                counts={Status(status): int(count) for status, count in row["counts"].items()},
                exit_code=None if row["exit_code"] is None else int(row["exit_code"]),
                seconds=None if row["seconds"] is None else _finite(row["seconds"]),
                size=int(row["bytes"]),
                resumes=None if row["resumes"] is None else str(row["resumes"]),
            )
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"no entry: {error!r}") from None


def stamp_of(seconds: float) -> str:
    """A time since the epoch as RFC 3339 has it, in UTC, to the millisecond."""
    return (
        datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    )


def time_of(stamp: str) -> float:
    """Its inverse, in seconds.

    Raises:
        ValueError: No such time.
    """
    try:
        return datetime.fromisoformat(stamp).astimezone(UTC).timestamp()
    except OverflowError as error:
        raise ValueError(f"{stamp!r}: {error}") from None


def _finite(value: float) -> float:
    """A number of seconds.

    Raises:
        ValueError: It is none, or without bound.
    """
    seconds = float(value)
    if not math.isfinite(seconds):
        raise ValueError(f"{value!r} seconds")
    return seconds


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a host, as far as the record says.

    Attributes:
        status: How it ended; ``None`` where the run broke before that.
        phase: Where it was, if its command has no ending of its own; else ``None``.
        exit_status: 0-255 where the command exited, else ``None``.
        is_started: Whether it was started: without a status, its command may have begun.
        stdout_bytes: Received in all, kept or not.
        stderr_bytes: The same.
    """

    status: Status | None = None
    phase: Phase | None = None
    exit_status: int | None = None
    is_started: bool = False
    stdout_bytes: int = 0
    stderr_bytes: int = 0

    @property
    def word(self) -> str:
        """The status, or ``started`` or ``never`` where there is none."""
        if self.status is not None:
            return self.status.value
        return "started" if self.is_started else "never"


NEVER: Final = Outcome()
STARTED: Final = Outcome(is_started=True)


def outcomes(events: Iterable[Event], *, has_gaps: bool = False) -> dict[str, Outcome]:
    """What became of each host, in the run's order.

    Args:
        events: Of one run; those of output may be absent.
        has_gaps: Whether the run went on without its record: then any host may have begun.
    """
    found: dict[str, Outcome] = {}
    for event in events:
        if isinstance(event, RunStarted):
            found |= dict.fromkeys(event.hosts, STARTED if has_gaps else NEVER)
        elif isinstance(event, HostStarted):
            found[event.host] = STARTED
        elif isinstance(event, HostFinished):
            found[event.host] = Outcome(
                event.status,
                None if event.error is None else event.error.phase,
                event.exit_status,
                is_started=event.attempts > 0,
                stdout_bytes=event.stdout_bytes,
                stderr_bytes=event.stderr_bytes,
            )
    return found
