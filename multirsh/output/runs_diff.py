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

from multirsh.events import Event, HostFinished, RunStarted
from multirsh.inventory import fold
from multirsh.inventory.fold import natural_key
from multirsh.model import Status
from multirsh.output.batch import STREAMS, Stream, Write
from multirsh.output.diff import LONGEST_BYTES, compare_texts
from multirsh.output.escape import escape_text
from multirsh.output.formatting import ending_words, plural, size
from multirsh.output.gather import Collector, Likeness, Page, Written
from multirsh.output.ndjson import safe
from multirsh.output.normalize import Normalizer
from multirsh.output.store import Store, Text

_BEFORE_THE_COMMAND: Final = frozenset(
    {Status.NOT_RUN, Status.UNREACHABLE, Status.AUTH, Status.HOSTKEY, Status.LOCAL}
)


class Ended(NamedTuple):
    """How a host ended, as far as it counts.

    Attributes:
        status: Its status.
        exit_status: 0-255 or ``None``.
        signal: Name without ``SIG``, or ``None``.
        kind: Of its error, or ``None``.
        phase: The same.
    """

    status: str
    exit_status: int | None
    signal: str | None
    kind: str | None
    phase: str | None

    @classmethod
    def of(cls, finished: HostFinished) -> Ended:
        """Take from an ending what counts."""
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
    """What became of one stream.

    Attributes:
        before: Bytes there were.
        after: Bytes there are.
        diff: The difference, in the unified format without file names; ``None`` where it is too long.
    """

    before: int
    after: int
    diff: Text | None


@dataclass(slots=True)
class Change:
    """What changed, the same for several hosts.

    Attributes:
        hosts: Their names.
        before: How the first of them ended in the first run.
        after: And in the second.
        streams: The streams that changed, in those of the first of them.
        has_other_texts: Whether others of them wrote something else around that.
    """

    hosts: list[str]
    before: HostFinished
    after: HostFinished
    streams: Mapping[Stream, StreamChange]
    has_other_texts: bool = False

    @property
    def is_of_ending(self) -> bool:
        """Whether it ended otherwise."""
        return Ended.of(self.before) != Ended.of(self.after)


