"""A record's events as they are wanted later: made whole where the run broke, and only of some hosts."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from multirsh.events import (
    Copied,
    Event,
    HostFinished,
    HostStarted,
    Output,
    PortUse,
    RunFinished,
    RunStarted,
)
from multirsh.journal.entry import Outcome
from multirsh.journal.survey import status_of
from multirsh.model import ErrorKind, Failure, Phase, Seconds, Status

IN_DOUBT: Final = Failure(
    kind=ErrorKind.STOPPED,
    phase=Phase.RUN,
    message="the record ends before it did; its command may have run",
)
"""What is known of a host that was started and has no ending."""

_NO_TIME: Final = Seconds(connect=None, auth=None, run=None, close=None, total=0.0)
_NO_PORTS: Final = PortUse(peak=0, closed_by={}, time_wait_left=None)


def whole(events: Iterable[Event], *, has_gaps: bool = False) -> Iterator[Event]:
    """Give every host an ending: of a run that broke, those that have none are ``lost`` or ``not_run``.

    The run itself gets none, since nothing is known of it.

    Args:
        events: A record's, in its order.
        has_gaps: Whether the run went on without its record: then all that have no ending are ``lost``.
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
        yield ending_in_doubt(host, attempts, last)


def of_hosts(events: Iterable[Event], wanted: Collection[str]) -> Iterator[Event]:
    """Leave out all hosts but some; the run's own events are made to be of those alone.

    Args:
        events: A record's, in its order.
        wanted: Names of the hosts that stay.
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


def ending_in_doubt(host: str, attempts: int, last: Event) -> HostFinished:
    """The ending of a host that has none: ``lost``, or ``not_run`` where it was never tried.

    Args:
        host: Its name.
        attempts: How many were begun.
        last: An event of the run, when nothing more is known.
    """
    return HostFinished(
        run=last.run,
        t=last.t,
        host=host,
        status=status_of(Outcome(is_started=attempts > 0)),
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
