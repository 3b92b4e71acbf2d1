"""Where bytes may be cut without tearing a UTF-8 character."""

from __future__ import annotations

import codecs
from typing import Final

_LONGEST_TAIL: Final = 3
"""A character has four bytes at the most (RFC 3629 section 3)."""
_FIRST_LEAD: Final = 0xC2
"""The least byte that begins a character of several bytes (RFC 3629 section 4)."""
_FIRST_NON_ASCII: Final = 0x80


def torn_tail(text: bytes) -> int:
    """Count the bytes at the end that begin a character and do not finish it.

    Args:
        text: Any bytes. What can never become UTF-8 is not waited for, with one exception: CPython's
            decoder, which is asked, waits for the last byte of an encoded surrogate before it says no.

    Returns:
        0-3; the text without so many bytes ends between characters.
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
