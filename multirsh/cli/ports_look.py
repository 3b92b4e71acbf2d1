"""Reads the state of the ports, once or repeatedly, and shows the reports of ``ports.diagnosis``."""

from __future__ import annotations

import asyncio
import pwd
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from multirsh.cli.process import print_out
from multirsh.linux import missing
from multirsh.output.port_report import port_report
from multirsh.output.ports_formatting import WIDEST
from multirsh.output.ports_json import port_json, survey_json
from multirsh.output.ports_survey import survey_report
from multirsh.output.tables import rendered
from multirsh.ports.diagnosis import Holder, HoldersByInode, diagnose_port, survey, usual_attempts
from multirsh.ports.diagnosis.binding import probe
from multirsh.ports.diagnosis.values import RESERVED
from multirsh.ports.holders import find_holders
from multirsh.ports.socket_table import read_table
from multirsh.ports.sockets import TcpSocket, TcpState
from multirsh.ports.sysctls import read_kernel_ports

_DESTINATIONS_FOR_PEOPLE: Final = 5
_PEERS_FOR_PEOPLE: Final = 3
_MOST_FOR_PROGRAMS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PortsView:
    """What to show of the ports, and how.

    Attributes:
        port: The port; ``None`` for all.
        as_json: Whether to print JSON.
        color: Whether text is coloured.
        can_redraw: Whether stdout is a terminal that can show a live view.
        width: Returns the columns of stdout; called for each report.
    """

    port: int | None
    as_json: bool
    color: bool
    can_redraw: bool
    width: Callable[[], int]


async def watch(view: PortsView, interval_s: float) -> int:
    """Show the report again and again, until a signal cancels it."""
    if not view.can_redraw:
        while True:
            print_out(look(view) + "\n" * (not view.as_json))
            await asyncio.sleep(interval_s)
    console = Console(
        color_system="standard" if view.color else None, no_color=not view.color, highlight=False
    )
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            text = look(view, is_live=True)
            when = f"{time.strftime('%H:%M:%S')}  every {interval_s:g} s  Ctrl-C ends"
            live.update(_screenful(when, text, height=console.height), refresh=True)
            await asyncio.sleep(interval_s)


def _screenful(when: str, text: str, *, height: int) -> Text:
    """Cut the text to the height of the window, and say how many lines are missing."""
    lines = text.rstrip("\n").split("\n")
    most = height - 2
    if len(lines) > most:
        hidden = len(lines) - most + 1
        lines = [*lines[: most - 1], f"... {hidden} more lines; without --watch all are shown"]
    return Text.from_ansi("\n".join([when, "", *lines]), no_wrap=True, overflow="crop")


def look(view: PortsView, *, is_live: bool = False) -> str:
    """Make the report once; its last line has its end."""
    port, kernel = view.port, read_kernel_ports()
    answers = None if port is None else probe(port, usual_attempts())
    table = read_table()
    if port is None:
        holders = _holders(row for row in table or () if _is_worth_a_name(row))
        most = _MOST_FOR_PROGRAMS if view.as_json else _DESTINATIONS_FOR_PEOPLE
        found = survey(table, kernel, holders, most_destinations=most)
        if view.as_json:
            return f"{survey_json(found)}\n"
        return rendered(
            survey_report(found, _user, brief=is_live, missing=missing()),
            width=min(view.width(), WIDEST),
            color=view.color,
        )
    holders = _holders(row for row in table or () if port in {row.local.port, row.remote.port})
    most = _MOST_FOR_PROGRAMS if view.as_json else _PEERS_FOR_PEOPLE
    report = diagnose_port(port, table, kernel, holders, answers=answers, most_peers=most)
    if view.as_json:
        return f"{port_json(report)}\n"
    return rendered(
        port_report(report, _user, brief=is_live), width=min(view.width(), WIDEST), color=view.color
    )


def _is_worth_a_name(row: TcpSocket) -> bool:
    """Whether the survey names the owner of the socket."""
    return row.state is TcpState.CLOSE_WAIT or row.local.port in RESERVED


def _holders(rows: Iterable[TcpSocket]) -> HoldersByInode:
    """Find the processes that have sockets open: the names of the programs, and never their arguments."""
    found = find_holders({row.inode for row in rows}).by_inode
    return {
        inode: [Holder(process.pid, process.program) for process in processes]
        for inode, processes in found.items()
    }


@cache
def _user(uid: int) -> str:
    """The name of a user, or the number if there is no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
