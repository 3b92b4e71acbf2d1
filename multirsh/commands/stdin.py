"""Standard input of two parts."""

from __future__ import annotations

from typing import Final

from multirsh.transports.base import Stdin

CHUNK_BYTES: Final = 64 * 1024
"""Given at once."""


class Led:
    """A ``Stdin`` (``transports.base``): bytes that are there, and then another, if there is one."""

    def __init__(self, first: bytes, then: Stdin | None) -> None:
        self._first = first
        self._then = then

    async def read(self, offset: int) -> bytes:
        """Some bytes from ``offset``."""
        past = offset - len(self._first)
        if past < 0:
            return self._first[offset : offset + CHUNK_BYTES]
        return b"" if self._then is None else await self._then.read(past)

    async def size(self) -> int:
        """How many there are in all."""
        return len(self._first) + (0 if self._then is None else await self._then.size())

    def at(self, offset: int) -> bytes:
        """Some bytes from ``offset``, at once."""
        past = offset - len(self._first)
        if past < 0:
            return self._first[offset : offset + CHUNK_BYTES]
        return b"" if self._then is None else self._then.at(past)
