"""``--diff``: what most hosts wrote, once; then how each other group differs from it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Final

from multirsh.output.batch import Write
from multirsh.output.gather.collector import Written
from multirsh.output.gather.page import Page

LONGEST_BYTES: Final = 2 * 1024 * 1024
LONGEST_LINES: Final = 10_000
"""What is longer is shown in full: to compare it line by line takes time that grows with its square."""

CONTEXT: Final = 3
"""Equal lines around a difference, as diff -u has."""

_FILE_HEADERS: Final = 2


class Differences:
    """Shows groups by what they have not in common with the largest.

    Args:
        page: Words them.
    """

    def __init__(self, page: Page) -> None:
        self._page = page

    def block(self, group: Written, largest: Written) -> Iterator[Write]:
        """One group; the largest itself in full."""
        if group is largest:
            yield from self._page.block(group, counted=True)
            return
        ours, theirs = _lines(group), _lines(largest)
        if ours is None or theirs is None:
            yield from self._page.block(group, counted=True)
            return
        changes = list(difflib.diff_bytes(difflib.unified_diff, theirs, ours, n=CONTEXT, lineterm=b"\n"))
        note = "" if changes else "the same output"
        yield from self._page.header(group, counted=True, note=note)
        for change in changes[_FILE_HEADERS:]:
            yield self._page.change(change)


def _lines(written: Written) -> list[bytes] | None:
    """What was written, in lines; ``None`` where it is too long to be compared."""
    if sum(text.size for text in written.texts.values()) > LONGEST_BYTES:
        return None
    lines: list[bytes] = []
    for text in written.texts.values():
        # Only a line feed ends a line: splitlines() would cut at bytes that are part of one.
        pieces = b"".join(text.pieces()).split(b"\n")
        lines += [piece + b"\n" for piece in pieces[:-1]]
        if pieces[-1]:
            lines.append(pieces[-1] + b"\n")
    return lines if len(lines) <= LONGEST_LINES else None
