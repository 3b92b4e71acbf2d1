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


class Change(NamedTuple):
    """``old[old_start:old_end]`` has become ``new[new_start:new_end]``; one of them may be empty.

    Attributes:
        old_start: Where it begins in the old sequence.
        old_end: Where it ends there, exclusive.
        new_start: Where it begins in the new one.
        new_end: Where it ends there, exclusive.
    """

    old_start: int
    old_end: int
    new_start: int
    new_end: int


def changes(old: Sequence[Hashable], new: Sequence[Hashable], *, most: int) -> list[Change] | None:
    """The shortest way from ``old`` to ``new``, in order, no two changes touching each other.

    Args:
        old: What is compared with.
        new: What is compared.
        most: Items that may be taken out and put in, together; 1,000 of them take a third of a second.

    Returns:
        None of them for equals; ``None`` where there would be more than ``most``.
    """
    numbers: dict[Hashable, int] = {}
    ours, theirs = ([numbers.setdefault(item, len(numbers)) for item in side] for side in (old, new))
    reached = _reached(ours, theirs, most)
    if reached is None:
        return None
    found: list[Change] = []
    for change in _steps_back(reached, len(ours), len(theirs)):
        if found and (change.old_end, change.new_end) == (found[-1].old_start, found[-1].new_start):
            last = found.pop()
            found.append(Change(change.old_start, last.old_end, change.new_start, last.new_end))
        else:
            found.append(change)
    return found[::-1]


def hunks(found: Sequence[Change], *, context: int) -> Iterator[list[Change]]:
    """Changes that stand together, since fewer than two contexts are between them."""
    hunk: list[Change] = []
    for change in found:
        if hunk and change.old_start - hunk[-1].old_end > 2 * context:
            yield hunk
            hunk = []
        hunk.append(change)
    if hunk:
        yield hunk


def _reached(old: list[int], new: list[int], most: int) -> list[list[int]] | None:
    """For each number of steps, how far into ``old`` one gets on each diagonal, before the steps are made.

    A diagonal is the place in ``old`` less that in ``new``; of row ``steps``, item ``i`` is diagonal
    ``i - steps - 1``. ``None`` where the end is not reached.
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


def _steps_back(reached: list[list[int]], old_place: int, new_place: int) -> Iterator[Change]:
    """The steps of the way that ends at these places, the last first."""
    for steps in range(len(reached) - 1, 0, -1):
        row = reached[steps]
        diagonal = old_place - new_place
        at = diagonal + steps + 1
        puts_in = diagonal == -steps or (diagonal != steps and row[at - 1] < row[at + 1])
        old_place = row[at + 1] if puts_in else row[at - 1]
        new_place = old_place - (diagonal + 1 if puts_in else diagonal - 1)
        yield Change(old_place, old_place + (not puts_in), new_place, new_place + puts_in)


LONGEST_BYTES: Final = 2 * 1024 * 1024
LONGEST_LINES: Final = 10_000
MOST_CHANGED: Final = 1000
"""What is longer, or has more lines taken out and put in, is not told by line: nobody would read that."""

CONTEXT: Final = 3
"""Equal lines around a difference, as diff -u has."""

_NO_END: Final = b"\\ No newline at end of file\n"


class Lines(NamedTuple):
    """A text.

    Attributes:
        shown: Line by line, each with its end, but for one that has none.
        compared: The same without what does not count.
    """

    shown: Sequence[bytes]
    compared: Sequence[bytes]


def lines_of(texts: Iterable[bytes], normalized: Callable[[bytes], bytes] | None = None) -> Lines | None:
    """Part texts that stand one behind the other; ``None`` where they are too long to be compared.

    Args:
        texts: Each begins a line of its own.
        normalized: Makes a line, with its end, comparable; ``None`` where lines are as they are.
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
    if normalized is None:
        return Lines(shown, shown)
    return Lines(shown, [normalized(line if line.endswith(b"\n") else line + b"\n") for line in shown])


def differences(old: Lines, new: Lines) -> list[Change] | None:
    """What has to be changed of ``old`` to have ``new``; ``None`` where that is too much."""
    return changes(old.compared, new.compared, most=MOST_CHANGED)


def worded(found: Sequence[Change], old: Lines, new: Lines) -> Iterator[bytes]:
    """Changes as diff -u has them, in lines with ends; lines that are equal are shown as in ``new``."""
    for hunk in hunks(found, context=CONTEXT):
        for line in _hunk(hunk, old.shown, new.shown):
            if line.endswith(b"\n"):
                yield line
            else:
                yield line + b"\n"
                yield _NO_END


def _hunk(hunk: Sequence[Change], old: Sequence[bytes], new: Sequence[bytes]) -> Iterator[bytes]:
    first, last = hunk[0], hunk[-1]
    before = min(CONTEXT, first.new_start)
    after = min(CONTEXT, len(new) - last.new_end)
    old_range = _range(first.old_start - before, last.old_end + after)
    new_range = _range(first.new_start - before, last.new_end + after)
    yield b"@@ -%b +%b @@\n" % (old_range, new_range)
    place = first.new_start - before
    for change in hunk:
        yield from (b" " + line for line in new[place : change.new_start])
        yield from (b"-" + line for line in old[change.old_start : change.old_end])
        yield from (b"+" + line for line in new[change.new_start : change.new_end])
        place = change.new_end
    yield from (b" " + line for line in new[place : place + after])


def _range(start: int, end: int) -> bytes:
    """Lines, as a hunk's header has them: the first, from 1, and how many; of none, the line before."""
    count = end - start
    if count == 1:
        return b"%d" % (start + 1)
    return b"%d,%d" % (start + 1 if count else start, count)


@dataclass(frozen=True, slots=True)
class LineChange:
    """What became of a text.

    Attributes:
        lines: ``@@`` lines, and lines that begin with a blank, ``-`` or ``+``; each with its end; none
            where nothing that counts has changed.
        identity: The same for the same change.
    """

    lines: tuple[bytes, ...]
    identity: bytes


def compare_texts(
    before: bytes, after: bytes, normalized: Callable[[bytes], bytes] | None = None
) -> LineChange | None:
    """Compare two texts; ``None`` where they are too long for that, or have too little in common.

    Args:
        before: A text; only a line feed ends a line.
        after: The same, later.
        normalized: Makes a line comparable; ``None`` where lines are as they are.
    """
    old, new = lines_of([before], normalized), lines_of([after], normalized)
    found = None if old is None or new is None else differences(old, new)
    if old is None or new is None or found is None:
        return None
    identity = hashlib.blake2b(digest_size=32)
    for change in found:
        went, came = (
            old.compared[change.old_start : change.old_end],
            new.compared[change.new_start : change.new_end],
        )
        for sign, lines in ((b"-", went), (b"+", came)):
            for line in lines:
                identity.update(b"%b%d %b" % (sign, len(line), line))
    return LineChange(tuple(worded(found, old, new)), identity.digest())
