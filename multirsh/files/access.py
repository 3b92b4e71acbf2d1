"""Access to one host's files: programs that are started there, and conversations with them.

A conversation runs over what ``Connection.run`` gives: a command's standard
input and output. So every transport that can hold one can carry files.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from multirsh.commands.prepare import DIRECT, CommandRunner, PreparedCommand, Wrap, prepare_wrapped
from multirsh.commands.remote_shell import Job, portable_line
from multirsh.errors import HostError
from multirsh.files.options import CopyOptions
from multirsh.files.results import copy_failure
from multirsh.model import ErrorKind, Exited, Failure, Outcome, Phase, Status
from multirsh.transports.base import Connection, HasSubsystems, Sink, Stdin, Stream
from multirsh.transports.messages import one_line

UNSENT_BYTES: Final = 256 * 1024
"""Bytes that may wait to be sent; above this, ``Pipe.send`` waits."""

CHUNK_BYTES: Final = 256 * 1024
"""The most that the transport is given at once."""

STDERR_BYTES: Final = 2048
"""Bytes of the end of standard error that are kept."""

CLOSING_S: Final = 3.0
"""Seconds that a program has to end after its input has ended."""

SHELL: Final = "exec /bin/sh"
"""POSIX text that becomes a shell."""

StartProgram: TypeAlias = Callable[[Sink, Stdin], Awaitable[Outcome]]
"""Starts a program and returns when it has ended, as ``Connection.run`` does."""


class ConversationEnded(Exception):  # noqa: N818 - the pipe knows the reason
    """The program has ended, and there will be no answer."""


class OutputReceiver(Protocol):
    """Receives what a program writes."""

    def data_received(self, data: bytes) -> None:
        """Handle a piece of standard output."""

    def ended(self) -> None:
        """Expect no more output."""


class Pipe:
    """The streams of a program: a ``Sink`` of its output, and the ``Stdin`` that it reads.

    Attributes:
        outcome: How the program ended; ``None`` if it has not, or if that is not known.
        error: The error that ended the conversation, if any.
        begin: Starts the program when something is first sent; ``None`` if it was started.
    """

    def __init__(self, receiver: OutputReceiver) -> None:
        self._receiver = receiver
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._is_finished = False
        self._has_input = asyncio.Event()
        self._may_send = asyncio.Event()
        self._may_send.set()
        self._stderr = b""
        self._given = b""
        self._is_answered = False
        self._has_ended = False
        self.outcome: Outcome | None = None
        self.error: Exception | None = None
        self.begin: Callable[[], None] | None = None

    @property
    def complaint(self) -> str:
        """The last line of standard error; empty if there is none."""
        lines = self._stderr.decode("utf-8", "replace").splitlines()
        return next((one_line(line) for line in reversed(lines) if line.strip()), "")

    @property
    def has_succeeded(self) -> bool:
        """Whether the program has ended with status 0."""
        return self.outcome == Exited(0)

    async def send(self, data: bytes) -> None:
        """Send ``data``, waiting while much is unsent; a program that has ended gets nothing."""
        if self.begin is not None:
            begin, self.begin = self.begin, None
            begin()
        while not self._may_send.is_set() and not self._has_ended:
            await self._may_send.wait()
        self._unsent.append(data)
        self._unsent_bytes += len(data)
        if self._unsent_bytes >= UNSENT_BYTES:
            self._may_send.clear()
        self._has_input.set()

    def finish(self) -> None:
        """End the program's input after what was sent."""
        self._is_finished = True
        self._has_input.set()

    # For the transport.

    def write(self, stream: Stream, data: bytes) -> None:
        """Receive output."""
        if stream == "stdout":
            self._is_answered, self._given = True, b""
            self._receiver.data_received(data)
        else:
            self._stderr = (self._stderr + data)[-STDERR_BYTES:]

    async def read(self, offset: int) -> bytes:
        """Return what to send next, or again, as long as the program has not answered.

        The program may have to be started twice: sudo is first tried without a password.
        """
        if offset < len(self._given):
            return self._given[offset:]
        while not self._unsent:
            if self._is_finished:
                return b""
            self._has_input.clear()
            await self._has_input.wait()
        data = self._next_chunk()
        if not self._is_answered:
            self._given += data
        return data

    def _next_chunk(self) -> bytes:
        taken = [self._unsent.popleft()]
        size = len(taken[0])
        while self._unsent and size + len(self._unsent[0]) <= CHUNK_BYTES:
            size += len(self._unsent[0])
            taken.append(self._unsent.popleft())
        self._unsent_bytes -= size
        if self._unsent_bytes < UNSENT_BYTES:
            self._may_send.set()
        return taken[0] if len(taken) == 1 else b"".join(taken)

    async def size(self) -> int:
        """Not known: this is a conversation.

        Raises:
            OSError: Always.
        """
        raise OSError("a conversation has no size")

    def at(self, offset: int) -> bytes:  # noqa: ARG002 - part of the interface
        """Not possible, like ``size``.

        Raises:
            OSError: Always.
        """
        raise OSError("a conversation has no size")

    async def converse(self, start: StartProgram) -> None:
        """Run the program until it has ended. Only a cancellation is raised."""
        try:
            self.outcome = await start(self, self)
        except Exception as error:  # noqa: BLE001 - raised where an answer is awaited
            self.error = error
        finally:
            self._has_ended = True
            self._may_send.set()
            self._receiver.ended()


