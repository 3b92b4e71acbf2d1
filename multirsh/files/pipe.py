"""A conversation with a program on a host, over what a transport's ``run`` gives: input and output."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Protocol, TypeAlias

from multirsh.model import Exited, Outcome
from multirsh.transports.base import Sink, Stdin, Stream
from multirsh.transports.words import one_line

UNSENT_BYTES: Final = 256 * 1024
"""What may wait to be sent; who has more to say waits."""

AT_ONCE_BYTES: Final = 256 * 1024
"""Given to the transport at once."""

SAID_BYTES: Final = 2048
"""What is kept of the end of standard error."""

CLOSING_SECONDS: Final = 3.0
"""How long a program may take to end after its input has."""

Start: TypeAlias = Callable[[Sink, Stdin], Awaitable[Outcome]]
"""Starts the program and stays until it has ended, as ``Connection.run`` does."""


class Receiver(Protocol):
    """Who hears what the program says."""

    def data_received(self, data: bytes) -> None:
        """It wrote this to standard output."""

    def ended(self) -> None:
        """It will say nothing more."""


class Pipe:
    """The program's ends: a ``Sink`` of its output, and the ``Stdin`` that it is given.

    Attributes:
        outcome: How it ended; ``None`` if it has not, or if that is not known.
        error: What ended the conversation, if not the program.
        begin: Starts the program, where that is left to the first thing that is sent.
    """

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._is_finished = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._said = b""
        self._given = b""
        self._is_answered = False
        self._has_ended = False
        self.outcome: Outcome | None = None
        self.error: Exception | None = None
        self.begin: Callable[[], None] | None = None

    @property
    def said(self) -> str:
        """The last line that it wrote to standard error."""
        lines = self._said.decode("utf-8", "replace").splitlines()
        return next((one_line(line) for line in reversed(lines) if line.strip()), "")

    @property
    def has_ended(self) -> bool:
        """Whether it says nothing more."""
        return self._has_ended

    @property
    def is_well(self) -> bool:
        """Whether it has ended with status 0."""
        return self.outcome == Exited(0)

    async def send(self, data: bytes) -> None:
        """Send ``data``, when what is before it is nearly sent; to a program that has ended, nothing is."""
        if self.begin is not None:
            begin, self.begin = self.begin, None
            begin()
        while not self._room.is_set() and not self._has_ended:
            await self._room.wait()
        self._unsent.append(data)
        self._unsent_bytes += len(data)
        if self._unsent_bytes >= UNSENT_BYTES:
            self._room.clear()
        self._news.set()

    def finish(self) -> None:
        """End its input, after what waits to be sent."""
        self._is_finished = True
        self._news.set()

    # For the transport.

    def write(self, stream: Stream, data: bytes) -> None:
        """Take output."""
        if stream == "stdout":
            self._is_answered, self._given = True, b""
            self._receiver.data_received(data)
        else:
            self._said = (self._said + data)[-SAID_BYTES:]

    async def read(self, offset: int) -> bytes:
        """What is to be sent next; until the program has answered, it can be read from the beginning again.

        For it may have to be started twice: sudo is asked without a password first.
        """
        if offset < len(self._given):
            return self._given[offset:]
        while not self._unsent:
            if self._is_finished:
                return b""
            self._news.clear()
            await self._news.wait()
        data = self._taken()
        if not self._is_answered:
            self._given += data
        return data

    def _taken(self) -> bytes:
        taken = [self._unsent.popleft()]
        size = len(taken[0])
        while self._unsent and size + len(self._unsent[0]) <= AT_ONCE_BYTES:
            size += len(self._unsent[0])
            taken.append(self._unsent.popleft())
        self._unsent_bytes -= size
        if self._unsent_bytes < UNSENT_BYTES:
            self._room.set()
        return taken[0] if len(taken) == 1 else b"".join(taken)

    async def size(self) -> int:
        """Nobody knows: it is a conversation.

        Raises:
            OSError: Always.
        """
        raise OSError("a conversation has no size")

    def at(self, offset: int) -> bytes:  # noqa: ARG002 - the interface's
        """As ``size``.

        Raises:
            OSError: Always.
        """
        raise OSError("a conversation has no size")

    async def converse(self, start: Start) -> None:
        """Stay until the program has ended; nothing but a cancellation is raised."""
        try:
            self.outcome = await start(self, self)
        except Exception as error:  # noqa: BLE001 - told to who waits for an answer
            self.error = error
        finally:
            self._has_ended = True
            self._room.set()
            self._receiver.ended()


@contextlib.asynccontextmanager
async def conversation(start: Start, receiver: Receiver, *, lazily: bool = False) -> AsyncIterator[Pipe]:
    """Talk to a program while inside; then its input ends, and it is given a moment to end by itself.

    So one that is left has ended, as a rule, before anybody thinks of ending it by force.

    Args:
        start: Starts the program.
        receiver: Takes what it says.
        lazily: Whether it is started only when something is sent to it.
    """
    pipe = Pipe(receiver)
    failure: BaseException | None = None
    talking: list[asyncio.Task[None]] = []
    async with asyncio.TaskGroup() as group:

        def begin() -> None:
            talking.append(group.create_task(pipe.converse(start)))

        if lazily:
            pipe.begin = begin
        else:
            begin()
        try:
            yield pipe
        except BaseException as error:  # noqa: BLE001 - raised again below, and not in a group
            failure = error
        pipe.finish()
        if talking:
            await asyncio.wait(talking, timeout=CLOSING_SECONDS)
            talking[0].cancel()
    if failure is not None:
        raise failure
