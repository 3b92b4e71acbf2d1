"""``--diff``: what most hosts wrote, once; then how each other group differs from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from multirsh.output.batch import Write
from multirsh.output.gather.collector import Written
from multirsh.output.gather.edits import Change, changes, hunks
from multirsh.output.gather.normalize import Normalizer
from multirsh.output.gather.page import Page
from multirsh.output.style import Style

LONGEST_BYTES: Final = 2 * 1024 * 1024
LONGEST_LINES: Final = 10_000
MOST_CHANGED: Final = 1000
"""What is longer, or has more lines taken out and put in, is shown in full: it would not be read."""

CONTEXT: Final = 3
"""Equal lines around a difference, as diff -u has."""

_STYLES: Final = {b"+": Style.GOOD, b"-": Style.BAD, b"@": Style.STDOUT_HOST}
_NO_END: Final = b"\n\\ No newline at end of file\n"


class _Lines(NamedTuple):
    """What was written.

    Attributes:
        shown: Line by line, each with its end, but for one that has none.
        compared: The same without what does not count.
    """

    shown: Sequence[bytes]
    compared: Sequence[bytes]


class Differences:
    """Shows groups by what they have not in common with the largest.

    Args:
        page: Words them.
        normalizer: What does not count, here either; ``None`` where all does.
    """

    def __init__(self, page: Page, normalizer: Normalizer | None = None) -> None:
        self._page = page
        self._normalizer = normalizer
        self._last: tuple[Written, _Lines | None] | None = None

    def block(self, group: Written, largest: Written) -> Iterator[Write]:
        """One group; the largest itself in full."""
        ours = theirs = found = None
        if group is not largest and (theirs := self._lines_of_largest(largest)) is not None:
            ours = self._lines(group)
        if ours is not None and theirs is not None:
            found = changes(theirs.compared, ours.compared, most=MOST_CHANGED)
        if ours is None or theirs is None or found is None:
            yield from self._page.block(group, counted=True)
            return
        yield from self._page.header(group, counted=True, note="" if found else "the same output")
        for hunk in hunks(found, context=CONTEXT):
            yield from map(self._change, _as_diff(hunk, theirs.shown, ours.shown))

    def _lines_of_largest(self, largest: Written) -> _Lines | None:
        if self._last is None or self._last[0] is not largest:
            self._last = largest, self._lines(largest)
        return self._last[1]

    def _lines(self, written: Written) -> _Lines | None:
        """What was written, in lines; ``None`` where it is too long to be compared."""
        if sum(text.size for text in written.texts.values()) > LONGEST_BYTES:
            return None
        lines: list[bytes] = []
        for text in written.texts.values():
            # Only a line feed ends a line: splitlines() would cut at bytes that are part of one.
            *ended, rest = b"".join(text.pieces()).split(b"\n")
            lines += [line + b"\n" for line in ended]
            lines += [rest] if rest else []
        if len(lines) > LONGEST_LINES:
            return None
        if self._normalizer is None:
            return _Lines(lines, lines)
        normalized = self._normalizer.for_host(written.hosts[0])
        return _Lines(lines, [normalized(line if line.endswith(b"\n") else line + b"\n") for line in lines])

    def _change(self, line: bytes) -> Write:
        style = _STYLES.get(line[:1])
        if not line.endswith(b"\n"):
            line += _NO_END
        shown = self._page.lines(line)
        if style is None:
            return Write("stdout", shown)
        before, _, after = self._page.paint("\0", style).encode().partition(b"\0")
        return Write("stdout", before + shown[:-1] + after + b"\n")


def _as_diff(hunk: Sequence[Change], theirs: Sequence[bytes], ours: Sequence[bytes]) -> Iterator[bytes]:
    """As diff -u has it; lines that are equal are shown as we wrote them."""
    first, last = hunk[0], hunk[-1]
    before = min(CONTEXT, first.new_start)
    after = min(CONTEXT, len(ours) - last.new_end)
    their_range = _range(first.old_start - before, last.old_end + after)
    our_range = _range(first.new_start - before, last.new_end + after)
    yield f"@@ -{their_range} +{our_range} @@\n".encode()
    place = first.new_start - before
    for change in hunk:
        yield from (b" " + line for line in ours[place : change.new_start])
        yield from (b"-" + line for line in theirs[change.old_start : change.old_end])
        yield from (b"+" + line for line in ours[change.new_start : change.new_end])
        place = change.new_end
    yield from (b" " + line for line in ours[place : place + after])


def _range(start: int, end: int) -> str:
    """Lines, as a hunk's header has them (diffutils, "Detailed Unified"): the first and how many.

    The first counts from 1; where there are none, it is the line before.
    """
    count = end - start
    if count == 1:
        return str(start + 1)
    return f"{start + 1 if count else start},{count}"
