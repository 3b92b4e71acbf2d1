"""The local files of a push: found and checked before anything connects, then read once for many hosts.

A block that was read is kept until newer ones need its place. Hosts that
progress at about the same pace find it there; one that lags behind reads again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import posixpath
import stat
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from multirsh.errors import UsageError
from multirsh.files.concurrency import DiskThreads
from multirsh.files.modes import SECOND_NS, FileKind, kind_of
from multirsh.files.options import CopyOptions, Links
from multirsh.files.results import FileError, copy_failure, display_path, os_reason

BLOCK_BYTES: Final = 4 * 255 * 1024
"""A multiple of what OpenSSH's sftp-server takes in one request (261,120 bytes)."""

CACHE_BYTES: Final = 32 * 1024 * 1024

_BLOCK_OVERHEAD_BYTES: Final = 256
"""What a cached block costs besides its content: many empty files have many blocks."""

_Key = tuple[bytes, int]


class SourceEntry(NamedTuple):
    """A local file, folder or link to push.

    Attributes:
        kind: ``FILE``, ``FOLDER`` or ``LINK``.
        parts: Its path below the destination; the first part is the source's own name.
        source: Its local path.
        size: Bytes; 0 if it is not a file.
        mode: ``st_mode & 0o7777``.
        mtime_ns: When it was modified.
        atime_ns: When it was read.
        inode: Shows whether it is still the same file.
        target: Where a link leads.
    """

    kind: FileKind
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
        """When it was modified, in whole seconds, as SFTP and scp carry it."""
        return self.mtime_ns // SECOND_NS

    @property
    def atime(self) -> int:
        """When it was read, in whole seconds."""
        return self.atime_ns // SECOND_NS


class UnreadableSource(NamedTuple):
    """Something to push that cannot be read.

    Attributes:
        parts: As of ``SourceEntry``.
        reason: Why it cannot be read.
    """

    parts: tuple[bytes, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class SourceTree:
    """Everything to push.

    Attributes:
        entries: Files, folders and links; each folder comes before its contents.
        unreadable: What cannot be read. It fails on every host, and the rest is copied.
        warnings: What is left out, and why, for people.
        sources: The number of sources.
        has_folder: Whether one of them is a folder.
    """

    entries: tuple[SourceEntry, ...]
    unreadable: tuple[UnreadableSource, ...]
    warnings: tuple[str, ...]
    sources: int
    has_folder: bool

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.entries)


def read_sources(sources: Sequence[bytes], options: CopyOptions) -> SourceTree:
    """Find everything below the sources.

    A source that ends in ``.`` or ``..`` means the contents of that folder, as with cp(1), scp(1) and
    rsync(1); the first part of such entries is empty.

    Raises:
        UsageError: A source does not exist, or is a folder without ``-r``; two have the same name; or nothing
            can be read.
    """
    named = [(_name(source), source) for source in sources]
    _check_names(named)
    walk = _SourceWalk(options.links or Links.KEEP)
    entries: list[SourceEntry] = []
    has_folder = False
    for name, source in named:
        try:
            found = os.stat(source)  # noqa: PTH116 - bytes
        except PermissionError as error:
            walk.skip((name,), error)
            continue
        except OSError as error:
            raise UsageError(f"{os.fsdecode(source)}: {error.strerror}") from None
        if kind_of(found.st_mode) is FileKind.FOLDER:
            has_folder = True
            if not options.recursive:
                raise UsageError(f"{os.fsdecode(source)} is a folder", hint="folders are copied with -r")
        elif kind_of(found.st_mode) is not FileKind.FILE:
            raise UsageError(f"{os.fsdecode(source)} is neither a file nor a folder")
        entries.extend(walk.below(source, (name,), found, ()))
    if not entries and walk.unreadable:
        raise UsageError(f"{os.fsdecode(sources[0])}: {walk.unreadable[0].reason}", hint="nothing was copied")
    if len(named) > 1 and any(not name for name, _ in named):
        _check_merged(entries)
    return SourceTree(tuple(entries), tuple(walk.unreadable), tuple(walk.warnings), len(named), has_folder)


def target_of(parts: tuple[bytes, ...], destination: bytes, *, into: bool) -> bytes:
    """Return the path of an entry on the host.

    Args:
        parts: The entry's parts; the first one is empty for the contents of a source.
        destination: The destination as the user gave it.
        into: Whether it is a folder that the sources go into, rather than the new name of the only source.
    """
    below = parts if into and parts[0] else parts[1:]
    return posixpath.join(destination, *below) if below else destination.rstrip(b"/") or b"/"


