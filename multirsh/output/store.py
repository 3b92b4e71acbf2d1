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


class Kept(Protocol):
    """What is kept of one stream of a host: all of it, or an excerpt."""

    @property
    def size(self) -> int:
        """Bytes that were written."""

    def append(self, data: bytes) -> None:
        """Put ``data`` at the end."""

    def pieces(self) -> Iterator[bytes]:
        """What is kept, in order, in pieces of any size."""

    def drop(self) -> None:
        """Throw it away."""


class Keeper(Protocol):
    """Who keeps texts."""

    def text(self) -> Kept:
        """A text that is empty."""


class Store:
    """Keeps any number of texts.

    Attributes:
        memory: Bytes that all texts together hold in memory.
        is_full: Whether the file could not be written.
    """

    def __init__(
        self,
        limit: int = USUAL_MEMORY,
        *,
        folder: str | None = None,
        on_full: Callable[[OSError], None] = lambda _error: None,
    ) -> None:
        """Keep nothing yet; the file is made when it is first needed.

        Args:
            limit: Bytes in memory; beyond it, texts are moved to the file.
            folder: Where the file is; ``None`` for the usual place (TMPDIR).
            on_full: Told once if the file cannot be written. From then on everything stays in memory.
        """
        self.memory = 0
        self._limit = limit
        self._folder = folder
        self._on_full = on_full
        self._file: int | None = None
        self._free: list[int] = []
        self._blocks = 0
        self.is_full = False
        self._texts: set[Text] = set()

    def text(self) -> Text:
        """A text that is empty."""
        text = Text(self)
        self._texts.add(text)
        return text

    def close(self) -> None:
        """Let go of the file; no text can be read any more."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._texts.clear()

    def make_room(self) -> None:
        """Move the longest texts to the file until half of the memory is free."""
        if self.memory > self._limit:
            self._move_out(self._limit // 2)

    def _move_out(self, most: int) -> None:
        """Move texts to the file until those in memory have at most ``most`` bytes."""
        if self.is_full:
            return
        for text in sorted(self._texts, key=lambda text: text.held, reverse=True):
            if self.memory <= most:
                return
            try:
                text.spill()
            except OSError as error:
                self.is_full = True
                self._on_full(error)
                return

    def shrink(self) -> None:
        """There is no more memory: move all to the file, and hold less from now on."""
        relieve()
        self._limit = max(BLOCK, min(self._limit, self.memory) // 2)
        self._move_out(0)

    def note(self, growth: int) -> None:
        """A text has so many more bytes in memory, or so many fewer."""
        self.memory += growth

    def forget(self, text: Text, blocks: list[int]) -> None:
        """A text is thrown away, and its blocks are free."""
        self._texts.discard(text)
        self._free.extend(blocks)

    def put_block(self, data: bytes | bytearray) -> int:
        """Write a block.

        Raises:
            OSError: There is no room for it.
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
        """Read what was written, ``size`` bytes."""
        if self._file is None:
            raise AssertionError("a block that was written has a file")
        return os.pread(self._file, size, number * BLOCK)


class Text:
    """Bytes that grow at their end.

    Attributes:
        size: How many there are.
    """

    __slots__ = ("_blocks", "_store", "_tail", "size")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tail = bytearray()
        self._blocks: list[tuple[int, int]] = []
        self.size = 0

    @property
    def held(self) -> int:
        """How many of them are in memory."""
        return len(self._tail)

    def append(self, data: bytes) -> None:
        """Put ``data`` at the end.

        Raises:
            MemoryError: There is none, not even after what is held was moved to the file.
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
            OSError: There is no room for it; what was not moved is still in memory.
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
        """All of it, in order, in pieces of any size."""
        for number, size in self._blocks:
            yield self._store.get_block(number, size)
        for start in range(0, len(self._tail), BLOCK):
            yield bytes(self._tail[start : start + BLOCK])

    def drop(self) -> None:
        """Throw it away."""
        self._store.note(-len(self._tail))
        self._store.forget(self, [number for number, _ in self._blocks])
        self._tail, self._blocks, self.size = bytearray(), [], 0


def _nameless_file(folder: str | None) -> int:
    """A file that is gone when its descriptor is closed."""
    with tempfile.TemporaryFile(prefix="multirsh-", dir=folder) as file:
        return os.dup(file.fileno())
