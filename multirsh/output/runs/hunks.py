r"""How two texts differ, line by line, as ``diff -u`` words it, and what of that makes two changes the same.

Lines are compared as they were made comparable (``--normalize``) and shown as
they are. A change is known by the lines that went and the lines that came, and
not by where they stand nor by what stands around them: a package that is new in
a hundred lists is one change, whatever else each list holds.

Source: the unified format, POSIX.1-2024 diff(1).
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from multirsh.output.gather.differences import CONTEXT, LONGEST_LINES

_NO_END = b"\\ No newline at end of file\n"


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
    """Compare two texts; ``None`` where they have too many lines for that.

    Args:
        before: A text; only a line feed ends a line.
        after: The same, later.
        normalized: Makes a line comparable; ``None`` where lines are as they are.
    """
    if before.count(b"\n") + after.count(b"\n") > LONGEST_LINES:
        return None
    return _compare(_in_lines(before), _in_lines(after), normalized)


def _compare(
    before: Sequence[bytes], after: Sequence[bytes], normalized: Callable[[bytes], bytes] | None
) -> LineChange:
    old = before if normalized is None else [normalized(line) for line in before]
    new = after if normalized is None else [normalized(line) for line in after]
    identity = hashlib.blake2b(digest_size=32)
    lines: list[bytes] = []
    for group in difflib.SequenceMatcher(None, old, new).get_grouped_opcodes(CONTEXT):
        lines.append(_place(group[0][1], group[-1][2], group[0][3], group[-1][4]))
        for tag, start, end, new_start, new_end in group:
            if tag == "equal":
                lines += [_shown(b" ", line) for line in after[new_start:new_end]]
                continue
            lines += [_shown(b"-", line) for line in before[start:end]]
            lines += [_shown(b"+", line) for line in after[new_start:new_end]]
            for sign, went_or_came in ((b"-", old[start:end]), (b"+", new[new_start:new_end])):
                for line in went_or_came:
                    identity.update(b"%b%d %b" % (sign, len(line), line))
    return LineChange(tuple(lines), identity.digest())


def _in_lines(text: bytes) -> list[bytes]:
    pieces = text.split(b"\n")
    return [piece + b"\n" for piece in pieces[:-1]] + ([pieces[-1]] if pieces[-1] else [])


def _place(start: int, end: int, new_start: int, new_end: int) -> bytes:
    return b"@@ -%b +%b @@\n" % (_range(start, end), _range(new_start, new_end))


def _range(start: int, end: int) -> bytes:
    """Lines count from 1; of none, the one before."""
    count = end - start
    if count == 1:
        return b"%d" % (start + 1)
    return b"%d,%d" % (start + 1 if count else start, count)


def _shown(sign: bytes, line: bytes) -> bytes:
    return sign + line if line.endswith(b"\n") else sign + line + b"\n" + _NO_END
