"""How many columns text takes, at the most: what is not ASCII may be wide."""

from __future__ import annotations

from typing import Final

_ASCII_END: Final = 0x80


def columns(text: str) -> int:
    """Columns of a text without escape sequences."""
    return sum(map(_columns_of, text))


def cut(text: str, width: int) -> str:
    """The beginning of ``text`` that fits into ``width`` columns."""
    taken = 0
    for place, char in enumerate(text):
        taken += _columns_of(char)
        if taken > width:
            return text[:place]
    return text


def _columns_of(char: str) -> int:
    return 1 if ord(char) < _ASCII_END else 2
