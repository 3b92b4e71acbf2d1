"""The command line of ``multirsh shell``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import click

from multirsh.cli import options
from multirsh.cli.invocation import Invocation
from multirsh.cli.process import STDERR, STDIN, print_err
from multirsh.cli.syntax import HELP_NAMES, SectionCommand
from multirsh.errors import UsageError

if TYPE_CHECKING:
    from multirsh.cli.shell.selection import Selection
    from multirsh.cli.shell.session import LineReader

_ANY_LINE: Final = ":"
"""A stand-in for the lines to come: options that cannot be combined are reported before the first line."""


@click.command(
    "shell",
    short_help="Run commands line by line on open connections.",
    cls=SectionCommand,
    context_settings={"help_option_names": HELP_NAMES},
    options_metavar="[OPTIONS]",
)
@options.FILES
@options.CHOICE
@options.CONNECTION
@options.RUNNING
@options.COURSE
@options.CONTEXT
@options.SHELL_OUTPUT
@options.RECORD
@options.CLOSING
def shell(**parameters: Any) -> int:
    """Run each line that is typed on the hosts; connections stay open in between.

    A line is run as COMMAND is by 'multirsh run'. The line '.help' shows what else a line can do: select
    other hosts, gather equal outputs, run local commands. Lines may also come from a file or a pipe.
    """
    # Not needed for --help, which must be quick.
    from multirsh.cli import signals  # noqa: PLC0415
    from multirsh.cli.shell.selection import Selection  # noqa: PLC0415
    from multirsh.cli.shell.session import ShellSession, StdinLineReader  # noqa: PLC0415

    context = options.take(options.CommandOptions, parameters)
    invocation = Invocation.take(parameters)
    invocation.check_hosts_named()
    if invocation.readers:
        raise UsageError(
            f"{invocation.readers[0]} reads standard input, where the shell's lines come from",
            hint="name a file",
        )
    inventory = options.read_inventory(invocation.files)
    selection = Selection.of(invocation.hosts_of(inventory), inventory)
    # The prompt is written to stderr, since stdout carries remote output.
    is_terminal = os.isatty(STDIN) and os.isatty(STDERR)
    session = ShellSession(
        invocation,
        invocation.make_run(context.command(_ANY_LINE), selection.chosen),
        selection,
        context=context,
        open_reader=(lambda: _open_terminal(invocation.display, selection))
        if is_terminal
        else StdinLineReader,
    )
    return signals.run(session.run)


def _open_terminal(display: options.DisplayOptions, selection: Selection) -> LineReader:
    from multirsh.cli.shell.line import Vocabulary  # noqa: PLC0415 - prompt_toolkit takes long to import
    from multirsh.cli.shell.terminal import TerminalLineReader, open_history  # noqa: PLC0415

    history, complaint = open_history()
    if complaint is not None:
        print_err(f"multirsh: {complaint}")
    vocabulary = Vocabulary(tuple(selection.known.hosts), tuple(selection.known.graph.groups))
    return TerminalLineReader(history, vocabulary, color=display.options().stderr_color)