@dataclass(slots=True)
class Changes:
    """All that is different.

    Attributes:
        before: How the first run began; ``None`` where its record does not say.
        after: And the second.
        same: Hosts that did the same.
        changes: What changed, that of most hosts first.
        only_before: Hosts that are in the first run only.
        only_after: Hosts that are in the second run only.
    """

    before: RunStarted | None = None
    after: RunStarted | None = None
    same: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    only_before: list[str] = field(default_factory=list)
    only_after: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether anything is different."""
        return bool(self.changes or self.only_before or self.only_after)


class _Side(NamedTuple):
    """How a host ended and what it wrote, in one run.

    Attributes:
        ended: What counts of the ending.
        likeness: Fingerprints of what it wrote.
        written: That itself.
    """

    ended: Ended
    likeness: Likeness
    written: Written

    @property
    def has_not_run(self) -> bool:
        """Whether there was no command that could have written anything."""
        return self.written.ending.status in _BEFORE_THE_COMMAND and self.written.is_empty

    def is_like(self, other: _Side) -> bool:
        """Whether nothing that counts is different."""
        return (self.ended, self.likeness.digests) == (other.ended, other.likeness.digests)


def changes_between(
    before: Iterable[Event], after: Iterable[Event], store: Store, normalizer: Normalizer | None = None
) -> Changes:
    """Compare two runs.

    Args:
        before: The first run's events; each host has an ending.
        after: The second's.
        store: Keeps what hosts wrote, and the differences.
        normalizer: What is not looked at; ``None`` to look at all.
    """
    return _Comparison(store, normalizer).of(before, after)


class _Comparison:
    """Two runs, of which the first is read before the second."""

    def __init__(self, store: Store, normalizer: Normalizer | None) -> None:
        self._store = store
        self._normalizer = normalizer
        self._found = Changes()
        self._pairs: dict[tuple[object, ...], tuple[list[str], _Side, _Side]] = {}

    def of(self, before: Iterable[Event], after: Iterable[Event]) -> Changes:
        """Read both, and word what is different."""
        found = self._found
        olds: dict[str, _Side] = {}
        for one in self._sides(before):
            if isinstance(one, RunStarted):
                found.before = one
            else:
                olds[one.written.hosts[0]] = one
        for one in self._sides(after):
            if isinstance(one, RunStarted):
                found.after = one
            else:
                self._meet(olds.pop(one.written.hosts[0], None), one)
        for host, old in olds.items():
            found.only_before.append(host)
            old.written.drop()
        self._fold()
        return found

    def _sides(self, events: Iterable[Event]) -> Iterator[RunStarted | _Side]:
        collector = Collector(self._store, STREAMS, self._normalizer)
        for event in events:
            if isinstance(event, RunStarted):
                yield event
            elif taken := collector.feed(event):
                likeness, written = taken
                yield _Side(Ended.of(written.ending), likeness, written)

    def _meet(self, old: _Side | None, new: _Side) -> None:
        """A host of the second run has ended."""
        (host,) = new.written.hosts
        if old is None:
            self._found.only_after.append(host)
            new.written.drop()
            return
        pair = (old.ended, old.likeness.digests, new.ended, new.likeness.digests)
        if old.is_like(new):
            self._found.same.append(host)
        elif pair in self._pairs:
            self._pairs[pair][0].append(host)
        else:
            self._pairs[pair] = ([host], old, new)
            return
        old.written.drop()
        new.written.drop()

    def _fold(self) -> None:
        """Compare what is left, and put equal changes together."""
        folded: dict[tuple[object, ...], Change] = {}
        for hosts, old, new in self._pairs.values():
            streams: dict[Stream, StreamChange] = {}
            identities: list[tuple[Stream, bytes]] = []
            for place, stream in enumerate(STREAMS):
                compared = self._stream_change(place, old, new)
                if compared is not None:
                    streams[stream], identity = compared
                    identities.append((stream, identity))
            old.written.drop()
            new.written.drop()
            if not streams and old.ended == new.ended:
                self._found.same += hosts  # they differ in what does not count
                continue
            key = (old.ended, new.ended, *identities)
            if key in folded:
                folded[key].hosts += hosts
                folded[key].has_other_texts = bool(streams)
                for change in streams.values():
                    if change.diff is not None:
                        change.diff.drop()
            else:
                folded[key] = Change(hosts, old.written.ending, new.written.ending, streams)
        self._found.changes = sorted(
            folded.values(), key=lambda change: (-len(change.hosts), min(map(natural_key, change.hosts)))
        )

    def _stream_change(self, place: int, old: _Side, new: _Side) -> tuple[StreamChange, bytes] | None:
        """What became of a stream, and what is the same for the same change; ``None`` where nothing did."""
        digests = old.likeness.digests[place], new.likeness.digests[place]
        if digests[0] == digests[1] or old.has_not_run or new.has_not_run:
            return None
        before, after = old.written.texts[STREAMS[place]], new.written.texts[STREAMS[place]]
        sizes = before.size, after.size
        compared = None
        if sum(sizes) <= LONGEST_BYTES:
            normalized = None if self._normalizer is None else self._normalizer.for_host(old.written.hosts[0])
            compared = compare_texts(b"".join(before.pieces()), b"".join(after.pieces()), normalized)
        if compared is None:
            return StreamChange(*sizes, None), b"".join(digests)
        if not compared.lines:
            return None
        diff = self._store.text()
        diff.append(b"".join(compared.lines))
        return StreamChange(*sizes, diff), compared.identity


def changes_report(changes: Changes, page: Page) -> Iterator[Write]:
    """What is different, the change of most hosts first, and at the end how many did the same.

    The lines that name the two runs are the caller's.
    """
    for change in changes.changes:
        yield page.rule(change.hosts, _facts(change))
        for stream in STREAMS:
            if stream in change.streams:
                yield from _stream(change.streams[stream], page, is_stderr=stream == "stderr")
    for words, hosts in (
        ("only in the first run", changes.only_before),
        ("only in the second run", changes.only_after),
    ):
        if hosts:
            yield page.line(f"{words}: {escape_text(fold(hosts))}")
    yield page.line(_counts(changes))


def changes_json(changes: Changes, before: str, after: str) -> Iterator[Write]:
    """The same as objects: the two runs, each change, then hosts that are in one run only, and the others.

    Args:
        changes: What is different.
        before: The first run's id.
        after: The second's.
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


def _facts(change: Change) -> list[str]:
    as_in = [f"shown as in {escape_text(change.hosts[0])}"] if change.has_other_texts else []
    return [str(len(change.hosts)), *_endings(change), *as_in]


def _endings(change: Change) -> list[str]:
    if change.is_of_ending:
        before, after = _words(change.before), _words(change.after)
        if before == after:  # only the error's kind or phase tells them apart
            before, after = _with_error(change.before), _with_error(change.after)
        return [f"was {before}, now {after}"]
    return [] if change.after.status is Status.OK else [_words(change.after)]


def _words(finished: HostFinished) -> str:
    return ending_words(finished)


def _with_error(finished: HostFinished) -> str:
    error = finished.error
    return f"{_words(finished)}: " + (f"{error.phase.value} {error.kind.value}" if error else "no error")


def _stream(change: StreamChange, page: Page, *, is_stderr: bool) -> Iterator[Write]:
    if is_stderr:
        yield page.line("stderr:")
    if change.diff is None:
        yield page.line(
            f"{size(change.before)} before, {size(change.after)} after: too long to be compared line by line"
        )
        return
    rest = b""
    for piece in change.diff.pieces():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield page.change(line + b"\n")


def _counts(changes: Changes) -> str:
    changed = sum(len(change.hosts) for change in changes.changes)
    parts = [f"{plural(len(changes.same), 'host')} did the same", f"{changed} changed"]
    only = len(changes.only_before) + len(changes.only_after)
    return ", ".join([*parts, *([f"{only} in one run only"] if only else [])])


def _ending(finished: HostFinished) -> dict[str, Any]:
    told = finished.to_dict()
    return {key: told[key] for key in ("status", "exit_status", "signal", "error")}


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
