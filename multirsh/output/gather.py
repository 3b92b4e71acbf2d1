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
from multirsh.output.diff import LONGEST_BYTES, Lines, differences, lines_of, worded
from multirsh.output.escape import escape_text
from multirsh.output.formatting import Style, ending_words, surfaces
from multirsh.output.live import LineAssembler
from multirsh.output.normalize import Normalizer
from multirsh.output.options import OutputOptions
from multirsh.output.store import Keeper, Kept

DIGEST_BYTES: Final = 32


class Likeness(NamedTuple):
    """What hosts have to share to stand together.

    Attributes:
        ending: Their status, and the exit status or signal.
        digests: Of what they wrote, normalized, for each stream. A line feed at its end is not part of the
            digest proper, but stands after it.
    """

    ending: tuple[Status, int | None, str | None]
    digests: tuple[bytes, ...]

    def but_for_last_newlines(self) -> Likeness:
        """What is shared by outputs that differ in a line feed at their end alone, too."""
        return Likeness(self.ending, tuple(digest[:DIGEST_BYTES] for digest in self.digests))


@dataclass(slots=True)
class Written:
    """What one host, or several alike, have written.

    Attributes:
        hosts: Their names; the first has written just this.
        ending: How they ended.
        texts: The streams that are collected.
        unended: Of these, those without a line feed at the end, where others differ in that alone.
    """

    hosts: list[str]
    ending: HostFinished
    texts: dict[Stream, Kept]
    unended: list[Stream] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written."""
        return not any(text.size for text in self.texts.values())

    def drop(self) -> None:
        """Throw it away."""
        for text in self.texts.values():
            text.drop()


class Collector:
    """Keeps what hosts write until they end; then it is the taker's.

    Args:
        store: Where to.
        streams: Which are collected.
        normalizer: What is not looked at in comparing.
    """

    def __init__(
        self, store: Keeper, streams: Sequence[Stream], normalizer: Normalizer | None = None
    ) -> None:
        self._store = store
        self._streams = tuple(stream for stream in STREAMS if stream in streams)
        self._normalizer = normalizer
        self._hosts: dict[str, dict[Stream, _Collected]] = {}

    def feed(self, event: Event) -> tuple[Likeness, Written] | None:
        """Take the next event; of a host that ends with it, what it has written."""
        match event:
            case Output():
                self._add(event)
            case HostStarted():
                self._restart(event.host)
            case HostFinished():
                return self._take(event)
            case _:
                pass
        return None

    def _add(self, output: Output) -> None:
        """Take output; of a stream that is not collected, nothing."""
        if output.stream not in self._streams:
            return
        collected = self._hosts.get(output.host)
        if collected is None:
            collected = self._hosts[output.host] = self._nothing(output.host)
        collected[output.stream].append(output.data)

    def _restart(self, host: str) -> None:
        """Another attempt begins: what the last one wrote is none of its output."""
        for collected in self._hosts.pop(host, {}).values():
            collected.text.drop()

    def _take(self, finished: HostFinished) -> tuple[Likeness, Written]:
        """What a host has written, which has ended."""
        host = finished.host
        collected = self._hosts.pop(host, None) or self._nothing(host)
        ending = (finished.status, finished.exit_status, finished.signal)
        likeness = Likeness(ending, tuple(collected[stream].digest() for stream in self._streams))
        return likeness, Written([host], finished, {stream: each.text for stream, each in collected.items()})

    def _nothing(self, host: str) -> dict[Stream, _Collected]:
        normalized = None if self._normalizer is None else self._normalizer.for_host(host)
        return {stream: _Collected(self._store.text(), normalized) for stream in self._streams}


@dataclass(slots=True)
class _Collected:
    """One stream of one host.

    Attributes:
        text: What it wrote.
        normalized: Makes its lines comparable; ``None`` where they are as they are.
        is_ended: Whether it ends with a line feed so far, which is not in the digest.
    """

    text: Kept
    normalized: Callable[[bytes], bytes] | None
    is_ended: bool = False
    _hash: hashlib.blake2b = field(default_factory=lambda: hashlib.blake2b(digest_size=DIGEST_BYTES))
    _lines: LineAssembler = field(default_factory=LineAssembler)

    def append(self, data: bytes) -> None:
        self.text.append(data)
        self._compare(data if self.normalized is None else self.normalized(self._lines.feed(data)))

    def digest(self) -> bytes:
        if self.normalized is not None:
            self._compare(self.normalized(self._lines.finish()))
        return self._hash.digest() + (b"\n" if self.is_ended else b"")

    def _compare(self, data: bytes) -> None:
        if not data:
            return
        if self.is_ended:
            self._hash.update(b"\n")
        self.is_ended = data.endswith(b"\n")
        self._hash.update(memoryview(data)[: -1 if self.is_ended else None])


class Equals:
    """The groups of one run so far.

    Args:
        collector: Keeps the outputs of the hosts in flight.
    """

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._groups: dict[Likeness, Written] = {}

    def feed(self, event: Event) -> None:
        """Take the next event."""
        taken = self._collector.feed(event)
        if taken is None:
            return
        likeness, written = taken
        group = self._groups.setdefault(likeness, written)
        if group is not written:
            written.drop()
            group.hosts += written.hosts

    @property
    def groups(self) -> list[Written]:
        """Those that there are, in the order in which their first hosts ended."""
        alike = Counter(likeness.but_for_last_newlines() for likeness in self._groups)
        for likeness, group in self._groups.items():
            if alike[likeness.but_for_last_newlines()] > 1:
                group.unended = [
                    stream
                    for (stream, text), digest in zip(group.texts.items(), likeness.digests, strict=True)
                    if text.size and len(digest) == DIGEST_BYTES
                ]
        return list(self._groups.values())

    def clear(self) -> None:
        """Forget them; who has them goes on with them."""
        self._groups.clear()


_RULE: Final = "----"
_STYLES: Final = {b"+": Style.GOOD, b"-": Style.BAD, b"@": Style.STDOUT_HOST}
_WIDEST: Final = 80
"""Columns of a rule at the most: beyond them it is only far to go for the eye."""


def unended_words(written: Written) -> str:
    """What tells an output from another one that looks the same; empty where there is none."""
    if not written.unended:
        return ""
    which = f" of {' and '.join(written.unended)}" if len(written.texts) > 1 else ""
    return f"no newline at the end{which}"


class Page:
    """Words for stdout.

    Args:
        options: ``prefix`` (no headers without it), and what stdout is.
    """

    def __init__(self, options: OutputOptions) -> None:
        self._surface = surfaces(options)["stdout"]
        self._stdio = options.stdio
        self._has_headers = options.prefix

    def block(self, written: Written, *, counted: bool) -> Iterator[Write]:
        """A header, and all that was written, stream by stream.

        Args:
            written: Its output.
            counted: Whether the header has the number of hosts.
        """
        yield from self.header(written, counted=counted, note=unended_words(written))
        for text in written.texts.values():
            yield from self._shown(text.pieces())

    def header(self, written: Written, *, counted: bool, note: str = "") -> Iterator[Write]:
        """The hosts, folded, how many there are, and how they ended if not well."""
        if not self._has_headers:
            return
        facts = [str(len(written.hosts))] if counted else []
        if written.ending.status is not Status.OK:
            facts.append(ending_words(written.ending))
        if note:
            facts.append(note)
        yield self.rule(written.hosts, facts)

    def rule(self, hosts: Sequence[str], facts: Sequence[str] = ()) -> Write:
        """A line with folded names of hosts, and what is said of them in parentheses."""
        names = f"{_RULE} {escape_text(fold(hosts))}" + (f" ({', '.join(facts)})" if facts else "")
        rule = ""
        if self._surface.is_terminal:
            columns = min(self._stdio.stdout_width(), _WIDEST) - 1
            rule = " " + "-" * max(4, columns - len(names) - 1)
        return self.line(self._surface.paint(names + rule))

    def change(self, line: bytes) -> Write:
        """A line of a difference in the unified format, with its end; its first byte tells what it is."""
        style = _STYLES.get(line[:1])
        shown = self._surface.lines(line)
        if style is None:
            return Write("stdout", shown)
        before, _, after = self._surface.paint("\0", style).encode().partition(b"\0")
        return Write("stdout", before + shown[:-1] + after + b"\n")

    @staticmethod
    def line(text: str) -> Write:
        """A line of our own."""
        return Write("stdout", f"{text}\n".encode())

    def _shown(self, pieces: Iterable[bytes]) -> Iterator[Write]:
        """Exact for a pipe or a file, but for the end that a last line may lack; escaped for a terminal."""
        last = b"\n"
        for shown in self._surface.pieces(pieces):
            last = shown[-1:] or last
            yield Write("stdout", shown)
        if last != b"\n":
            yield Write("stdout", b"\n")


class Differences:
    """Shows groups by what they have not in common with the largest.

    Args:
        page: Words them.
        normalizer: What does not count, here either; ``None`` where all does.
    """

    def __init__(self, page: Page, normalizer: Normalizer | None = None) -> None:
        self._page = page
        self._normalizer = normalizer
        self._last: tuple[Written, Lines | None] | None = None

    def block(self, group: Written, largest: Written) -> Iterator[Write]:
        """One group; the largest itself in full."""
        ours = theirs = found = None
        if group is not largest and (theirs := self._lines_of_largest(largest)) is not None:
            ours = self._lines(group)
        if ours is not None and theirs is not None:
            found = differences(theirs, ours)
        if ours is None or theirs is None or found is None:
            yield from self._page.block(group, counted=True)
            return
        yield from self._page.header(group, counted=True, note="" if found else "the same output")
        yield from map(self._page.change, worded(found, theirs, ours))

    def _lines_of_largest(self, largest: Written) -> Lines | None:
        if self._last is None or self._last[0] is not largest:
            self._last = largest, self._lines(largest)
        return self._last[1]

    def _lines(self, written: Written) -> Lines | None:
        """What was written, in lines; ``None`` where it is too long to be compared."""
        texts = written.texts.values()
        if sum(text.size for text in texts) > LONGEST_BYTES:  # it may not even fit into memory
            return None
        normalized = None if self._normalizer is None else self._normalizer.for_host(written.hosts[0])
        return lines_of((b"".join(text.pieces()) for text in texts), normalized)


class Groups:
    """Shows equals together.

    It keeps one output for each group, and those of the hosts in flight.

    Args:
        collector: Keeps them.
        page: Words them.
        differences: Shows how each group differs from the largest one; ``None`` to show all in full.
    """

    def __init__(self, collector: Collector, page: Page, differences: Differences | None = None) -> None:
        self._equals = Equals(collector)
        self._page = page
        self._differences = differences

    def feed(self, event: Event) -> Iterable[Write]:
        """Take the next event; the last one of the run shows it all."""
        self._equals.feed(event)
        return self.close() if isinstance(event, RunFinished) else ()

    def close(self) -> Iterable[Write]:
        """Show what there is."""
        groups = self._equals.groups
        self._equals.clear()
        return self._shown(groups)

    def _shown(self, groups: list[Written]) -> Iterator[Write]:
        groups.sort(key=lambda group: (-len(group.hosts), min(map(natural_key, group.hosts))))
        for group in groups:
            if self._differences is not None:
                yield from self._differences.block(group, groups[0])
            elif not group.is_empty:
                yield from self._page.block(group, counted=True)
        for group in groups:
            group.drop()


class Blocks:
    """Shows each host by itself.

    It keeps the outputs of hosts in flight, and of those that wait for one before them.

    Args:
        collector: Keeps them.
        page: Words them.
    """

    def __init__(self, collector: Collector, page: Page) -> None:
        self._collector = collector
        self._page = page
        self._order: deque[str] = deque()
        self._waiting: dict[str, Written] = {}

    def feed(self, event: Event) -> Iterable[Write]:
        """Take the next event and give the blocks whose turn has come."""
        if isinstance(event, RunStarted):
            self._order.extend(event.hosts)
        taken = self._collector.feed(event)
        if taken is None:
            return ()
        _, written = taken
        self._waiting[written.ending.host] = written
        return self._in_turn()

    def close(self) -> Iterable[Write]:
        """Give what is left, of a run that broke off."""
        self._order = deque(host for host in self._order if host in self._waiting)
        return self._in_turn()

    def _in_turn(self) -> Iterable[Write]:
        ready = []
        while self._order and self._order[0] in self._waiting:
            ready.append(self._waiting.pop(self._order.popleft()))
        return self._shown(ready)

    def _shown(self, ready: list[Written]) -> Iterator[Write]:
        for written in ready:
            if not written.is_empty:
                yield from self._page.block(written, counted=False)
            written.drop()
