"""``multirsh shell``: an interactive prompt on connections that stay open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from multirsh.cli import options
from multirsh.cli.asked import Asked
from multirsh.cli.descriptors import tell
from multirsh.cli.names import HELP_NAMES
from multirsh.cli.sections import SectionCommand
from multirsh.errors import UsageError

if TYPE_CHECKING:
    from multirsh.cli.shell.reader import Reader
    from multirsh.cli.shell.selection import Selection

_EACH_LINE: Final = ":"
"""Stands for a line that is not typed yet: what cannot be meant around any is said before the first."""


@click.command(
    "shell",
    short_help="Line after line on hosts whose connections stay open.",
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

    A line is what COMMAND is to 'multirsh run'. What else can be said the line '.help' tells: other hosts of
    those that are selected here, equal outputs gathered, commands of this machine. Lines are also read from a
    file or a pipe.
    """
    # Not needed for --help, which must be quick.
    from multirsh.cli import signals  # noqa: PLC0415
    from multirsh.cli.shell.reader import Lines, is_terminal  # noqa: PLC0415
    from multirsh.cli.shell.selection import Selection  # noqa: PLC0415
    from multirsh.cli.shell.session import Session  # noqa: PLC0415

    context = options.take(options.Context, parameters)
    asked = Asked.take(parameters)
    asked.check_somebody()
    if asked.readers:
        raise UsageError(
            f"{asked.readers[0]} reads standard input, where the shell's lines come from",
            hint="name a file",
        )
    inventory = options.read_inventory(asked.files)
    selection = Selection.of(asked.hosts_of(inventory), inventory)
    session = Session(
        asked,
        asked.drive(context.command(_EACH_LINE), selection.chosen),
        selection,
        context=context,
        open_reader=(lambda: _prompting(asked.showing, selection)) if is_terminal() else Lines,
    )
    return signals.run(session.run)


def _prompting(showing: options.Showing, selection: Selection) -> Reader:
    from multirsh.cli.shell.completion import Vocabulary  # noqa: PLC0415 - only where a person is
    from multirsh.cli.shell.history import open_history  # noqa: PLC0415
    from multirsh.cli.shell.prompting import Prompting  # noqa: PLC0415

    history, complaint = open_history()
    if complaint is not None:
        tell(f"multirsh: {complaint}")
    vocabulary = Vocabulary(tuple(selection.known.hosts), tuple(selection.known.graph.groups))
    return Prompting(history, vocabulary, color=showing.options().stderr_color)
