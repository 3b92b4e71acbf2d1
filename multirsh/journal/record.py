r"""The record of one run: its rows, and what they say about the run and its hosts.

A record is one JSON object a line, in ASCII. Whatever a host wrote, a line is
safe to look at with ``cat``, and is read back exactly: other characters are
JSON's ``\uXXXX``. The key ``event`` comes first, so that readers can skip
output without parsing it.

A line without its end was being written when the power failed or the process
was killed, and is not read. A line that is not an object can only follow the
last fsync, since that covers everything before it; it is not read either.

In the plan, the ways to the hosts stand once each, and each host refers to one::

    "reached": {
      "ways": [{"transport": "ssh", "user": "deploy", "port": 22, "jump": "none"}],
      "hosts": {"web1": [0, null, "10.0.0.1"]}
    }

A host's list is the index of its way, the name that ssh_config was searched for
(null for the host's name), and the address that was connected to (null for
that name). A record is input: it may be damaged, or written by another program.
"""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final

from multirsh.events import Event, HostFinished, HostStarted, JsonObject, RunFinished, RunStarted, from_dict
from multirsh.model import HostRoute, Phase, RouteSettings, Settings, SourcePort, Status

SUFFIX: Final = ".ndjson"
UNFINISHED: Final = ".new"
"""Suffix of a record that has not been given its name yet."""

RESUME_LOCK: Final = ".claim"
"""Suffix of the file that is locked while a run is being resumed."""

FORMAT: Final = 1
"""Version of the format of rows; records of any other version are refused."""

_ENCODER: Final = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))
_OUTPUT: Final = (b'{"event":"stdout",', b'{"event":"stderr",')


def line_of(row: JsonObject) -> bytes:
    """Encode a row as a line."""
    return _ENCODER.encode(row).encode("ascii") + b"\n"


def rows(file: BinaryIO, *, with_output: bool = True) -> Iterator[JsonObject]:
    """Yield the rows from the current position of ``file``.

    Args:
        file: The record, which may still be written; it is read as far as it goes now.
        with_output: Whether to yield ``stdout`` and ``stderr`` rows; they are skipped unparsed.
    """
    for line in file:
        if not line.endswith(b"\n"):
            return
        if not with_output and line.startswith(_OUTPUT):
            continue
        row = row_of(line)
        if row is not None:
            yield row


