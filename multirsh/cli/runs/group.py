"""``multirsh runs``: the list of recorded runs, and the group of its subcommands."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from multirsh.cli import options, values
from multirsh.cli.process import STDOUT, print_err, print_out
from multirsh.cli.syntax import HELP_NAMES, write_options
from multirsh.errors import UsageError
from multirsh.exit_code import ExitCode
from multirsh.output.options import Stdio, When, use_color

if TYPE_CHECKING:
    from multirsh.output.runs_list import Layout

_LINES_BESIDE_THE_LIST = 4
"""Lines of a terminal for the head, the number of older runs, and the prompts before and after."""
_LEAST_LINES = 5


class RunsGroup(click.Group):
    """A group that lists the runs if no subcommand is given."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of the list, then the subcommands."""
        write_options(self.get_params(ctx), ctx, formatter)
        self.format_commands(ctx, formatter)


@click.group(
    "runs",
    cls=RunsGroup,
    short_help="List the recorded runs; show, compare or delete them.",
    context_settings={"help_option_names": HELP_NAMES},
    invoke_without_command=True,
    options_metavar="[OPTIONS]",
    subcommand_metavar="[COMMAND]",
)
@options.option(
    "-n",
    "--newest",
    section="Output",
    type=values.whole(0),
    configurable=False,
    metavar="N",
    help="The newest N; 0 for all.  [default: on a terminal as many as fit, else all]",
)
@options.option("--json", "as_json", section="Output", is_flag=True, help="One JSON object a run.")
@options.COLOR
@click.pass_context
def runs(ctx: click.Context, *, newest: int | None, as_json: bool, color: str) -> int:
    """List the recorded runs, the newest first.

    \b
      multirsh runs                       the newest runs
      multirsh runs show last             the results and the output of the last run
      multirsh runs diff c0ffee last      what is different since an earlier run

    A run is named by its identifier, by any unique beginning of it, with the date or without, or by 'last'.
    Hosts that began and have no end, since multirsh was killed, are shown as lost.
    """  # noqa: D301 - click reads the backspace
    if ctx.invoked_subcommand is not None:
        _refuse_options_of_the_list(ctx)
        # The settings of config.toml hold for each subcommand; click would look for tables of their names
        # there.
        ctx.default_map = dict.fromkeys(runs.commands, ctx.default_map or {})
        return ExitCode.OK
    # Not needed for --help.
    from multirsh.journal import Journal  # noqa: PLC0415
    from multirsh.output.runs_list import listing, listing_json  # noqa: PLC0415

    journal = Journal()
    found = journal.runs()
    stdio = Stdio.look()
    most = _most(newest, stdio, as_json=as_json)
    chosen = found[:most]
    print_out(listing_json(chosen) if as_json else listing(chosen, layout(stdio, color)))
    left_out = journal.unused_files_message()
    if left_out is not None:
        print_err(left_out)
    if not found:
        print_err("no run is recorded yet")
    elif len(chosen) < len(found) and newest is None:
        print_err(f"and {len(found) - len(chosen)} older runs; -n 0 lists all")
    return ExitCode.OK


def _refuse_options_of_the_list(ctx: click.Context) -> None:
    """Refuse options of the list before a subcommand, where they would have no effect.

    Raises:
        UsageError: There is such an option.
    """
    for parameter in ctx.command.params:
        is_given = ctx.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if is_given and parameter.opts:
            raise UsageError(
                f"{parameter.opts[-1]} is an option of the list of runs",
                hint=f"options of {ctx.invoked_subcommand} follow its name",
            )


def _most(newest: int | None, stdio: Stdio, *, as_json: bool) -> int | None:
    """Decide how many runs are listed; ``None`` for all."""
    if newest is not None:
        return newest or None
    if as_json or not stdio.stdout_is_terminal:
        return None
    return max(_LEAST_LINES, os.get_terminal_size(STDOUT).lines - _LINES_BESIDE_THE_LIST)


def layout(stdio: Stdio, color: str) -> Layout:
    """Decide how a list of runs is laid out on our standard output."""
    from multirsh.output.runs_list import Layout  # noqa: PLC0415

    return Layout(
        width=stdio.stdout_width() if stdio.stdout_is_terminal else None,
        color=use_color(When(color), os.environ, is_terminal=stdio.stdout_is_terminal),
        now=time.time(),
    )
