"""Gathered output: equal outputs once (``-b``, ``-B``, ``--diff``), or one block a host (``-L``).

Each host's output is collected until the host ends, with a digest by which equal outputs are found; one copy
is kept for each group. Groups are shown when the run is over, the largest first, so that the odd ones stand
last, right above the summary. While the run goes on, stderr comes as live lines unless it is gathered, too.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from multirsh.events import Event, HostFinished, HostStarted, Output, RunFinished, RunStarted
from multirsh.inventory import fold
from multirsh.inventory.fold import natural_key
from multirsh.model import Status
from multirsh.output.batch import STREAMS, Stream, Write
from multirsh.output.diff import LONGEST_BYTES, TextLines, line_edits, split_lines, unified_diff
from multirsh.output.escape import escape_text
from multirsh.output.formatting import Style, format_ending, stream_formats
from multirsh.output.live import LineAssembler
from multirsh.output.normalize import Normalizer
from multirsh.output.options import OutputOptions
from multirsh.output.store import OutputBuffer

DIGEST_BYTES: Final = 32

_RULE: Final = "----"
_STYLES: Final = {b"+": Style.GOOD, b"-": Style.BAD, b"@": Style.STDOUT_HOST}
_WIDEST: Final = 80
"""Columns of the longest rule: a longer one only makes the eye travel."""


class GroupKey(NamedTuple):
    """What hosts have in common if they belong to one group.

    Attributes:
        ending: The status, the exit status and the signal.
        digests: The digest of the normalized output, for each stream. A line feed at its end is not part of
            the digest proper, but follows it.
    """

    ending: tuple[Status, int | None, str | None]
    digests: tuple[bytes, ...]

    def without_final_newlines(self) -> GroupKey:
        """The same key for outputs that differ only in a line feed at their end."""
        return GroupKey(self.ending, tuple(digest[:DIGEST_BYTES] for digest in self.digests))


@dataclass(slots=True)
class CollectedOutput:
    """The output of one host, or of several with equal outputs.

    Attributes:
        hosts: The names of the hosts; the buffers hold the output of the first.
        ending: How the first of them ended.
        buffers: The output by stream, for the streams that are collected.
        lacks_newline: Streams without a line feed at the end, where another group differs in that alone.
    """

    hosts: list[str]
    ending: HostFinished
    buffers: dict[Stream, OutputBuffer]
    lacks_newline: list[Stream] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written."""
        return not any(buffer.size for buffer in self.buffers.values())

    def drop(self) -> None:
        """Release the buffers."""
        for buffer in self.buffers.values():
            buffer.drop()


class Collector:
    """Collects the output of each host until the host ends, then hands it over.

    Args:
        new_buffer: Makes an empty buffer.
        streams: The streams to collect.
        normalizer: What is ignored in the digests; ``None`` to compare everything.
    """

    def __init__(
        self,
        new_buffer: Callable[[], OutputBuffer],
        streams: Sequence[Stream],
        normalizer: Normalizer | None = None,
    ) -> None:
        self._new_buffer = new_buffer
        self._streams = tuple(stream for stream in STREAMS if stream in streams)
        self._normalizer = normalizer
        self._hosts: dict[str, dict[Stream, _CollectedStream]] = {}

    def feed(self, event: Event) -> tuple[GroupKey, CollectedOutput] | None:
        """Take the next event, and return the output of the host that ends with it, if any."""
        match event:
            case Output() if event.stream in self._streams:
                streams = self._hosts.get(event.host)
                if streams is None:
                    streams = self._hosts[event.host] = self._empty(event.host)
                streams[event.stream].append(event.data)
            case HostStarted():  # a further attempt: the output of the last one does not count
                for stream in self._hosts.pop(event.host, {}).values():
                    stream.buffer.drop()
            case HostFinished():
                return self._take(event)
            case _:
                pass
        return None

    def _take(self, finished: HostFinished) -> tuple[GroupKey, CollectedOutput]:
        host = finished.host
        streams = self._hosts.pop(host, None) or self._empty(host)
        ending = (finished.status, finished.exit_status, finished.signal)
        key = GroupKey(ending, tuple(streams[stream].digest() for stream in self._streams))
        return key, CollectedOutput([host], finished, {name: each.buffer for name, each in streams.items()})

    def _empty(self, host: str) -> dict[Stream, _CollectedStream]:
        normalize = None if self._normalizer is None else self._normalizer.for_host(host)
        return {stream: _CollectedStream(self._new_buffer(), normalize) for stream in self._streams}


