"""``multirsh run`` and ``multirsh script``: a command, or a script of this machine, on the selected hosts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from multirsh.cli import options
from multirsh.cli.invocation import Invocation
from multirsh.cli.options.command import STDIN_NAME, is_our_stdin
from multirsh.cli.process import STDIN
from multirsh.cli.syntax import HELP_NAMES, RunCommand
from multirsh.errors import UsageError

if TYPE_CHECKING:
    from multirsh.commands.command import Script


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
@options.INPUT
@options.OUTPUT
@options.RECORD
@options.AGAIN
@options.CLOSING
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="COMMAND [ARG]...")
def run(*, command: tuple[str, ...], tty: bool, **parameters: Any) -> int:
    """Run COMMAND on many hosts at once.

    The words of COMMAND are joined with spaces and passed to each host's login shell, as ssh does. The
    command's standard input is empty unless -I or --stdin-file is given. Options after the first word belong
    to COMMAND.
    """
    # Not needed for --help, which must be quick.
    from multirsh.cli import signals  # noqa: PLC0415

    context = options.take(options.CommandOptions, parameters)
    invocation = Invocation.take(parameters, command)
    prior = invocation.prior
    if command or prior is None:
        joined = join_words(command)
        invocation.check_hosts_named(command[0])
    else:
        joined, context, tty = prior.command(), prior.completed(context), tty or prior.has_tty
        invocation = invocation.with_sudo(prior.sudo)
    cli_run = invocation.make_run(
        context.command(joined, tty=tty), invocation.hosts(), repeats_all=not command
    )
    return signals.run(cli_run.run)


def join_words(command: Sequence[str]) -> str:
    """Join the words of the command with spaces, as ssh does.

    Raises:
        UsageError: There is no command.
    """
    joined = " ".join(command)
    if not joined.strip():
        raise UsageError(
            "there is no command to run", hint="it comes after the options: multirsh -f hosts.yaml uptime"
        )
    return joined


@click.command(
    "script",
    short_help="Run a local script on many hosts.",
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
    help="Program that runs the script, such as 'python3 -u'.  [default: its #! line, else /bin/sh]",
)
@options.COURSE
@options.CONTEXT
@options.INPUT
@options.OUTPUT
@options.RECORD
@options.AGAIN
@options.CLOSING
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="FILE [ARG]...")
def script(*, words: tuple[str, ...], shell: str | None, **parameters: Any) -> int:
    """Run FILE, a local script, on many hosts at once.

    Each ARG is passed to it unchanged. Nothing is left on the hosts. If FILE is '-', the script is read from
    standard input. The script's own standard input is empty unless -I or --stdin-file is given.
    """
    # Not needed for --help, which must be quick.
    from multirsh.cli import signals  # noqa: PLC0415

    if not words:
        raise UsageError("there is no script to run", hint="it comes after the options")
    context = options.take(options.CommandOptions, parameters)
    invocation = Invocation.take(parameters)
    invocation.check_hosts_named()
    found = _read(words, shell, read_by_others=invocation.readers)
    if is_our_stdin(words[0]):
        invocation = replace(invocation, readers=[*invocation.readers, "the script"])
    cli_run = invocation.make_run(context.command(script=found), invocation.hosts())
    return signals.run(cli_run.run)


def _read(words: Sequence[str], shell: str | None, *, read_by_others: Sequence[str]) -> Script:
    """Read the script.

    Raises:
        UsageError: It cannot be read or used.
    """
    from multirsh.commands.command import Script, parse_interpreter  # noqa: PLC0415 - not needed for --help

    name, *arguments = words
    if name != STDIN_NAME:
        return Script.read(name, *arguments, shell=shell)
    if read_by_others:
        raise UsageError(
            f"standard input is read by {read_by_others[0]} and cannot be the script, too",
            hint="name a file for one of them",
        )
    with open(STDIN, "rb", closefd=False) as ours:
        return Script(ours.read(), tuple(arguments), parse_interpreter(shell), "<stdin>")
