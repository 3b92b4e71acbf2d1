"""What one host is sent for a command: the line for its login shell, and its standard input.

::

    the user's text ─ template ─▶ environment, directory ─┐
                                                          ├─▶ POSIX text ─ wrap ─▶ line for the login shell
    script ─────────▶ environment, directory ─────────────┘
       │
       └─▶ the script's content, then the user's standard input

A command that needs none of this is sent as it is.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, Protocol, TypeAlias

from multirsh.commands import remote_shell, template
from multirsh.commands.command import Command
from multirsh.model import Assignment, Exited, Host, Outcome
from multirsh.sh_text import LONGEST_ARGUMENT, quoted
from multirsh.transports.base import Connection, Sink, Stdin


class WrappedJob(NamedTuple):
    """A job that is run by another program, such as sudo.

    Attributes:
        text: POSIX text that runs it.
        stdin: Its standard input, or ``None``.
        tty: Whether it needs a pseudo-terminal.
    """

    text: str
    stdin: Stdin | None
    tty: bool


Wrap: TypeAlias = Callable[[remote_shell.Job, Stdin | None, bool], WrappedJob]
"""Wraps a job. Its arguments are the job, its input, and whether the user wants a terminal."""

CHUNK_BYTES: Final = 64 * 1024
"""The most that one read of a script's content returns."""

_OUR_PREFIX: Final = "MULTIRSH_"
"""A command that contains this gets the variables that begin with it."""

_MARKS_BYTES: Final = 200
"""More bytes than the marks add by which a portable line reports that it was read."""

_CHARACTER_BYTES: Final = 4
"""The most bytes of one character in UTF-8."""

_UNREADABLE: Final = (
    b"multirsh: the login shell does not read commands as sh, csh or fish do; without --env, --cwd and"
    b" scripts, a command is sent as it is\n"
)

_LONG_ID: Final = "x" * 64
"""Longer than any run's id or user's name."""


class PreparedCommand(NamedTuple):
    """What one host is sent: the arguments of ``Connection.run``.

    Attributes:
        line: The command line for the login shell.
        stdin: The standard input, or ``None``.
        tty: Whether to request a pseudo-terminal.
        is_portable: Whether the line is a portable one of ours (``remote_shell``), rather than the user's.
    """

    line: str
    stdin: Stdin | None
    tty: bool
    is_portable: bool = False


class PrefixedStdin:
    """A ``Stdin`` (``transports.base``) that yields some bytes, and then another ``Stdin``."""

    def __init__(self, prefix: bytes, rest: Stdin | None) -> None:
        self._prefix = prefix
        self._rest = rest

    async def read(self, offset: int) -> bytes:
        """Read some bytes from ``offset``; none at the end."""
        past = offset - len(self._prefix)
        if past < 0:
            return self._prefix[offset : offset + CHUNK_BYTES]
        return b"" if self._rest is None else await self._rest.read(past)

    async def size(self) -> int:
        """The number of bytes in total."""
        return len(self._prefix) + (0 if self._rest is None else await self._rest.size())

    def at(self, offset: int) -> bytes:
        """Read some bytes from ``offset`` without waiting."""
        past = offset - len(self._prefix)
        if past < 0:
            return self._prefix[offset : offset + CHUNK_BYTES]
        return b"" if self._rest is None else self._rest.at(past)


def check(command: Command, hosts: Sequence[Host], *, wrap: Wrap | None = None) -> None:
    """Check that ``command`` can be prepared for every host.

    Args:
        command: The user's command.
        hosts: All hosts of the run.
        wrap: As for ``prepare``.

    Raises:
        UsageError: A template is malformed, a host lacks a value for it, or the command is too long.
    """
    if command.is_template:
        templates = [template.parse(text) for text in _template_texts(command)]
        for host in hosts:
            for each in templates:
                template.check(each, host)
        measured = hosts
    else:
        measured = [max(hosts, key=lambda host: len(host.name))] if hosts else []
    for host in measured:
        prepared = prepare(command, Assignment(host, len(hosts), _LONG_ID), None, user=_LONG_ID, wrap=wrap)
        margin = _MARKS_BYTES if prepared.is_portable else 0
        if len(prepared.line) * _CHARACTER_BYTES + margin > LONGEST_ARGUMENT:
            remote_shell.check_length(prepared.line, margin=margin)


def prepare(
    command: Command,
    assignment: Assignment,
    stdin: Stdin | None,
    *,
    user: str | None = None,
    wrap: Wrap | None = None,
) -> PreparedCommand:
    """Prepare a command for one host.

    Args:
        command: The user's command; ``check`` has accepted it.
        assignment: The host and its position in the run.
        stdin: The user's standard input, or ``None``.
        user: The user that is logged in.
        wrap: Wraps what is run; ``None`` to run it directly.

    Raises:
        UsageError: The command is too long.
    """
    if command.is_template:
        command = _filled(command, assignment, user or "")
    needs_posix = bool(
        command.environment
        or command.directory is not None
        or command.script is not None
        or _OUR_PREFIX in command.text
    )
    if wrap is None and not needs_posix:
        return PreparedCommand(command.text, stdin, command.tty)
    job = remote_shell.Job(command.title, _posix_text(command, assignment) if needs_posix else None)
    if command.script is not None:
        stdin = PrefixedStdin(remote_shell.encode_script(command.script.content), stdin)
    if wrap is None:
        return PreparedCommand(remote_shell.portable_line(job.text), stdin, command.tty, is_portable=True)
    return prepare_wrapped(job, stdin, wrap, tty=command.tty)


