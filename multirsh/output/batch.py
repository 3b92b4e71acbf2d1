"""What the output room hands to the shell that writes: bytes, each with the place they belong.

The room never writes. A terminal that is held up, or a slow reader of a pipe,
then blocks only the thread that writes, and no test needs a terminal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

from multirsh.events import Event

Stream: TypeAlias = Literal["stdout", "stderr"]
STREAMS: Final[tuple[Stream, Stream]] = ("stdout", "stderr")


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes for one of our two streams.

    Attributes:
        stream: Which of them.
        data: All of them must be written before the next ``Write`` is.
    """

    stream: Stream
    data: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Writes in their order, which holds across both streams: they may end in one terminal, or one pipe.

    Attributes:
        writes: Neighbours never go to the same stream, and none is empty.
    """

    writes: tuple[Write, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.writes)

    @property
    def stdout(self) -> bytes:
        """All that goes to stdout."""
        return b"".join(write.data for write in self.writes if write.stream == "stdout")

    @property
    def stderr(self) -> bytes:
        """All that goes to stderr."""
        return b"".join(write.data for write in self.writes if write.stream == "stderr")


class Renderer(Protocol):
    """One way to show events. What it must hold back, such as an unfinished line, it holds itself."""

    def feed(self, event: Event) -> tuple[Write, ...]:
        """Take the next event and give what it makes ready to be written."""

    def close(self) -> tuple[Write, ...]:
        """Give what is held back; no event follows. A run that ended well has left nothing."""


class Outbox:
    """Writes that wait for the shell to fetch them.

    Attributes:
        size: Bytes that wait. The shell stops taking events while it is too large for its taste.
    """

    __slots__ = ("_parts", "size")

    def __init__(self) -> None:
        self._parts: list[tuple[Stream, list[bytes]]] = []
        self.size = 0

    def put(self, writes: Iterable[Write]) -> None:
        """Add writes behind those that wait; neighbours to the same stream become one."""
        for write in writes:
            if not write.data:
                continue
            self.size += len(write.data)
            if self._parts and self._parts[-1][0] == write.stream:
                self._parts[-1][1].append(write.data)
            else:
                self._parts.append((write.stream, [write.data]))

    def take(self) -> Batch:
        """Hand over all that waits."""
        writes = tuple(Write(stream, b"".join(parts)) for stream, parts in self._parts)
        self._parts = []
        self.size = 0
        return Batch(writes)
