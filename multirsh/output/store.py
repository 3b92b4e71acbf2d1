"""Output kept until it is shown: in memory up to a bound, beyond it on disk.

Nothing is cut off and nothing is lost. The longest buffers are moved out first, in blocks of a file that has
no name and so disappears with the process; blocks of buffers that were dropped are used again.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from multirsh.shortage import relieve

BLOCK: Final = 64 * 1024
"""Bytes of a block of the file, and of the pieces that are read back."""

USUAL_MEMORY: Final = 64 * 1024 * 1024


class OutputBuffer(Protocol):
    """The bytes kept of one stream of one host: all of them, or an excerpt."""

    @property
    def size(self) -> int:
        """The number of bytes appended so far."""

    def append(self, data: bytes) -> None:
        """Append ``data``."""

    def pieces(self) -> Iterator[bytes]:
        """Iterate over the bytes kept, in order, in pieces of any size."""

    def drop(self) -> None:
        """Release the bytes kept."""


class OutputStore:
    """Buffers that share one bound on memory and one file.

    Args:
        limit: Bytes that all buffers together may hold in memory; beyond it, buffers are moved to the file.
        folder: Where the file is made when it is first needed; ``None`` for the usual place (TMPDIR).
        on_full: Called once if the file cannot be written. From then on everything stays in memory.

    Attributes:
        memory: Bytes that all buffers together hold in memory.
        is_full: Whether the file could not be written.
    """

    def __init__(
        self,
        limit: int = USUAL_MEMORY,
        *,
        folder: str | None = None,
        on_full: Callable[[OSError], None] = lambda _error: None,
    ) -> None:
        self.memory = 0
        self._limit = limit
        self._folder = folder
        self._on_full = on_full
        self._file: int | None = None
        self._free: list[int] = []
        self._blocks = 0
        self.is_full = False
        self._buffers: set[StoredBuffer] = set()

    def buffer(self) -> StoredBuffer:
        """Make an empty buffer."""
        made = StoredBuffer(self)
        self._buffers.add(made)
        return made

    def close(self) -> None:
        """Close the file; no buffer can be read afterwards."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._buffers.clear()

    def make_room(self) -> None:
        """Move the longest buffers to the file until half of the memory is free, if the limit is exceeded."""
        if self.memory > self._limit:
            self._move_out(self._limit // 2)

    def _move_out(self, most: int) -> None:
        """Move buffers to the file until at most ``most`` bytes are left in memory."""
        if self.is_full:
            return
        for buffer in sorted(self._buffers, key=lambda buffer: buffer.held, reverse=True):
            if self.memory <= most:
                return
            try:
                buffer.spill()
            except OSError as error:
                self.is_full = True
                self._on_full(error)
                return

    def shrink(self) -> None:
        """Move everything to the file and lower the limit, since the process got no more memory."""
        relieve()
        self._limit = max(BLOCK, min(self._limit, self.memory) // 2)
        self._move_out(0)

    def note(self, growth: int) -> None:
        """Record that a buffer grew in memory by ``growth`` bytes, which may be negative."""
        self.memory += growth

    def forget(self, buffer: StoredBuffer, blocks: list[int]) -> None:
        """Drop a buffer and use its blocks again."""
        self._buffers.discard(buffer)
        self._free.extend(blocks)

    def put_block(self, data: bytes | bytearray) -> int:
        """Write a block and return its number.

        Raises:
            OSError: The disk is full, or the file cannot be made.
        """
        if self._file is None:
            self._file = _nameless_file(self._folder)
        number = self._free[-1] if self._free else self._blocks
        left, offset = memoryview(data), number * BLOCK
        while left:
            written = os.pwrite(self._file, left, offset)
            left, offset = left[written:], offset + written
        if self._free:
            self._free.pop()
        else:
            self._blocks += 1
        return number

    def get_block(self, number: int, size: int) -> bytes:
        """Read the first ``size`` bytes of a block."""
        if self._file is None:
            raise AssertionError("a block that was written has a file")
        return os.pread(self._file, size, number * BLOCK)


class StoredBuffer:
    """A buffer whose bytes are in memory, in the file, or partly in each.

    Attributes:
        size: The number of bytes appended so far.
    """

    __slots__ = ("_blocks", "_store", "_tail", "size")

    def __init__(self, store: OutputStore) -> None:
        self._store = store
        self._tail = bytearray()
        self._blocks: list[tuple[int, int]] = []
        self.size = 0

    @property
    def held(self) -> int:
        """The number of bytes held in memory."""
        return len(self._tail)

    def append(self, data: bytes) -> None:
        """Append ``data``.

        Raises:
            MemoryError: There is no memory left, not even after everything was moved to the file.
        """
        try:
            self._tail += data
        except MemoryError:
            self._store.shrink()
            self._tail += data
        self.size += len(data)
        self._store.note(len(data))
        self._store.make_room()

    def spill(self) -> None:
        """Move what is in memory to the file.

        Raises:
            OSError: The file cannot be written; what was not moved is still in memory.
        """
        done = 0
        try:
            while done < len(self._tail):
                block = self._tail[done : done + BLOCK]
                self._blocks.append((self._store.put_block(block), len(block)))
                done += len(block)
        finally:
            del self._tail[:done]
            self._store.note(-done)

    def pieces(self) -> Iterator[bytes]:
        """Iterate over all bytes, in order, in pieces of any size."""
        for number, size in self._blocks:
            yield self._store.get_block(number, size)
        for start in range(0, len(self._tail), BLOCK):
            yield bytes(self._tail[start : start + BLOCK])

    def drop(self) -> None:
        """Release the bytes, in memory and in the file."""
        self._store.note(-len(self._tail))
        self._store.forget(self, [number for number, _ in self._blocks])
        self._tail, self._blocks, self.size = bytearray(), [], 0


def _nameless_file(folder: str | None) -> int:
    """Open a file without a name, which is gone once its descriptor is closed."""
    with tempfile.TemporaryFile(prefix="multirsh-", dir=folder) as file:
        return os.dup(file.fileno())
