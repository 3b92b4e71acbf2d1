r"""How two texts differ, line by line, as ``diff -u`` words it, and what of that makes two changes the same.

Lines are compared as they were made comparable (``--normalize``) and shown as
they are. A change is known by the lines that went and the lines that came, and
not by where they stand nor by what stands around them: a package that is new in
a hundred lists is one change, whatever else each list holds.

Source: the unified format, POSIX.1-2024 diff(1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from multirsh.output.gather.unified import differences, lines_of, worded


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
