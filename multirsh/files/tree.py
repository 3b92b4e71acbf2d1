"""What is pushed: the sources, and all that is in their folders, looked at once, before anything connects."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from multirsh.errors import UsageError
from multirsh.files.entries import Entry, Kind, kind_of
from multirsh.files.names import base_name
from multirsh.files.options import CopyOptions, Links


@dataclass(frozen=True, slots=True)
class Tree:
    """What is pushed.

    Attributes:
        entries: Each folder before what is in it.
        left_out: Warnings for people: what is not copied, and why.
        sources: How many there are.
        has_folder: Whether one of them is a folder.
    """

    entries: tuple[Entry, ...]
    left_out: tuple[str, ...]
    sources: int
    has_folder: bool

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.entries)


def look(sources: Sequence[bytes], options: CopyOptions) -> Tree:
    """Look at the sources and at all that is below them.

    Raises:
        UsageError: One is not there, cannot be read, or is a folder that is not to be copied; two have one
            name.
    """
    names: dict[bytes, bytes] = {}
    for source in sources:
        name = base_name(os.path.abspath(source))  # noqa: PTH100 - bytes
        if not name:
            raise UsageError(f"{os.fsdecode(source)}: the root folder is not pushed", hint="name its folders")
        if name in names:
            both = f"{os.fsdecode(names[name])} and {os.fsdecode(source)}"
            raise UsageError(f"{both} would have one name", hint="push them one after the other")
        names[name] = source
    walk = _Walk(options.links or Links.KEEP)
    entries: list[Entry] = []
    has_folder = False
    for name, source in names.items():
        found = _status(source, follow=True)
        if kind_of(found.st_mode) is Kind.FOLDER:
            has_folder = True
            if not options.recursive:
                raise UsageError(f"{os.fsdecode(source)} is a folder", hint="folders are copied with -r")
        elif kind_of(found.st_mode) is not Kind.FILE:
            raise UsageError(f"{os.fsdecode(source)} is neither a file nor a folder")
        entries.extend(walk.below(source, (name,), found, ()))
    return Tree(tuple(entries), tuple(walk.left_out), len(names), has_folder)


class _Walk:
    """Goes down folders.

    Attributes:
        left_out: What it has left out, in words.
    """

    def __init__(self, links: Links) -> None:
        self._links = links
        self.left_out: list[str] = []

    def below(
        self, path: bytes, parts: tuple[bytes, ...], found: os.stat_result, above: tuple[tuple[int, int], ...]
    ) -> Iterator[Entry]:
        """What ``path`` is, and what is below it; ``above`` are the folders that it is in."""
        kind = kind_of(found.st_mode)
        if kind is Kind.LINK:
            if self._links is Links.SKIP:
                return
            if self._links is Links.KEEP:
                yield _entry(kind, path, parts, found)
                return
            found = _status(path, follow=True)
            kind = kind_of(found.st_mode)
        if kind is Kind.SPECIAL:
            self.left_out.append(f"{os.fsdecode(path)} is not copied: it is neither file, folder nor link")
            return
        _check_readable(path, kind)
        yield _entry(kind, path, parts, found)
        if kind is Kind.FOLDER:
            here = (found.st_dev, found.st_ino)
            if here in above:
                raise UsageError(
                    f"{os.fsdecode(path)} leads back to a folder above it", hint="try --links keep"
                )
            for name in sorted(os.listdir(path)):  # noqa: PTH208 - bytes
                below = os.path.join(path, name)  # noqa: PTH118 - bytes
                yield from self.below(below, (*parts, name), _status(below, follow=False), (*above, here))


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


def _status(path: bytes, *, follow: bool) -> os.stat_result:
    try:
        return os.stat(path, follow_symlinks=follow)  # noqa: PTH116 - bytes
    except OSError as error:
        raise UsageError(f"{os.fsdecode(path)}: {error.strerror}") from None


def _check_readable(path: bytes, kind: Kind) -> None:
    needed = os.R_OK | os.X_OK if kind is Kind.FOLDER else os.R_OK
    if not os.access(path, needed):
        raise UsageError(f"{os.fsdecode(path)}: it cannot be read", hint="nothing was copied")
