"""The processes of this machine, and which of them a program has started.

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
"""The process that adopts orphans, if no nearer ancestor is a subreaper."""

_GONE: Final = frozenset("ZXx")
"""The states of processes that have ended but are not reaped."""

STOPPED: Final = "T"

_VOLATILE: Final = (b"PWD=", b"OLDPWD=", b"SHLVL=", b"_=")
"""The variables that shells change in the environment of the programs that they start."""


class ProcessEntry(NamedTuple):
    """One process.

    Attributes:
        parent: Its parent's id.
        group: Its process group.
        session: Its session.
        state: One letter.
        start: When it was started, in clock ticks since boot; with the id, this identifies it uniquely.
    """

    parent: int
    group: int
    session: int
    state: str
    start: int


Table: TypeAlias = Mapping[int, ProcessEntry]
"""By process id."""


def parse_stat(text: str) -> ProcessEntry | None:
    """Parse ``/proc/PID/stat``; return ``None`` if the format is wrong.

    Args:
        text: The file's text. Its second field, the name in brackets, may itself hold blanks and brackets.
    """
    fields = text.rpartition(")")[2].split()
    try:
        return ProcessEntry(int(fields[1]), int(fields[2]), int(fields[3]), fields[0], int(fields[19]))
    except (IndexError, ValueError):
        return None


def read_table() -> Table | None:
    """Return all visible processes; ``None`` without /proc, or if it belongs to another PID namespace."""
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
    """Return the running processes that a program has started, parents first.

    Args:
        table: All processes.
        leader: The program's id, which is also its session's; it has not been reaped.
        known: The members of its family that were found before, as start times by id.

    Returns:
        Its session, its descendants and their sessions, without processes that have ended.
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
    """Yield the parent of ``pid``, the parent's parent, and so on."""
    seen = {pid}
    while pid in table and (pid := table[pid].parent) not in seen:
        seen.add(pid)
        yield pid


def strays(table: Table, leader: ProcessEntry, own: int, family_of: Collection[int]) -> Iterator[int]:
    """Yield processes that may have left the family: adopted orphans that are no older than the program.

    Args:
        table: All processes.
        leader: The program.
        own: Our own process id.
        family_of: The ids of the known family.
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
    """Return whether ``pid`` was started with all of ``given``, apart from variables that shells change."""
    try:
        has = set(Path(PROC, str(pid), "environ").read_bytes().split(b"\0"))
    except OSError:
        return False
    return all(word in has or word.startswith(_VOLATILE) for word in given)


def holders(pids: Iterable[int], pipes: Collection[str]) -> Iterator[int]:
    """Yield those of ``pids`` that hold one of ``pipes`` open.

    Args:
        pids: The processes to check; those whose descriptors this user may not see are left out.
        pipes: The pipes, as named in ``/proc/PID/fd``: ``pipe:[INODE]``.
    """
    for pid in pids:
        with suppress(OSError):
            folder = f"{PROC}/{pid}/fd"
            for name in os.listdir(folder):  # noqa: PTH208
                with suppress(OSError):
                    if os.readlink(f"{folder}/{name}") in pipes:  # noqa: PTH115 - there are many
                        yield pid
                        break
