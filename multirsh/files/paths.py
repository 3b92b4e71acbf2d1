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
"""The longest file name, in bytes (NAME_MAX of Linux's file systems)."""

SLOTS: Final = ("1", "2", "3")
"""Suffixes of temporary names, in the order in which they are tried: so the next copy of a file finds what an
earlier one has left behind."""

DAY_SECONDS: Final = 24 * 60 * 60
"""Leftovers of a copy that are older than this are removed by the next copy of the same file."""

_MARK: Final = b".multirsh-"

_DIGEST: Final = 16
"""Hexadecimal digits of a digest in a name."""

_PLAIN: Final = 2
"""The number of known positions in a pair of braces without a comma: its beginning and its end."""

_MAGIC: Final = re.compile(rb"[*?\[]")


def objection(name: bytes) -> str | None:
    """Return why a name from a remote cannot be used for a local file; ``None`` if it can."""
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
    """Return the name of a file until it is complete: hidden, in the same folder, and unique to multirsh."""
    return _beside(name, salt.encode("ascii"))


def kept_name(name: bytes, salt: str) -> bytes:
    """Return the name of a file while another takes its place, for servers that replace no file in one step.

    The pattern for partial files does not match it: if the connection dies in that moment, it is the only
    copy.
    """
    return _beside(name, b"kept-" + salt.encode("ascii"))


def partial_name(name: bytes, size: int, mtime: int) -> bytes:
    """Return the name of a file that can be resumed: the same for the same size and time, and for no others.

    Args:
        name: The file's final name.
        size: In bytes.
        mtime: As precisely as it is known; two versions may have the same one nevertheless.
    """
    digest = hashlib.sha256(b"%d %d" % (size, mtime)).hexdigest()[:_DIGEST]
    return _beside(name, b"partial-" + digest.encode("ascii"))


def partials_pattern(name: bytes) -> bytes:
    """Return a pattern for the partial files of all versions, as sh and find(1) read it."""
    return re.sub(rb"[*?\[\\]", rb"\\\g<0>", partials_prefix(name)) + b"?" * _DIGEST


def is_partial(name: bytes) -> bool:
    """Whether a name is that of a partial file, of any file and version."""
    return name.startswith(b".") and _MARK + b"partial-" in name


def partials_prefix(name: bytes) -> bytes:
    """Return the beginning of the names of the partial files of all versions."""
    return partial_name(name, 0, 0)[:-_DIGEST]


def _beside(name: bytes, end: bytes) -> bytes:
    end = _MARK + end
    room = LONGEST_NAME - len(end) - 1
    if len(name) > room:  # two long names may begin alike
        digest = hashlib.sha256(name).hexdigest()[:_DIGEST].encode("ascii")
        name = name[: room - _DIGEST] + digest
    return b"." + name + end


def whole_parts(path: bytes) -> tuple[bytes, ...]:
    """Return all parts of ``path``, for ``--parents``.

    Raises:
        UsageError: One is ``..``, which leads out of the destination.
    """
    parts = tuple(part for part in path.split(b"/") if part not in {b"", b"."})
    if b".." in parts:
        shown = path.decode("utf-8", "replace")
        raise UsageError(f"{shown}: --parents cannot keep '..'", hint="give the path without it")
    return parts


def base_name(path: bytes) -> bytes:
    """Return the last part of ``path``; empty if the contents are meant (``/``, ``.``).

    Raises:
        UsageError: The path ends in ``..``, which gives a copy no name.
    """
    last = posixpath.basename(path.rstrip(b"/"))
    if last == b"..":
        shown = path.decode("utf-8", "replace")
        raise UsageError(f"{shown}: this gives the copy no name", hint="give the folder's own name")
    return b"" if last == b"." else last


def remote_path(path: bytes) -> bytes:
    """Return a path on a host, relative to the home folder if it is not absolute.

    ``~/x`` becomes ``x``, since an unquoted ``~`` would have been expanded by the local shell.

    Raises:
        UsageError: The path is empty, is in another user's home, or contains a NUL byte.
    """
    shown = path.decode("utf-8", "replace")
    if b"\0" in path:
        raise UsageError(f"{shown!r} has a NUL byte")
    if path in {b"~", b"~/"}:
        return b"."
    if path.startswith(b"~/"):
        return path[2:].lstrip(b"/") or b"."
    if path.startswith(b"~"):
        raise UsageError(f"{shown}: ~ stands only for your own home on a host", hint="give the whole path")
    if not path:
        raise UsageError("a path is empty", hint="'.' is the home folder")
    return path


def stays_inside(folder: Sequence[bytes], target: bytes) -> bool:
    """Whether a link in ``folder`` that leads to ``target`` stays inside of the tree.

    ``..`` is accepted only at the beginning, where it leaves real folders: after another name, it would leave
    whatever that name leads to.

    Args:
        folder: The parts from the root of the tree to the link's folder.
        target: The target, as the link has it.
    """
    if not target or target.startswith(b"/") or b"\0" in target:
        return False
    parts = [part for part in target.split(b"/") if part not in {b"", b"."}]
    ups = 0
    while ups < len(parts) and parts[ups] == b"..":
        ups += 1
    return ups <= len(folder) and b".." not in parts[ups:]


def is_pattern(path: bytes) -> bool:
    """Whether ``path`` is a pattern. In brackets, a character stands for itself (``[*]``)."""
    return _MAGIC.search(path) is not None


def expand_braces(path: bytes) -> list[bytes]:
    """Expand ``{a,b}`` in the order of bash; braces without a comma, or in ``[...]``, are literal."""
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
    """Find the first outermost pair of braces with a comma: its beginning, commas and end, as positions."""
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
    """Split a pattern into parts.

    Returns:
        Where the search begins (``/`` or ``.``), and the parts below it.
    """
    begin = b"/" if path.startswith(b"/") else b"."
    return begin, tuple(part for part in path.split(b"/") if part)


def escape_pattern(path: bytes) -> bytes:
    """Return a pattern that matches only ``path``."""
    return _MAGIC.sub(rb"[\g<0>]", path)


def matches_pattern(name: bytes, pattern: bytes) -> bool:
    """Whether a name matches one part of a pattern. As in sh, only a literal dot matches a leading dot."""
    if name.startswith(b".") and not pattern.startswith(b"."):
        return False
    return _compiled(pattern).match(name) is not None


@functools.lru_cache(maxsize=256)
def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(fnmatch.translate(pattern.decode("latin-1")).encode("latin-1"))
