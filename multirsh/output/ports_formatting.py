"""How sockets, states, programs and findings are worded in the reports on ports.

Everything is plain ASCII but the names of programs and users, which are escaped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from rich.table import Table
from rich.text import Text

from multirsh.output.escape import escape_text
from multirsh.output.tables import BAD, COMMAND, FAINT, table
from multirsh.ports.diagnosis import Finding, Holder, Remedy, SocketGroup
from multirsh.ports.sockets import Endpoint, TcpState

WIDEST: Final = 100
"""Columns beyond which lines are tiring to read."""

Users = Callable[[int], str]
"""Returns the name of a user id."""

MEANING: Final[Mapping[TcpState, str]] = {
    TcpState.LISTEN: "waiting for connections",
    TcpState.ESTABLISHED: "open",
    TcpState.SYN_SENT: "connecting; no answer yet",
    TcpState.SYN_RECV: "being opened from the other end",
    TcpState.NEW_SYN_RECV: "being opened from the other end",
    TcpState.CLOSE_WAIT: "the other end has closed, the program here has not",
    TcpState.FIN_WAIT1: "closed here; the other end has not acknowledged it yet",
    TcpState.FIN_WAIT2: "closed here; the other end has acknowledged it, and has not closed",
    TcpState.CLOSING: "closed at both ends at once",
    TcpState.LAST_ACK: "closed at both ends; a last acknowledgement is missing",
    TcpState.TIME_WAIT: "over; this end closed first, and the kernel keeps it for a minute",
    TcpState.CLOSE: "bound, and neither listening nor connected",
}


def number(count: float) -> str:
    """Write a count: ``28,232``."""
    return f"{count:,.0f}"


def address(endpoint: Endpoint) -> str:
    """Write an endpoint, ``192.0.2.1:22`` or ``[2001:db8::1]:22``; without the port if it is 0."""
    bare = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    return f"{bare}:{endpoint.port}" if endpoint.port else bare


def program(holders: Iterable[Holder]) -> str:
    """Name programs with their processes, ``nginx (pid 7, 8)``, at most three of each program."""
    pids: dict[str, list[int]] = {}
    for holder in holders:
        pids.setdefault(holder.name, []).append(holder.pid)
    return ", ".join(f"{escape_text(name)} (pid {_some(all_of_it)})" for name, all_of_it in pids.items())


def owner(group: SocketGroup, users: Users) -> str:
    """Name the owner of sockets, as far as it can be known."""
    if group.holders:
        return program(group.holders)
    if group.has_process:
        names = ", ".join(sorted(escape_text(users(uid)) for uid in group.uids))
        return f"a program of {names}" if names else "a program"
    if group.state is TcpState.LISTEN:
        return "not known"
    if group.state in {TcpState.ESTABLISHED, TcpState.CLOSE_WAIT}:
        return "none yet: it waits to be accepted"
    return "the kernel"


def seconds(time: float | None) -> str:
    """Write a time, such as ``43 s``, rounded up; empty if it is not known."""
    return "" if time is None else f"{max(1, math.ceil(time))} s"


def ways_out(ways: Iterable[Remedy]) -> Table:
    """List ways out, numbered, each with its command and its price."""
    made = table("", "")
    for place, way in enumerate(ways, 1):
        made.add_row(f"{place}.", _way(way))
    return made


def finding(one: Finding, *, message_only: bool = False) -> Table:
    """Show a warning or a note, with what to do and what not to touch."""
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


def _way(way: Remedy) -> Text:
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
