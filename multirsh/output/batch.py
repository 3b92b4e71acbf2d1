"""What output hands to the code that writes: bytes, each with the place where they belong.

Nothing in this package writes. A terminal that is stopped, or a slow reader of a pipe, therefore blocks only
the thread that writes, and no test needs a terminal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, TypeAlias

from multirsh.events import Event

Stream: TypeAlias = Literal["stdout", "stderr"]
STREAMS: Final[tuple[Stream, Stream]] = ("stdout", "stderr")


@dataclass(frozen=True, slots=True)
class HostFile:
    """A file with the output of one host, to which output is appended.

    Attributes:
        folder: The folder of the file.
        name: The name of the file there.
    """

    folder: Path
    name: str


Target: TypeAlias = Stream | HostFile


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes for one of our two streams, or for a file.

    Attributes:
        target: Where the bytes go.
        data: The bytes; all of them must be written before the next ``Write`` is.
    """

    target: Target
    data: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Writes in their order, which holds across both streams: they may end in one terminal, or in one pipe.

    Attributes:
        writes: Neighbours never have the same target, and none is empty.
    """

    writes: tuple[Write, ...] = ()

    @classmethod
    def merge(cls, writes: Iterable[Write]) -> Batch:
        """Make a batch in which neighbours with the same target have become one write."""
        parts: list[tuple[Target, list[bytes]]] = []
        for write in writes:
            if parts and parts[-1][0] == write.target:
                parts[-1][1].append(write.data)
            elif write.data:
                parts.append((write.target, [write.data]))
        return cls(tuple(Write(target, b"".join(data)) for target, data in parts))

    @property
    def stdout(self) -> bytes:
        """All bytes for stdout."""
        return b"".join(write.data for write in self.writes if write.target == "stdout")

    @property
    def stderr(self) -> bytes:
        """All bytes for stderr."""
        return b"".join(write.data for write in self.writes if write.target == "stderr")


class Renderer(Protocol):
    """One way to show events. It keeps what it must hold back, such as an unfinished line, itself."""

    def feed(self, event: Event) -> Iterable[Write]:
        """Take the next event, and give the writes that it makes ready.

        Long output is given as an iterator, which is read once, when its turn to be written has come.
        """

    def close(self) -> Iterable[Write]:
        """Give what is held back; no event follows. After a run that ended well there is nothing left."""
