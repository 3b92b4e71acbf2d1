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
from multirsh.model import Assignment, Host, Outcome
from multirsh.sh_text import quoted_anywhere
from multirsh.transports.base import Connection, Sink, Stdin

Wrap: TypeAlias = Callable[[str], str]
"""Makes POSIX text that runs POSIX text in another way, such as by sudo."""

_LONG_ID: Final = "x" * 64
"""Longer than a run's id, or a user's name, ever is."""


class Order(NamedTuple):
    """What one host is given; the parameters of ``Connection.run``.

    Attributes:
        line: For its login shell.
        stdin: Its standard input, or ``None``.
        tty: Whether it gets a pseudo-terminal.
    """

    line: str
    stdin: Stdin | None
    tty: bool


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
    if command.is_template or _has_context(command) or wrap is not None:
        for host in measured:
            order(command, Assignment(host, len(hosts), _LONG_ID), None, user=_LONG_ID, wrap=wrap)


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
    text = _posix(filled, assignment)
    if filled.script is not None:
        stdin = Led(delivery.content(filled.script.content), stdin)
    return Order(portable.line(text if wrap is None else wrap(text)), stdin, filled.tty)


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
    """The ``Runner`` that sends an order and adds nothing."""

    async def run(
        self,
        connection: Connection,
        sink: Sink,
        host: str,  # noqa: ARG002 - others need it
        make: Callable[[Wrap | None], Order],
    ) -> Outcome:
        """Send it."""
        made = make(None)
        return await connection.run(made.line, sink, made.stdin, tty=made.tty)


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