@dataclass(slots=True)
class _CollectedStream:
    """One stream of one host.

    Attributes:
        buffer: What the host wrote.
        normalize: Makes its lines comparable; ``None`` to compare them as they are.
        is_ended: Whether it ends with a line feed so far, which is not in the digest.
    """

    buffer: OutputBuffer
    normalize: Callable[[bytes], bytes] | None
    is_ended: bool = False
    _hash: hashlib.blake2b = field(default_factory=lambda: hashlib.blake2b(digest_size=DIGEST_BYTES))
    _lines: LineAssembler = field(default_factory=LineAssembler)

    def append(self, data: bytes) -> None:
        self.buffer.append(data)
        self._update(data if self.normalize is None else self.normalize(self._lines.feed(data)))

    def digest(self) -> bytes:
        if self.normalize is not None:
            self._update(self.normalize(self._lines.finish()))
        return self._hash.digest() + (b"\n" if self.is_ended else b"")

    def _update(self, data: bytes) -> None:
        if not data:
            return
        if self.is_ended:
            self._hash.update(b"\n")
        self.is_ended = data.endswith(b"\n")
        self._hash.update(memoryview(data)[: -1 if self.is_ended else None])


class OutputGroups:
    """The groups of equal outputs of one run so far, found as hosts end.

    Args:
        collector: Collects the output of the hosts in flight.
    """

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._groups: dict[GroupKey, CollectedOutput] = {}

    def feed(self, event: Event) -> None:
        """Take the next event."""
        taken = self._collector.feed(event)
        if taken is None:
            return
        key, output = taken
        group = self._groups.setdefault(key, output)
        if group is not output:
            output.drop()
            group.hosts += output.hosts

    @property
    def groups(self) -> list[CollectedOutput]:
        """All groups, in the order in which their first hosts ended."""
        alike = Counter(key.without_final_newlines() for key in self._groups)
        for key, group in self._groups.items():
            if alike[key.without_final_newlines()] > 1:
                group.lacks_newline = [
                    stream
                    for (stream, buffer), digest in zip(group.buffers.items(), key.digests, strict=True)
                    if buffer.size and len(digest) == DIGEST_BYTES
                ]
        return list(self._groups.values())

    def clear(self) -> None:
        """Forget the groups; their buffers stay, for the caller to drop."""
        self._groups.clear()


def missing_newline_note(output: CollectedOutput) -> str:
    """Word the difference from another output that looks the same; empty if there is none."""
    if not output.lacks_newline:
        return ""
    which = f" of {' and '.join(output.lacks_newline)}" if len(output.buffers) > 1 else ""
    return f"no newline at the end{which}"


class BlockFormatter:
    """Formats headers, blocks of output and lines of differences for stdout.

    Args:
        options: ``prefix`` (without it there are no headers), and what stdout is.
    """

    def __init__(self, options: OutputOptions) -> None:
        self._format = stream_formats(options)["stdout"]
        self._stdio = options.stdio
        self._has_headers = options.prefix

    def block(self, output: CollectedOutput, *, counted: bool) -> Iterator[Write]:
        """Show a header and the whole output, stream by stream.

        Args:
            output: What is shown.
            counted: Whether the header has the number of hosts.
        """
        yield from self.header(output, counted=counted, note=missing_newline_note(output))
        for buffer in output.buffers.values():
            yield from self._shown(buffer.pieces())

    def header(self, output: CollectedOutput, *, counted: bool, note: str = "") -> Iterator[Write]:
        """Name the hosts, folded, with their number, and how they ended if they did not end well."""
        if not self._has_headers:
            return
        facts = [str(len(output.hosts))] if counted else []
        if output.ending.status is not Status.OK:
            facts.append(format_ending(output.ending))
        if note:
            facts.append(note)
        yield self.rule(output.hosts, facts)

    def rule(self, hosts: Sequence[str], facts: Sequence[str] = ()) -> Write:
        """Make a line of folded host names with facts in parentheses; a rule fills it up on a terminal."""
        names = f"{_RULE} {escape_text(fold(hosts))}" + (f" ({', '.join(facts)})" if facts else "")
        rule = ""
        if self._format.is_terminal:
            columns = min(self._stdio.stdout_width(), _WIDEST) - 1
            rule = " " + "-" * max(4, columns - len(names) - 1)
        return self.line(self._format.paint(names + rule))

    def diff_line(self, line: bytes) -> Write:
        """Colour a line of a difference in the unified format by its first byte; the line has its end."""
        style = _STYLES.get(line[:1])
        shown = self._format.lines(line)
        if style is None:
            return Write("stdout", shown)
        before, _, after = self._format.paint("\0", style).encode().partition(b"\0")
        return Write("stdout", before + shown[:-1] + after + b"\n")

    @staticmethod
    def line(text: str) -> Write:
        """Make a line of multirsh's own words."""
        return Write("stdout", f"{text}\n".encode())

    def _shown(self, pieces: Iterable[bytes]) -> Iterator[Write]:
        """Exact for a pipe or file, but for a line feed that the last line lacks; escaped on a terminal."""
        last = b"\n"
        for shown in self._format.pieces(pieces):
            last = shown[-1:] or last
            yield Write("stdout", shown)
        if last != b"\n":
            yield Write("stdout", b"\n")


