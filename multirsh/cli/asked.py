"""A command line's options taken apart, and the run that they make: the way of every subcommand that runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from multirsh.cli import options
from multirsh.cli.descriptors import STDIN
from multirsh.cli.sections import SectionCommand
from multirsh.cli.stdin import open_stdin, with_its_file
from multirsh.commands.sudo.options import Sudo
from multirsh.errors import UsageError
from multirsh.exit_code import ExitRule
from multirsh.inventory import Inventory
from multirsh.model import Host

if TYPE_CHECKING:
    import click

    from multirsh.cli.drive import Drive
    from multirsh.commands.command import Command
    from multirsh.files.jobs import CopyJob


NAME_SOME = "give a hosts file (-f hosts.yaml) or names (-w web1,web2)"
"""The way out where nobody is named."""


class RunCommand(SectionCommand):
    """A subcommand with ``-I``, whose value may be left out."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Attach what belongs to ``-I``."""
        return super().parse_args(ctx, with_its_file(args, self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked for, but what to run.

    Attributes:
        files: The hosts files.
        choice: Whom of them.
        connecting: How to reach them.
        showing: How to print.
        bounds: How much at once, and for how long.
        course: Retries, batches, when to stop.
        stdin: What ``-I`` names, or ``None``.
        readers: What reads our standard input: the options, as people write them.
    """

    files: Sequence[str] = ()
    choice: options.Choice
    connecting: options.Connecting = field(default_factory=options.Connecting)
    showing: options.Showing
    bounds: options.Bounds
    course: options.Course
    stdin: str | None = None
    readers: Sequence[str] = ()

    @classmethod
    def take(cls, parameters: dict[str, Any]) -> Self:
        """Take apart what click has read, and leave there what is the subcommand's own."""
        files = parameters.pop("files", ())
        connecting = options.take(options.Connecting, parameters)
        readers = {"-f -": "-" in files, "--password-file -": connecting.password_file == Path("-")}
        return cls(
            files=files,
            choice=options.take(options.Choice, parameters),
            connecting=connecting,
            showing=options.take(options.Showing, parameters),
            bounds=options.take(options.Bounds, parameters),
            course=options.take(options.Course, parameters),
            stdin=parameters.pop("stdin", None),
            readers=[option for option, reads in readers.items() if reads],
        )

    def check_somebody(self, hint: str = NAME_SOME) -> None:
        """See to it that hosts are named.

        Args:
            hint: The way out.

        Raises:
            UsageError: Nobody is.
        """
        if not self.files and self.choice.is_empty:
            raise UsageError("no hosts are named", hint=hint)

    def hosts(self) -> Sequence[Host]:
        """The chosen hosts, with the transport that is asked for.

        Raises:
            InventoryError: A file or an expression, with its place.
            UsageError: Nobody is chosen, or ``--exec`` is for none of them.
        """
        return self.hosts_of(options.read_inventory(self.files))

    def hosts_of(self, inventory: Inventory) -> Sequence[Host]:
        """The same, of hosts files that are read.

        Raises:
            InventoryError: An expression, with its place.
            UsageError: As of ``hosts``.
        """
        return self.connecting.routed(self.choice.hosts(inventory))

    def drive(self, command: Command, hosts: Sequence[Host], job: CopyJob | None = None) -> Drive:
        """Make the run.

        Args:
            command: What to run.
            hosts: On whom.
            job: What is copied, in place of a command.

        Raises:
            UsageError: The options cannot be meant together.
        """
        from multirsh.cli.drive import Drive  # noqa: PLC0415 - the engine is not needed for --help
        from multirsh.engine.limits import Limits  # noqa: PLC0415

        connecting, bounds, course = self.connecting, self.bounds, self.course
        login = connecting.password()
        return Drive(
            hosts=hosts,
            command=command,
            job=job,
            limits=Limits(
                fanout=bounds.fanout,
                ports=bounds.port_budget,
                handshakes=course.handshakes,
                start_rate=course.start_rate,
            ),
            control=course.control(),
            reads_keys=self._may_read_keys(),
            timeouts=bounds.timeouts(),
            bind_address=bounds.bind_address,
            stdin=open_stdin(self.stdin, read_by_others=self.readers),
            sudo=None if connecting.sudo is None else Sudo(connecting.sudo),
            sudo_password=connecting.sudo_password(login),
            ssh=connecting.ssh(login),
            rsh=connecting.rsh(),
            exec_options=connecting.exec_options(),
            settings=connecting.settings(),
            output=self.showing.beside(self.stdin).options(),
            exit_rule=ExitRule(
                largest_status=bounds.largest_status, require_remote_close=bounds.require_remote_close
            ),
        )

    def _may_read_keys(self) -> bool:
        """Whether our standard input is a terminal that nothing else is read from."""
        return (
            self.stdin is None
            and not self.readers
            and not self.course.asks  # what is typed is the answer to --step
            and os.isatty(STDIN)
        )