def row_of(line: bytes) -> JsonObject | None:
    """Decode a line; ``None`` if it is not a JSON object."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def events(found: Iterable[JsonObject]) -> Iterator[Event]:
    """Yield the events among rows.

    Skipped are the rows that are not events, damaged rows, those of later versions, and events of hosts that
    are not part of the run.
    """
    known: frozenset[str] | None = None
    for row in found:
        try:
            event = from_dict(row)
        except ValueError:
            continue
        if isinstance(event, RunStarted):
            known = frozenset(event.hosts)
        elif known is not None and not isinstance(event, RunFinished) and event.host not in known:
            continue
        yield event


class RunState(enum.StrEnum):
    """How far a run has got, by its record."""

    RUNNING = "running"
    """The record is still being written."""
    FINISHED = "finished"
    """The record ends with ``run_finished``."""
    BROKEN = "broken"
    """The record ends without ``run_finished``: the process was killed, or recording failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """What lists of runs show of one run.

    Attributes:
        run: The run's identifier.
        began: The time when it began, in seconds since the epoch.
        state: How far it has got.
        command: The command, as ``run_started`` has it.
        hosts: The number of its hosts.
        counts: The number of hosts with each status, of those that have ended.
        exit_code: The exit code of a finished run, else ``None``.
        seconds: The duration of a finished run, else ``None``.
        size: The size of its record, in bytes.
        resumes: The identifier of the run that it resumes, or ``None``.
    """

    run: str
    began: float
    state: RunState
    command: str
    hosts: int
    counts: Mapping[Status, int]
    exit_code: int | None
    seconds: float | None
    size: int
    resumes: str | None

    def to_dict(self) -> JsonObject:
        """Return the summary as a row of the index and of ``multirsh runs --json``."""
        return {
            "run": self.run,
            "began": format_time(self.began),
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
    def from_dict(cls, row: Mapping[str, Any]) -> RunSummary:
        """Make the summary from a row of the index.

        Raises:
            ValueError: The row is not a summary.
        """
        try:
            return cls(
                run=str(row["run"]),
                began=parse_time(row["began"]),
                state=RunState(row["state"]),
                command=str(row["command"]),
                hosts=int(row["hosts"]),
                counts={Status(status): int(count) for status, count in row["counts"].items()},
                exit_code=None if row["exit_code"] is None else int(row["exit_code"]),
                seconds=None if row["seconds"] is None else _finite(row["seconds"]),
                size=int(row["bytes"]),
                resumes=None if row["resumes"] is None else str(row["resumes"]),
            )
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"not a summary: {error!r}") from None

    @classmethod
    def begun(cls, first: JsonObject, second: JsonObject) -> RunSummary:
        """Make the summary of a run that has begun, from the first two rows of its record.

        Raises:
            ValueError: The rows are not the first of a record.
        """
        event = next(events([second]), None)
        if first.get("event") != "record" or not isinstance(event, RunStarted):
            raise ValueError("these are not the first rows of a record")
        plan = first.get("plan")
        return cls(
            run=event.run,
            began=parse_time(str(first.get("began"))),
            state=RunState.RUNNING,
            command=event.command,
            hosts=len(event.hosts),
            counts={},
            exit_code=None,
            seconds=None,
            size=0,
            resumes=plan.get("resumes") if isinstance(plan, dict) else None,
        )

    def ended(self, ending: RunFinished, size: int) -> RunSummary:
        """Return the summary of the run once it is over.

        Args:
            ending: The run's last event.
            size: Bytes of its record.
        """
        return replace(
            self,
            state=RunState.FINISHED,
            counts=ending.counts,
            exit_code=ending.exit_code,
            seconds=ending.seconds,
            size=size,
        )


def format_time(seconds: float) -> str:
    """Format seconds since the epoch as RFC 3339, in UTC, to the millisecond."""
    return (
        datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    )


def parse_time(stamp: str) -> float:
    """Parse what ``format_time`` writes, into seconds since the epoch.

    Raises:
        ValueError: The text is not a time.
    """
    try:
        return datetime.fromisoformat(stamp).astimezone(UTC).timestamp()
    except OverflowError as error:
        raise ValueError(f"{stamp!r}: {error}") from None


def _finite(value: float) -> float:
    """Check a number of seconds.

    Raises:
        ValueError: The value is not a finite number.
    """
    seconds = float(value)
    if not math.isfinite(seconds):
        raise ValueError(f"{value!r} seconds")
    return seconds


@dataclass(frozen=True, slots=True)
class HostOutcome:
    """How a host ended, as far as the record says.

    Attributes:
        status: Its status; ``None`` if the run broke before the host ended.
        phase: The phase in which it failed, else ``None``.
        exit_status: The command's exit status, 0-255, if it exited, else ``None``.
        is_started: Whether an attempt was begun. Without a status, its command may have run.
        stdout_bytes: Bytes received, recorded or not.
        stderr_bytes: The same of the other stream.
    """

    status: Status | None = None
    phase: Phase | None = None
    exit_status: int | None = None
    is_started: bool = False
    stdout_bytes: int = 0
    stderr_bytes: int = 0

    @property
    def word(self) -> str:
        """The status, or else ``started`` or ``never``."""
        if self.status is not None:
            return self.status.value
        return "started" if self.is_started else "never"


NEVER: Final = HostOutcome()
STARTED: Final = HostOutcome(is_started=True)


def outcomes(events: Iterable[Event], *, has_gaps: bool = False) -> dict[str, HostOutcome]:
    """Return how each host ended, in the run's order.

    Args:
        events: The events of one run; output may be left out.
        has_gaps: Whether the run went on after recording had failed; then any host may have been started.
    """
    found: dict[str, HostOutcome] = {}
    for event in events:
        if isinstance(event, RunStarted):
            found |= dict.fromkeys(event.hosts, STARTED if has_gaps else NEVER)
        elif isinstance(event, HostStarted):
            found[event.host] = STARTED
        elif isinstance(event, HostFinished):
            found[event.host] = HostOutcome(
                event.status,
                None if event.error is None else event.error.phase,
                event.exit_status,
                is_started=event.attempts > 0,
                stdout_bytes=event.stdout_bytes,
                stderr_bytes=event.stderr_bytes,
            )
    return found


