"""A shell on a host, beside SFTP, for what SFTP has no words for: access control lists, sums, odd times.

It is started by the first question. Questions are sent without waiting for the
answers to those before, and answered in their order.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

from multirsh.files.pipe import Pipe, Start, conversation
from multirsh.files.shell import FUNCTIONS

BEGINNING_SECONDS: Final = 30.0
"""How long it may take to answer the first question: a program in its place may only read."""

LONGEST_ANSWER: Final = 64 * 1024
"""Bytes; what says more is no shell of ours."""

SHELL: Final = "exec /bin/sh"


class HostShell:
    """Asks the shell; a ``Receiver`` of what it says."""

    def __init__(self) -> None:
        self._pipe: Pipe | None = None
        self._end = f"end-{secrets.token_hex(8)}".encode("ascii")
        self._buffer = bytearray()
        self._waiting: deque[asyncio.Future[list[str] | None]] = deque()
        self._has_ended = False
        self._begun: asyncio.Future[None] | None = None

    def data_received(self, data: bytes) -> None:
        """Give each answer to its question."""
        self._buffer += data
        end = self._end + b"\n"
        while (place := self._buffer.find(end)) >= 0 and self._waiting:
            said = bytes(self._buffer[:place]).decode("utf-8", "replace")
            del self._buffer[: place + len(end)]
            answer = self._waiting.popleft()
            if not answer.done():
                answer.set_result(said.splitlines())
        if len(self._buffer) > LONGEST_ANSWER:
            self.ended()

    def ended(self) -> None:
        """There will be no more answers."""
        self._has_ended = True
        self._buffer.clear()
        while self._waiting:
            answer = self._waiting.popleft()
            if not answer.done():
                answer.set_result(None)

    async def ask(self, question: str) -> list[str] | None:
        """Run POSIX text that may use ``shell.FUNCTIONS``.

        Returns:
            The lines that it writes to standard output; ``None`` where the host has no shell for us.
        """
        if self._begun is None:
            self._begun = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(BEGINNING_SECONDS):
                    await self._put(FUNCTIONS)
            except TimeoutError:
                self.ended()
            finally:
                self._begun.set_result(None)
        await asyncio.shield(self._begun)
        return await self._put(question)

    async def _put(self, text: str) -> list[str] | None:
        if self._has_ended or self._pipe is None:
            return None
        answer: asyncio.Future[list[str] | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        raw = f"{text}\necho {self._end.decode()}\n".encode("utf-8", "surrogateescape")
        await self._pipe.send(raw)
        return await answer

    @contextlib.asynccontextmanager
    async def open(self, start: Start | None) -> AsyncIterator[None]:
        """Be able to ask while inside.

        Args:
            start: Starts ``SHELL`` on the host; ``None`` where it has none for us.
        """
        if start is None:
            yield
            return
        async with conversation(start, self, lazily=True) as pipe:
            self._pipe = pipe
            yield
