"""Who is whose on this machine: the processes, and which of them a program has started.

Pure but for ``read_table``, ``has_environment`` and ``holders``.

Sources: proc_pid_stat(5), credentials(7), setsid(2).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from multirsh.linux import PROC

INIT: Final = 1
"""Who adopts orphans, if nobody nearer does."""

_GONE: Final = frozenset("ZXx")
"""States of what has ended and waits only to be asked how."""

STOPPED: Final = "T"

_VOLATILE: Final = (b"PWD=", b"OLDPWD=", b"SHLVL=", b"_=")
"""What shells change in the environment of whatever they start."""


class ProcessEntry(NamedTuple):
    """One process.

    Attributes:
        parent: Its parent's id.
        group: Its process group.
        session: Its session.
        state: One letter.
        start: When it was started, in clock ticks since the machine was: with the id, a name for good.
    """

    parent: int
    group: int
    session: int
    state: str
    start: int


Table: TypeAlias = Mapping[int, ProcessEntry]
"""By process id."""


def parse_stat(text: str) -> ProcessEntry | None:
    """Read ``/proc/PID/stat``; ``None`` where it is none.

    Args:
        text: Its second field, the name in brackets, may itself hold blanks and brackets.
    """
    fields = text.rpartition(")")[2].split()
    try:
        return ProcessEntry(int(fields[1]), int(fields[2]), int(fields[3]), fields[0], int(fields[19]))
    except (IndexError, ValueError):
        return None


def read_table() -> Table | None:
    """Every process that can be seen; ``None`` where the system does not show them, or shows another's."""
    try:
        own = int(Path(PROC, "self", "stat").read_text(errors="replace").split()[0])
        names = os.listdir(PROC)  # noqa: PTH208 - there are many, often; and below
    except (OSError, ValueError, IndexError):
        return None
    if own != os.getpid():
        return None
    found: dict[int, ProcessEntry] = {}
    for name in names:
        if name.isdigit():
            with suppress(OSError), open(f"{PROC}/{name}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - there are many, often
                entry = parse_stat(file.read())
                if entry is not None:
                    found[int(name)] = entry
    return found


def family(table: Table, leader: int, known: Mapping[int, int]) -> dict[int, ProcessEntry]:
    """Find what a program has started and what runs still, parents first.

    Args:
        table: Every process.
        leader: The program's id, which is its session's, too; it is not reaped.
        known: Its family as it was seen before: start times by id.

    Returns:
        Its session, its descendants, and the sessions that those have made; not what has ended.
    """
    members = {pid for pid, start in known.items() if pid in table and table[pid].start == start}
    if leader in table:
        members.add(leader)
    since = min((table[pid].start for pid in members), default=0)
    while True:
        sessions = {table[pid].session for pid in members}
        more = {
            pid
            for pid, entry in table.items()
            if pid not in members
            and entry.start >= since
            and (entry.parent in members or entry.session in sessions)
        }
        if not more:
            break
        members |= more
    alive = [pid for pid in members if table[pid].state not in _GONE]
    return {pid: table[pid] for pid in sorted(alive, key=lambda pid: len(list(ancestors(table, pid))))}


def ancestors(table: Table, pid: int) -> Iterator[int]:
    """The parent of ``pid``, that one's parent, and so on."""
    seen = {pid}
    while pid in table and (pid := table[pid].parent) not in seen:
        seen.add(pid)
        yield pid


def strays(table: Table, leader: ProcessEntry, own: int, family_of: Collection[int]) -> Iterator[int]:
    """Those who may have left the family without a trace: adopted orphans that are no older than it.

    Args:
        table: Every process.
        leader: The program.
        own: Our own process id.
        family_of: Who is in the family.
    """
    above = list(ancestors(table, own))
    adopters = {INIT} | {pid for pid in above if pid in table and table[pid].session != table[own].session}
    ours = {pid for pid, entry in table.items() if entry.parent == own}
    for pid, entry in table.items():
        if entry.start < leader.start or entry.state in _GONE or pid in family_of or pid in above:
            continue
        if entry.parent in adopters and entry.session not in ours:
            yield pid


def has_environment(pid: int, given: Iterable[bytes]) -> bool:
    """Whether ``pid`` was started with all of ``given``, but for what shells change."""
    try:
        has = set(Path(PROC, str(pid), "environ").read_bytes().split(b"\0"))
    except OSError:
        return False
    return all(word in has or word.startswith(_VOLATILE) for word in given)


def holders(pids: Iterable[int], pipes: Collection[str]) -> Iterator[int]:
    """Those of ``pids`` that hold one of ``pipes``.

    Args:
        pids: Whom to ask; whose descriptors we may not see holds nothing.
        pipes: As their links in ``/proc/PID/fd`` have it: ``pipe:[INODE]``.
    """
    for pid in pids:
        with suppress(OSError):
            folder = f"{PROC}/{pid}/fd"
            for name in os.listdir(folder):  # noqa: PTH208
                with suppress(OSError):
                    if os.readlink(f"{folder}/{name}") in pipes:  # noqa: PTH115 - there are many
                        yield pid
                        break
