"""Where words came from, so that every error can point at its place.

A ``Place`` is a spot in a file or an option; a ``Fragment`` is text that still
knows its place, however often it is cut into smaller pieces. Parsers take
fragments and never count columns themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

from multirsh.errors import InventoryError, NodeSetError


@dataclass(frozen=True, slots=True)
class Place:
    """A spot in a file, or in an option's value.

    Attributes:
        source: The file as the user gave it, ``<stdin>``, or an option such as ``-w``.
        line: From 1; ``None`` in an option.
        column: In characters, from 1.
        exact: Whether the text read there stands one character a column. A quoted YAML scalar
            with escapes, or one of several lines, does not; errors inside it point at its start.
    """

    source: str
    line: int | None = None
    column: int = 1
    exact: bool = True

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.source, self.line, self.column) if part is not None)

    def error(self, message: str, *, hint: str | None = None) -> InventoryError:
        """Make the error that points here; the caller raises it."""
        return InventoryError(message, source=self.source, line=self.line, column=self.column, hint=hint)


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of some text that was read.

    Attributes:
        text: The piece.
        whole: The text it was cut from.
        offset: Where in ``whole`` it begins, in characters from 0.
        place: Where ``whole`` begins.
    """

    text: str
    whole: str
    offset: int
    place: Place

    @classmethod
    def of(cls, text: str, place: Place) -> Fragment:
        """The whole of ``text``, read at ``place``."""
        return cls(text, text, 0, place)

    def cut(self, start: int, end: int | None = None) -> Fragment:
        """The characters from ``start`` up to, not including, ``end``."""
        return Fragment(self.text[start:end], self.whole, self.offset + start, self.place)

    def strip(self) -> Fragment:
        """The fragment without the blanks around it."""
        shorter = self.text.lstrip()
        return Fragment(shorter.rstrip(), self.whole, self.offset + len(self.text) - len(shorter), self.place)

    def error(self, message: str, *, at: int = 0, hint: str | None = None) -> NodeSetError:
        """Make the error that points at character ``at`` of the fragment; the caller raises it."""
        position = self.offset + at
        return NodeSetError(
            message,
            text=self.whole,
            position=position,
            source=self.place.source,
            line=self.place.line,
            column=self.place.column + (position if self.place.exact else 0),
            hint=hint,
        )
