"""What a copy is made of: entries of a tree, and what is told of each."""

from __future__ import annotations

import enum
import os
import stat
from typing import Final, NamedTuple, Protocol

from multirsh.transports.base import Sink

SECOND_NS: Final = 1_000_000_000


class Kind(enum.Enum):
    """What an entry is."""

    FILE = enum.auto()
    FOLDER = enum.auto()
    LINK = enum.auto()
    SPECIAL = enum.auto()
    """A device, a socket, a FIFO: never copied."""


_KINDS = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.FOLDER, stat.S_IFLNK: Kind.LINK}


def kind_of(mode: int) -> Kind:
    """What ``st_mode`` says."""
    return _KINDS.get(stat.S_IFMT(mode), Kind.SPECIAL)


class Entry(NamedTuple):
    """A local file, folder or link that is pushed.

    Attributes:
        kind: ``FILE``, ``FOLDER`` or ``LINK``.
        parts: Where it goes below the destination; the first is the source's own name.
        source: Where it is here.
        size: Bytes; 0 where it is no file.
        mode: ``st_mode & 0o7777``.
        mtime_ns: When it was modified.
        atime_ns: When it was read.
        inode: Tells whether it is still the same.
        target: Where a link leads.
    """

    kind: Kind
    parts: tuple[bytes, ...]
    source: bytes
    size: int
    mode: int
    mtime_ns: int
    atime_ns: int
    inode: int
    target: bytes = b""

    @property
    def mtime(self) -> int:
        """Whole seconds, as SFTP and scp carry them."""
        return self.mtime_ns // SECOND_NS

    @property
    def atime(self) -> int:
        """Whole seconds."""
        return self.atime_ns // SECOND_NS


class Copy(NamedTuple):
    """What is told of one file, as an event of its host.

    Attributes:
        path: On the host.
        size: Bytes that were sent or received.
        via: ``sftp`` or ``scp``.
        skipped: Why it was left out.
        error: Why it could not be copied.
        note: What of it could not be kept, if it was copied.
    """

    path: bytes
    size: int
    via: str
    skipped: str | None = None
    error: str | None = None
    note: str | None = None

    @property
    def text(self) -> str:
        """The path, as events have it."""
        return os.fsdecode(self.path)


class Teller(Sink, Protocol):
    """Who is told of a host's copies, and of all else that its work writes."""

    def copied(self, copy: Copy) -> None:
        """Take note of a file."""
