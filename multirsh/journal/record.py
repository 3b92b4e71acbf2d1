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
from multirsh.model import Phase, Settings, SourcePort, Status
from multirsh.routes import Route, Way

SUFFIX: Final = ".ndjson"
UNFINISHED: Final = ".new"
"""Of a record that has not got its name yet."""

RESUME_LOCK: Final = ".claim"

FORMAT: Final = 1
"""Of the rows; a reader refuses a later one."""

_ENCODER: Final = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))
_OUTPUT: Final = (b'{"event":"stdout",', b'{"event":"stderr",')


def line_of(row: JsonObject) -> bytes:
    """One row as its line."""
    return _ENCODER.encode(row).encode("ascii") + b"\n"


def rows(file: BinaryIO, *, with_output: bool = True) -> Iterator[JsonObject]:
    """The rows from where ``file`` stands.

    Args:
        file: Read line by line, as far as it is there when it is read.
        with_output: Whether ``stdout`` and ``stderr`` rows are wanted; to pass over them is quick.
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
    """The row of one line; ``None`` if it is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def events(found: Iterable[JsonObject]) -> Iterator[Event]:
    """The events among rows; rows of the record's own, damaged ones and those of later versions are none.

    Neither are those of hosts that are none of the run's.
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
    """How far a run has come."""

    RUNNING = "running"
    """It is still written."""
    FINISHED = "finished"
    """Its ``run_finished`` is there."""
    BROKEN = "broken"
    """It is not, and nobody writes any more: the process was killed, or the record could not be kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
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
    state: RunState
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
        """Make the entry of its row.

        Raises:
            ValueError: It is no such row.
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
            raise ValueError(f"no entry: {error!r}") from None

    @classmethod
    def begun(cls, first: JsonObject, second: JsonObject) -> RunSummary:
        """Make the summary of a run that has begun, from the first two rows of its record.

        Raises:
            ValueError: They are not the first rows of a record.
        """
        event = next(events([second]), None)
        if first.get("event") != "record" or not isinstance(event, RunStarted):
            raise ValueError("no record begins so")
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
    """A time since the epoch as RFC 3339 has it, in UTC, to the millisecond."""
    return (
        datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    )


def parse_time(stamp: str) -> float:
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
class HostOutcome:
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


NEVER: Final = HostOutcome()
STARTED: Final = HostOutcome(is_started=True)


def outcomes(events: Iterable[Event], *, has_gaps: bool = False) -> dict[str, HostOutcome]:
    """What became of each host, in the run's order.

    Args:
        events: Of one run; those of output may be absent.
        has_gaps: Whether the run went on without its record: then any host may have begun.
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
    """How hosts were reached.

    Attributes:
        routes: By the hosts' names.
        ssh_config: The file that was read in place of the usual ones (``-F``), absolute, or ``none``;
            ``None`` for the usual ones.
    """

    routes: Mapping[str, Route] = field(default_factory=dict)
    ssh_config: str | None = None

    def to_dict(self) -> JsonObject:
        """As it stands in the plan."""
        places: dict[Way, int] = {}
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
        """Make it of that.

        Raises:
            ValueError: It cannot be what was written.
            UsageError: A name or a setting is none that a host may have.
        """
        try:
            ways = [_way_of(way) for way in row["ways"]]
            routes = {name: _route_of(name, said, ways) for name, said in row["hosts"].items()}
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(repr(error)) from None
        for name, route in routes.items():
            route.host(name)  # it is made here to be checked
        return cls(routes, _text(row.get("ssh_config")))


def _said(row: JsonObject) -> JsonObject:
    return {key: value for key, value in row.items() if value}


def _way_row(way: Way) -> JsonObject:
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


def _way_of(row: Mapping[str, Any]) -> Way:
    port, source_port = row.get("port"), row.get("source_port")
    if port is not None and not (type(port) is int and 0 < port <= _MOST_PORT):
        raise ValueError(f"{port!r} is not a port")
    return Way(
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


def _route_of(name: str, said: list[Any], ways: list[Way]) -> Route:
    place, target, address = said
    if type(place) is not int or place < 0:
        raise ValueError(f"{place!r} is no way's place")
    asked = _text(target) or name
    return Route(asked, _text(address) or asked, ways[place])


def _text(value: object) -> str | None:
    return None if value is None else _some_text(value)


def _some_text(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"{value!r} is no text")
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
    """The first key under which something stands that cannot; ``None`` if there is none.

    Keys of nobody's are passed over: a library's caller may have some.
    """
    for key, is_right in _KINDS.items():
        if plan.get(key) is not None and not is_right(plan[key]):
            return key
    return None
