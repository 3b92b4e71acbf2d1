"""Who descends from a server, and ending all of it, by process id and never by name."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import HANG_GUARD_S


@dataclass(frozen=True, slots=True)
class Process:
    """One process: its parent, and whether it has ended and only waits to be reaped."""

    parent: int
    is_zombie: bool


def every_process() -> dict[int, Process]:
    """List the machine's processes by id, from /proc/PID/stat (proc_pid_stat(5))."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            # The second field is the program's name in brackets, and may itself hold spaces and brackets.
            state, parent = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
            found[int(entry.name)] = Process(int(parent), state == "Z")
    return found


def children_of(pid: int) -> set[int]:
    """Find the children of ``pid``, the ones that it has not reaped included."""
    return {child for child, process in every_process().items() if process.parent == pid}


def descendants(pid: int) -> set[int]:
    """Find the children of ``pid``, their children, and so on; not ``pid`` itself."""
    children = defaultdict(list)
    for child, process in every_process().items():
        children[process.parent].append(child)
    found: set[int] = set()
    pending = [pid]
    while pending:
        for child in children[pending.pop()]:
            found.add(child)
            pending.append(child)
    return found


def carrying(mark: str) -> set[int]:
    """Find the processes whose environment has ``mark`` (``NAME=value``), even if their parents are gone."""
    wanted = mark.encode()
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.add(int(entry.name))
    return found


def naming(word: str) -> set[int]:
    """Find the processes whose command line has ``word`` in it, whoever runs them and wherever they went."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if word.encode() in (entry / "cmdline").read_bytes():
                    found.add(int(entry.name))
    return found


def kill(pids: set[int]) -> None:
    """Kill each of ``pids`` that is still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def end_tree(server: subprocess.Popen[bytes], *, marks: tuple[str, ...] = ()) -> None:
    """Kill a server, what descends from it, and the orphans that carry one of ``marks``; reap the server.

    The server is stopped first, so that it forks nothing while its family is being counted.
    """
    if server.poll() is None:
        server.send_signal(signal.SIGSTOP)
        kill(descendants(server.pid))
        server.kill()
    server.wait(HANG_GUARD_S)
    for mark in marks:
        kill(carrying(mark))


def wait_until_gone(pids: set[int]) -> set[int]:
    """Wait until none of ``pids`` runs any more; the ones that still do when the time is over.

    A zombie has ended: when an orphan is reaped is the business of the machine's first process.
    """
    deadline = time.monotonic() + HANG_GUARD_S
    while True:
        processes = every_process()
        alive = {pid for pid in pids & processes.keys() if not processes[pid].is_zombie}
        if not alive or time.monotonic() > deadline:
            return alive
        time.sleep(0.01)
