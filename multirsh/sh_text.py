r"""Text for remote shells: one quoting function, and octal escapes for the ``%b`` of printf.

Bytes that are not UTF-8 stand in text as surrogates (PEP 383), and become the
same bytes again when the text is encoded.
"""

from __future__ import annotations

import re
from typing import Final

LONGEST_ARGUMENT: Final = 131_071
"""The longest argument of a program on Linux, in bytes: MAX_ARG_STRLEN less its NUL (execve(2)). A server
passes the whole command to the login shell as one argument."""

_NOT_PRINTABLE: Final = frozenset(range(256)) - frozenset(range(0x20, 0x7F))
_RISKY: Final = _NOT_PRINTABLE | frozenset(b"\\")
_RISKY_IN_QUOTES: Final = _RISKY | frozenset(b"'!")
"""Bytes that at least one login shell treats specially even between single quotes."""

_SAFE_WORD: Final = re.compile(r"[A-Za-z0-9_./:,@-]+")
"""A word that no shell expands or splits."""

_SPECIAL: Final = re.compile(r"(')")
_SPECIAL_IN_ANY_SHELL: Final = re.compile(r"([\\'!])")


def quoted(word: str | bytes, *, any_shell: bool = False) -> str:
    r"""Quote one word for POSIX sh.

    Args:
        word: Anything without a NUL byte.
        any_shell: Whether csh, fish and their relatives have to read the word, too. They disagree about
            ``\``, ``'`` and ``!`` between single quotes, so these are placed outside of the quotes, each
            behind a backslash, which means the same to all of them. One limit remains: in csh, a line feed
            always ends a word.
    """
    text = word if isinstance(word, str) else word.decode("utf-8", "surrogateescape")
    if _SAFE_WORD.fullmatch(text):
        return text
    if not text:
        return "''"
    pieces = (_SPECIAL_IN_ANY_SHELL if any_shell else _SPECIAL).split(text)
    # Special characters are at odd positions, what is between them at even ones.
    return "".join(f"\\{piece}" if index % 2 else f"'{piece}'" for index, piece in enumerate(pieces) if piece)


def escaped(data: bytes) -> bytes:
    r"""Encode ``data`` as one line of printable ASCII that ``printf %b`` decodes, by ``\0ddd``."""
    return _octal(data, _RISKY)


def escaped_for_quotes(data: bytes) -> bytes:
    r"""Encode ``data`` like ``escaped``, for use between single quotes in any login shell.

    sh ends the quotes at ``'``, csh expands ``!`` and stops at a line feed, and fish interprets ``\'`` and
    ``\\``; none of them interprets ``\0``.
    """
    return _octal(data, _RISKY_IN_QUOTES)


def to_bytes(text: str) -> bytes:
    """Encode text as UTF-8; surrogates become the bytes that they stand for (PEP 383)."""
    return text.encode("utf-8", "surrogateescape")


def _octal(data: bytes, risky: frozenset[int]) -> bytes:
    found = risky.intersection(data)
    # The backslash comes first, since every escape begins with one.
    for byte in sorted(found, key=lambda byte: byte != ord("\\")):
        data = data.replace(bytes((byte,)), b"\\0%03o" % byte)
    return data