@contextlib.asynccontextmanager
async def conversation(
    start: StartProgram, receiver: OutputReceiver, *, lazily: bool = False
) -> AsyncIterator[Pipe]:
    """Talk to a program inside of the block.

    Afterwards its input ends, and it gets some time to end by itself, before it is ended by force.

    Args:
        start: Starts the program.
        receiver: Receives its output.
        lazily: Whether to start it only when something is sent.
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
            await asyncio.wait(talking, timeout=CLOSING_S)
            talking[0].cancel()
    if failure is not None:
        raise failure


@dataclass(frozen=True, slots=True)
class RunAs:
    """The user that reads and writes files on a host.

    Attributes:
        runner: Runs programs as that user.
        user: The user, if sudo switches to one; ``None`` for the logged-in user.
    """

    runner: CommandRunner = DIRECT
    user: str | None = None


@dataclass(frozen=True, slots=True)
class FileAccess:
    """Starts the programs that read and write one host's files.

    Attributes:
        host: The host's name.
        connection: An open connection to it.
        options: How to copy.
        run_as: The user that reads and writes files.
    """

    host: str
    connection: Connection
    options: CopyOptions
    run_as: RunAs

    def program(self, script: str) -> StartProgram:
        """Return what starts POSIX text on the host."""

        def start(sink: Sink, stdin: Stdin) -> Awaitable[Outcome]:
            def make(wrap: Wrap | None) -> PreparedCommand:
                if wrap is None:
                    return PreparedCommand(portable_line(script), stdin, tty=False)
                return prepare_wrapped(Job("multirsh: files", script), stdin, wrap, tty=False)

            return self.run_as.runner.run(self.connection, sink, self.host, make)

        return start

    def subsystem(self, name: str) -> StartProgram | None:
        """Return what starts an SSH subsystem; ``None`` if there are none, or for another user's files."""
        connection = self.connection
        if self.run_as.user is not None or not isinstance(connection, HasSubsystems):
            return None

        def start(sink: Sink, stdin: Stdin) -> Awaitable[Outcome]:
            return connection.subsystem(name, sink, stdin)

        return start

    def shell(self) -> StartProgram | None:
        """Return what starts a shell beside SFTP; ``None`` if a connection runs only one program."""
        return self.program(SHELL) if isinstance(self.connection, HasSubsystems) else None

    def failure(self, pipe: Pipe, complaint: str | None = None) -> HostError:
        """Return why a program ended while it was needed.

        Args:
            pipe: The conversation with it.
            complaint: What was wrong with its output, if anything.

        Raises:
            Exception: What ended the conversation, if it is not a host's failure.
        """
        if isinstance(pipe.error, HostError):
            return pipe.error
        if pipe.error is not None:
            raise pipe.error
        if complaint is not None:
            return self.protocol_failure(complaint)
        match pipe.outcome:
            case None:
                ending = ""
            case Exited(status=status):
                ending = f" (exit {status})"
            case signalled:
                ending = f" ({signalled.signal})"
        reason = f": {pipe.complaint}" if pipe.complaint else ""
        return copy_failure(self.host, f"the copying program on the host has ended{ending}{reason}")

    def protocol_failure(self, complaint: str) -> HostError:
        """Return the failure of a host that does not speak the protocol."""
        return HostError(self.host, Status.FAILED, Failure(ErrorKind.PROTOCOL, Phase.RUN, complaint))
