"""``multirsh ports``: this machine's local ports, or all about one of them."""

from __future__ import annotations

import asyncio
import os
import pwd
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from multirsh.cli import options, signals, values
from multirsh.cli.descriptors import print_out
from multirsh.cli.names import HELP_NAMES
from multirsh.cli.sections import SectionCommand
from multirsh.exit_code import ExitCode
from multirsh.output.options import Stdio, When, is_dumb, use_color
from multirsh.output.port_report import port_report
from multirsh.output.ports_json import port_json, survey_json
from multirsh.output.ports_words import rendered
from multirsh.output.survey_report import survey_report
from multirsh.ports.diagnosis import Holder, Holders, diagnose_port, survey, usual_attempts
from multirsh.ports.diagnosis.probe import probe
from multirsh.ports.diagnosis.values import RESERVED
from multirsh.ports.holders import find_holders
from multirsh.ports.kernel import read_table
from multirsh.ports.sockets import TcpSocket, TcpState
from multirsh.ports.sysctls import read_kernel_ports

_LONGEST_INTERVAL_S: Final = 3600.0
_USUAL_INTERVAL_S: Final = "2"
_MOST_FOR_PROGRAMS: Final = 1000
_DESTINATIONS_FOR_PEOPLE: Final = 5
_PEERS_FOR_PEOPLE: Final = 3


def _interval(value: str | float) -> float:
    """Read the seconds of ``--watch``; a port that slipped into their place is told where it belongs."""
    number = values.seconds(value)
    if number > _LONGEST_INTERVAL_S:
        raise click.BadParameter(
            f"{value} seconds are more than {_LONGEST_INTERVAL_S:.0f}; "
            f"for a port, put it first: multirsh ports {value} --watch"
        )
    return number


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """How to show what is found.

    Attributes:
        port: Which port; ``None`` for all.
        as_json: Whether programs read it.
        color: Whether people's words are coloured.
        can_redraw: Whether stdout is a terminal that can show a live view.
        width: Columns, asked anew for each report.
    """

    port: int | None
    as_json: bool
    color: bool
    can_redraw: bool
    width: Callable[[], int]


@click.command(
    "ports",
    short_help="Show this machine's local ports, or who has one of them.",
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
    help="Look again every SECONDS (2), until Ctrl-C.",
)
@options.option(
    "--json",
    "as_json",
    section="Output",
    is_flag=True,
    help="One JSON object; with --watch, one a line for each look.",
)
@options.COLOR
@click.argument("port", required=False, type=values.port, metavar="[PORT]")
def ports(*, port: int | None, watch: float | None, as_json: bool, color: str) -> int:
    """Show what this machine's local TCP ports are doing.

    \b
      multirsh ports        ranges, states, destinations, TIME_WAIT, what is left
      multirsh ports 8080   "Address already in use": who has it, and the ways out

    Nothing is changed and nothing is connected to. For one port the kernel is also asked whether a server
    would get it, by a bind(2) that is closed at once. Only root sees the programs of other users.
    """  # noqa: D301 - click reads the backspace
    stdio = Stdio.look()
    showing = Showing(
        port=port,
        as_json=as_json,
        color=use_color(When(color), os.environ, is_terminal=stdio.stdout_is_terminal),
        can_redraw=stdio.stdout_is_terminal and not is_dumb(os.environ) and not as_json,
        width=stdio.stdout_width,
    )
    if watch is None:
        print_out(_look(showing))
        return ExitCode.OK
    return signals.run(lambda _: _watch(showing, watch))


async def _watch(showing: Showing, interval_s: float) -> int:
    """Look again and again, until a signal cancels it."""
    if not showing.can_redraw:
        while True:
            print_out(_look(showing) + "\n" * (not showing.as_json))
            await asyncio.sleep(interval_s)
    console = Console(
        color_system="standard" if showing.color else None, no_color=not showing.color, highlight=False
    )
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            text = _look(showing, is_live=True)
            when = f"{time.strftime('%H:%M:%S')}  every {interval_s:g} s  Ctrl-C ends"
            live.update(_screenful(when, text, height=console.height), refresh=True)
            await asyncio.sleep(interval_s)


def _screenful(when: str, text: str, *, height: int) -> Text:
    """As much as the window shows, and how much it does not."""
    lines = text.rstrip("\n").split("\n")
    room = height - 2
    if len(lines) > room:
        hidden = len(lines) - room + 1
        lines = [*lines[: room - 1], f"... {hidden} more lines; without --watch you see all"]
    return Text.from_ansi("\n".join([when, "", *lines]), no_wrap=True, overflow="crop")


def _look(showing: Showing, *, is_live: bool = False) -> str:
    """Look once; the report, its last line ended."""
    port, kernel = showing.port, read_kernel_ports()
    answers = None if port is None else probe(port, usual_attempts())
    table = read_table()
    if port is None:
        holders = _holders(row for row in table or () if _is_worth_a_name(row))
        most = _MOST_FOR_PROGRAMS if showing.as_json else _DESTINATIONS_FOR_PEOPLE
        found = survey(table, kernel, holders, most_destinations=most)
        if showing.as_json:
            return f"{survey_json(found)}\n"
        return rendered(
            survey_report(found, _user, brief=is_live), width=showing.width(), color=showing.color
        )
    holders = _holders(row for row in table or () if port in {row.local.port, row.remote.port})
    most = _MOST_FOR_PROGRAMS if showing.as_json else _PEERS_FOR_PEOPLE
    report = diagnose_port(port, table, kernel, holders, answers=answers, most_peers=most)
    if showing.as_json:
        return f"{port_json(report)}\n"
    return rendered(port_report(report, _user, brief=is_live), width=showing.width(), color=showing.color)


def _is_worth_a_name(row: TcpSocket) -> bool:
    """Whether the survey says whose it is."""
    return row.state is TcpState.CLOSE_WAIT or row.local.port in RESERVED


def _holders(rows: Iterable[TcpSocket]) -> Holders:
    """Who has them open: the program's name, and never its arguments."""
    found = find_holders({row.inode for row in rows}).by_inode
    return {
        inode: [Holder(process.pid, process.program) for process in processes]
        for inode, processes in found.items()
    }


@cache
def _user(uid: int) -> str:
    """The user's name, or the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
