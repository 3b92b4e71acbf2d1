"""What is pushed: the sources, and all that is in their folders, looked at once, before anything connects."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from multirsh.errors import UsageError
from multirsh.files.entries import Entry, Kind, kind_of
from multirsh.files.options import CopyOptions, Links
from multirsh.files.words import why


class Unread(NamedTuple):
    """Something that is meant to be pushed and cannot be read.

    Attributes:
        parts: As of an ``Entry``.
        reason: Why, in words.
    """

    parts: tuple[bytes, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Tree:
    """What is pushed.

    Attributes:
        entries: Each folder before what is in it.
        unread: What cannot be read: a failure on every host, where the others are copied.
        left_out: Warnings for people: what is not copied, and why.
        sources: How many there are.
        has_folder: Whether one of them is a folder.
    """

    entries: tuple[Entry, ...]
    unread: tuple[Unread, ...]
    left_out: tuple[str, ...]
    sources: int
    has_folder: bool

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.entries)


def look(sources: Sequence[bytes], options: CopyOptions) -> Tree:
    """Look at the sources and at all that is below them.

    A source that ends in ``.`` or ``..`` stands for what is in that folder, as with cp(1), scp(1) and
    rsync(1): the first part of such entries is empty.

    Raises:
        UsageError: One is not there, or is a folder that is not to be copied; two have one name; nothing can
            be read.
    """
    named = [(_name(source), source) for source in sources]
    _check_names(named)
    walk = _Walk(options.links or Links.KEEP)
    entries: list[Entry] = []
    has_folder = False
    for name, source in named:
        try:
            found = os.stat(source)  # noqa: PTH116 - bytes
        except PermissionError as error:
            walk.cannot((name,), error)
            continue
        except OSError as error:
            raise UsageError(f"{os.fsdecode(source)}: {error.strerror}") from None
        if kind_of(found.st_mode) is Kind.FOLDER:
            has_folder = True
            if not options.recursive:
                raise UsageError(f"{os.fsdecode(source)} is a folder", hint="folders are copied with -r")
        elif kind_of(found.st_mode) is not Kind.FILE:
            raise UsageError(f"{os.fsdecode(source)} is neither a file nor a folder")
        entries.extend(walk.below(source, (name,), found, ()))
    if not entries and walk.unread:
        raise UsageError(f"{os.fsdecode(sources[0])}: {walk.unread[0].reason}", hint="nothing was copied")
    if len(named) > 1 and any(not name for name, _ in named):
        _check_places(entries)
    return Tree(tuple(entries), tuple(walk.unread), tuple(walk.left_out), len(named), has_folder)


def _name(source: bytes) -> bytes:
    """What a source is called on a host; empty where what is in it is meant.

    Raises:
        UsageError: It is the root folder.
    """
    if not os.path.abspath(source).strip(b"/"):  # noqa: PTH100 - bytes
        raise UsageError(f"{os.fsdecode(source)}: the root folder is not pushed", hint="name its folders")
    last = os.path.basename(source.rstrip(b"/"))  # noqa: PTH119 - bytes
    return b"" if last in {b".", b".."} else last


def _check_names(named: Sequence[tuple[bytes, bytes]]) -> None:
    first: dict[bytes, bytes] = {}
    for name, source in named:
        if name and first.setdefault(name, source) is not source:
            raise _one_name(first[name], source)


def _check_places(entries: Sequence[Entry]) -> None:
    """Where folders are merged, no two files may have one place."""
    taken: dict[tuple[bytes, ...], Entry] = {}
    for entry in entries:
        place = tuple(filter(None, entry.parts))
        other = taken.setdefault(place, entry)
        if other is not entry and not (other.kind is entry.kind is Kind.FOLDER):
            raise _one_name(other.source, entry.source)


def _one_name(one: bytes, other: bytes) -> UsageError:
    both = f"{os.fsdecode(one)} and {os.fsdecode(other)}"
    return UsageError(f"{both} would have one name", hint="push them one after the other")


class _Walk:
    """Goes down folders.

    Attributes:
        left_out: What it has left out, in words.
        unread: What it could not read.
    """

    def __init__(self, links: Links) -> None:
        self._links = links
        self.left_out: list[str] = []
        self.unread: list[Unread] = []

    def cannot(self, parts: tuple[bytes, ...], error: OSError) -> None:
        """Take note of something that cannot be read, or has vanished."""
        self.unread.append(Unread(parts, f"it cannot be read here: {why(error)}"))

    def below(
        self, path: bytes, parts: tuple[bytes, ...], found: os.stat_result, above: tuple[tuple[int, int], ...]
    ) -> Iterator[Entry]:
        """What ``path`` is, and what is below it; ``above`` are the folders that it is in."""
        try:
            kind = kind_of(found.st_mode)
            if kind is Kind.LINK:
                if self._links is Links.SKIP:
                    return
                if self._links is Links.KEEP:
                    yield _entry(kind, path, parts, found)
                    return
                found = os.stat(path)  # noqa: PTH116 - bytes
                kind = kind_of(found.st_mode)
            if kind is Kind.SPECIAL:
                self.left_out.append(
                    f"{os.fsdecode(path)} is not copied: it is neither file, folder nor link"
                )
                return
            _check_readable(path, kind)
            names = sorted(os.listdir(path)) if kind is Kind.FOLDER else []  # noqa: PTH208 - bytes
            entry = _entry(kind, path, parts, found)
        except OSError as error:
            self.cannot(parts, error)
            return
        yield entry
        if kind is not Kind.FOLDER:
            return
        here = (found.st_dev, found.st_ino)
        if here in above:
            raise UsageError(f"{os.fsdecode(path)} leads back to a folder above it", hint="try --links keep")
        for name in names:
            below = os.path.join(path, name)  # noqa: PTH118 - bytes
            try:
                status = os.lstat(below)
            except OSError as error:
                self.cannot((*parts, name), error)
                continue
            yield from self.below(below, (*parts, name), status, (*above, here))


def _entry(kind: Kind, path: bytes, parts: tuple[bytes, ...], found: os.stat_result) -> Entry:
    return Entry(
        kind=kind,
        parts=parts,
        source=path,
        size=found.st_size if kind is Kind.FILE else 0,
        mode=stat.S_IMODE(found.st_mode),
        mtime_ns=found.st_mtime_ns,
        atime_ns=found.st_atime_ns,
        inode=found.st_ino,
        target=os.readlink(path) if kind is Kind.LINK else b"",  # noqa: PTH115 - bytes
    )


def _check_readable(path: bytes, kind: Kind) -> None:
    needed = os.R_OK | os.X_OK if kind is Kind.FOLDER else os.R_OK
    if not os.access(path, needed):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
