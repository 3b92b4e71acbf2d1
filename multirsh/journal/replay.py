"""Reading a record again: what it says about its hosts, and its events, completed or filtered."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from multirsh.events import (
    Copied,
    Event,
    HostFinished,
    HostStarted,
    JsonObject,
    Output,
    PortUse,
    RunFinished,
    RunStarted,
)
from multirsh.journal.record import HostOutcome, events, outcomes
from multirsh.model import ErrorKind, Failure, Phase, Seconds, Status


@dataclass(frozen=True, slots=True)
class RecordSurvey:
    """What a record says apart from output.

    Attributes:
        started: The first event; ``None`` if the record has none.
        outcomes: How each host ended.
        cut_off: Hosts whose output exceeded the limit of the record.
        has_gaps: Whether the run went on after recording had failed; then any host without an ending may have
            run the command.
    """

    started: RunStarted | None = None
    outcomes: dict[str, HostOutcome] = field(default_factory=dict)
    cut_off: frozenset[str] = frozenset()
    has_gaps: bool = False


def survey(rows: Iterable[JsonObject]) -> RecordSurvey:
    """Survey the rows of a record; rows of output may be left out."""
    found = _OwnRows()
    kept = list(events(found.passing(rows)))
    started = next((event for event in kept if isinstance(event, RunStarted)), None)
    ended = outcomes(kept, has_gaps=found.has_gaps)
    return RecordSurvey(started, ended, frozenset(found.cut_off), has_gaps=found.has_gaps)


def status_of(outcome: HostOutcome) -> Status:
    """Return the status of a host; in a broken run, started hosts are ``lost`` and the others ``not_run``."""
    if outcome.status is not None:
        return outcome.status
    return Status.LOST if outcome.is_started else Status.NOT_RUN


class _OwnRows:
    """Collects what the rows say that are not events."""

    def __init__(self) -> None:
        self.cut_off: set[str] = set()
        self.has_gaps = False

    def passing(self, rows: Iterable[JsonObject]) -> Iterator[JsonObject]:
        """Pass all rows on."""
        for row in rows:
            match row.get("event"):
                case "record":
                    self.has_gaps = bool(row.get("gaps"))
                case "left_out":
                    self.cut_off.add(str(row.get("host")))
                case _:
                    pass
            yield row


IN_DOUBT: Final = Failure(
    kind=ErrorKind.STOPPED,
    phase=Phase.RUN,
    message="the record ends before it did; its command may have run",
)
"""The failure of a host that was started and has no ending."""

_NO_TIME: Final = Seconds(connect=None, auth=None, run=None, close=None, total=0.0)
_NO_PORTS: Final = PortUse(peak=0, closed_by={}, time_wait_left=None)


def completed(events: Iterable[Event], *, has_gaps: bool = False) -> Iterator[Event]:
    """Yield the events of a run, with an ending for every host of a broken run: ``lost`` or ``not_run``.

    The run itself is given no ending, since nothing is known of it.

    Args:
        events: The events of a record, in order.
        has_gaps: Whether the run went on after recording had failed; then such hosts are ``lost``.
    """
    hosts: dict[str, int] = {}
    last: Event | None = None
    for event in events:
        match event:
            case RunStarted():
                hosts = dict.fromkeys(event.hosts, int(has_gaps))
            case HostStarted():
                hosts[event.host] = event.attempt
            case HostFinished():
                hosts.pop(event.host, None)
            case _:
                pass
        last = event
        yield event
    if last is None or isinstance(last, RunFinished):
        return
    for host, attempts in hosts.items():
        yield unknown_ending(host, attempts, last)


def only_hosts(events: Iterable[Event], wanted: Collection[str]) -> Iterator[Event]:
    """Yield the events of some hosts, as if the run had been on those alone.

    Args:
        events: The events of a record, in order.
        wanted: The names of the hosts.
    """
    counts: Counter[Status] = Counter()
    for event in events:
        match event:
            case RunStarted():
                yield dataclasses.replace(event, hosts=tuple(host for host in event.hosts if host in wanted))
            case RunFinished():
                yield dataclasses.replace(event, counts=dict(counts), ports=_NO_PORTS)
            case HostStarted() | Output() | Copied() | HostFinished():
                if event.host not in wanted:
                    continue
                if isinstance(event, HostFinished):
                    counts[event.status] += 1
                yield event


def unknown_ending(host: str, attempts: int, last: Event) -> HostFinished:
    """Make an ending for a host that has none: ``lost``, or ``not_run`` if there was no attempt.

    Args:
        host: The host's name.
        attempts: The number of attempts.
        last: The last known event of the run.
    """
    return HostFinished(
        run=last.run,
        t=last.t,
        host=host,
        status=status_of(HostOutcome(is_started=attempts > 0)),
        exit_status=None,
        signal=None,
        error=IN_DOUBT if attempts else None,
        attempts=attempts,
        closed_by=None,
        local_port=None,
        stdout_bytes=0,
        stderr_bytes=0,
        seconds=_NO_TIME,
    )
