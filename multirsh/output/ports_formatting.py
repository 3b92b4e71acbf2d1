"""How ports, states and programs are worded, and how a report becomes text.

rich lays the tables out; whether there is colour, and how wide the text is,
is decided by our own rules (``options``) and told to it. Everything is plain
ASCII but names of programs, which are escaped: they are somebody else's.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from multirsh.output.escape import escape_text
from multirsh.ports.diagnosis import Finding, Group, Holder, Way
from multirsh.ports.sockets import Endpoint, TcpState

INDENT: Final = 2
WIDEST: Final = 100
"""Columns beyond which lines are tiring to read."""

HEADING: Final = "bold"
GOOD: Final = "green"
BAD: Final = "red"
FAINT: Final = "dim"
COMMAND: Final = "cyan"

Users = Callable[[int], str]
"""A user's id → the user's name."""

MEANING: Final[Mapping[TcpState, str]] = {
    TcpState.LISTEN: "waiting for connections",
    TcpState.ESTABLISHED: "open",
    TcpState.SYN_SENT: "connecting; no answer yet",
    TcpState.SYN_RECV: "being opened from the other end",
    TcpState.NEW_SYN_RECV: "being opened from the other end",
    TcpState.CLOSE_WAIT: "the other end has closed, the program here has not",
    TcpState.FIN_WAIT1: "closed here; the other end has not yet said that it knows",
    TcpState.FIN_WAIT2: "closed here; the other end knows, and has not closed",
    TcpState.CLOSING: "closed at both ends at once",
    TcpState.LAST_ACK: "closed at both ends; a last acknowledgement is missing",
    TcpState.TIME_WAIT: "over; this end closed first, and the kernel keeps it for a minute",
    TcpState.CLOSE: "bound, and neither listening nor connected",
}


def rendered(renderables: Iterable[RenderableType], *, width: int, color: bool) -> str:
    """Lay a report out.

    Args:
        renderables: Its parts, one below the other.
        width: Columns there are.
        color: Whether to colour it, with the terminal's own colours.
    """
    target = io.StringIO()
    console = Console(
        file=target,
        width=min(width, WIDEST),
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
    )
    for renderable in renderables:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in target.getvalue().split("\n"))


def heading(text: str) -> Text:
    """A line above what belongs together."""
    return Text(f"\n{text}", style=HEADING)


def indented(renderable: RenderableType) -> Padding:
    """Below its heading."""
    return Padding(renderable, (0, 0, 0, INDENT))


def table(*columns: str, right: Iterable[str] = ()) -> Table:
    """A table without lines; its columns' names are faint.

    Args:
        columns: Their names; where all are empty there is no head.
        right: Names of those that are set to the right, as numbers are.
    """
    made = Table(box=None, padding=(0, 2, 0, 0), show_header=any(columns), header_style=FAINT, pad_edge=False)
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return made


def number(count: float) -> str:
    """A count that people read: ``28,232``."""
    return f"{count:,.0f}"


def address(endpoint: Endpoint) -> str:
    """``192.0.2.1:22``, ``[2001:db8::1]:22``; without the port where it is 0."""
    bare = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    return f"{bare}:{endpoint.port}" if endpoint.port else bare


def program(holders: Iterable[Holder]) -> str:
    """``nginx (pid 7, 8)``; no more than three processes of a program are named."""
    pids: dict[str, list[int]] = {}
    for holder in holders:
        pids.setdefault(holder.name, []).append(holder.pid)
    return ", ".join(f"{escape_text(name)} (pid {_some(all_of_it)})" for name, all_of_it in pids.items())


def whose(group: Group, users: Users) -> str:
    """Who has the sockets open, as far as one can know."""
    if group.holders:
        return program(group.holders)
    if group.has_process:
        owners = ", ".join(sorted(escape_text(users(uid)) for uid in group.uids))
        return f"a program of {owners}" if owners else "a program"
    if group.state is TcpState.LISTEN:
        return "not known"
    if group.state in {TcpState.ESTABLISHED, TcpState.CLOSE_WAIT}:
        return "nobody yet: it waits to be accepted"
    return "the kernel"


def seconds(time: float | None) -> str:
    """``43 s``, begun ones counted; nothing where no time is known."""
    return "" if time is None else f"{max(1, math.ceil(time))} s"


def ways_out(ways: Iterable[Way]) -> Table:
    """Ways out, numbered, each with its command and its price."""
    made = table("", "")
    for place, way in enumerate(ways, 1):
        made.add_row(f"{place}.", _way(way))
    return made


def finding(one: Finding, *, message_only: bool = False) -> Table:
    """A warning or a note, with what to do and what not to touch."""
    more = table("", "")
    for way in one.ways:
        more.add_row("*", _way(way))
    for not_this in one.leave_alone:
        more.add_row("*", Text(f"Leave alone: {not_this}", style=FAINT))
    made = table("", "")
    mark = Text("!", style=BAD) if one.is_urgent else Text("-")
    made.add_row(mark, Text(escape_text(one.message)))
    if more.row_count and not message_only:
        made.add_row("", more)
    return made


def _way(way: Way) -> Text:
    text = Text(escape_text(_capital(way.what)))
    if way.command is not None:
        text.append(f"\n{escape_text(way.command)}", style=COMMAND)
    if way.price:
        text.append(f"\n{way.price}", style=FAINT)
    return text


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _some(pids: list[int]) -> str:
    most = 3
    named = ", ".join(map(str, pids[:most]))
    return f"{named} and {len(pids) - most} more" if len(pids) > most else named
