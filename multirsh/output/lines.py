"""Chunks in, whole lines out.

A chunk is what arrived together and ends anywhere. The assembler holds the
unfinished line back until its end arrives, so that no host's line is ever torn
by another's. It works on bytes, so a character split between chunks is none
of its business.

Where lines are made comparable (``gather``), what it holds is bounded: a line
of more than ``LONGEST_LINE`` bytes is given out in pieces, each ended by a
line feed that the remote did not write; a piece does not tear a UTF-8
character. Lines that are shown are not cut: whoever shows them takes over what
is held (``release``) where it becomes too long for memory.
"""

from __future__ import annotations

import sys
from typing import Final

from multirsh.output.utf8 import torn_tail

LONGEST_LINE: Final = 1 << 20
"""Bytes, the line feed not counted."""


class LineAssembler:
    """The unfinished line of one stream of one host.

    What it gives out, all calls joined, does not depend on how the stream was
    cut into chunks.

    Args:
        longest: Bytes of the longest line given out whole; at least 4, so that a character fits. ``None`` for
            no bound.
    """

    __slots__ = ("_held", "_longest", "_size")

    def __init__(self, *, longest: int | None = LONGEST_LINE) -> None:
        self._longest = sys.maxsize if longest is None else longest
        self._held: list[bytes] = []
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes of the unfinished line, which are held."""
        return self._size

    def feed(self, chunk: bytes) -> bytes:
        r"""Take the next chunk.

        Returns:
            The lines it completed, each ended by ``\n``; empty where it completed none.
        """
        self._held.append(chunk)
        self._size += len(chunk)
        if b"\n" not in chunk and self._size <= self._longest:
            return b""
        text = b"".join(self._held)
        if self._size <= self._longest:
            end = text.rfind(b"\n") + 1
            whole, rest = text[:end], text[end:]
        else:
            *ended, rest = text.split(b"\n")
            pieces = [piece for line in ended for piece in self._cut(line)]
            *more, rest = self._cut(rest)
            whole = b"".join(piece + b"\n" for piece in (*pieces, *more))
        self._held = [rest]
        self._size = len(rest)
        return whole

    def finish(self) -> bytes:
        r"""End the stream.

        Returns:
            The last line if its end never came, with the missing ``\n``; else empty.
        """
        rest = self.release()
        return rest and rest + b"\n"

    def release(self) -> bytes:
        """Give out the unfinished line as it is."""
        rest = b"".join(self._held)
        self._held = []
        self._size = 0
        return rest

    def _cut(self, line: bytes) -> list[bytes]:
        """The pieces of a line, the last no longer than the longest; one piece where it is short."""
        pieces: list[bytes] = []
        start = 0
        while len(line) - start > self._longest:
            end = start + self._longest
            end -= torn_tail(line[end - 3 : end])
            pieces.append(line[start:end])
            start = end
        pieces.append(line[start:])
        return pieces
