"""A host's name as the name of a file or folder of its own."""

from __future__ import annotations

import hashlib
from typing import Final

LONGEST: Final = 255
"""Bytes of a name (NAME_MAX of Linux's file systems)."""

_PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@:+,=")
_DIGEST: Final = 16
"""Hexadecimal digits of a digest in a name."""


def file_name(host: str) -> str:
    """What a host's own file or folder is called; no two hosts have the same, and none leads elsewhere.

    Letters, digits and ``._-@:+,=`` stay as they are. All else becomes ``%XX``, byte by byte, and so does a
    dot in front. A name that would be too long for a file system ends in a digest.
    """
    raw = host.encode("utf-8", "surrogateescape")
    coded = "".join(
        chr(byte) if byte in _PLAIN and not (place == 0 and byte == ord(".")) else f"%{byte:02X}"
        for place, byte in enumerate(raw)
    )
    if len(coded) <= LONGEST:
        return coded
    digest = hashlib.sha256(raw).hexdigest()[:_DIGEST]
    return f"{coded[: LONGEST - _DIGEST - 2]}%%{digest}"  # "%%" is in no other name
