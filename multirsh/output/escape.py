r"""Remote bytes and messages made safe for a terminal, and where bytes may be cut.

A remote's output can move the cursor, rewrite the lines above, set the clipboard (OSC 52), send answers as if
typed, or reverse the order of letters. The escaped text shows such characters instead:

========================================  =================
a byte below 0x20 other than tab, DEL     ``\x1b``, ``\x7f``
a byte that is not UTF-8                  ``\xff``
a C1 control, U+0080-U+009F               ``\u009b``
a bidirectional control                   ``\u202e``
========================================  =================

So ``\x`` stands for one byte and ``\u`` for one character. A backslash that the remote wrote is left alone:
clean text is shown unchanged. To tell the two apart, write to a file or use ``--json``, where bytes are
exact.

Sources: ECMA-48 (C0, C1, CSI, OSC); Unicode Standard Annex 9, section 2 (explicit and implicit directional
formatting characters); RFC 3629 (UTF-8).
"""

from __future__ import annotations

import codecs
import re
from typing import Final

_IN_LINES: Final = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
TERMINAL_CONTROLS: Final = "\n" + _IN_LINES
"""For use inside ``[...]`` of a pattern: every character with power over a terminal. Tab has none that
matters."""

_POWERFUL: Final = re.compile(f"[{TERMINAL_CONTROLS}\ud800-\udfff]")
_POWERFUL_IN_LINES: Final = re.compile(f"[{_IN_LINES}\ud800-\udfff]")
_PLAIN: Final = b"\t\n" + bytes(range(0x20, 0x7F))


def escape_lines(lines: bytes) -> bytes:
    r"""Escape whole lines of remote output for a terminal.

    A line ends in ``\n``, or in ``\r\n``, which is shown as ``\n``. A ``\r``
    elsewhere, as progress bars write it, would let a line hide its own
    beginning, the host's name too; it becomes ``\x0d``.

    Args:
        lines: Any bytes.

    Returns:
        UTF-8 without a control or bidirectional character other than tab and line feed. If nothing needs
        escaping it is the same object, at the cost of one look-up a byte.
    """
    if not lines.translate(None, _PLAIN):
        return lines
    text = lines.replace(b"\r\n", b"\n").decode("utf-8", "surrogateescape")
    return _POWERFUL_IN_LINES.sub(_visible, text).encode()


def escape_text(text: str) -> str:
    r"""Escape a name or a message for a terminal; the result is one line.

    Args:
        text: Any string, also with lone surrogates as ``surrogateescape`` makes them.

    Returns:
        One line that can be encoded as UTF-8; a line feed has become ``\x0a``.
    """
    return _POWERFUL.sub(_visible, text)


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x80:  # noqa: PLR2004 - the end of ASCII
        return f"\\x{code:02x}"
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004 - where PEP 383 puts a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}"


_LONGEST_TAIL: Final = 3
"""A character has at most four bytes (RFC 3629 section 3)."""
_FIRST_LEAD: Final = 0xC2
"""The lowest byte that begins a character of several bytes (RFC 3629 section 4)."""
_FIRST_NON_ASCII: Final = 0x80


def torn_tail(text: bytes) -> int:
    """Count the bytes at the end that begin a character and do not finish it.

    Args:
        text: Any bytes. Bytes that can never become UTF-8 are not counted, with one exception: CPython's
            decoder, which decides, rejects an encoded surrogate only at its last byte.

    Returns:
        0-3: without that many bytes at its end, the text ends between characters.
    """
    for length in range(1, min(_LONGEST_TAIL, len(text)) + 1):
        byte = text[-length]
        if byte < _FIRST_NON_ASCII:
            return 0
        if byte >= _FIRST_LEAD:
            try:
                _, used = codecs.utf_8_decode(text[-length:], "strict", False)
            except UnicodeDecodeError:
                return 0
            return length - used
    return 0
