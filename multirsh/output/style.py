"""The few colours in use, and how text gets one.

Only multirsh's own words are coloured: a remote's bytes never are. The
colours are the terminal's own eight, which its user chose to be readable on
dark or on light.

Source: ECMA-48 section 8.3.117 (SGR).
"""

from __future__ import annotations

import enum


class Style(enum.Enum):
    """A colour by its use; the value is SGR's parameter."""

    STDOUT_HOST = "36"
    """The name before a line of standard output: cyan."""
    STDERR_HOST = "35"
    """The name before a line of standard error: magenta. Not red: programs say harmless things there."""
    GOOD = "32"
    """Green."""
    BAD = "31"
    """Red."""
    FAINT = "2"
    """What may be overlooked."""


def paint(text: str, style: Style | None, *, color: bool) -> str:
    """Put ``text`` into a style; unchanged without ``color``, without a style, or where it is empty."""
    if not color or style is None or not text:
        return text
    return f"\x1b[{style.value}m{text}\x1b[0m"