_MOST_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class RecordedRoutes:
    """The routes to the hosts of a recorded run.

    Attributes:
        routes: The routes by the hosts' names.
        ssh_config: The absolute path of the configuration file (``-F``), or ``none``; ``None`` for the
            default files.
    """

    routes: Mapping[str, HostRoute] = field(default_factory=dict)
    ssh_config: str | None = None

    def to_dict(self) -> JsonObject:
        """Return the routes as the plan holds them."""
        places: dict[RouteSettings, int] = {}
        hosts = {
            name: [
                places.setdefault(route.way, len(places)),
                None if route.target == name else route.target,
                None if route.address == route.target else route.address,
            ]
            for name, route in self.routes.items()
        }
        ways = [_way_row(way) for way in places]
        return _said({"ssh_config": self.ssh_config}) | {"ways": ways, "hosts": hosts}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> RecordedRoutes:
        """Make the routes from what the plan holds.

        Raises:
            ValueError: It cannot have been written by ``to_dict``.
            UsageError: A host cannot have such a name or setting.
        """
        try:
            ways = [_way_of(way) for way in row["ways"]]
            routes = {name: _route_of(name, said, ways) for name, said in row["hosts"].items()}
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(repr(error)) from None
        for name, route in routes.items():
            route.host(name)  # which checks the name and the settings
        return cls(routes, _text(row.get("ssh_config")))


def _said(row: JsonObject) -> JsonObject:
    return {key: value for key, value in row.items() if value}


def _way_row(way: RouteSettings) -> JsonObject:
    settings = way.settings
    return _said(
        {
            "transport": settings.transport,
            "user": settings.user,
            "port": settings.port,
            "identity": settings.identity,
            "jump": settings.jump,
            "source_port": settings.source_port,
            "hops": list(way.hops),
            "program": way.program,
        }
    )


def _way_of(row: Mapping[str, Any]) -> RouteSettings:
    port, source_port = row.get("port"), row.get("source_port")
    if port is not None and not (type(port) is int and 0 < port <= _MOST_PORT):
        raise ValueError(f"{port!r} is not a port")
    return RouteSettings(
        settings=Settings(
            user=_text(row.get("user")),
            port=port,
            identity=_text(row.get("identity")),
            jump=_text(row.get("jump")),
            transport=_text(row.get("transport")),
            source_port=None if source_port is None else SourcePort(source_port),
        ),
        hops=tuple((_some_text(name), _some_text(address)) for name, address in row.get("hops", ())),
        program=_text(row.get("program")),
    )


def _route_of(name: str, said: list[Any], ways: list[RouteSettings]) -> HostRoute:
    place, target, address = said
    if type(place) is not int or place < 0:
        raise ValueError(f"{place!r} is not the index of a way")
    searched = _text(target) or name
    return HostRoute(searched, _text(address) or searched, ways[place])


def _text(value: object) -> str | None:
    return None if value is None else _some_text(value)


def _some_text(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"{value!r} is not text")
    return value


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _is_texts_by_word(value: object) -> bool:
    return isinstance(value, dict) and all(_is_texts(texts) for texts in value.values())


_KINDS: Final[Mapping[str, Callable[[object], bool]]] = {
    **dict.fromkeys(("kind", "command", "cwd", "sudo", "script", "stdin", "resumes", "reruns"), _is_text),
    **dict.fromkeys(("template", "tty"), _is_flag),
    **dict.fromkeys(("copy", "env", "hosts"), _is_texts),
    "before": _is_texts_by_word,
    "reached": _is_object,
}


def malformed_key(plan: Mapping[str, Any]) -> str | None:
    """Return the first key of a plan whose value has a wrong type; ``None`` if there is none.

    Unknown keys are skipped: callers of the library may add their own.
    """
    for key, is_right in _KINDS.items():
        if plan.get(key) is not None and not is_right(plan[key]):
            return key
    return None
