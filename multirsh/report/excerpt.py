"""The beginning and the end of what a host wrote: what a page can show of a flood."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from multirsh.output.gather.store import Store, Text

HEAD: Final = 48 * 1024
TAIL: Final = 16 * 1024
"""Bytes that are kept of a stream's beginning and of its end; what is no longer than both is kept whole."""


class Excerpts:
    """Makes excerpts whose texts one store keeps."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def text(self) -> Excerpt:
        """One of nothing yet."""
        return Excerpt(self._store)


class Excerpt:
    """Bytes that grow at their end, of which the middle is forgotten.

    Attributes:
        size: How many were written.
    """

    __slots__ = ("_head", "_store", "_tail", "size")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._head = store.text()
        self._tail: Text | None = None
        self.size = 0

    def append(self, data: bytes) -> None:
        """Put ``data`` at the end."""
        self.size += len(data)
        room = HEAD - self._head.size
        if room > 0:
            self._head.append(data[:room])
            data = data[room:]
        if not data:
            return
        if self._tail is None:
            self._tail = self._store.text()
        if self._tail.size + len(data) > 2 * TAIL:  # now and then, and not for each chunk
            data = (b"".join(self._tail.pieces()) + data)[-TAIL:]
            self._tail.drop()
            self._tail = self._store.text()
        self._tail.append(data)

    def parts(self) -> tuple[bytes, bytes]:
        """The beginning and the end; where all was kept, the whole and nothing."""
        head = b"".join(self._head.pieces())
        tail = b"" if self._tail is None else b"".join(self._tail.pieces())
        if len(head) + len(tail) == self.size:
            return head + tail, b""
        # A line that is cut says what nobody wrote; one that fills all of it is better than nothing.
        whole_lines = head.rfind(b"\n") + 1
        tail = tail[-TAIL:]
        return head[: whole_lines or None], tail[tail.find(b"\n") + 1 :] or tail

    def pieces(self) -> Iterator[bytes]:
        """What is kept, in order."""
        yield from self.parts()

    def drop(self) -> None:
        """Throw it away."""
        self._head.drop()
        if self._tail is not None:
            self._tail.drop()
