"""Patterns of paths on a host, as sh reads them: ``*``, ``?``, ``[...]``; a dot in front has to be written.

Pure: who lists folders asks which of their names match. What a remote offers
beyond the pattern is thereby left out.
"""

from __future__ import annotations

import fnmatch
import functools
import itertools
import re
from typing import Final

_PLAIN: Final = 2
"""A brace of which only its beginning and its end are known has no comma."""

_MAGIC: Final = re.compile(rb"[*?\[]")


def is_pattern(path: bytes) -> bool:
    """Whether ``path`` is more than a name; in brackets, a character stands for itself (``[*]``)."""
    return _MAGIC.search(path) is not None


def braces(path: bytes) -> list[bytes]:
    """All that ``{a,b}`` stands for, in the order of bash; without a comma, or in ``[...]``, it is plain."""
    begin = _brace(path)
    if begin is None:
        return [path]
    cuts, end = begin[:-1], begin[-1]
    texts = [path[one + 1 : other] for one, other in itertools.pairwise(begin)]
    tails = braces(path[end + 1 :])
    return [path[: cuts[0]] + choice + tail for text in texts for choice in braces(text) for tail in tails]


def _brace(path: bytes) -> list[int] | None:
    """The first outermost brace that has a comma: the places of its beginning, its commas and its end."""
    opened: list[list[int]] = []
    found: list[int] | None = None
    place = 0
    while place < len(path):
        match path[place : place + 1]:
            case b"[" if (closed := path.find(b"]", place + 2)) > 0:
                place = closed
            case b"{":
                opened.append([place])
            case b"," if opened:
                opened[-1].append(place)
            case b"}" if opened:
                places = [*opened.pop(), place]
                if len(places) > _PLAIN and (found is None or places[0] < found[0]):
                    found = places
        if found is not None and not opened:
            break
        place += 1
    return found


def parts(path: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """Cut a pattern.

    Returns:
        Where the search begins (``/``, or ``.``), and the parts below it.
    """
    begin = b"/" if path.startswith(b"/") else b"."
    return begin, tuple(part for part in path.split(b"/") if part)


def literal(path: bytes) -> bytes:
    """A pattern that stands for ``path`` alone."""
    return _MAGIC.sub(rb"[\g<0>]", path)


def matches(name: bytes, pattern: bytes) -> bool:
    """Whether a name matches one part of a pattern."""
    if name.startswith(b".") and not pattern.startswith(b"."):
        return False
    return _compiled(pattern).match(name) is not None


@functools.lru_cache(maxsize=256)
def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(fnmatch.translate(pattern.decode("latin-1")).encode("latin-1"))
