"""Who wrote what, for the page: equals once, troubles first, and so much of it as a page can bear."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from multirsh.events import Event, HostFinished
from multirsh.inventory.fold import natural_key
from multirsh.model import Status
from multirsh.output.batch import STREAMS, Stream
from multirsh.output.gather.collector import Collector, Written
from multirsh.output.gather.equals import Equals
from multirsh.output.gather.normalize import Normalizer
from multirsh.output.gather.page import unended_words
from multirsh.output.gather.store import USUAL_MEMORY, Store
from multirsh.output.words import TROUBLES
from multirsh.report.excerpt import HEAD, TAIL, Excerpt, Excerpts

MOST_BYTES: Final = 16 * 1024 * 1024
"""Of output in one page: what a browser opens and searches without delay."""

MOST_GROUPS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Shown:
    """An output of the page.

    Attributes:
        hosts: Who wrote it, in the order in which they ended.
        ending: How they ended.
        streams: What they wrote, for each stream in which there is something.
        note: What tells it from another that looks the same; or empty.
    """

    hosts: list[str]
    ending: HostFinished
    streams: dict[Stream, Excerpt]
    note: str


@dataclass(frozen=True, slots=True)
class Selection:
    """What a page has of all outputs.

    Attributes:
        shown: In the page's order.
        silent: Hosts that ended and wrote nothing.
        left_out: How many outputs there are beyond those.
        left_out_hosts: How many hosts wrote them.
    """

    shown: list[Shown]
    silent: list[str]
    left_out: int
    left_out_hosts: int


class Outputs:
    """Keeps one excerpt a group, and those of the hosts in flight.

    Args:
        memory: Bytes that are held in memory; what is more goes to disk.
        normalizer: What is not looked at in comparing; ``None`` to look at all.
    """

    def __init__(
        self,
        *,
        memory: int = USUAL_MEMORY,
        normalizer: Normalizer | None = None,
    ) -> None:
        self._store = Store(memory)
        self._equals = Equals(Collector(Excerpts(self._store), STREAMS, normalizer))

    def feed(self, event: Event) -> None:
        """Take the next event."""
        self._equals.feed(event)

    def selection(self) -> Selection:
        """What a page is to show of it: troubles first, then what most hosts wrote."""
        groups = sorted(self._equals.groups, key=_order)
        shown = list(_bounded(group for group in groups if not group.is_empty))
        rest = [group for group in groups if not group.is_empty][len(shown) :]
        silent = [host for group in groups if group.is_empty for host in group.hosts]
        return Selection(shown, silent, len(rest), sum(len(group.hosts) for group in rest))

    def close(self) -> None:
        """Let go of what is on disk."""
        self._store.close()


def _order(group: Written) -> tuple[int, int, tuple[tuple[int, str], ...]]:
    status = group.ending.status
    trouble = len(TROUBLES) if status is Status.OK else TROUBLES.index(status)
    return trouble, -len(group.hosts), min(map(natural_key, group.hosts))


def _bounded(groups: Iterator[Written]) -> Iterator[Shown]:
    used = 0
    for number, group in enumerate(groups):
        streams = {
            stream: text for stream, text in group.texts.items() if isinstance(text, Excerpt) and text.size
        }
        used += sum(min(text.size, HEAD + TAIL) for text in streams.values())
        if number and (used > MOST_BYTES or number >= MOST_GROUPS):
            return
        yield Shown(group.hosts, group.ending, streams, unended_words(group))
