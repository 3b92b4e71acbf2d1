"""Reads of the files that are pushed: once for all hosts that are about as far, within a bound of memory.

A block that somebody has read is kept until newer ones need its place. Hosts
that go at about the same pace find it there; one that lags behind reads again.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from typing import Final

from multirsh.files.disk import Disk
from multirsh.files.entries import Entry
from multirsh.files.words import FileTrouble

BLOCK_BYTES: Final = 4 * 255 * 1024
"""A multiple of what OpenSSH's sftp-server takes at once (261,120 bytes)."""

CACHE_BYTES: Final = 32 * 1024 * 1024

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

        Returns:
            ``BLOCK_BYTES`` of it, or what is left.

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

    def _came(self, key: _Key, coming: asyncio.Future[bytes]) -> None:
        del self._coming[key]
        if coming.cancelled() or coming.exception() is not None:
            return
        data = coming.result()
        self._kept[key] = data
        self._kept_bytes += len(data)
        while self._kept_bytes > self._room:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest)


def _read(entry: Entry, number: int) -> bytes:
    """Read one block, opening the file anew: so none is held open for a host that is slow."""
    start = number * BLOCK_BYTES
    wanted = min(BLOCK_BYTES, entry.size - start)
    try:
        descriptor = os.open(entry.source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if (found.st_ino, found.st_size, found.st_mtime_ns) != (entry.inode, entry.size, entry.mtime_ns):
                raise FileTrouble("it was changed here while it was copied")
            data = _read_all(descriptor, start, wanted)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FileTrouble(f"it cannot be read here: {error.strerror}") from error
    if len(data) < wanted:
        raise FileTrouble("it was cut short here while it was copied")
    return data


def _read_all(descriptor: int, start: int, wanted: int) -> bytes:
    data = os.pread(descriptor, wanted, start)
    while data and len(data) < wanted:
        more = os.pread(descriptor, wanted - len(data), start + len(data))
        if not more:
            break
        data += more
    return data
