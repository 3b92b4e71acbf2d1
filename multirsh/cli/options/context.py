"""What the command finds around it: variables, folder, terminal, standard input."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import click

from multirsh.cli import values
from multirsh.cli.options.declare import option, together
from multirsh.cli.sections import Setting

if TYPE_CHECKING:
    from multirsh.commands.command import Command, Script

_of_running = partial(option, section="Run")

CONTEXT = together(
    _of_running(
        "--env",
        "environment",
        type=values.assignment,
        multiple=True,
        metavar="K=V",
        configurable=False,
        help="Set a variable for the command, whatever the server accepts. Repeatable.",
    ),
    _of_running("--cwd", "directory", metavar="DIR", configurable=False, help="Run in DIR on the host."),
    _of_running(
        "--template",
        "is_template",
        is_flag=True,
        configurable=False,
        help="Fill in {host}, {user}, {index} and {var.NAME}, each quoted for the shell; {{ is a brace.",
    ),
)

TTY = _of_running(
    "--tty",
    is_flag=True,
    configurable=False,
    help="Give the command a terminal of 80x24; its stderr then comes with stdout.",
)

STDIN = together(
    _of_running(
        "-I",
        "--stdin",
        is_flag=True,
        configurable=False,
        help="Send standard input in full to every host.  [default: the commands see its end at once]",
    ),
    _of_running(
        "--stdin-file",
        configurable=False,
        metavar="FILE",
        help="Send FILE in full to every host: a file, a FIFO, <(...).",
    ),
    _of_running(
        "-n",
        "--no-stdin",
        is_flag=True,
        configurable=False,
        help="Leave standard input alone, and do not ask what waits there: for loops, as in ssh.",
    ),
    _of_running("--stdin-default", key="stdin", cls=Setting, type=click.Choice(["none"])),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the command is to find around it; the fields are the options."""

    environment: tuple[tuple[str, str], ...]
    directory: str | None
    is_template: bool

    def command(self, text: str = "", *, tty: bool = False, script: Script | None = None) -> Command:
        """The command of ``text``, or of a script, in this context.

        Raises:
            UsageError: It cannot be meant.
        """
        from multirsh.commands.command import Command  # noqa: PLC0415 - not needed for --help

        return Command(
            text,
            environment=dict(self.environment),
            directory=self.directory,
            is_template=self.is_template,
            tty=tty,
            script=script,
        )
