r"""The protocol of scp: its records, and a reader of the other end's output.

::

    T<mtime> <us> <atime> <us>\n    the times of what follows, in seconds and microseconds
    D<mode> 0 <name>\n              the beginning of a folder
    C<mode> <size> <name>\n         a file: its bytes follow, then a zero byte
    E\n                             the end of a folder

Each is answered with a zero byte; or with 1 (this one failed) or 2 (everything failed), a message and a line
feed.

Source: OpenSSH's scp.c (``source``, ``rsource``, ``sink``).
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from multirsh.files.access import ConversationEnded

OK: Final = b"\0"

LONGEST_LINE: Final = 8192
"""Bytes; a name has at most 255."""

_ITEM: Final = re.compile(rb"([0-7]{1,5}) ([0-9]{1,19}) (.+)", re.DOTALL)

_TIMES: Final = re.compile(rb"([0-9]{1,12}) ([0-9]{1,6}) ([0-9]{1,12}) ([0-9]{1,6})")

_MICROSECOND_NS: Final = 1000


class ScpError(Exception):
    """The other end violates the protocol."""


@dataclass(frozen=True, slots=True)
class ScpItem:
    """A file, or the beginning of a folder.

    Attributes:
        is_folder: Whether it is a folder.
        mode: Permissions.
        size: Bytes of a file.
        name: Its name; not to be trusted.
    """

    is_folder: bool
    mode: int
    size: int
    name: bytes


@dataclass(frozen=True, slots=True)
class ScpTimes:
    """The times of the next item.

    Attributes:
        accessed: When it was read, in nanoseconds.
        modified: When it was modified, in nanoseconds.
    """

    accessed: int
    modified: int


@dataclass(frozen=True, slots=True)
class EndOfFolder:
    """The end of a folder."""


@dataclass(frozen=True, slots=True)
class ScpComplaint:
    """An error at the other end.

    Attributes:
        is_fatal: Whether nothing more follows.
        words: The message.
    """

    is_fatal: bool
    words: bytes


Record: TypeAlias = ScpItem | ScpTimes | EndOfFolder | ScpComplaint


def parse(line: bytes) -> Record:
    """Parse a record, without its line feed.

    Raises:
        ScpError: It is not a record.
    """
    first, rest = line[:1], line[1:]
    if first in {b"\1", b"\2"}:
        return ScpComplaint(first == b"\2", rest)
    if first == b"E" and not rest:
        return EndOfFolder()
    if first in {b"C", b"D"} and (found := _ITEM.fullmatch(rest)):
        return ScpItem(first == b"D", int(found[1], 8), int(found[2]), found[3])
    if first == b"T" and (found := _TIMES.fullmatch(rest)):
        modified, accessed = _ns(found[1], found[2]), _ns(found[3], found[4])
        return ScpTimes(accessed=accessed, modified=modified)
    raise ScpError(f"it sent {line[:40]!r}")


def item(*, is_folder: bool, mode: int, size: int, name: bytes) -> bytes:
    """Encode a file, or the beginning of a folder.

    Raises:
        ScpError: No record can carry the name.
    """
    if b"\n" in name:
        raise ScpError("scp carries no name with a line feed")
    return b"%c%04o %d %s\n" % (b"D" if is_folder else b"C", mode, size, name)


def times(*, accessed: int, modified: int) -> bytes:
    """Encode times, given in nanoseconds; scp carries microseconds, and none before 1970."""
    words = [divmod(max(0, time) // _MICROSECOND_NS, 1_000_000) for time in (modified, accessed)]
    return b"T%d %d %d %d\n" % (*words[0], *words[1])


def _ns(seconds: bytes, microseconds: bytes) -> int:
    return (int(seconds) * 1_000_000 + int(microseconds)) * _MICROSECOND_NS


END: Final = b"E\n"


def refusal(words: str) -> bytes:
    """Encode the refusal of a record."""
    return b"\1" + words.encode("ascii", "replace") + b"\n"


HIGH_BYTES: Final = 1024 * 1024

LOW_BYTES: Final = 256 * 1024


class Pausable(Protocol):
    """A connection whose output can be paused."""

    def pause_output(self) -> None:
        """Pause the output."""

    def resume_output(self) -> None:
        """Resume the output."""


class OutputReader:
    """Reads a program's output (as an ``OutputReceiver``), and pauses it while too much is unread."""

    def __init__(self, source: Pausable) -> None:
        self._source = source
        self._buffer = bytearray()
        self._news = asyncio.Event()
        self._has_ended = False
        self._is_held = False

    def data_received(self, data: bytes) -> None:
        """Store a piece of output."""
        self._buffer += data
        if len(self._buffer) > HIGH_BYTES and not self._is_held:
            self._is_held = True
            self._source.pause_output()
        self._news.set()

    def ended(self) -> None:
        """Expect no more output."""
        self._has_ended = True
        self._news.set()

    async def line(self) -> bytes | None:
        """Read a line, without its line feed; ``None`` at the end of the output.

        Raises:
            ScpError: The line is too long.
            ConversationEnded: The line is incomplete.
        """
        searched = 0
        while (place := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > LONGEST_LINE:
                raise ScpError("it sent a line that does not end")
            if not await self._more():
                if not self._buffer:
                    return None
                raise ConversationEnded
        line = bytes(self._buffer[:place])
        self._drop(place + 1)
        return line

    async def some(self, most: int) -> bytes:
        """Read up to ``most`` bytes.

        Raises:
            ConversationEnded: There are none.
        """
        while not self._buffer:
            if not await self._more():
                raise ConversationEnded
        data = bytes(self._buffer[:most])
        self._drop(len(data))
        return data

    async def answer(self) -> bytes | None:
        """Read the answer to a record.

        Returns:
            ``None`` if it was accepted, else the message of the refusal.

        Raises:
            ScpError: It is neither.
            ConversationEnded: There is no answer.
        """
        first = await self.some(1)
        if first == b"\0":
            return None
        words = await self.line()
        if words is None:
            raise ConversationEnded
        if first in {b"\1", b"\2"}:
            return words
        raise ScpError(f"it answered {first + words[:40]!r}")

    async def rest(self) -> bytes:
        """Read everything until the end, up to ``HIGH_BYTES``."""
        while len(self._buffer) < HIGH_BYTES and await self._more():
            pass
        return bytes(self._buffer)

    async def _more(self) -> bool:
        if self._has_ended:
            return False
        self._news.clear()
        await self._news.wait()
        return True

    def _drop(self, size: int) -> None:
        del self._buffer[:size]
        if self._is_held and len(self._buffer) < LOW_BYTES:
            self._is_held = False
            self._source.resume_output()