def goes_into(host: str, destination: bytes, tree: SourceTree, *, exists: bool, is_folder: bool) -> bool:
    """Decide whether the destination is a folder to copy into, as scp(1) does.

    Args:
        host: The host's name.
        destination: The destination as the user gave it.
        tree: What is pushed.
        exists: Whether the destination exists.
        is_folder: Whether it is a folder, or a link to one.

    Raises:
        HostError: It can be neither a folder to copy into nor the new name of the source.
    """
    path = display_path(destination)
    if is_folder:
        return True
    if exists and (tree.has_folder or tree.sources > 1 or destination.endswith(b"/")):
        raise copy_failure(host, f"{path}: it is not a folder")
    if not exists and (tree.sources > 1 or (destination.endswith(b"/") and not tree.has_folder)):
        raise copy_failure(host, f"{path}: no such folder")
    return False


class BlockCache:
    """Blocks of the files of one push, shared by its hosts.

    Attributes:
        reads: How often a block was read from the disk.
    """

    def __init__(self, disk: DiskThreads, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._disk = disk
        self._most_bytes = cache_bytes
        self._blocks: OrderedDict[_Key, bytes] = OrderedDict()
        self._bytes = 0
        self._reading: dict[_Key, asyncio.Future[bytes]] = {}
        self.reads = 0

    async def get(self, entry: SourceEntry, number: int) -> bytes:
        """Return block ``number`` of a file, counted from 0.

        A file that has grown is read up to its size at the start of the push. A file whose size is reported
        as 0, or as more than can be read, as in /proc and /sys, is read to its end.

        Returns:
            ``BLOCK_BYTES`` of the file; fewer, or none, at its end.

        Raises:
            FileError: The file has changed since the push began, or cannot be read.
        """
        key = (entry.source, number)
        block = self._blocks.get(key)
        if block is not None:
            self._blocks.move_to_end(key)
            return block
        reading = self._reading.get(key)
        if reading is None:
            self.reads += 1
            reading = self._reading[key] = self._disk.submit(_read, entry, number)
            reading.add_done_callback(lambda done: self._store(key, done))
        return await asyncio.shield(reading)

    async def sum(self, entry: SourceEntry, size: int) -> str:
        """Return the SHA-256 of the first ``size`` bytes of a file, in hexadecimal digits.

        Raises:
            FileError: See ``get``.
        """
        return await self._disk(_sum, entry, size)

    def _store(self, key: _Key, reading: asyncio.Future[bytes]) -> None:
        del self._reading[key]
        if reading.cancelled() or reading.exception() is not None:
            return
        data = reading.result()
        self._blocks[key] = data
        self._bytes += len(data) + _BLOCK_OVERHEAD_BYTES
        while self._bytes > self._most_bytes:
            _, oldest = self._blocks.popitem(last=False)
            self._bytes -= len(oldest) + _BLOCK_OVERHEAD_BYTES


def sha256_of(descriptor: int, size: int) -> str:
    """Return the SHA-256 of the first ``size`` bytes of an open file, in hexadecimal digits.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.sha256()
    for start in range(0, size, BLOCK_BYTES):
        digest.update(_read_all(descriptor, start, min(BLOCK_BYTES, size - start)))
    return digest.hexdigest()


def _name(source: bytes) -> bytes:
    """The name of a source on a host; empty if its contents are meant.

    Raises:
        UsageError: The source is the root folder.
    """
    if not os.path.abspath(source).strip(b"/"):  # noqa: PTH100 - bytes
        raise UsageError(f"{os.fsdecode(source)}: the root folder cannot be pushed", hint="name its folders")
    last = os.path.basename(source.rstrip(b"/"))  # noqa: PTH119 - bytes
    return b"" if last in {b".", b".."} else last


def _check_names(named: Sequence[tuple[bytes, bytes]]) -> None:
    first: dict[bytes, bytes] = {}
    for name, source in named:
        if name and first.setdefault(name, source) is not source:
            raise _same_name(first[name], source)


def _check_merged(entries: Sequence[SourceEntry]) -> None:
    """Check that no two files get the same path where folders are merged."""
    taken: dict[tuple[bytes, ...], SourceEntry] = {}
    for entry in entries:
        path = tuple(filter(None, entry.parts))
        other = taken.setdefault(path, entry)
        if other is not entry and not (other.kind is entry.kind is FileKind.FOLDER):
            raise _same_name(other.source, entry.source)


def _same_name(one: bytes, other: bytes) -> UsageError:
    both = f"{os.fsdecode(one)} and {os.fsdecode(other)}"
    return UsageError(f"{both} would have the same name", hint="push them one after the other")


class _SourceWalk:
    """Walks down the folders of sources.

    Attributes:
        warnings: What was left out, and why, for people.
        unreadable: What could not be read.
    """

    def __init__(self, links: Links) -> None:
        self._links = links
        self.warnings: list[str] = []
        self.unreadable: list[UnreadableSource] = []

    def skip(self, parts: tuple[bytes, ...], error: OSError) -> None:
        """Record something that cannot be read, or has vanished."""
        self.unreadable.append(UnreadableSource(parts, f"it cannot be read here: {os_reason(error)}"))

    def below(
        self, path: bytes, parts: tuple[bytes, ...], found: os.stat_result, above: tuple[tuple[int, int], ...]
    ) -> Iterator[SourceEntry]:
        """Yield ``path`` and everything below it; ``above`` are the folders that contain it."""
        try:
            kind = kind_of(found.st_mode)
            if kind is FileKind.LINK:
                if self._links is Links.SKIP:
                    return
                if self._links is Links.KEEP:
                    yield _entry(kind, path, parts, found)
                    return
                found = os.stat(path)  # noqa: PTH116 - bytes
                kind = kind_of(found.st_mode)
            if kind is FileKind.SPECIAL:
                self.warnings.append(
                    f"{os.fsdecode(path)} is not copied: it is neither file, folder nor link"
                )
                return
            _check_readable(path, kind)
            names = sorted(os.listdir(path)) if kind is FileKind.FOLDER else []  # noqa: PTH208 - bytes
            entry = _entry(kind, path, parts, found)
        except OSError as error:
            self.skip(parts, error)
            return
        yield entry
        if kind is not FileKind.FOLDER:
            return
        folder = (found.st_dev, found.st_ino)
        if folder in above:
            raise UsageError(f"{os.fsdecode(path)} leads back to a folder above it", hint="try --links keep")
        for name in names:
            below = os.path.join(path, name)  # noqa: PTH118 - bytes
            try:
                status = os.lstat(below)
            except OSError as error:
                self.skip((*parts, name), error)
                continue
            yield from self.below(below, (*parts, name), status, (*above, folder))


def _entry(kind: FileKind, path: bytes, parts: tuple[bytes, ...], found: os.stat_result) -> SourceEntry:
    return SourceEntry(
        kind=kind,
        parts=parts,
        source=path,
        size=found.st_size if kind is FileKind.FILE else 0,
        mode=stat.S_IMODE(found.st_mode),
        mtime_ns=found.st_mtime_ns,
        atime_ns=found.st_atime_ns,
        inode=found.st_ino,
        target=os.readlink(path) if kind is FileKind.LINK else b"",  # noqa: PTH115 - bytes
    )


def _check_readable(path: bytes, kind: FileKind) -> None:
    needed = os.R_OK | os.X_OK if kind is FileKind.FOLDER else os.R_OK
    if not os.access(path, needed):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@contextlib.contextmanager
def _opened(entry: SourceEntry) -> Iterator[int]:
    """The file's descriptor. The file is opened for each read, so that no slow host holds a descriptor."""
    try:
        descriptor = os.open(entry.source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FileError(f"it cannot be read here: {os_reason(error)}") from error


def _read(entry: SourceEntry, number: int) -> bytes:
    start = number * BLOCK_BYTES
    with _opened(entry) as descriptor:
        end = _end(entry, os.fstat(descriptor))
        wanted = BLOCK_BYTES if end is None else max(0, min(BLOCK_BYTES, end - start))
        data = _read_all(descriptor, start, wanted)
        if len(data) < wanted:
            _end(entry, os.fstat(descriptor))  # it may have been truncated since
        return data


def _sum(entry: SourceEntry, size: int) -> str:
    with _opened(entry) as descriptor:
        _end(entry, os.fstat(descriptor))
        return sha256_of(descriptor, size)


def _end(entry: SourceEntry, found: os.stat_result) -> int | None:
    """The size up to which a file is read; ``None`` to read until its end.

    Raises:
        FileError: The file was replaced, or changed other than by data added at its end.
    """
    if not entry.size and not found.st_size:
        return None  # files in /proc, whose inode and time may change with each look
    if found.st_ino != entry.inode or not stat.S_ISREG(found.st_mode):
        raise FileError("it was replaced here while it was copied")
    if found.st_size < entry.size:
        raise FileError("it was cut short here while it was copied")
    # A file without blocks has no content on a disk that could have changed, as those in /sys.
    if found.st_size == entry.size and found.st_mtime_ns != entry.mtime_ns and found.st_blocks:
        raise FileError("it was changed here while it was copied")
    return entry.size


def _read_all(descriptor: int, start: int, wanted: int) -> bytes:
    data = os.pread(descriptor, wanted, start)
    while data and len(data) < wanted:
        more = os.pread(descriptor, wanted - len(data), start + len(data))
        if not more:
            break
        data += more
    return data
