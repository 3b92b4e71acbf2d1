"""What a host has that carries files: an SFTP server as a service, as a program, or only scp."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import Final

from multirsh.commands.prepare import DIRECT, CommandRunner, PreparedCommand, Wrap, prepare_wrapped
from multirsh.commands.remote_shell import Job, portable_line
from multirsh.errors import HostError
from multirsh.files.host_shell import SHELL
from multirsh.files.options import CopyOptions, Via
from multirsh.files.pipe import Pipe, Start, conversation
from multirsh.files.sftp.client import Ended, Sftp
from multirsh.files.sftp.packets import ProtocolError
from multirsh.files.shell import SFTP_SERVER
from multirsh.files.words import failed
from multirsh.model import ErrorKind, Exited, Failure, Outcome, Phase, Status
from multirsh.transports.base import Connection, HasSubsystems, Sink, Stdin

BEGINNING_SECONDS: Final = 30.0
"""How long an SFTP server may take to say that it is one: a program in its place may only read."""


@dataclass(frozen=True, slots=True)
class RunAs:
    """As whom files are read and written.

    Attributes:
        runner: Starts programs so.
        user: By sudo; ``None`` for who logs in.
    """

    runner: CommandRunner = DIRECT
    user: str | None = None


@dataclass(frozen=True, slots=True)
class FileAccess:
    """The way to one host's files.

    Attributes:
        host: The host's name.
        connection: To it, open.
        options: What the copy is to be.
        run_as: As whom.
    """

    host: str
    connection: Connection
    options: CopyOptions
    run_as: RunAs

    def program(self, script: str) -> Start:
        """How to start POSIX text on the host, as whom the copy is to be done."""

        def start(sink: Sink, stdin: Stdin) -> Awaitable[Outcome]:
            def make(wrap: Wrap | None) -> PreparedCommand:
                if wrap is None:
                    return PreparedCommand(portable_line(script), stdin, tty=False)
                return prepare_wrapped(Job("multirsh: files", script), stdin, wrap, tty=False)

            return self.run_as.runner.run(self.connection, sink, self.host, make)

        return start

    def subsystem(self, name: str) -> Start | None:
        """How to start a service; ``None`` if there are none, or if it would run as another user."""
        connection = self.connection
        if self.run_as.user is not None or not isinstance(connection, HasSubsystems):
            return None

        def start(sink: Sink, stdin: Stdin) -> Awaitable[Outcome]:
            return connection.subsystem(name, sink, stdin)

        return start

    def shell(self) -> Start | None:
        """How to start a shell beside an SFTP server; ``None`` where one connection carries one program."""
        return self.program(SHELL) if isinstance(self.connection, HasSubsystems) else None

    @contextlib.asynccontextmanager
    async def sftp(self) -> AsyncIterator[Sftp | None]:
        """Talk to the host's SFTP server while inside; ``None`` if it has none.

        Raises:
            HostError: The connection died, or sudo refused.
        """
        starts = [self.subsystem("sftp"), self.program(SFTP_SERVER)]
        for start in starts if self.options.via is not Via.SCP else []:
            if start is None:
                continue
            sftp = Sftp()
            async with conversation(start, sftp) as pipe:
                if await self._has_begun(sftp, pipe):
                    try:
                        yield sftp
                    except Ended:
                        raise self.death_of(pipe, sftp.complaint) from None
                    except ProtocolError as error:
                        raise _no_protocol(self.host, f"the SFTP server speaks no SFTP: {error}") from None
                    return
        if self.options.via is Via.SFTP:
            raise failed(self.host, "it has no SFTP server")
        yield None

    async def _has_begun(self, sftp: Sftp, pipe: Pipe) -> bool:
        try:
            async with asyncio.timeout(BEGINNING_SECONDS):
                await sftp.begin(pipe)
        except TimeoutError:
            raise failed(self.host, f"its SFTP server said nothing in {BEGINNING_SECONDS:g} s") from None
        except Ended:
            if pipe.error is not None and not _is_refusal(pipe.error):
                raise pipe.error from None
            return False
        return True

    def death_of(self, pipe: Pipe, complaint: str | None = None) -> HostError:
        """Why a program ended while it was needed."""
        if isinstance(pipe.error, HostError):
            return pipe.error
        if pipe.error is not None:
            raise pipe.error
        if complaint is not None:
            return _no_protocol(self.host, complaint)
        ending = "" if pipe.outcome is None else f" ({_ended(pipe.outcome)})"
        said = f": {pipe.said}" if pipe.said else ""
        return failed(self.host, f"the program on the host that copies has ended{ending}{said}")


def _no_protocol(host: str, complaint: str) -> HostError:
    return HostError(host, Status.FAILED, Failure(ErrorKind.PROTOCOL, Phase.RUN, complaint))


def _ended(outcome: Outcome) -> str:
    return f"exit {outcome.status}" if isinstance(outcome, Exited) else outcome.signal


def _is_refusal(error: Exception) -> bool:
    """Whether there is only no such service."""
    return (
        isinstance(error, HostError)
        and error.failure is not None
        and error.failure.kind is ErrorKind.SESSION_REFUSED
    )