class GroupedOutput:
    """Shows equal outputs together, when the run is over.

    It keeps one output for each group, and the outputs of the hosts in flight.

    Args:
        collector: Collects the outputs.
        options: ``differences`` shows how each group differs from the largest, in place of its output; what
            ``normalizer`` ignores does not count there either.
    """

    def __init__(self, collector: Collector, options: OutputOptions) -> None:
        self._groups = OutputGroups(collector)
        self._formatter = BlockFormatter(options)
        self._shows_differences = options.differences
        self._normalizer = options.normalizer

    def feed(self, event: Event) -> Iterable[Write]:
        """Take the next event; the last one of the run shows all groups."""
        self._groups.feed(event)
        return self.close() if isinstance(event, RunFinished) else ()

    def close(self) -> Iterable[Write]:
        """Show all groups."""
        groups = self._groups.groups
        self._groups.clear()
        return self._shown(groups)

    def _shown(self, groups: list[CollectedOutput]) -> Iterator[Write]:
        groups.sort(key=lambda group: (-len(group.hosts), min(map(natural_key, group.hosts))))
        if self._shows_differences:
            yield from self._differences(groups)
        else:
            for group in groups:
                if not group.is_empty:
                    yield from self._formatter.block(group, counted=True)
        for group in groups:
            group.drop()

    def _differences(self, groups: list[CollectedOutput]) -> Iterator[Write]:
        """Show the largest group in full, then how each other group differs from it."""
        largest: TextLines | None = None
        for place, group in enumerate(groups):
            lines = self._lines(group) if len(groups) > 1 else None
            if place == 0:
                largest = lines
            elif lines is not None and largest is not None:
                edits = line_edits(largest, lines)
                if edits is not None:
                    yield from self._formatter.header(
                        group, counted=True, note="" if edits else "the same output"
                    )
                    yield from map(self._formatter.diff_line, unified_diff(edits, largest, lines))
                    continue
            yield from self._formatter.block(group, counted=True)

    def _lines(self, output: CollectedOutput) -> TextLines | None:
        """Split an output into lines; ``None`` if it is too long to be compared."""
        buffers = output.buffers.values()
        if sum(buffer.size for buffer in buffers) > LONGEST_BYTES:  # it may not even fit into memory
            return None
        normalize = None if self._normalizer is None else self._normalizer.for_host(output.hosts[0])
        return split_lines((b"".join(buffer.pieces()) for buffer in buffers), normalize)


class HostBlocks:
    """Shows one block a host, in the order of the selection, each as soon as its turn has come.

    It keeps the outputs of hosts in flight, and of hosts that wait for one before them.

    Args:
        collector: Collects the outputs.
        options: How blocks look.
    """

    def __init__(self, collector: Collector, options: OutputOptions) -> None:
        self._collector = collector
        self._formatter = BlockFormatter(options)
        self._order: deque[str] = deque()
        self._waiting: dict[str, CollectedOutput] = {}

    def feed(self, event: Event) -> Iterable[Write]:
        """Take the next event, and give the blocks whose turn has come."""
        if isinstance(event, RunStarted):
            self._order.extend(event.hosts)
        taken = self._collector.feed(event)
        if taken is None:
            return ()
        _, output = taken
        self._waiting[output.ending.host] = output
        return self._in_turn()

    def close(self) -> Iterable[Write]:
        """Give the blocks that still wait after a run that broke off."""
        self._order = deque(host for host in self._order if host in self._waiting)
        return self._in_turn()

    def _in_turn(self) -> Iterable[Write]:
        ready = []
        while self._order and self._order[0] in self._waiting:
            ready.append(self._waiting.pop(self._order.popleft()))
        return self._shown(ready)

    def _shown(self, ready: list[CollectedOutput]) -> Iterator[Write]:
        for output in ready:
            if not output.is_empty:
                yield from self._formatter.block(output, counted=False)
            output.drop()
