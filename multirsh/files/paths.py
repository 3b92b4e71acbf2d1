"""Paths and names of files, as bytes: what a host may call a file, temporary names, and patterns. Pure."""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import itertools
import posixpath
import re
from collections.abc import Sequence
from typing import Final

from multirsh.errors import UsageError

LONGEST_NAME: Final = 255
"""Bytes of a name (NAME_MAX of Linux's file systems)."""

SLOTS: Final = ("1", "2", "3")
"""The salts of temporary names, in their order: so the next copy of a file finds what one has left behind."""

DAY_SECONDS: Final = 24 * 60 * 60
"""What is left of a copy is removed by the next one of the same file when it is older than this."""

_MARK: Final = b".multirsh-"

_DIGEST: Final = 16
"""Hexadecimal digits of a digest in a name."""

_PLAIN: Final = 2
"""A brace of which only its beginning and its end are known has no comma."""

_MAGIC: Final = re.compile(rb"[*?\[]")


def objection(name: bytes) -> str | None:
    """Why ``name``, as a remote gave it, is no name for a file of ours; ``None`` if it is one."""
    if name in {b"", b".", b".."}:
        return "its name leads elsewhere"
    if b"/" in name:
        return "its name has a slash"
    if b"\0" in name:
        return "its name has a NUL byte"
    if len(name) > LONGEST_NAME:
        return "its name is too long"
    return None


def temporary_name(name: bytes, salt: str) -> bytes:
    """What a file is called until all of it is there: hidden, beside it, and nobody else's."""
    return _beside(name, salt.encode("ascii"))


def kept_name(name: bytes, salt: str) -> bytes:
    """What a file is called while another takes its place, on servers that replace nothing in one step.

    No pattern of half files matches it: if the connection dies in that moment, it is the only copy.
    """
    return _beside(name, b"kept-" + salt.encode("ascii"))


def partial_name(name: bytes, size: int, mtime: int) -> bytes:
    """What a file is called that may be continued: the same for the same size and time, and for no other.

    Args:
        name: What it is to be called.
        size: In bytes.
        mtime: As exactly as it is known: two versions may have one all the same.
    """
    digest = hashlib.sha256(b"%d %d" % (size, mtime)).hexdigest()[:_DIGEST]
    return _beside(name, b"partial-" + digest.encode("ascii"))


def partials_pattern(name: bytes) -> bytes:
    """A pattern of what half files of all versions are called, as sh and find(1) read it."""
    return re.sub(rb"[*?\[\\]", rb"\\\g<0>", partials_prefix(name)) + b"?" * _DIGEST


def is_partial(name: bytes) -> bool:
    """Whether a file is called as half files are, of whatever file and version."""
    return name.startswith(b".") and _MARK + b"partial-" in name


def partials_prefix(name: bytes) -> bytes:
    """How the names of half files of all versions begin."""
    return partial_name(name, 0, 0)[:-_DIGEST]


def _beside(name: bytes, end: bytes) -> bytes:
    end = _MARK + end
    room = LONGEST_NAME - len(end) - 1
    if len(name) > room:  # two long names may begin alike
        digest = hashlib.sha256(name).hexdigest()[:_DIGEST].encode("ascii")
        name = name[: room - _DIGEST] + digest
    return b"." + name + end


def whole_parts(path: bytes) -> tuple[bytes, ...]:
    """All parts of ``path``, which are kept with ``--parents``.

    Raises:
        UsageError: One is ``..``, which leads out of the folder that they are to be in.
    """
    parts = tuple(part for part in path.split(b"/") if part not in {b"", b"."})
    if b".." in parts:
        shown = path.decode("utf-8", "replace")
        raise UsageError(f"{shown}: --parents keeps no '..'", hint="name it without")
    return parts


def base_name(path: bytes) -> bytes:
    """The last part of ``path``, slashes at its end aside; empty where what is in it is meant (``/``, ``.``).

    Raises:
        UsageError: It ends in ``..``, which says nothing of what a copy is to be called.
    """
    last = posixpath.basename(path.rstrip(b"/"))
    if last == b"..":
        shown = path.decode("utf-8", "replace")
        raise UsageError(f"{shown}: nobody knows what that is to be called", hint="give its name")
    return b"" if last == b"." else last


def remote_path(path: bytes) -> bytes:
    """A path on a host, from the home folder where it is not absolute.

    ``~/x`` is ``x``: a shell of ours would have made something else of an unquoted one.

    Raises:
        UsageError: It is empty or another user's home, or has a NUL.
    """
    shown = path.decode("utf-8", "replace")
    if b"\0" in path:
        raise UsageError(f"{shown!r} has a NUL byte")
    if path in {b"~", b"~/"}:
        return b"."
    if path.startswith(b"~/"):
        return path[2:].lstrip(b"/") or b"."
    if path.startswith(b"~"):
        raise UsageError(f"{shown}: only your own home is known by ~ on a host", hint="give the whole path")
    if not path:
        raise UsageError("a path is empty", hint="'.' is the home folder")
    return path


def stays_inside(folder: Sequence[bytes], target: bytes) -> bool:
    """Whether a link in ``folder`` that leads to ``target`` stays in the tree.

    ``..`` counts only in front, where it goes up folders that are real: behind another name, it would go up
    from wherever that leads.

    Args:
        folder: The parts from the tree's root to where the link stands.
        target: As the link has it.
    """
    if not target or target.startswith(b"/") or b"\0" in target:
        return False
    parts = [part for part in target.split(b"/") if part not in {b"", b"."}]
    ups = 0
    while ups < len(parts) and parts[ups] == b"..":
        ups += 1
    return ups <= len(folder) and b".." not in parts[ups:]


def is_pattern(path: bytes) -> bool:
    """Whether ``path`` is more than a name; in brackets, a character stands for itself (``[*]``)."""
    return _MAGIC.search(path) is not None


def expand_braces(path: bytes) -> list[bytes]:
    """All that ``{a,b}`` stands for, in the order of bash; without a comma, or in ``[...]``, it is plain."""
    begin = _first_brace(path)
    if begin is None:
        return [path]
    cuts, end = begin[:-1], begin[-1]
    texts = [path[one + 1 : other] for one, other in itertools.pairwise(begin)]
    tails = expand_braces(path[end + 1 :])
    return [
        path[: cuts[0]] + choice + tail for text in texts for choice in expand_braces(text) for tail in tails
    ]


def _first_brace(path: bytes) -> list[int] | None:
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


def split_pattern(path: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """Cut a pattern.

    Returns:
        Where the search begins (``/``, or ``.``), and the parts below it.
    """
    begin = b"/" if path.startswith(b"/") else b"."
    return begin, tuple(part for part in path.split(b"/") if part)


def escape_pattern(path: bytes) -> bytes:
    """A pattern that stands for ``path`` alone."""
    return _MAGIC.sub(rb"[\g<0>]", path)


def matches_pattern(name: bytes, pattern: bytes) -> bool:
    """Whether a name matches one part of a pattern."""
    if name.startswith(b".") and not pattern.startswith(b"."):
        return False
    return _compiled(pattern).match(name) is not None


@functools.lru_cache(maxsize=256)
def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(fnmatch.translate(pattern.decode("latin-1")).encode("latin-1"))
