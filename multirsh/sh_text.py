r"""Writing text for POSIX sh, and past shells that are not: quotes, octal escapes, the longest argument.

Text that came from bytes that were no UTF-8 holds them as surrogates (PEP 383) and gives them back.
"""

from __future__ import annotations

import re
from typing import Final

LONGEST_ARGUMENT: Final = 131_071
"""Bytes of one argument on Linux: MAX_ARG_STRLEN less its NUL (execve(2)); a login shell gets its command as
one."""

_RISKY: Final = frozenset(range(256)) - frozenset(range(0x20, 0x7F)) | frozenset(b"\\")
"""All but printable ASCII, and the backslash."""

_RISKY_IN_QUOTES: Final = _RISKY | frozenset(b"'!")
"""What some login shell reads in its own way even between single quotes, besides."""

_BARE: Final = re.compile(r"[A-Za-z0-9_./:,@-]+")
"""A word that no shell reads anything into."""

_ALIKE: Final = re.compile(r"([\\'!])")


def quoted(text: str) -> str:
    """``text`` as one word of POSIX sh, whatever is in it but a NUL."""
    return "'" + text.replace("'", "'\\''") + "'"


def quoted_anywhere(text: str) -> str:
    r"""``text`` as one word of whatever shell: sh and its kin, csh, fish.

    What they read differently between single quotes (``\``, ``'``, ``!``) stands outside of them behind a
    backslash, which is the same to all. *What remains*: in csh, a line feed ends a word in any case.
    """
    if _BARE.fullmatch(text):
        return text
    if not text:
        return "''"
    pieces = _ALIKE.split(text)  # those in between are at odd places
    return "".join(f"\\{piece}" if place % 2 else f"'{piece}'" for place, piece in enumerate(pieces) if piece)


def escaped(data: bytes) -> bytes:
    r"""Write ``data`` as one line for ``printf %b``: octal ``\0ddd`` for what is risky."""
    return _octal(data, _RISKY)


def escaped_for_quotes(data: bytes) -> bytes:
    r"""The same, so that every login shell takes it as it is between single quotes.

    sh ends them at a quote, csh expands ``!`` and stops at a line feed, and fish knows ``\'`` and ``\\``;
    ``\0`` is nothing to any of them.
    """
    return _octal(data, _RISKY_IN_QUOTES)


def to_bytes(text: str) -> bytes:
    """The bytes that ``text`` stands for."""
    return text.encode("utf-8", "surrogateescape")


def _octal(data: bytes, risky: frozenset[int]) -> bytes:
    """Write each risky byte as its octal escape; the backslash comes first, since escapes begin with one."""
    found = risky.intersection(data)
    for byte in sorted(found, key=lambda byte: byte != ord("\\")):
        data = data.replace(bytes((byte,)), b"\\0%03o" % byte)
    return data
