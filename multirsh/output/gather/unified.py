"""Two texts compared line by line, and how they differ in the words of diff(1).

Lines are compared as they were made comparable (``--normalize``), and shown as
they are. Only a line feed ends a line: others are part of one.

Source: the unified format, POSIX.1-2024 diff(1); diffutils, "Detailed Unified".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from multirsh.output.gather.edits import Change, changes, hunks

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
