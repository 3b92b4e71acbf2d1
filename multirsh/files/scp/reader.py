"""What a program on a host says, read piece by piece; it is held back while too much waits."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from multirsh.files.scp.records import LONGEST_LINE, ScpError

HIGH_BYTES: Final = 1024 * 1024
LOW_BYTES: Final = 256 * 1024


class Silenced(Exception):  # noqa: N818 - why is told by the pipe
    """The program has ended, and more was due."""


class Source(Protocol):
    """Who can be held back: a connection."""

    def pause_output(self) -> None:
        """Hand on nothing until told so."""

    def resume_output(self) -> None:
        """Hand on again."""


class Reader:
    """A ``Receiver`` to be read."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._buffer = bytearray()
        self._news = asyncio.Event()
        self._has_ended = False
        self._is_held = False

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self._buffer += data
        if len(self._buffer) > HIGH_BYTES and not self._is_held:
            self._is_held = True
            self._source.pause_output()
        self._news.set()

    def ended(self) -> None:
        """Nothing more comes."""
        self._has_ended = True
        self._news.set()

    async def line(self) -> bytes | None:
        """A line without its end; ``None`` at the end of all.

        Raises:
            ScpError: It is longer than any should be.
            Silenced: It has no end.
        """
        searched = 0
        while (place := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > LONGEST_LINE:
                raise ScpError("it sent a line that does not end")
            if not await self._more():
                if not self._buffer:
                    return None
                raise Silenced
        line = bytes(self._buffer[:place])
        self._drop(place + 1)
        return line

    async def some(self, most: int) -> bytes:
        """Up to ``most`` bytes.

        Raises:
            Silenced: There are none.
        """
        while not self._buffer:
            if not await self._more():
                raise Silenced
        data = bytes(self._buffer[:most])
        self._drop(len(data))
        return data

    async def answer(self) -> bytes | None:
        """Read an answer to a record.

        Returns:
            ``None`` for yes, else the words of a refusal.

        Raises:
            ScpError: It is neither.
            Silenced: There is none.
        """
        first = await self.some(1)
        if first == b"\0":
            return None
        words = await self.line()
        if words is None:
            raise Silenced
        if first in {b"\1", b"\2"}:
            return words
        raise ScpError(f"it answered {first + words[:40]!r}")

    async def rest(self) -> bytes:
        """All that comes until the end, at the most ``HIGH_BYTES``."""
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
