"""What the output room hands to the shell that writes: bytes, each with the place they belong.

The room never writes. A terminal that is held up, or a slow reader of a pipe,
then blocks only the thread that writes, and no test needs a terminal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, TypeAlias

from multirsh.events import Event

Stream: TypeAlias = Literal["stdout", "stderr"]
STREAMS: Final[tuple[Stream, Stream]] = ("stdout", "stderr")

BATCH_BYTES: Final = 1024 * 1024
"""From which on a batch gets no longer, where what follows can be made later."""


@dataclass(frozen=True, slots=True)
class HostFile:
    """A host's own file, to which is appended.

    Attributes:
        folder: Where it is.
        name: What it is called there.
    """

    folder: Path
    name: str


Target: TypeAlias = Stream | HostFile


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes for one of our two streams, or for a file.

    Attributes:
        target: Where to.
        data: All of them must be written before the next ``Write`` is.
    """

    target: Target
    data: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Writes in their order, which holds across both streams: they may end in one terminal, or one pipe.

    Attributes:
        writes: Neighbours never have the same target, and none is empty.
    """

    writes: tuple[Write, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.writes)

    @property
    def stdout(self) -> bytes:
        """All that goes to stdout."""
        return b"".join(write.data for write in self.writes if write.target == "stdout")

    @property
    def stderr(self) -> bytes:
        """All that goes to stderr."""
        return b"".join(write.data for write in self.writes if write.target == "stderr")


class Renderer(Protocol):
    """One way to show events. What it must hold back, such as an unfinished line, it holds itself."""

    def feed(self, event: Event) -> Iterable[Write]:
        """Take the next event and give what it makes ready to be written.

        What is long is given as an iterator, which is read when it is to be written, and once.
        """

    def close(self) -> Iterable[Write]:
        """Give what is held back; no event follows. A run that ended well has left nothing."""


class Outbox:
    """Writes that wait for the shell to fetch them, batch by batch.

    Attributes:
        size: Bytes that wait, those not counted that iterators are still to give. The shell stops taking
            events while it is too large for its taste.
    """

    __slots__ = ("_batch_bytes", "_waiting", "size")

    def __init__(self, *, batch_bytes: int = BATCH_BYTES) -> None:
        self._batch_bytes = batch_bytes
        self._waiting: deque[_Parts | Iterator[Write]] = deque()
        self.size = 0

    def __bool__(self) -> bool:
        """Whether there may be more to take."""
        return bool(self._waiting)

    def put(self, writes: Iterable[Write]) -> None:
        """Add writes behind those that wait; of an iterator, when their turn has come."""
        if isinstance(writes, Iterator):
            self._waiting.append(writes)
            return
        parts = self._waiting[-1] if self._waiting else None
        if not isinstance(parts, _Parts) or parts.size >= self._batch_bytes:
            parts = _Parts()
            self._waiting.append(parts)
        before = parts.size
        for write in writes:
            parts.add(write)
        self.size += parts.size - before
        if not parts.size:
            self._waiting.pop()

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting.clear()
        self.size = 0

    def take(self) -> Batch:
        """Hand over what waits; where iterators are long, so much of it that no batch is large."""
        taken = _Parts()
        while self._waiting and taken.size < self._batch_bytes:
            first = self._waiting[0]
            if isinstance(first, _Parts):
                for write in first.writes():
                    taken.add(write)
                self.size -= first.size
                self._waiting.popleft()
            elif following := next(first, None):
                taken.add(following)
            else:
                self._waiting.popleft()
        return Batch(tuple(taken.writes()))


class _Parts:
    """Writes in their order, of which neighbours with the same target become one.

    Attributes:
        size: Bytes of them all.
    """

    __slots__ = ("_parts", "size")

    def __init__(self) -> None:
        self._parts: list[tuple[Target, list[bytes]]] = []
        self.size = 0

    def add(self, write: Write) -> None:
        if not write.data:
            return
        self.size += len(write.data)
        if self._parts and self._parts[-1][0] == write.target:
            self._parts[-1][1].append(write.data)
        else:
            self._parts.append((write.target, [write.data]))

    def writes(self) -> Iterator[Write]:
        for target, parts in self._parts:
            yield Write(target, b"".join(parts))
