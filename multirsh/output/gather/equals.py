"""Hosts that wrote the same and ended alike, found as they end: one output is kept for all of them."""

from __future__ import annotations

from collections import Counter

from multirsh.events import Event
from multirsh.output.gather.collector import DIGEST_BYTES, Collector, Likeness, Written


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
