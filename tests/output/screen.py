"""A small terminal: what a person would see after these bytes, the lines that scrolled away included.

It knows what multirsh may write and nothing else, so that a byte that should
never have reached a terminal fails the test. It is stricter than a real one:
filling the last column is an error.
"""

from __future__ import annotations

import re
from itertools import zip_longest

_TOKEN = re.compile(
    r"\x1b\[[0-9;]*m|\x1b\[J|\x1b\[\d+A|\r|\n|\t|[^\x00-\x1f\x7f-\x9f]+|(?P<alien>.)", re.DOTALL
)


class Screen:
    """Rows of text; ``row`` and ``column`` are the cursor's."""

    def __init__(self, *, columns: int = 80) -> None:
        self.columns = columns
        self.rows = [""]
        self.row = 0
        self.column = 0

    def write(self, text: bytes) -> None:
        for token in _TOKEN.finditer(text.decode()):
            if token["alien"]:
                message = f"{token['alien']!r} reached the terminal"
                raise AssertionError(message)
            self._token(token[0])

    def text(self) -> list[str]:
        """All rows down to the last that is not empty, without blanks at their ends."""
        rows = [row.rstrip() for row in self.rows]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    def _token(self, token: str) -> None:
        if token == "\r":
            self.column = 0
        elif token == "\n":
            # A terminal's driver sends CR LF for it (stty onlcr).
            self.row, self.column = self.row + 1, 0
            if self.row == len(self.rows):
                self.rows.append("")
        elif token == "\x1b[J":
            self.rows[self.row] = self.rows[self.row][: self.column]
            del self.rows[self.row + 1 :]
        elif token.endswith("A") and token.startswith("\x1b"):
            self.row = max(0, self.row - int(token[2:-1]))
        elif not token.startswith("\x1b"):
            for char in token:
                self._put(char)

    def _put(self, char: str) -> None:
        if self.column >= self.columns:
            self._token("\n")
        row = self.rows[self.row].ljust(self.column)
        self.rows[self.row] = row[: self.column] + char + row[self.column + 1 :]
        self.column += 1


def differing_rows(one: list[str], other: list[str]) -> list[tuple[str | None, str | None]]:
    """Rows that are not the same, for a message that can be read."""
    return [pair for pair in zip_longest(one, other) if pair[0] != pair[1]]
