"""Finds words in a stream that comes in pieces, and takes them out. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple


class Piece(NamedTuple):
    """A part of a stream.

    Attributes:
        text: What is in it before the word.
        word: Which of the words ends it; ``None`` for none.
    """

    text: bytes
    word: bytes | None


class Scanner:
    """Of one stream. It holds back no more than what may be the beginning of a word."""

    def __init__(self, *words: bytes) -> None:
        """Look for ``words``; none of them is empty."""
        self._words = words
        self._held = b""
        self._any = _any_of(words)

    def look_for(self, *words: bytes) -> None:
        """From now on look for ``words`` and no others."""
        self._words = words
        self._any = _any_of(words)

    def pieces(self, data: bytes) -> Iterator[Piece]:
        """Go through ``data``; words may be changed between two pieces."""
        self._held += data
        while (found := self._any.search(self._held)) is not None and found[0]:
            text, self._held = self._held[: found.start()], self._held[found.end() :]
            yield Piece(text, found[0])
        keep = self._beginning()
        text, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        if text:
            yield Piece(text, None)

    def rest(self) -> bytes:
        """What was held back, at the end."""
        rest, self._held = self._held, b""
        return rest

    def _beginning(self) -> int:
        """How many bytes at the end may be the beginning of a word."""
        for count in range(min(len(self._held), max(map(len, self._words), default=1) - 1), 0, -1):
            end = self._held[-count:]
            if any(word.startswith(end) for word in self._words):
                return count
        return 0


def _any_of(words: tuple[bytes, ...]) -> re.Pattern[bytes]:
    # The longest first: of two that begin alike, the whole one is found.
    return re.compile(b"|".join(map(re.escape, sorted(words, key=len, reverse=True))))
