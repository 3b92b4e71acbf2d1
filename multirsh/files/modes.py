"""Kinds and modes of files: what a copied file may be to others, before and after it is complete. Pure."""

from __future__ import annotations

import enum
import stat
from typing import Final

SECOND_NS: Final = 1_000_000_000

PERMISSIONS: Final = 0o777

ALL_MODES: Final = 0o7777

OWNERS: Final = 0o700

_SETS_ID: Final = 0o6000

_GROUPS: Final = 0o070

_OTHERS: Final = 0o007

SPECIAL: Final = "a device, a FIFO or a socket has its name, which is not written to"

ACL_LOST: Final = "its access control list is lost"

IN_PLACE: Final = "--inplace writes to the file itself"

NONE_BESIDE: Final = f"no temporary file can be made beside it ({IN_PLACE})"

NOT_RENAMED: Final = f"its temporary file cannot be renamed to it ({IN_PLACE})"


class FileKind(enum.Enum):
    """What an entry is."""

    FILE = enum.auto()
    FOLDER = enum.auto()
    LINK = enum.auto()
    SPECIAL = enum.auto()
    """A device, a socket, a FIFO: never copied."""


_KINDS = {stat.S_IFREG: FileKind.FILE, stat.S_IFDIR: FileKind.FOLDER, stat.S_IFLNK: FileKind.LINK}


def kind_of(mode: int) -> FileKind:
    """What ``st_mode`` says."""
    return _KINDS.get(stat.S_IFMT(mode), FileKind.SPECIAL)


def is_special(mode: int | None) -> bool:
    """Whether ``st_mode`` is that of a device, a FIFO or a socket; some servers tell permissions only."""
    return mode is not None and bool(stat.S_IFMT(mode)) and kind_of(mode) is FileKind.SPECIAL


def opening_mode(mode: int, old: int | None, *, exact: bool) -> int:
    """The permissions of a temporary file, which is never more open than its target was or will be.

    Its group is not that of the target yet, so of an overwritten file the group's permissions are given only
    where all others had them as well.

    Args:
        mode: The source's.
        old: Those of the file that is overwritten; ``None`` for a new one.
        exact: Whether it is to have the source's at the end (``-p``).
    """
    if old is None:
        return mode & PERMISSIONS
    anybody = old & old >> 3 & _OTHERS
    shared = anybody << 3 | anybody
    return old & 0o700 | 0o600 | (shared & mode if exact else shared)


def kept_mode(old: int, *, user: bool, group: bool) -> int:
    """The mode of an overwritten file, for one that may be of another owner.

    Args:
        old: Its mode.
        user: Whether the user is the same.
        group: Whether the group is; if not, it is given what all others have.
    """
    mode = old & ALL_MODES
    if not group:
        mode = mode & ~_GROUPS | (mode & _GROUPS & (mode & _OTHERS) << 3)
    return mode if user and group else mode & ~_SETS_ID
