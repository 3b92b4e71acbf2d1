"""``multirsh ports``: this machine's local ports, or one of them in detail."""

from __future__ import annotations

import os
from typing import Final

import click

from multirsh.cli import options, values
from multirsh.cli.process import print_out
from multirsh.cli.syntax import HELP_NAMES, SectionCommand
from multirsh.exit_code import ExitCode
from multirsh.output.options import Stdio, When, is_dumb, use_color

_LONGEST_INTERVAL_S: Final = 3600.0
_USUAL_INTERVAL_S: Final = "2"


def _interval(value: str | float) -> float:
    """Read the seconds of ``--watch``; a port in their place is refused with a hint where it belongs."""
    number = values.seconds(value)
    if number > _LONGEST_INTERVAL_S:
        raise click.BadParameter(
            f"{value} seconds are more than {_LONGEST_INTERVAL_S:.0f}; "
            f"for a port, put it first: multirsh ports {value} --watch"
        )
    return number


@click.command(
    "ports",
    short_help="Show this machine's local ports, or what has one of them.",
    cls=SectionCommand,
    context_settings={"help_option_names": HELP_NAMES},
    options_metavar="[OPTIONS]",
)
@options.option(
    "--watch",
    section="Output",
    configurable=False,
    type=_interval,
    is_flag=False,
    flag_value=_USUAL_INTERVAL_S,
    metavar="[SECONDS]",
    help="Update every SECONDS (2), until Ctrl-C.",
)
@options.option(
    "--json",
    "as_json",
    section="Output",
    is_flag=True,
    help="One JSON object; with --watch, one on each line.",
)
@options.COLOR
@click.argument("port", required=False, type=values.port, metavar="[PORT]")
def ports(*, port: int | None, watch: float | None, as_json: bool, color: str) -> int:
    """Show what this machine's local TCP ports are doing.

    \b
      multirsh ports        ranges, states, destinations, TIME_WAIT, what is left
      multirsh ports 8080   "Address already in use": what has it, and ways out

    Nothing is changed and nothing is connected to. For one port the kernel is also asked whether a server
    would get it, by a bind(2) that is closed at once. Only root sees the programs of other users.
    """  # noqa: D301 - click reads the backspace
    # Not needed for --help, which must be quick.
    from multirsh.cli import ports_look, signals  # noqa: PLC0415

    stdio = Stdio.look()
    showing = ports_look.PortsView(
        port=port,
        as_json=as_json,
        color=use_color(When(color), os.environ, is_terminal=stdio.stdout_is_terminal),
        can_redraw=stdio.stdout_is_terminal and not is_dumb(os.environ) and not as_json,
        width=stdio.stdout_width,
    )
    if watch is None:
        print_out(ports_look.look(showing))
        return ExitCode.OK
    return signals.run(lambda _: ports_look.watch(showing, watch))
