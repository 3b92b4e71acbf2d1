"""Patterns of paths on a host, as sh reads them: ``*``, ``?``, ``[...]``; a dot in front has to be written.

Pure: who lists folders asks which of their names match. What a remote offers
beyond the pattern is thereby left out.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from typing import Final

_MAGIC: Final = re.compile(rb"[*?\[]")


def is_pattern(path: bytes) -> bool:
    """Whether ``path`` is more than a name; in brackets, a character stands for itself (``[*]``)."""
    return _MAGIC.search(path) is not None


def parts(path: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """Cut a pattern.

    Returns:
        Where the search begins (``/``, or ``.``), and the parts below it.
    """
    begin = b"/" if path.startswith(b"/") else b"."
    return begin, tuple(part for part in path.split(b"/") if part)


def matches(name: bytes, pattern: bytes) -> bool:
    """Whether a name matches one part of a pattern."""
    if name.startswith(b".") and not pattern.startswith(b"."):
        return False
    return _compiled(pattern).match(name) is not None


@functools.lru_cache(maxsize=256)
def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(fnmatch.translate(pattern.decode("latin-1")).encode("latin-1"))
