"""The texts of the shell: its prompt, its help and its answers. Pure."""

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
"""The largest number of columns for the folded selection."""

HELP: Final = """\
COMMAND          run COMMAND on the selected hosts, as does any line that begins with a blank
@NODES  +NODES  -NODES
                 select, add or remove hosts: @web[01-12], @@group, @web*!web03; @ alone selects all
?                show the selected hosts
=  =MODE         switch between gathered and live output; MODE is live, gather, gather-all, diff,
                 blocks or json
!COMMAND         run COMMAND on this machine
.failed          select the hosts that were not ok in the last command
.status          show the open connections and the local ports
.reconnect [NODES]
                 close the connections, so that the next command logs in again
.groups          list the groups
.select NODES  .all  .hosts  .mode MODE  .help  .quit
                 the same in words; Tab completes, Ctrl-C ends the command, Ctrl-D leaves the shell
"""


def prompt(selection: Selection, mode: str) -> tuple[str, str]:
    """Return the prompt in two parts: the selection, then the rest."""
    folded = escape_text(fold(selection.names))
    if len(folded) > PROMPT_WIDTH:
        folded = f"{folded[: PROMPT_WIDTH - 3]}..."
    shown = "" if mode == LIVE else f" ={mode}"
    return folded, f" ({len(selection.chosen)}){shown}> "


def welcome(selection: Selection) -> str:
    """Return the first line of an interactive shell."""
    return f"multirsh shell: {plural(len(selection.chosen), 'host')}; .help lists all the commands\n"


def selected_hosts(selection: Selection) -> str:
    """Return the answer to ``?``."""
    of_all = "" if selection.is_all else f" of {len(selection.known.hosts)}"
    return f"{len(selection.chosen)}{of_all}: {escape_text(fold(selection.names))}\n"


def groups(selection: Selection) -> str:
    """Return the groups, with those of their members that are hosts of the shell."""
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
    """Return the answer to ``.status``: the connections to all hosts of the shell, and the local ports.

    Args:
        selection: The selection, which knows all hosts of the shell.
        connections: The open connections.
        ports: The use of local ports so far; ``None`` if no connection has used one.
        now: The current time on the clock of ``connections``, in seconds.
    """
    lines = []
    if connections:
        names = [connection.host for connection in connections]
        oldest = duration(now - min(connection.since for connection in connections))
        lines.append(f"open: {fold(names)} ({len(names)}), the oldest for {oldest}")
    missing = selection.known.hosts.keys() - {connection.host for connection in connections}
    if missing:
        lines.append(f"not open: {fold(missing)} ({len(missing)})")
    if ports is not None and ports.peak:
        lines.append(f"local ports: {ports.held} held, at most {ports.peak} at once{_ends(ports.closed_by)}")
    return "".join(f"{escape_text(line)}\n" for line in lines)


def _ends(closed_by: Mapping[ClosedBy, int]) -> str:
    ends = [f"{count} by {side}" for side, count in closed_by.items() if side is not ClosedBy.RESET and count]
    ends += [f"{closed_by[ClosedBy.RESET]} reset"] if closed_by.get(ClosedBy.RESET) else []
    return f"; closed: {', '.join(ends)}" if ends else ""


def connections_closed(closed_by: Sequence[ClosedBy | None]) -> str:
    """Return the answer to ``.reconnect``.

    Args:
        closed_by: How each of the connections ended.
    """
    resets = sum(side is ClosedBy.RESET for side in closed_by)
    text = f"{plural(len(closed_by), 'connection')} closed; the next command logs in again"
    return f"{text} ({resets} had to be reset)\n" if resets else f"{text}\n"
