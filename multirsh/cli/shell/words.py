"""What the shell says: its prompt, its help, its status. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from multirsh.cli.shell.modes import LIVE
from multirsh.cli.shell.selection import Selection
from multirsh.engine.pool import PooledConnection
from multirsh.inventory import fold
from multirsh.model import ClosedBy
from multirsh.output.escape import escape_text
from multirsh.output.formatting import duration, plural
from multirsh.ports.tally import PortStatistics

PROMPT_WIDTH: Final = 30
"""Columns for the folded selection, at the most."""

HELP: Final = """\
COMMAND          run COMMAND on the selected hosts; so does any line that begins with a blank
@NODES  +NODES  -NODES
                 select these; these, too; not these: @web[01-12], @@group, @web*!web03, @ for all
?                who is selected
=  =MODE         gather equal outputs, or stop that; live, gather, gather-all, diff, blocks, json
!COMMAND         run COMMAND on this machine
.failed          select those that the last command was not ok on
.status          which connections are open, and the local ports
.reconnect [NODES]
                 close the connections, so that the next command logs in again
.select NODES  .all  .hosts  .mode MODE  .groups  .help  .quit
                 words for the same; Tab completes, Ctrl-C ends the command, Ctrl-D leaves
"""


def prompt(selection: Selection, mode: str) -> tuple[str, str]:
    """The prompt: who is selected, then all else of it."""
    folded = escape_text(fold(selection.names))
    if len(folded) > PROMPT_WIDTH:
        folded = f"{folded[: PROMPT_WIDTH - 3]}..."
    shown = "" if mode == LIVE else f" ={mode}"
    return folded, f" ({len(selection.chosen)}){shown}> "


def welcome(selection: Selection) -> str:
    """The first line."""
    return f"multirsh shell: {plural(len(selection.chosen), 'host')}; .help tells what can be said\n"


def hosts(selection: Selection) -> str:
    """Who is selected."""
    of_all = "" if selection.is_all else f" of {len(selection.known.hosts)}"
    return f"{len(selection.chosen)}{of_all}: {escape_text(fold(selection.names))}\n"


def groups(selection: Selection) -> str:
    """The groups, with whom of the shell's hosts they hold."""
    graph = selection.known.graph
    lines = [
        f"@{escape_text(name)} ({len(members)}): {escape_text(fold(members))}"
        for name in graph.groups
        if (members := list(graph.hosts_of(name)))
    ]
    return "".join(f"{line}\n" for line in lines) or "no groups: they come from a hosts file (-f)\n"


def status(
    selection: Selection,
    connections: Collection[PooledConnection],
    ports: PortStatistics | None,
    *,
    now: float,
) -> str:
    """Who of all hosts is connected to, and the local ports.

    Args:
        selection: For the shell's hosts.
        connections: Those that are open.
        ports: What all of them have done to the local ports.
        now: On the clock of ``connections``.
    """
    lines = []
    if connections:
        names = [kept.host for kept in connections]
        oldest = duration(now - min(kept.since for kept in connections))
        lines.append(f"open: {fold(names)} ({len(names)}), the oldest for {oldest}")
    missing = selection.known.hosts.keys() - {kept.host for kept in connections}
    if missing:
        lines.append(f"not open: {fold(missing)} ({len(missing)})")
    if ports is not None and ports.peak:
        lines.append(
            f"local ports: {ports.held} held, {ports.peak} at most at once{_closed(ports.closed_by)}"
        )
    return "".join(f"{escape_text(line)}\n" for line in lines)


def _closed(closed_by: Mapping[ClosedBy, int]) -> str:
    told = [f"{count} by {who}" for who, count in closed_by.items() if who is not ClosedBy.RESET and count]
    told += [f"{closed_by[ClosedBy.RESET]} reset"] if closed_by.get(ClosedBy.RESET) else []
    return f"; closed: {', '.join(told)}" if told else ""


def closed(closed_by: Sequence[ClosedBy | None]) -> str:
    """What became of connections that were to be closed."""
    resets = sum(who is ClosedBy.RESET for who in closed_by)
    told = f"{plural(len(closed_by), 'connection')} closed; the next command logs in again"
    return f"{told}\n" if not resets else f"{told} ({resets} had to be reset)\n"
