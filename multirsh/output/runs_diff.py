"""``multirsh runs diff``: what is different in two runs, host by host, folded by identical change.

A host has changed if it ended differently (status, exit status, signal, or the kind and phase of its error),
or if it wrote something else. How long it took does not count, and neither does the text of an error, which
may hold a time or an address.

Hosts that wrote the same before, and the same after, are compared once. A change is identified by the lines
that were removed and added, wherever they stand: a package that is new in a hundred lists is one change,
whatever else each list holds. The output of both runs is kept in a store, so memory is bounded; of texts that
are too long to be compared line by line only the sizes are shown. Where a command ran in one of the two runs
only, its output is not reported as removed or added.

For people::

    --- 7f3a21 2026-11-20 16:30:00 uptime
    +++ c0ffee 2026-11-21 16:30:02 uptime
    ---- web[01-07] (7, was ok, now exit 3)
    @@ -1 +1 @@
    -release 41
    +release 42
    only in the first run: db9
    491 hosts did the same, 7 changed, 1 in one run only

For programs, a JSON object a line; the keys are documented in docs/runs.md.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from multirsh.events import Event, HostFinished
from multirsh.inventory import fold
from multirsh.inventory.fold import natural_key
from multirsh.model import Status
from multirsh.output.batch import STREAMS, Stream, Write
from multirsh.output.diff import LONGEST_BYTES, compare_texts
from multirsh.output.escape import escape_text
from multirsh.output.formatting import format_ending, plural, size
from multirsh.output.gather import BlockFormatter, CollectedOutput, Collector, GroupKey
from multirsh.output.ndjson import safe
from multirsh.output.normalize import Normalizer
from multirsh.output.store import OutputStore, StoredBuffer

_BEFORE_THE_COMMAND: Final = frozenset(
    {Status.NOT_RUN, Status.UNREACHABLE, Status.AUTH, Status.HOSTKEY, Status.LOCAL}
)


class HostEnding(NamedTuple):
    """How a host ended, as far as it counts in a comparison.

    Attributes:
        status: The status.
        exit_status: 0-255 or ``None``.
        signal: The name without ``SIG``, or ``None``.
        kind: The kind of the error, or ``None``.
        phase: The phase of the error, or ``None``.
    """

    status: str
    exit_status: int | None
    signal: str | None
    kind: str | None
    phase: str | None

    @classmethod
    def of(cls, finished: HostFinished) -> HostEnding:
        """Take what counts from the event of a host's end."""
        error = finished.error
        return cls(
            finished.status.value,
            finished.exit_status,
            finished.signal,
            None if error is None else error.kind.value,
            None if error is None else error.phase.value,
        )


@dataclass(frozen=True, slots=True)
class StreamChange:
    """How one stream changed.

    Attributes:
        before: Its size in the first run, in bytes.
        after: Its size in the second run.
        diff: The difference, in the unified format without file names; ``None`` if it is too long.
    """

    before: int
    after: int
    diff: StoredBuffer | None


@dataclass(slots=True)
class HostChange:
    """A change that one or more hosts have in common.

    Attributes:
        hosts: The names of the hosts.
        before: How the first of them ended in the first run.
        after: How it ended in the second run.
        streams: The streams that changed, as the first of them wrote them.
        has_other_texts: Whether the text around the change differs between the hosts.
    """

    hosts: list[str]
    before: HostFinished
    after: HostFinished
    streams: Mapping[Stream, StreamChange]
    has_other_texts: bool = False

    @property
    def is_of_ending(self) -> bool:
        """Whether the hosts ended differently."""
        return HostEnding.of(self.before) != HostEnding.of(self.after)


