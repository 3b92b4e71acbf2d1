"""Events of a made-up run, with what a test does not care for filled in."""

from __future__ import annotations

from multirsh.events import Copied, HostFinished, HostStarted, Output, PortUse, RunFinished, RunStarted
from multirsh.model import ClosedBy, ErrorKind, Failure, Phase, Seconds, Status
from multirsh.output.batch import Stream


def run_started(*hosts: str) -> RunStarted:
    return RunStarted(run="r1", t=0.0, command="uptime", hosts=hosts, fanout=64, version="0.1.0")


def host_started(host: str, *, attempt: int = 1, t: float = 0.0) -> HostStarted:
    return HostStarted(run="r1", t=t, host=host, attempt=attempt)


def output(host: str, text: bytes, *, stream: Stream = "stdout", t: float = 0.0) -> Output:
    return Output(run="r1", t=t, host=host, stream=stream, data=text)


def copied(
    host: str,
    path: str = "/srv/f",
    size: int = 0,
    *,
    skipped: str | None = None,
    error: str | None = None,
    note: str | None = None,
) -> Copied:
    return Copied(
        run="r1", t=0.0, host=host, path=path, size=size, via="sftp", skipped=skipped, error=error, note=note
    )


def host_finished(
    host: str,
    status: Status = Status.OK,
    *,
    exit_status: int | None = None,
    signal: str | None = None,
    error: Failure | None = None,
    t: float = 0.0,
) -> HostFinished:
    return HostFinished(
        run="r1",
        t=t,
        host=host,
        status=status,
        exit_status=exit_status,
        signal=signal,
        error=error,
        attempts=1,
        closed_by=ClosedBy.REMOTE,
        local_port=40000,
        stdout_bytes=0,
        stderr_bytes=0,
        seconds=Seconds(connect=0.001, auth=0.01, run=0.02, close=0.001, total=0.031),
    )


def failure(kind: ErrorKind, phase: Phase, message: str) -> Failure:
    return Failure(kind=kind, phase=phase, message=message)


NO_PORTS = PortUse(peak=0, closed_by={}, time_wait_left=0)


def run_finished(
    counts: dict[Status, int],
    *,
    seconds: float = 3.21,
    ports: PortUse = NO_PORTS,
) -> RunFinished:
    """The end of a run; of one that used no local port, unless ``ports`` says otherwise."""
    return RunFinished(
        run="r1",
        t=seconds,
        counts=counts,
        exit_code=0,
        seconds=seconds,
        ports=ports,
    )
