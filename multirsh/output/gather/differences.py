"""``--diff``: what most hosts wrote, once; then how each other group differs from it."""

from __future__ import annotations

from collections.abc import Iterator

from multirsh.output.batch import Write
from multirsh.output.gather.collector import Written
from multirsh.output.gather.normalize import Normalizer
from multirsh.output.gather.page import Page
from multirsh.output.gather.unified import LONGEST_BYTES, Lines, differences, lines_of, worded


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
