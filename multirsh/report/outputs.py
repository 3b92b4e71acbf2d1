"""The output that a page shows: equal outputs once, failures first, and of long output both ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from multirsh.events import Event, HostFinished
from multirsh.inventory.fold import natural_key
from multirsh.model import Status
from multirsh.output.batch import STREAMS, Stream
from multirsh.output.formatting import TROUBLES
from multirsh.output.gather import CollectedOutput, Collector, OutputGroups, missing_newline_note
from multirsh.output.normalize import Normalizer
from multirsh.output.store import USUAL_MEMORY, OutputStore, StoredBuffer

HEAD: Final = 48 * 1024
TAIL: Final = 16 * 1024
"""The bytes kept of the beginning and of the end of a stream; a stream that is no longer than both is kept
whole."""


class Excerpt:
    """A buffer that keeps the beginning and the end of what is appended, and drops the middle.

    Args:
        store: Keeps the bytes.

    Attributes:
        size: The number of bytes appended so far.
    """

    __slots__ = ("_head", "_store", "_tail", "size")

    def __init__(self, store: OutputStore) -> None:
        self._store = store
        self._head = store.buffer()
        self._tail: StoredBuffer | None = None
        self.size = 0

    def append(self, data: bytes) -> None:
        """Append ``data``."""
        self.size += len(data)
        left = HEAD - self._head.size
        if left > 0:
            self._head.append(data[:left])
            data = data[left:]
        if not data:
            return
        if self._tail is None:
            self._tail = self._store.buffer()
        if self._tail.size + len(data) > 2 * TAIL:  # now and then, and not for each chunk
            data = (b"".join(self._tail.pieces()) + data)[-TAIL:]
            self._tail.drop()
            self._tail = self._store.buffer()
        self._tail.append(data)

    def parts(self) -> tuple[bytes, bytes]:
        """Return the beginning and the end; if everything was kept, the whole and nothing."""
        head = b"".join(self._head.pieces())
        tail = b"" if self._tail is None else b"".join(self._tail.pieces())
        if len(head) + len(tail) == self.size:
            return head + tail, b""
        # A line that is cut says what was never written; but one that fills the excerpt is better than
        # nothing.
        whole_lines = head.rfind(b"\n") + 1
        tail = tail[-TAIL:]
        return head[: whole_lines or None], tail[tail.find(b"\n") + 1 :] or tail

    def pieces(self) -> Iterator[bytes]:
        """Iterate over the bytes kept, in order."""
        yield from self.parts()

    def drop(self) -> None:
        """Release the bytes kept."""
        self._head.drop()
        if self._tail is not None:
            self._tail.drop()


MOST_BYTES: Final = 16 * 1024 * 1024
"""The most output in one page: a browser still opens and searches it without delay."""

MOST_GROUPS: Final = 5_000


@dataclass(frozen=True, slots=True)
class PageOutput:
    """One output of the page.

    Attributes:
        hosts: The hosts that wrote it, in the order in which they ended.
        ending: How they ended.
        streams: What they wrote, for each stream that is not empty.
        note: The difference from another output that looks the same; or empty.
    """

    hosts: list[str]
    ending: HostFinished
    streams: dict[Stream, Excerpt]
    note: str


@dataclass(frozen=True, slots=True)
class PageOutputs:
    """The outputs of a page.

    Attributes:
        shown: The outputs shown, in the order of the page.
        silent: Hosts that ended and wrote nothing.
        left_out: The number of outputs that are not shown.
        left_out_hosts: The number of hosts that wrote those.
    """

    shown: list[PageOutput]
    silent: list[str]
    left_out: int
    left_out_hosts: int


class ReportOutputs:
    """Collects an excerpt for each group of equal outputs, and for the hosts in flight.

    Args:
        memory: Bytes that may be held in memory; the rest goes to disk.
        normalizer: What is ignored when outputs are compared; ``None`` to compare everything.
    """

    def __init__(
        self,
        *,
        memory: int = USUAL_MEMORY,
        normalizer: Normalizer | None = None,
    ) -> None:
        self._store = OutputStore(memory)
        self._groups = OutputGroups(Collector(lambda: Excerpt(self._store), STREAMS, normalizer))

    def feed(self, event: Event) -> None:
        """Take the next event."""
        self._groups.feed(event)

    def selection(self) -> PageOutputs:
        """Choose what the page shows: failures first, then what most hosts wrote."""
        groups = sorted(self._groups.groups, key=_order)
        shown = list(_bounded(group for group in groups if not group.is_empty))
        rest = [group for group in groups if not group.is_empty][len(shown) :]
        silent = [host for group in groups if group.is_empty for host in group.hosts]
        return PageOutputs(shown, silent, len(rest), sum(len(group.hosts) for group in rest))

    def close(self) -> None:
        """Delete what is on disk."""
        self._store.close()


def _order(group: CollectedOutput) -> tuple[int, int, tuple[tuple[int, str], ...]]:
    status = group.ending.status
    trouble = len(TROUBLES) if status is Status.OK else TROUBLES.index(status)
    return trouble, -len(group.hosts), min(map(natural_key, group.hosts))


def _bounded(groups: Iterator[CollectedOutput]) -> Iterator[PageOutput]:
    used = 0
    for number, group in enumerate(groups):
        streams = {
            stream: text for stream, text in group.buffers.items() if isinstance(text, Excerpt) and text.size
        }
        used += sum(min(text.size, HEAD + TAIL) for text in streams.values())
        if number and (used > MOST_BYTES or number >= MOST_GROUPS):
            return
        yield PageOutput(group.hosts, group.ending, streams, missing_newline_note(group))
