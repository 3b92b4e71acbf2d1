"""Runs that never were, and their records."""

from __future__ import annotations

from collections.abc import Sequence

from multirsh.events import Event, HostFinished, HostStarted, Output, PortUse, RunFinished, RunStarted
from multirsh.journal import Journal, Recorder
from multirsh.model import ClosedBy, Seconds, Status
from tests.waiting import HANG_GUARD_S


def started(run: str, *hosts: str, command: str = "uptime") -> RunStarted:
    return RunStarted(run=run, t=0.0, command=command, hosts=hosts, fanout=64, version="0.1.0")


def host_started(run: str, host: str) -> HostStarted:
    return HostStarted(run=run, t=0.0, host=host, attempt=1)


def output(run: str, host: str, data: bytes) -> Output:
    return Output(run=run, t=0.5, host=host, stream="stdout", data=data)


def host_finished(run: str, host: str, status: Status = Status.OK) -> HostFinished:
    return HostFinished(
        run=run,
        t=1.0,
        host=host,
        status=status,
        exit_status={Status.OK: 0, Status.FAILED: 1}.get(status),
        signal=None,
        error=None,
        attempts=0 if status is Status.NOT_RUN else 1,
        closed_by=ClosedBy.REMOTE,
        local_port=40000,
        stdout_bytes=3,
        stderr_bytes=0,
        seconds=Seconds(total=1.0),
    )


def finished(run: str, counts: dict[Status, int], *, exit_code: int = 0) -> RunFinished:
    ports = PortUse(
        peak=1,
        closed_by=dict.fromkeys(ClosedBy, 0) | {ClosedBy.REMOTE: sum(counts.values())},
        time_wait_left=0,
    )
    return RunFinished(run=run, t=2.0, counts=counts, exit_code=exit_code, seconds=2.0, ports=ports)


def whole(run: str, *hosts: str, command: str = "uptime") -> list[Event]:
    """A run in which every host answered ``up``."""
    told: list[Event] = [started(run, *hosts, command=command)]
    for host in hosts:
        told += [host_started(run, host), output(run, host, b"up\n"), host_finished(run, host)]
    return [*told, finished(run, {Status.OK: len(hosts)})]


def keep(journal: Journal, events: Sequence[Event], **settings: object) -> None:
    """Record ``events`` and wait until they are safe."""
    recorder = Recorder(journal, **settings)  # type: ignore[arg-type]  # a test's own business
    for event in events:
        recorder.record(event)
    ticket = recorder.close()
    if ticket is not None:
        ticket.result(timeout=HANG_GUARD_S)
