"""``multirsh script``: run a script of this machine's on the selected hosts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from multirsh.cli import options
from multirsh.cli.asked import Asked
from multirsh.cli.attached import RunCommand
from multirsh.cli.descriptors import STDIN
from multirsh.cli.names import HELP_NAMES
from multirsh.cli.stdin import OURS, is_ours
from multirsh.errors import UsageError

if TYPE_CHECKING:
    from multirsh.commands.command import Script


@click.command(
    "script",
    short_help="Run a script of this machine's on many hosts.",
    cls=RunCommand,
    context_settings={"allow_interspersed_args": False, "help_option_names": HELP_NAMES},
    options_metavar="[OPTIONS]",
)
@options.FILES
@options.CHOICE
@options.CONNECTION
@options.RUNNING
@options.option(
    "--shell",
    section="Run",
    configurable=False,
    metavar="WORDS",
    help="What runs it, such as 'python3 -u'.  [default: its #! line, else /bin/sh]",
)
@options.COURSE
@options.CONTEXT
@options.STDIN
@options.OUTPUT
@options.RECORD
@options.AGAIN
@options.CLOSING
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="FILE [ARG]...")
def script(*, words: tuple[str, ...], shell: str | None, **parameters: Any) -> int:
    """Run FILE, a script of this machine's, on many hosts at once.

    Each ARG reaches it exactly as it is. Nothing is left on the hosts. FILE '-' is standard input. The
    script's own standard input is at end of file; see -I.
    """
    # Not needed for --help, which must be quick.
    from multirsh.cli import signals  # noqa: PLC0415

    if not words:
        raise UsageError("there is no script to run", hint="it comes after the options")
    context = options.take(options.Context, parameters)
    asked = Asked.take(parameters)
    again = asked.again()
    if again is None:
        asked.check_somebody()
    found = _read(words, shell, read_by_others=asked.readers)
    if is_ours(words[0]):
        asked = replace(asked, readers=[*asked.readers, "the script"])
    drive = asked.drive(context.command(script=found), asked.hosts(again), again=again)
    return signals.run(drive.drive)


def _read(words: Sequence[str], shell: str | None, *, read_by_others: Sequence[str]) -> Script:
    """Read the script.

    Raises:
        UsageError: It cannot be read or used.
    """
    from multirsh.commands.command import Script, parse_interpreter  # noqa: PLC0415 - not needed for --help

    name, *arguments = words
    if name != OURS:
        return Script.read(name, *arguments, shell=shell)
    if read_by_others:
        raise UsageError(
            f"standard input is read by {read_by_others[0]} and cannot be the script, too",
            hint="name a file for one of them",
        )
    with open(STDIN, "rb", closefd=False) as ours:
        return Script(ours.read(), tuple(arguments), parse_interpreter(shell), "<stdin>")
