"""A host's command from its parts: what is sent to it, and what comes first in its standard input.

::

    the user's text ─ template ─▶ context ───┐
                                             ├─▶ POSIX text ─ wrap ─▶ portable ─▶ the line for the login shell
    script ─ delivery ──▶ context ───────────┘
                │
                └─▶ the script's content, then the user's standard input

A command that asks for none of it is sent as it is.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, Protocol, TypeAlias

from multirsh.commands import context, delivery, portable, template
from multirsh.commands.command import Command
from multirsh.commands.stdin import Led
from multirsh.model import Assignment, Exited, Host, Outcome
from multirsh.sh_text import quoted_anywhere
from multirsh.transports.base import Connection, Sink, Stdin


class Wrapped(NamedTuple):
    """A job as it is run in another way, such as by sudo.

    Attributes:
        text: For POSIX sh.
        stdin: Its standard input, or ``None``.
        tty: Whether it needs a pseudo-terminal.
    """

    text: str
    stdin: Stdin | None
    tty: bool


Wrap: TypeAlias = Callable[[context.Job, Stdin | None, bool], Wrapped]
"""Has a job run in another way; it is given the job, its input, and whether the user wants a terminal."""

_MARKS_BYTES: Final = 200
"""More than the marks add that say that our line was read."""

_UNREADABLE: Final = (
    b"multirsh: the login shell reads no command line as sh, csh or fish would; without --env, --cwd and a"
    b" script, a command is sent as it is\n"
)

_LONG_ID: Final = "x" * 64
"""Longer than a run's id, or a user's name, ever is."""


class Order(NamedTuple):
    """What one host is given; the parameters of ``Connection.run``.

    Attributes:
        line: For its login shell.
        stdin: Its standard input, or ``None``.
        tty: Whether it gets a pseudo-terminal.
        is_ours: Whether the line is ours and not the user's.
    """

    line: str
    stdin: Stdin | None
    tty: bool
    is_ours: bool = False


def check(command: Command, hosts: Sequence[Host], *, wrap: Wrap | None = None) -> None:
    """See to it that ``command`` can be made for all of ``hosts``.

    Args:
        command: The user's.
        hosts: All of the run's.
        wrap: As of ``order``.

    Raises:
        UsageError: A template that cannot be read, or that some host cannot fill; a command that is too long.
    """
    if command.is_template:
        templates = [template.parse(text) for text in _texts(command)]
        for host in hosts:
            for each in templates:
                template.check(each, host)
        measured = hosts
    else:
        measured = sorted(hosts, key=lambda host: len(host.name))[-1:]
    for host in measured:
        made = order(command, Assignment(host, len(hosts), _LONG_ID), None, user=_LONG_ID, wrap=wrap)
        portable.check_length(made.line + " " * (_MARKS_BYTES if made.is_ours else 0))


def order(
    command: Command,
    assignment: Assignment,
    stdin: Stdin | None,
    *,
    user: str | None = None,
    wrap: Wrap | None = None,
) -> Order:
    """Make what a host is given.

    Args:
        command: The user's; ``check`` has passed it.
        assignment: The host, and its place in the run.
        stdin: The user's standard input, or ``None``.
        user: Who is logged in.
        wrap: Put around what is run; ``None`` for nothing.

    Raises:
        UsageError: It is too long.
    """
    filled = _filled(command, assignment, user or "") if command.is_template else command
    if wrap is None and not _has_context(filled):
        return Order(filled.text, stdin, filled.tty)
    job = context.Job(filled.told_as, _posix(filled, assignment) if _has_context(filled) else None)
    if filled.script is not None:
        stdin = Led(delivery.content(filled.script.content), stdin)
    if wrap is None:
        return Order(portable.line(job.text), stdin, filled.tty, is_ours=True)
    return wrapped_order(job, stdin, wrap, tty=filled.tty)


def wrapped_order(job: context.Job, stdin: Stdin | None, wrap: Wrap, *, tty: bool) -> Order:
    """Make what a host is given where the job is run in another way.

    Raises:
        UsageError: It is too long.
    """
    text, stdin, tty = wrap(job, stdin, tty)
    return Order(portable.line(text), stdin, tty)


class Runner(Protocol):
    """How an order is carried out."""

    async def run(
        self, connection: Connection, sink: Sink, host: str, make: Callable[[Wrap | None], Order]
    ) -> Outcome:
        """Carry it out.

        Args:
            connection: Open.
            sink: Takes the output.
            host: Its name.
            make: Makes the order, with something put around what is run; asked once for each time it is sent.

        Raises:
            HostError: As of ``Connection.run``.
        """


class Plainly:
    """The ``Runner`` that sends an order and adds nothing to what the user asked for.

    A line of ours is for login shells of sh's, csh's and fish's kin. Others, such as Python, complain of it;
    in place of that complaint, which repeats the line, the host's ending says what is wrong.
    """

    async def run(
        self,
        connection: Connection,
        sink: Sink,
        host: str,  # noqa: ARG002 - others need it
        make: Callable[[Wrap | None], Order],
    ) -> Outcome:
        """Send it."""
        made = make(None)
        if not made.is_ours:
            return await connection.run(made.line, sink, made.stdin, tty=made.tty)
        from multirsh.commands.sudo import conversation, wrapping  # noqa: PLC0415 - most runs need neither

        marks = wrapping.new_marks()
        made = make(lambda job, stdin, tty: Wrapped(wrapping.announced(job, marks), stdin, tty))
        talk = conversation.Conversation(sink, None, marks)
        try:
            outcome = await connection.run(made.line, talk, made.stdin, tty=made.tty)
        finally:
            talk.end()
        if not talk.repeats or talk.has_begun or outcome == Exited(0):
            return outcome
        sink.write("stderr", _UNREADABLE)
        return Exited(context.NOT_BEGUN)


PLAINLY: Final = Plainly()


def work(
    command: Command, stdin: Stdin | None, *, runner: Runner = PLAINLY
) -> Callable[[Assignment], Callable[[Connection, Sink], Awaitable[Outcome]]]:
    """The work (``engine.plan.RunPlan.work_for``) of running ``command``.

    Args:
        command: The user's.
        stdin: The user's standard input, or ``None``.
        runner: Carries it out.
    """

    def work_for(assignment: Assignment) -> Callable[[Connection, Sink], Awaitable[Outcome]]:
        async def run(connection: Connection, sink: Sink) -> Outcome:
            def make(wrap: Wrap | None) -> Order:
                return order(command, assignment, stdin, user=connection.user, wrap=wrap)

            return await runner.run(connection, sink, assignment.host.name, make)

        return run

    return work_for


def _has_context(command: Command) -> bool:
    """Whether the command asks for more than to be run."""
    return bool(
        command.environment
        or command.directory is not None
        or command.script is not None
        or context.MENTION in command.text
    )


def _posix(command: Command, assignment: Assignment) -> str:
    """The text for /bin/sh that becomes the command."""
    before = context.setting({**command.environment, **context.about(assignment)})
    if command.script is None:
        inner = context.login_shell(command.text, before=before)
    else:
        inner = delivery.receiving(
            command.script.runner(),
            command.script.arguments,
            before=before,
            name=f"multirsh-{secrets.token_hex(8)}",
        )
    return context.entering(command.directory) + inner


def _texts(command: Command) -> Sequence[str]:
    return (command.text,) if command.script is None else command.script.arguments


def _filled(command: Command, assignment: Assignment, user: str) -> Command:
    """The command with its places filled in: a text's quoted, a script's arguments as they are."""

    def fill(text: str, quote: template.Quote) -> str:
        parsed = template.parse(text)
        return template.filled(parsed, assignment.host, index=assignment.place, user=user, quote=quote)

    if command.script is None:
        return replace(command, text=fill(command.text, quoted_anywhere))
    arguments = tuple(fill(argument, str) for argument in command.script.arguments)
    return replace(command, script=replace(command.script, arguments=arguments))