def prepare_wrapped(job: remote_shell.Job, stdin: Stdin | None, wrap: Wrap, *, tty: bool) -> PreparedCommand:
    """Prepare a job that is run by another program.

    Raises:
        UsageError: The command is too long.
    """
    text, stdin, tty = wrap(job, stdin, tty)
    return PreparedCommand(remote_shell.portable_line(text), stdin, tty)


class CommandRunner(Protocol):
    """Runs a prepared command over a connection: directly, or as another user."""

    async def run(
        self, connection: Connection, sink: Sink, host: str, make: Callable[[Wrap | None], PreparedCommand]
    ) -> Outcome:
        """Run a command.

        Args:
            connection: An open connection.
            sink: Receives the output.
            host: The host's name.
            make: Prepares the command, wrapped as given. It is called once for each time that the command is
                sent.

        Raises:
            HostError: See ``Connection.run``.
        """


class DirectRunner:
    """The ``CommandRunner`` that adds nothing to what the user wants to run.

    Portable lines are for shells of the sh, csh and fish families. Others, such as Python, print an error
    that repeats the whole line; that is replaced by a message that says what is wrong.
    """

    async def run(
        self,
        connection: Connection,
        sink: Sink,
        host: str,  # noqa: ARG002 - part of the interface
        make: Callable[[Wrap | None], PreparedCommand],
    ) -> Outcome:
        """Run a command; see ``CommandRunner``."""
        command = make(None)
        if not command.is_portable:
            return await connection.run(command.line, sink, command.stdin, tty=command.tty)
        from multirsh.commands.sudo import wrapping  # noqa: PLC0415 - most runs need neither
        from multirsh.commands.sudo.conversation import SudoConversation  # noqa: PLC0415 - as above

        marks = wrapping.new_marks()
        command = make(lambda job, stdin, tty: WrappedJob(wrapping.announced(job, marks), stdin, tty))
        conversation = SudoConversation(sink, None, marks)
        try:
            outcome = await connection.run(command.line, conversation, command.stdin, tty=command.tty)
        finally:
            conversation.end()
        if not conversation.is_echoed or conversation.has_begun or outcome == Exited(0):
            return outcome
        sink.write("stderr", _UNREADABLE)
        return Exited(remote_shell.NOT_BEGUN)


DIRECT: Final = DirectRunner()


def work(
    command: Command, stdin: Stdin | None, *, runner: CommandRunner = DIRECT
) -> Callable[[Assignment], Callable[[Connection, Sink], Awaitable[Outcome]]]:
    """Return what the engine does on each host to run ``command``.

    Args:
        command: The user's command.
        stdin: The user's standard input, or ``None``.
        runner: Runs it.
    """

    def work_for(assignment: Assignment) -> Callable[[Connection, Sink], Awaitable[Outcome]]:
        def run(connection: Connection, sink: Sink) -> Awaitable[Outcome]:
            def make(wrap: Wrap | None) -> PreparedCommand:
                return prepare(command, assignment, stdin, user=connection.user, wrap=wrap)

            return runner.run(connection, sink, assignment.host.name, make)

        return run

    return work_for


def _posix_text(command: Command, assignment: Assignment) -> str:
    """POSIX text that becomes the command."""
    environment = {**command.environment, **remote_shell.run_variables(assignment)}
    before = remote_shell.set_environment(environment)
    if command.script is None:
        inner = remote_shell.exec_login_shell(command.text, before=before)
    else:
        inner = remote_shell.receive_script(
            command.script.command(),
            command.script.arguments,
            before=before,
            name=f"multirsh-{secrets.token_hex(8)}",
        )
    return remote_shell.change_directory(command.directory) + inner


def _template_texts(command: Command) -> Sequence[str]:
    return (command.text,) if command.script is None else command.script.arguments


def _filled(command: Command, assignment: Assignment, user: str) -> Command:
    """Fill in the placeholders: quoted in a text, literally in a script's arguments."""

    def fill(text: str, quote: template.Quote) -> str:
        parsed = template.parse(text)
        return template.fill(parsed, assignment.host, index=assignment.place, user=user, quote=quote)

    if command.script is None:
        return replace(command, text=fill(command.text, lambda value: quoted(value, any_shell=True)))
    arguments = tuple(fill(argument, str) for argument in command.script.arguments)
    return replace(command, script=replace(command.script, arguments=arguments))
