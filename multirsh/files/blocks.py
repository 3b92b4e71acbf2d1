"""Reads of the files that are pushed: once for all hosts that are about as far, within a bound of memory.

A block that somebody has read is kept until newer ones need its place. Hosts
that go at about the same pace find it there; one that lags behind reads again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import stat
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from multirsh.files.disk import Disk
from multirsh.files.entries import Entry
from multirsh.files.words import FileTrouble, why

BLOCK_BYTES: Final = 4 * 255 * 1024
"""A multiple of what OpenSSH's sftp-server takes at once (261,120 bytes)."""

CACHE_BYTES: Final = 32 * 1024 * 1024

_KEPT_BYTES: Final = 256
"""What a block costs besides its bytes: many empty files have many blocks."""

_Key = tuple[bytes, int]


class Blocks:
    """Blocks of the files of one push.

    Attributes:
        reads: How often the disk was asked.
    """

    def __init__(self, disk: Disk, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._disk = disk
        self._room = cache_bytes
        self._kept: OrderedDict[_Key, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._coming: dict[_Key, asyncio.Future[bytes]] = {}
        self.reads = 0

    async def get(self, entry: Entry, number: int) -> bytes:
        """Block ``number`` of a file, from 0.

        A file that has grown is read as far as it went when the push began. One whose size is said to be 0,
        or more than can be read, as in /proc and /sys, is read to its end.

        Returns:
            ``BLOCK_BYTES`` of it; less, or nothing, at its end.

        Raises:
            FileTrouble: It is not as it was when the push began, or cannot be read.
        """
        key = (entry.source, number)
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        coming = self._coming.get(key)
        if coming is None:
            self.reads += 1
            coming = self._coming[key] = self._disk.begin(_read, entry, number)
            coming.add_done_callback(lambda done: self._came(key, done))
        return await asyncio.shield(coming)

    async def sum(self, entry: Entry, size: int) -> str:
        """The SHA-256 of the first ``size`` bytes of a file, in hexadecimal digits.

        Raises:
            FileTrouble: As of ``get``.
        """
        return await self._disk(_sum, entry, size)

    def _came(self, key: _Key, coming: asyncio.Future[bytes]) -> None:
        del self._coming[key]
        if coming.cancelled() or coming.exception() is not None:
            return
        data = coming.result()
        self._kept[key] = data
        self._kept_bytes += len(data) + _KEPT_BYTES
        while self._kept_bytes > self._room:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest) + _KEPT_BYTES


@contextlib.contextmanager
def _opened(entry: Entry) -> Iterator[int]:
    """The file's descriptor. It is opened anew each time: so none is held for a host that is slow."""
    try:
        descriptor = os.open(entry.source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FileTrouble(f"it cannot be read here: {why(error)}") from error


def _read(entry: Entry, number: int) -> bytes:
    start = number * BLOCK_BYTES
    with _opened(entry) as descriptor:
        end = _end(entry, os.fstat(descriptor))
        wanted = BLOCK_BYTES if end is None else max(0, min(BLOCK_BYTES, end - start))
        data = _read_all(descriptor, start, wanted)
        if len(data) < wanted:
            _end(entry, os.fstat(descriptor))  # it may have been cut short in this moment
        return data


def _sum(entry: Entry, size: int) -> str:
    with _opened(entry) as descriptor:
        _end(entry, os.fstat(descriptor))
        return sum_of(descriptor, size)


def sum_of(descriptor: int, size: int) -> str:
    """The SHA-256 of the first ``size`` bytes of an open file.

    Raises:
        OSError: It cannot be read.
    """
    summed = hashlib.sha256()
    for start in range(0, size, BLOCK_BYTES):
        summed.update(_read_all(descriptor, start, min(BLOCK_BYTES, size - start)))
    return summed.hexdigest()


def _end(entry: Entry, found: os.stat_result) -> int | None:
    """Where the file ends that was looked at as ``entry``; ``None`` where only reading it will tell.

    Raises:
        FileTrouble: It is another, or was changed other than by what was added at its end.
    """
    if not entry.size and not found.st_size:
        return None  # files in /proc, whose inode and time may be new ones at each look
    if found.st_ino != entry.inode or not stat.S_ISREG(found.st_mode):
        raise FileTrouble("it was replaced here while it was copied")
    if found.st_size < entry.size:
        raise FileTrouble("it was cut short here while it was copied")
    # A file without blocks has no content on a disk that could have been changed, as those in /sys.
    if found.st_size == entry.size and found.st_mtime_ns != entry.mtime_ns and found.st_blocks:
        raise FileTrouble("it was changed here while it was copied")
    return entry.size


def _read_all(descriptor: int, start: int, wanted: int) -> bytes:
    data = os.pread(descriptor, wanted, start)
    while data and len(data) < wanted:
        more = os.pread(descriptor, wanted - len(data), start + len(data))
        if not more:
            break
        data += more
    return data
