"""How each of our two streams wants a remote's bytes: escaped or exact, with which colours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from multirsh.output.batch import Stream
from multirsh.output.escape import escape_lines
from multirsh.output.options import OutputOptions
from multirsh.output.style import Style, paint
from multirsh.output.utf8 import torn_tail


@dataclass(frozen=True, slots=True)
class Surface:
    """One of our streams.

    Attributes:
        is_terminal: Whether remote bytes are escaped.
        color: Whether our own words are coloured.
        host_style: The style of host names there.
    """

    is_terminal: bool
    color: bool
    host_style: Style

    def lines(self, lines: bytes) -> bytes:
        """Whole lines of a remote, as they may be shown."""
        return escape_lines(lines) if self.is_terminal else lines

    def pieces(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """A remote's text that comes in pieces, cut anywhere, as it may be shown."""
        if not self.is_terminal:
            yield from pieces
            return
        held = b""
        for piece in pieces:
            text = held + piece
            # A character is escaped as a whole, and a CR by what comes after it.
            end = len(text) - (torn_tail(text) or int(text.endswith(b"\r")))
            held = text[end:]
            yield escape_lines(text[:end])
        yield escape_lines(held)

    def paint(self, text: str, style: Style | None = None) -> str:
        """Words of our own; a host's name, where no style is given."""
        return paint(text, style or self.host_style, color=self.color)


def surfaces(options: OutputOptions) -> dict[Stream, Surface]:
    """Both of them."""
    stdio = options.stdio
    return {
        "stdout": Surface(stdio.stdout_is_terminal, options.stdout_color, Style.STDOUT_HOST),
        "stderr": Surface(stdio.stderr_is_terminal, options.stderr_color, Style.STDERR_HOST),
    }
