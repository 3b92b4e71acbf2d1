"""What happened in a run, as values: the library's events, the journal's rows, the lines of ``--json``.

One schema serves all three. ``to_dict`` gives the JSON object of the
contract, and ``from_dict`` makes the event of it again; its keys and words
are stable. Order that may be relied upon: one
``RunStarted`` first, one ``RunFinished`` last; for a host, ``HostStarted``
(if it was started at all), its output, then its one ``HostFinished``.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, TypeAlias, TypeVar

from multirsh.model import ClosedBy, ErrorKind, Failure, Fate, Phase, Seconds, Status

JsonObject: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """The run has begun.

    Attributes:
        run: The run's identifier, the same in all its events.
        t: Seconds since the run began, monotonic.
        command: The command as sent to every host.
        hosts: Names of all hosts of the run, in the selection's order.
        fanout: The most hosts in flight at once.
        version: multirsh's version.
    """

    name: ClassVar[Literal["run_started"]] = "run_started"
    run: str
    t: float
    command: str
    hosts: tuple[str, ...]
    fanout: int
    version: str

    def to_dict(self) -> JsonObject:
        """The event as the contract's JSON object."""
        return _head(self) | {
            "command": self.command,
            "hosts": list(self.hosts),
            "fanout": self.fanout,
            "version": self.version,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStarted:
    """An attempt at a host has begun.

    Attributes:
        run: The run's identifier.
        t: Seconds since the run began.
        host: The host's name.
        attempt: The number of the attempt, from 1.
    """

    name: ClassVar[Literal["host_started"]] = "host_started"
    run: str
    t: float
    host: str
    attempt: int

    def to_dict(self) -> JsonObject:
        """The event as the contract's JSON object."""
        return _head(self) | {"host": self.host, "attempt": self.attempt}


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Bytes that a host's command wrote.

    The bytes arrived together: they may be several lines, or a part of one.

    Attributes:
        run: The run's identifier.
        t: Seconds since the run began.
        host: The host's name.
        stream: The stream that they were written to.
        data: The bytes, unchanged.
    """

    run: str
    t: float
    host: str
    stream: Literal["stdout", "stderr"]
    data: bytes

    @property
    def name(self) -> Literal["stdout", "stderr"]:
        """The event's name in the contract."""
        return self.stream

    def to_dict(self) -> JsonObject:
        """The event as the contract's JSON object: with ``data``, or ``data_b64`` if it is not UTF-8."""
        try:
            return _head(self) | {"host": self.host, "data": self.data.decode()}
        except UnicodeDecodeError:
            return _head(self) | {"host": self.host, "data_b64": base64.b64encode(self.data).decode("ascii")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A file was copied, or could not be. Only ``push`` and ``pull`` have it; a directory only on an error.

    Attributes:
        run: The run's identifier.
        t: Seconds since the run began.
        host: The host's name.
        path: The path on the host; bytes that are not UTF-8 are surrogates (PEP 383).
        size: Bytes that were sent or received for it.
        via: The protocol: ``sftp`` or ``scp``.
        skipped: Why it was skipped, such as ``unchanged``; ``None`` if it was not.
        error: Why it could not be copied; ``None`` if it could.
        note: What could not be kept of it, such as the owner of a file that is overwritten; ``None`` if
            everything was.
    """

    name: ClassVar[Literal["copied"]] = "copied"
    run: str
    t: float
    host: str
    path: str
    size: int
    via: str
    skipped: str | None = None
    error: str | None = None
    note: str | None = None

    def to_dict(self) -> JsonObject:
        """The event as the contract's JSON object."""
        return _head(self) | {
            "host": self.host,
            "path": self.path,
            "bytes": self.size,
            "via": self.via,
            "skipped": self.skipped,
            "error": self.error,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFinished:
    """A host has ended; there is one such event for each host.

    Attributes:
        run: The run's identifier.
        t: Seconds since the run began.
        host: The host's name.
        status: How it ended.
        exit_status: 0-255 where the command exited, else ``None``.
        signal: Name without ``SIG`` where a signal ended the command, else ``None``.
        error: Why there is neither, or ``None``.
        attempts: How many attempts were made; 0 for ``not_run``.
        closed_by: The end that closed the TCP connection first; ``None`` if multirsh made no connection.
        local_port: The local port of the connection, or ``None``.
        stdout_bytes: Bytes of stdout that were received.
        stderr_bytes: Bytes of stderr that were received.
        seconds: The durations of the phases.
    """

    name: ClassVar[Literal["host_finished"]] = "host_finished"
    run: str
    t: float
    host: str
    status: Status
    exit_status: int | None
    signal: str | None
    error: Failure | None
    attempts: int
    closed_by: ClosedBy | None
    local_port: int | None
    stdout_bytes: int
    stderr_bytes: int
    seconds: Seconds

    def to_dict(self) -> JsonObject:
        """The event as the contract's JSON object."""
        seconds = self.seconds
        return _head(self) | {
            "host": self.host,
            "status": self.status.value,
            "exit_status": self.exit_status,
            "signal": self.signal,
            "error": None if self.error is None else _failure(self.error),
            "attempts": self.attempts,
            "closed_by": None if self.closed_by is None else self.closed_by.value,
            "local_port": self.local_port,
            "stdout_bytes": self.stdout_bytes,
            "stderr_bytes": self.stderr_bytes,
            "seconds": {
                "connect": _rounded(seconds.connect),
                "auth": _rounded(seconds.auth),
                "run": _rounded(seconds.run),
                "close": _rounded(seconds.close),
                "total": _rounded(seconds.total),
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PortUse:
    """How a run used this machine's local ports.

    Attributes:
        peak: The most connections that held a local port at once.
        closed_by: How many connections each end closed first, including those to jump hosts.
        time_wait_left: Sockets of this run that the kernel has in TIME_WAIT; ``None`` if its table cannot
            be read.
        waited: Connections that had to wait for a local port; it is not in the JSON object.
        longest_wait: The longest of these waits, in seconds; it is not in the JSON object.
    """

    peak: int
    closed_by: Mapping[ClosedBy, int]
    time_wait_left: int | None
    waited: int = 0
    longest_wait: float = 0.0

    def to_dict(self) -> JsonObject:
        """Return the JSON object under ``ports``."""
        return {
            "peak": self.peak,
            "closed_by": {who.value: self.closed_by.get(who, 0) for who in ClosedBy},
            "time_wait_left": self.time_wait_left,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished:
    """The run has ended, and all its connections are closed.

    Attributes:
        run: The run's identifier.
        t: Seconds since the run began.
        counts: Hosts of each status; a status that no host has is absent.
        exit_code: The exit code of the process, by the contract.
        seconds: The duration of the whole run.
        ports: How the run used the local ports.
    """

    name: ClassVar[Literal["run_finished"]] = "run_finished"
    run: str
    t: float
    counts: Mapping[Status, int]
    exit_code: int
    seconds: float
    ports: PortUse

    def to_dict(self) -> JsonObject:
        """The event as the contract's JSON object."""
        return _head(self) | {
            "counts": {status.value: self.counts[status] for status in Status if self.counts.get(status)},
            "exit_code": self.exit_code,
            "seconds": _rounded(self.seconds),
            "ports": self.ports.to_dict(),
        }


Event: TypeAlias = RunStarted | HostStarted | Output | Copied | HostFinished | RunFinished


def from_dict(row: Mapping[str, Any]) -> Event:
    """Make the event whose ``to_dict`` gave ``row``.

    What a row does not contain is not in the event: times are rounded to microseconds, ``PortUse.waited`` and
    ``longest_wait`` are 0, and a failure has no ``of_jump``. Unknown keys are ignored.

    Args:
        row: An object of the contract, as ``json`` parses it.

    Raises:
        ValueError: It is not one of the contract's events: an unknown ``event``, a key that is missing or of
            another type, or a word that is not in the contract.
    """
    name = row.get("event")
    make = _MAKERS.get(name) if isinstance(name, str) else None
    if make is None:
        raise ValueError(f"no event is called {name!r}")
    try:
        return make(row)
    except KeyError as error:
        raise ValueError(f"{name}: there is no {error.args[0]!r}") from None
    except (TypeError, OverflowError) as error:
        raise ValueError(f"{name}: {error}") from None


_Value = TypeVar("_Value")


def _is(row: Mapping[str, Any], key: str, *kinds: type[_Value]) -> _Value:
    """Return the value of ``key``, which must be of one of ``kinds``; a bool is not a number here."""
    value = row[key]
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise TypeError(f"{key!r} is {value!r}")
    return value


def _text(row: Mapping[str, Any], key: str) -> str:
    return _is(row, key, str)


def _text_or_none(row: Mapping[str, Any], key: str) -> str | None:
    return None if row[key] is None else _is(row, key, str)


def _count(row: Mapping[str, Any], key: str) -> int:
    return _is(row, key, int)


def _count_or_none(row: Mapping[str, Any], key: str) -> int | None:
    return None if row[key] is None else _is(row, key, int)


def _time(row: Mapping[str, Any], key: str) -> float:
    value = float(_is(row, key, int, float))
    if not math.isfinite(value):
        raise TypeError(f"{key!r} is {value!r}")
    return value


def _time_or_none(row: Mapping[str, Any], key: str) -> float | None:
    return None if row[key] is None else _time(row, key)


def _object(row: Mapping[str, Any], key: str) -> JsonObject:
    return _is(row, key, dict)


def _run_started(row: Mapping[str, Any]) -> RunStarted:
    return RunStarted(
        run=_text(row, "run"),
        t=_time(row, "t"),
        command=_text(row, "command"),
        hosts=tuple(str(host) for host in _is(row, "hosts", list)),
        fanout=_count(row, "fanout"),
        version=_text(row, "version"),
    )


def _host_started(row: Mapping[str, Any]) -> HostStarted:
    return HostStarted(
        run=_text(row, "run"), t=_time(row, "t"), host=_text(row, "host"), attempt=_count(row, "attempt")
    )


def _output(row: Mapping[str, Any]) -> Output:
    if "data" in row:
        data = _text(row, "data").encode()
    else:
        data = base64.b64decode(_text(row, "data_b64"), validate=True)
    stream: Literal["stdout", "stderr"] = "stdout" if row["event"] == "stdout" else "stderr"
    return Output(run=_text(row, "run"), t=_time(row, "t"), host=_text(row, "host"), stream=stream, data=data)


def _copied(row: Mapping[str, Any]) -> Copied:
    return Copied(
        run=_text(row, "run"),
        t=_time(row, "t"),
        host=_text(row, "host"),
        path=_text(row, "path"),
        size=_count(row, "bytes"),
        via=_text(row, "via"),
        skipped=_text_or_none(row, "skipped"),
        error=_text_or_none(row, "error"),
        note=_text_or_none(row, "note"),
    )


def _host_finished(row: Mapping[str, Any]) -> HostFinished:
    closed_by = _text_or_none(row, "closed_by")
    seconds = _object(row, "seconds")
    return HostFinished(
        run=_text(row, "run"),
        t=_time(row, "t"),
        host=_text(row, "host"),
        status=Status(row["status"]),
        exit_status=_count_or_none(row, "exit_status"),
        signal=_text_or_none(row, "signal"),
        error=None if row["error"] is None else _failure_of(_object(row, "error")),
        attempts=_count(row, "attempts"),
        closed_by=None if closed_by is None else ClosedBy(closed_by),
        local_port=_count_or_none(row, "local_port"),
        stdout_bytes=_count(row, "stdout_bytes"),
        stderr_bytes=_count(row, "stderr_bytes"),
        seconds=Seconds(
            connect=_time_or_none(seconds, "connect"),
            auth=_time_or_none(seconds, "auth"),
            run=_time_or_none(seconds, "run"),
            close=_time_or_none(seconds, "close"),
            total=_time(seconds, "total"),
        ),
    )


def _failure_of(said: Mapping[str, Any]) -> Failure:
    return Failure(
        ErrorKind(said["kind"]),
        Phase(said["phase"]),
        _text(said, "message"),
        fate=Fate(said["fate"]) if "fate" in said else None,
    )


def _run_finished(row: Mapping[str, Any]) -> RunFinished:
    counts, ports = _object(row, "counts"), _object(row, "ports")
    closed_by = _object(ports, "closed_by")
    return RunFinished(
        run=_text(row, "run"),
        t=_time(row, "t"),
        counts={Status(status): _count(counts, status) for status in counts},
        exit_code=_count(row, "exit_code"),
        seconds=_time(row, "seconds"),
        ports=PortUse(
            peak=_count(ports, "peak"),
            closed_by={ClosedBy(who): _count(closed_by, who) for who in closed_by},
            time_wait_left=_count_or_none(ports, "time_wait_left"),
        ),
    )


_MAKERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Event]]] = {
    "run_started": _run_started,
    "host_started": _host_started,
    "stdout": _output,
    "stderr": _output,
    "copied": _copied,
    "host_finished": _host_finished,
    "run_finished": _run_finished,
}


def _failure(failure: Failure) -> JsonObject:
    """Return the contract's object, with the fate of a command that was abandoned."""
    plain = {"kind": failure.kind.value, "phase": failure.phase.value, "message": failure.message}
    return plain if failure.fate is None else plain | {"fate": failure.fate.value}


def _head(event: Event) -> JsonObject:
    return {"event": event.name, "run": event.run, "t": _rounded(event.t)}


def _rounded(seconds: float | None) -> float | None:
    """Round to microseconds, which keeps the lines short."""
    return None if seconds is None else round(seconds, 6)
