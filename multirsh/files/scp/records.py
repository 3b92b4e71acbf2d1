r"""The records of scp's protocol, pure.

::

    T<mtime> <us> <atime> <us>\n    times of what comes next, seconds and microseconds
    D<mode> 0 <name>\n              a folder begins
    C<mode> <size> <name>\n         a file: its bytes follow, then a zero
    E\n                             the folder ends

Each is answered with a zero byte, or with 1 (this one failed) or 2 (all is
over), words and a line feed.

Source: OpenSSH's scp.c (``source``, ``rsource``, ``sink``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

OK: Final = b"\0"
LONGEST_LINE: Final = 8192
"""Bytes; a name has 255."""

_ITEM: Final = re.compile(rb"([0-7]{1,5}) ([0-9]{1,19}) (.+)", re.DOTALL)
_TIMES: Final = re.compile(rb"([0-9]{1,12}) ([0-9]{1,6}) ([0-9]{1,12}) ([0-9]{1,6})")


_MICROSECOND_NS: Final = 1000


class ScpError(Exception):
    """The other end does not speak scp."""


@dataclass(frozen=True, slots=True)
class Item:
    """A file, or the beginning of a folder.

    Attributes:
        is_folder: Which of them.
        mode: Permissions.
        size: Bytes of a file.
        name: Not to be trusted.
    """

    is_folder: bool
    mode: int
    size: int
    name: bytes


@dataclass(frozen=True, slots=True)
class Times:
    """Of what comes next.

    Attributes:
        accessed: When it was read, in nanoseconds.
        modified: When it was modified, in nanoseconds.
    """

    accessed: int
    modified: int


@dataclass(frozen=True, slots=True)
class End:
    """A folder ends."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something went wrong there.

    Attributes:
        is_fatal: Whether nothing more comes.
        words: What.
    """

    is_fatal: bool
    words: bytes


Record: TypeAlias = Item | Times | End | Complaint


def parse(line: bytes) -> Record:
    """Read one record, without its line feed.

    Raises:
        ScpError: It is none.
    """
    first, rest = line[:1], line[1:]
    if first in {b"\1", b"\2"}:
        return Complaint(first == b"\2", rest)
    if first == b"E" and not rest:
        return End()
    if first in {b"C", b"D"} and (found := _ITEM.fullmatch(rest)):
        return Item(first == b"D", int(found[1], 8), int(found[2]), found[3])
    if first == b"T" and (found := _TIMES.fullmatch(rest)):
        modified, accessed = _ns(found[1], found[2]), _ns(found[3], found[4])
        return Times(accessed=accessed, modified=modified)
    raise ScpError(f"it sent {line[:40]!r}")


def item(*, is_folder: bool, mode: int, size: int, name: bytes) -> bytes:
    """Word a file, or the beginning of a folder.

    Raises:
        ScpError: No record can carry that name.
    """
    if b"\n" in name:
        raise ScpError("scp carries no name with a line feed")
    return b"%c%04o %d %s\n" % (b"D" if is_folder else b"C", mode, size, name)


def times(*, accessed: int, modified: int) -> bytes:
    """Word times, in nanoseconds: none before 1970, and in microseconds."""
    words = [divmod(max(0, time) // _MICROSECOND_NS, 1_000_000) for time in (modified, accessed)]
    return b"T%d %d %d %d\n" % (*words[0], *words[1])


def _ns(seconds: bytes, microseconds: bytes) -> int:
    return (int(seconds) * 1_000_000 + int(microseconds)) * _MICROSECOND_NS


END: Final = b"E\n"


def refusal(words: str) -> bytes:
    """Say that one record is not taken."""
    return b"\1" + words.encode("ascii", "replace") + b"\n"
