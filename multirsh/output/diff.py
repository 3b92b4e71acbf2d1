"""Two texts compared line by line, in bounded time, and shown as ``diff -u`` shows them.

Lines are compared as ``--normalize`` made them comparable, and shown as they are. Only a line feed ends a
line.

The time that difflib takes grows with how often items are repeated: ten thousand lines of a hundred kinds
keep it busy for half a minute. Here time and memory grow with the square of the number of edits, which is
bounded.

Sources: E. W. Myers, "An O(ND) Difference Algorithm and Its Variations", Algorithmica 1 (1986): the greedy
algorithm of section 3. The unified format: POSIX.1-2024 diff(1); diffutils, "Detailed Unified".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

LONGEST_BYTES: Final = 2 * 1024 * 1024
LONGEST_LINES: Final = 10_000
MOST_CHANGED: Final = 1000
"""The bounds on texts, and on the lines removed and added, beyond which no difference is shown: it would not
be read."""

CONTEXT: Final = 3
"""Equal lines around a difference, as ``diff -u`` shows."""

_NO_END: Final = b"\\ No newline at end of file\n"


class Edit(NamedTuple):
    """``old[old_start:old_end]`` has become ``new[new_start:new_end]``; one of them may be empty.

    Attributes:
        old_start: The first index in the old sequence.
        old_end: The index after the last in the old sequence.
        new_start: The first index in the new sequence.
        new_end: The index after the last in the new sequence.
    """

    old_start: int
    old_end: int
    new_start: int
    new_end: int


def shortest_edits(old: Sequence[Hashable], new: Sequence[Hashable], *, most: int) -> list[Edit] | None:
    """Find the shortest edits from ``old`` to ``new``, in order; no two of them touch.

    Args:
        old: The sequence to start from.
        new: The sequence to end with.
        most: The most items that may be removed and added, together; 1,000 take a third of a second.

    Returns:
        The edits, none if the sequences are equal; ``None`` if there are more than ``most``.
    """
    numbers: dict[Hashable, int] = {}
    ours, theirs = ([numbers.setdefault(item, len(numbers)) for item in side] for side in (old, new))
    reached = _reached(ours, theirs, most)
    if reached is None:
        return None
    found: list[Edit] = []
    for edit in _steps_back(reached, len(ours), len(theirs)):
        if found and (edit.old_end, edit.new_end) == (found[-1].old_start, found[-1].new_start):
            last = found.pop()
            found.append(Edit(edit.old_start, last.old_end, edit.new_start, last.new_end))
        else:
            found.append(edit)
    return found[::-1]


def hunks(found: Sequence[Edit], *, context: int) -> Iterator[list[Edit]]:
    """Group edits with at most twice the context between them."""
    hunk: list[Edit] = []
    for edit in found:
        if hunk and edit.old_start - hunk[-1].old_end > 2 * context:
            yield hunk
            hunk = []
        hunk.append(edit)
    if hunk:
        yield hunk


def _reached(old: list[int], new: list[int], most: int) -> list[list[int]] | None:
    """Find for each number of steps how far into ``old`` each diagonal reaches before the steps are made.

    A diagonal is the place in ``old`` less the place in ``new``; item ``i`` of row ``steps`` is diagonal
    ``i - steps - 1``. The result is ``None`` if the end is not reached.
    """
    end, new_end = len(old), len(new)
    middle = most + 1
    furthest = [0] * (2 * middle + 1)
    reached: list[list[int]] = []
    for steps in range(most + 1):
        reached.append(furthest[middle - steps - 1 : middle + steps + 2])
        for diagonal in range(-steps, steps + 1, 2):
            at = middle + diagonal
            below, above = furthest[at - 1], furthest[at + 1]
            place = above if diagonal == -steps or (diagonal != steps and below < above) else below + 1
            while place < end and place - diagonal < new_end and old[place] == new[place - diagonal]:
                place += 1
            furthest[at] = place
            if place >= end and place - diagonal >= new_end:
                return reached
    return None


def _steps_back(reached: list[list[int]], old_place: int, new_place: int) -> Iterator[Edit]:
    """Follow the steps that end at these places, the last first."""
    for steps in range(len(reached) - 1, 0, -1):
        row = reached[steps]
        diagonal = old_place - new_place
        at = diagonal + steps + 1
        puts_in = diagonal == -steps or (diagonal != steps and row[at - 1] < row[at + 1])
        old_place = row[at + 1] if puts_in else row[at - 1]
        new_place = old_place - (diagonal + 1 if puts_in else diagonal - 1)
        yield Edit(old_place, old_place + (not puts_in), new_place, new_place + puts_in)


class TextLines(NamedTuple):
    """A text in lines.

    Attributes:
        shown: The lines, each with its end, but for a last line that has none.
        compared: The same lines, normalized.
    """

    shown: Sequence[bytes]
    compared: Sequence[bytes]


def split_lines(
    texts: Iterable[bytes], normalize: Callable[[bytes], bytes] | None = None
) -> TextLines | None:
    """Split texts into lines; ``None`` if they are too long to be compared.

    Args:
        texts: Texts that follow one another; each begins a new line.
        normalize: Makes a line, with its end, comparable; ``None`` to compare lines as they are.
    """
    shown: list[bytes] = []
    size = 0
    for text in texts:
        size += len(text)
        *ended, rest = text.split(b"\n")
        shown += [line + b"\n" for line in ended]
        shown += [rest] if rest else []
    if size > LONGEST_BYTES or len(shown) > LONGEST_LINES:
        return None
    if normalize is None:
        return TextLines(shown, shown)
    return TextLines(shown, [normalize(line if line.endswith(b"\n") else line + b"\n") for line in shown])


def line_edits(old: TextLines, new: TextLines) -> list[Edit] | None:
    """Find the edits from ``old`` to ``new``; ``None`` if there are too many."""
    return shortest_edits(old.compared, new.compared, most=MOST_CHANGED)


def unified_diff(found: Sequence[Edit], old: TextLines, new: TextLines) -> Iterator[bytes]:
    """Write edits as ``diff -u`` does, in lines with ends; lines that are equal are shown as in ``new``."""
    for hunk in hunks(found, context=CONTEXT):
        for line in _hunk(hunk, old.shown, new.shown):
            if line.endswith(b"\n"):
                yield line
            else:
                yield line + b"\n"
                yield _NO_END


def _hunk(hunk: Sequence[Edit], old: Sequence[bytes], new: Sequence[bytes]) -> Iterator[bytes]:
    first, last = hunk[0], hunk[-1]
    before = min(CONTEXT, first.new_start)
    after = min(CONTEXT, len(new) - last.new_end)
    old_range = _range(first.old_start - before, last.old_end + after)
    new_range = _range(first.new_start - before, last.new_end + after)
    yield b"@@ -%b +%b @@\n" % (old_range, new_range)
    place = first.new_start - before
    for edit in hunk:
        yield from (b" " + line for line in new[place : edit.new_start])
        yield from (b"-" + line for line in old[edit.old_start : edit.old_end])
        yield from (b"+" + line for line in new[edit.new_start : edit.new_end])
        place = edit.new_end
    yield from (b" " + line for line in new[place : place + after])


def _range(start: int, end: int) -> bytes:
    """Write a range of lines for the header of a hunk: the first, from 1, and how many there are."""
    count = end - start
    if count == 1:
        return b"%d" % (start + 1)
    return b"%d,%d" % (start + 1 if count else start, count)


@dataclass(frozen=True, slots=True)
class TextChange:
    """How a text changed.

    Attributes:
        lines: ``@@`` lines, and lines that begin with a blank, ``-`` or ``+``, each with its end; none if
            nothing that counts has changed.
        identity: A digest of the lines removed and added, which is the same wherever they stand.
    """

    lines: tuple[bytes, ...]
    identity: bytes


def compare_texts(
    before: bytes, after: bytes, normalize: Callable[[bytes], bytes] | None = None
) -> TextChange | None:
    """Compare two texts; ``None`` if they are too long, or have too little in common.

    Args:
        before: A text.
        after: The same text, later.
        normalize: Makes a line comparable; ``None`` to compare lines as they are.
    """
    old, new = split_lines([before], normalize), split_lines([after], normalize)
    found = None if old is None or new is None else line_edits(old, new)
    if old is None or new is None or found is None:
        return None
    identity = hashlib.blake2b(digest_size=32)
    for edit in found:
        went, came = (
            old.compared[edit.old_start : edit.old_end],
            new.compared[edit.new_start : edit.new_end],
        )
        for sign, lines in ((b"-", went), (b"+", came)):
            for line in lines:
                identity.update(b"%b%d %b" % (sign, len(line), line))
    return TextChange(tuple(unified_diff(found, old, new)), identity.digest())