@dataclass(slots=True)
class RunDifferences:
    """Everything that is different between two runs.

    Attributes:
        same: Hosts that did the same.
        changes: The changes, those of most hosts first.
        only_before: Hosts that are in the first run only.
        only_after: Hosts that are in the second run only.
    """

    same: list[str] = field(default_factory=list)
    changes: list[HostChange] = field(default_factory=list)
    only_before: list[str] = field(default_factory=list)
    only_after: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether anything is different."""
        return bool(self.changes or self.only_before or self.only_after)


class _HostInRun(NamedTuple):
    """How a host ended and what it wrote, in one run.

    Attributes:
        ending: How it ended.
        key: The digests of its output.
        output: Its output.
    """

    ending: HostEnding
    key: GroupKey
    output: CollectedOutput

    @property
    def has_not_run(self) -> bool:
        """Whether no command ran that could have written anything."""
        return self.output.ending.status in _BEFORE_THE_COMMAND and self.output.is_empty

    def is_like(self, other: _HostInRun) -> bool:
        """Whether nothing that counts is different."""
        return (self.ending, self.key.digests) == (other.ending, other.key.digests)


def compare_runs(
    before: Iterable[Event], after: Iterable[Event], store: OutputStore, normalizer: Normalizer | None = None
) -> RunDifferences:
    """Compare two runs.

    Args:
        before: The first run's events; each host has an ending.
        after: The second run's events, likewise.
        store: Keeps the output of hosts, and the differences.
        normalizer: What is ignored; ``None`` to compare everything.
    """
    return _Comparison(store, normalizer).of(before, after)


class _Comparison:
    """Compares two runs, of which the first is read before the second."""

    def __init__(self, store: OutputStore, normalizer: Normalizer | None) -> None:
        self._store = store
        self._normalizer = normalizer
        self._found = RunDifferences()
        self._pairs: dict[tuple[object, ...], tuple[list[str], _HostInRun, _HostInRun]] = {}

    def of(self, before: Iterable[Event], after: Iterable[Event]) -> RunDifferences:
        """Read both runs, and find what is different."""
        found = self._found
        olds: dict[str, _HostInRun] = {}
        for old in self._hosts_of(before):
            olds[old.output.hosts[0]] = old
        for new in self._hosts_of(after):
            self._pair(olds.pop(new.output.hosts[0], None), new)
        for host, old in olds.items():
            found.only_before.append(host)
            old.output.drop()
        self._fold()
        return found

    def _hosts_of(self, events: Iterable[Event]) -> Iterator[_HostInRun]:
        collector = Collector(self._store.buffer, STREAMS, self._normalizer)
        for event in events:
            if taken := collector.feed(event):
                key, output = taken
                yield _HostInRun(HostEnding.of(output.ending), key, output)

    def _pair(self, old: _HostInRun | None, new: _HostInRun) -> None:
        """Pair a host of the second run with the same host of the first."""
        (host,) = new.output.hosts
        if old is None:
            self._found.only_after.append(host)
            new.output.drop()
            return
        pair = (old.ending, old.key.digests, new.ending, new.key.digests)
        if old.is_like(new):
            self._found.same.append(host)
        elif pair in self._pairs:
            self._pairs[pair][0].append(host)
        else:
            self._pairs[pair] = ([host], old, new)
            return
        old.output.drop()
        new.output.drop()

    def _fold(self) -> None:
        """Compare the pairs that differ, and put hosts with equal changes together."""
        folded: dict[tuple[object, ...], HostChange] = {}
        for hosts, old, new in self._pairs.values():
            streams: dict[Stream, StreamChange] = {}
            identities: list[tuple[Stream, bytes]] = []
            for place, stream in enumerate(STREAMS):
                compared = self._stream_change(place, old, new)
                if compared is not None:
                    streams[stream], identity = compared
                    identities.append((stream, identity))
            old.output.drop()
            new.output.drop()
            if not streams and old.ending == new.ending:
                self._found.same += hosts  # they differ in what does not count
                continue
            key = (old.ending, new.ending, *identities)
            if key in folded:
                folded[key].hosts += hosts
                folded[key].has_other_texts = bool(streams)
                for change in streams.values():
                    if change.diff is not None:
                        change.diff.drop()
            else:
                folded[key] = HostChange(hosts, old.output.ending, new.output.ending, streams)
        self._found.changes = sorted(
            folded.values(), key=lambda change: (-len(change.hosts), min(map(natural_key, change.hosts)))
        )

    def _stream_change(
        self, place: int, old: _HostInRun, new: _HostInRun
    ) -> tuple[StreamChange, bytes] | None:
        """Compare a stream; return the change and what identifies it, or ``None`` if there is none."""
        digests = old.key.digests[place], new.key.digests[place]
        if digests[0] == digests[1] or old.has_not_run or new.has_not_run:
            return None
        before, after = old.output.buffers[STREAMS[place]], new.output.buffers[STREAMS[place]]
        sizes = before.size, after.size
        compared = None
        if sum(sizes) <= LONGEST_BYTES:
            normalize = None if self._normalizer is None else self._normalizer.for_host(old.output.hosts[0])
            compared = compare_texts(b"".join(before.pieces()), b"".join(after.pieces()), normalize)
        if compared is None:
            return StreamChange(*sizes, None), b"".join(digests)
        if not compared.lines:
            return None
        diff = self._store.buffer()
        diff.append(b"".join(compared.lines))
        return StreamChange(*sizes, diff), compared.identity


def diff_report(changes: RunDifferences, formatter: BlockFormatter) -> Iterator[Write]:
    """Write what is different, the change of most hosts first, and at the end how many hosts did the same.

    The lines that name the two runs are written by the caller.
    """
    for change in changes.changes:
        yield formatter.rule(change.hosts, _facts(change))
        for stream in STREAMS:
            if stream in change.streams:
                yield from _stream(change.streams[stream], formatter, is_stderr=stream == "stderr")
    for words, hosts in (
        ("only in the first run", changes.only_before),
        ("only in the second run", changes.only_after),
    ):
        if hosts:
            yield formatter.line(f"{words}: {escape_text(fold(hosts))}")
    yield formatter.line(_counts(changes))


def diff_json(changes: RunDifferences, before: str, after: str) -> Iterator[Write]:
    """Write objects: both runs, each change, the hosts of one run only, and those that did the same.

    Args:
        changes: What is different.
        before: The identifier of the first run.
        after: The identifier of the second.
    """
    yield _object({"kind": "runs", "before": before, "after": after})
    for change in changes.changes:
        yield _object(
            {
                "kind": "changed",
                "hosts": change.hosts,
                "before": _ending(change.before),
                "after": _ending(change.after),
                **{stream: _difference(change.streams.get(stream)) for stream in STREAMS},
            }
        )
    for kind, hosts in (
        ("only_before", changes.only_before),
        ("only_after", changes.only_after),
        ("same", changes.same),
    ):
        if hosts:
            yield _object({"kind": kind, "hosts": hosts})


def _facts(change: HostChange) -> list[str]:
    as_in = [f"shown as in {escape_text(change.hosts[0])}"] if change.has_other_texts else []
    return [str(len(change.hosts)), *_endings(change), *as_in]


def _endings(change: HostChange) -> list[str]:
    if change.is_of_ending:
        before, after = format_ending(change.before), format_ending(change.after)
        if before == after:  # only the error's kind or phase tells them apart
            before, after = _with_error(change.before), _with_error(change.after)
        return [f"was {before}, now {after}"]
    return [] if change.after.status is Status.OK else [format_ending(change.after)]


def _with_error(finished: HostFinished) -> str:
    error = finished.error
    return f"{format_ending(finished)}: " + (
        f"{error.phase.value} {error.kind.value}" if error else "no error"
    )


def _stream(change: StreamChange, formatter: BlockFormatter, *, is_stderr: bool) -> Iterator[Write]:
    if is_stderr:
        yield formatter.line("stderr:")
    if change.diff is None:
        yield formatter.line(
            f"{size(change.before)} before, {size(change.after)} after: too long to be compared line by line"
        )
        return
    rest = b""
    for piece in change.diff.pieces():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield formatter.diff_line(line + b"\n")


def _counts(changes: RunDifferences) -> str:
    changed = sum(len(change.hosts) for change in changes.changes)
    parts = [f"{plural(len(changes.same), 'host')} did the same", f"{changed} changed"]
    only = len(changes.only_before) + len(changes.only_after)
    return ", ".join([*parts, *([f"{only} in one run only"] if only else [])])


def _ending(finished: HostFinished) -> dict[str, Any]:
    values = finished.to_dict()
    return {key: values[key] for key in ("status", "exit_status", "signal", "error")}


def _difference(change: StreamChange | None) -> dict[str, Any] | None:
    if change is None:
        return None
    sizes: dict[str, Any] = {"bytes_before": change.before, "bytes_after": change.after}
    if change.diff is None:
        return sizes | {"diff": None}
    text = b"".join(change.diff.pieces())
    try:
        return sizes | {"diff": text.decode()}
    except UnicodeDecodeError:
        return sizes | {"diff_b64": base64.b64encode(text).decode("ascii")}


def _object(values: Mapping[str, Any]) -> Write:
    line = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Write("stdout", f"{safe(line)}\n".encode())
