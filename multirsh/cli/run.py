"""``multirsh [run]``: run a command on the selected hosts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from multirsh.cli import options
from multirsh.cli.asked import NAME_SOME, Asked
from multirsh.cli.attached import RunCommand
from multirsh.cli.names import HELP_NAMES, SUBCOMMANDS
from multirsh.errors import UsageError, is_one_edit_away


@click.command(
    "run",
    cls=RunCommand,
    context_settings={"allow_interspersed_args": False, "help_option_names": HELP_NAMES},
    options_metavar="[OPTIONS]",
)
@options.FILES
@options.CHOICE
@options.CONNECTION
@options.RUNNING
@options.COURSE
@options.CONTEXT
@options.TTY
@options.STDIN
@options.OUTPUT
@options.RECORD
@options.AGAIN
@options.CLOSING
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="COMMAND [ARG]...")
def run(*, command: tuple[str, ...], tty: bool, **parameters: Any) -> int:
    """Run COMMAND on many hosts at once.

    The words of COMMAND are joined with spaces and given to each host's login shell, as ssh does. Its
    standard input is at end of file; see -I. Options after the first word belong to COMMAND.
    """
    # Not needed for --help, which must be quick.
    from multirsh.cli import signals  # noqa: PLC0415

    context = options.take(options.Context, parameters)
    asked = Asked.take(parameters, command)
    again = asked.again()
    if again is None:
        joined = checked(command)
        asked.check_somebody(_way_out(command[0]))
    elif command:
        joined = checked(command)
    else:
        joined, context, tty = again.command(), again.around(context), tty or again.has_tty
        asked = asked.by(again.sudo)
    hosts = asked.hosts(again)
    drive = asked.drive(context.command(joined, tty=tty), hosts, again=again, repeats_all=not command)
    return signals.run(drive.drive)


def checked(command: Sequence[str]) -> str:
    """The command as one text, joined as ssh does.

    Raises:
        UsageError: There is none.
    """
    joined = " ".join(command)
    if not joined.strip():
        raise UsageError(
            "there is no command to run", hint="it comes after the options: multirsh -f hosts.yaml uptime"
        )
    return joined


def _way_out(word: str) -> str:
    """How to name hosts, or what else may be meant by the first word of the command."""
    meant = [name for name in SUBCOMMANDS if is_one_edit_away(word, name)]
    if meant:
        return f"did you mean multirsh {' or '.join(meant)}? For a remote command, {NAME_SOME}"
    return f"{NAME_SOME}, or try it out: multirsh lab uptime"
