"""A host's command from its parts: what is sent to it, and what comes first in its standard input.

::

    the user's command ─ context ─▶ POSIX text ─ wrap ─▶ POSIX text ─ portable ─▶ the line for the login shell
    the script's content ───────────────────────┬─▶ standard input
    the user's standard input ──────────────────┘

A command that asks for none of it is sent as it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, Protocol, TypeAlias

from multirsh.commands import context, portable
from multirsh.commands.command import Command
from multirsh.model import Assignment, Outcome
from multirsh.transports.base import Connection, Sink, Stdin

Wrap: TypeAlias = Callable[[str], str]
"""Makes POSIX text that runs POSIX text in another way, such as by sudo."""


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


def order(
    command: Command, assignment: Assignment, stdin: Stdin | None, *, wrap: Wrap | None = None
) -> Order:
    """Make what a host is given.

    Args:
        command: The user's.
        assignment: The host, and its place in the run.
        stdin: The user's standard input, or ``None``.
        wrap: Put around what is run; ``None`` for nothing.

    Raises:
        UsageError: It is too long.
    """
    text = context.script(command, assignment)
    if text is None and wrap is None:
        return Order(command.text, stdin, command.tty)
    if text is None:
        text = context.login_shell(command.text)
    return Order(portable.line(text if wrap is None else wrap(text)), stdin, command.tty)


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
        def make(wrap: Wrap | None) -> Order:
            return order(command, assignment, stdin, wrap=wrap)

        async def run(connection: Connection, sink: Sink) -> Outcome:
            return await runner.run(connection, sink, assignment.host.name, make)

        return run

    return work_for
