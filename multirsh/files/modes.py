"""Kinds and permissions of files: what others may do with a file before and after it is complete.

Pure: modes in, modes out.
"""

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
    """What a file is."""

    FILE = enum.auto()
    FOLDER = enum.auto()
    LINK = enum.auto()
    SPECIAL = enum.auto()
    """A device, a socket or a FIFO; never copied."""


_KINDS = {stat.S_IFREG: FileKind.FILE, stat.S_IFDIR: FileKind.FOLDER, stat.S_IFLNK: FileKind.LINK}


def kind_of(mode: int) -> FileKind:
    """Return the kind of a file from its ``st_mode``."""
    return _KINDS.get(stat.S_IFMT(mode), FileKind.SPECIAL)


def is_special(mode: int | None) -> bool:
    """Whether ``st_mode`` is that of a device, a FIFO or a socket. Some servers report permissions only."""
    return mode is not None and bool(stat.S_IFMT(mode)) and kind_of(mode) is FileKind.SPECIAL


def opening_mode(mode: int, old: int | None, *, exact: bool) -> int:
    """Return the permissions of a temporary file, which is never more open than its target was or will be.

    The file does not have the target's group yet. So when it overwrites a file, the group's permissions are
    granted only if all others had them as well.

    Args:
        mode: The source's mode.
        old: The mode of the file that is overwritten; ``None`` for a new file.
        exact: Whether the file will get the source's mode (``-p``).
    """
    if old is None:
        return mode & PERMISSIONS
    anybody = old & old >> 3 & _OTHERS
    shared = anybody << 3 | anybody
    return old & 0o700 | 0o600 | (shared & mode if exact else shared)


def kept_mode(old: int, *, user: bool, group: bool) -> int:
    """Return the mode of an overwritten file, adapted to a new owner.

    Args:
        old: The old mode.
        user: Whether the file has the same user as before.
        group: Whether the file has the same group as before. If not, the group gets what all others have.
    """
    mode = old & ALL_MODES
    if not group:
        mode = mode & ~_GROUPS | (mode & _GROUPS & (mode & _OTHERS) << 3)
    return mode if user and group else mode & ~_SETS_ID
