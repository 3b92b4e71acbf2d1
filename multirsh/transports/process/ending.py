"""Ends a local program with every process that it has started, and reports what is left."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from multirsh.transports.process import table
from multirsh.transports.process.child import Child
from multirsh.transports.process.table import STOPPED, ProcessEntry, Table

LOOK_S: Final = 0.02
"""The least number of seconds between two reads of the process table."""

LOOK_SHARE: Final = 0.1
"""The share of the loop's time for reading the table, however many programs are being ended."""

KILL_S: Final = 2.0
"""Seconds to wait for processes to end after KILL; only one that is blocked in the kernel takes longer."""


@dataclass(frozen=True, slots=True)
class Remains:
    """The state after a program was ended.

    Attributes:
        is_alive: Whether some of its processes are running and could not be ended.
        is_unsure: Whether processes may have left its family, or the process table cannot be read.
    """

    is_alive: bool
    is_unsure: bool


class Looks:
    """Reads the process table, once for all programs that need it at the same time."""

    def __init__(self) -> None:
        self._next: asyncio.Future[Table | None] | None = None
        self._not_before = 0.0

    async def look(self) -> Table | None:
        """Return the table as ``table.read_table`` does, read after this call."""
        loop = asyncio.get_running_loop()
        if self._next is None or self._next.get_loop() is not loop:
            self._next = loop.create_future()
            loop.call_at(max(loop.time(), self._not_before), self._read, self._next)
        coming = self._next
        await asyncio.wait([coming])
        return coming.result()

    def _read(self, coming: asyncio.Future[Table | None]) -> None:
        began = coming.get_loop().time()
        self._next = None
        coming.set_result(table.read_table())
        ended = coming.get_loop().time()
        self._not_before = ended + max(LOOK_S, (ended - began) / LOOK_SHARE)


_LOOKS: Final = Looks()


@dataclass(slots=True)
class Tree:
    """A program and the processes that it has started.

    Attributes:
        child: The program; it must not be reaped while this is in use.
        pipes: The pipes that it writes to, as named in ``/proc/PID/fd``; a process that holds one belongs to
            its family.
    """

    child: Child
    pipes: Collection[str] = ()
    _known: dict[int, int] = field(default_factory=dict)
    _told: set[int] = field(default_factory=set)

    async def end(self, kill_after: float) -> Remains:
        """Send TERM to all processes, and KILL to those that are left after ``kill_after`` seconds.

        The time is bounded. On cancellation, the processes that are left are killed at once.
        """
        loop = asyncio.get_running_loop()
        kill_at = loop.time() + kill_after
        try:
            while (seen := await _LOOKS.look()) is not None:
                alive = self._alive(seen)
                if not alive:
                    return Remains(is_alive=False, is_unsure=self._has_strays(seen))
                now = loop.time()
                if now > kill_at + KILL_S:
                    return Remains(is_alive=True, is_unsure=False)
                self._terminate(alive)
                if now >= kill_at:
                    _signal(alive, signal.SIGKILL)
            return await self._end_unseen(kill_after)
        except asyncio.CancelledError:
            self.kill()
            raise

    def kill(self) -> None:
        """Send KILL to all processes at once."""
        self._signal_group(signal.SIGKILL)
        seen = table.read_table()
        if seen is not None:
            _signal(self._alive(seen), signal.SIGKILL)

    def _alive(self, seen: Table) -> dict[int, ProcessEntry]:
        leader = seen.get(self.child.pid)
        if leader is None or not self.child.is_ours:
            return {}
        found = table.family(seen, self.child.pid, self._known)
        if not found and self.pipes:
            younger = (pid for pid, entry in seen.items() if entry.start >= leader.start)
            self._known |= {pid: seen[pid].start for pid in table.holders(younger, self.pipes)}
            found = table.family(seen, self.child.pid, self._known)
        self._known |= {pid: entry.start for pid, entry in found.items()}
        return found

    def _terminate(self, alive: dict[int, ProcessEntry]) -> None:
        """Send TERM once to each process, parents first, so that a shell does not run its next command."""
        fresh = {pid: entry for pid, entry in alive.items() if pid not in self._told}
        _signal(fresh, signal.SIGTERM)
        _signal({pid: entry for pid, entry in fresh.items() if entry.state == STOPPED}, signal.SIGCONT)
        self._told |= fresh.keys()

    def _has_strays(self, seen: Table) -> bool:
        leader = seen.get(self.child.pid)
        if leader is None or not self.child.is_ours:
            return True
        candidates = table.strays(seen, leader, os.getpid(), self._known)
        return any(table.has_environment(pid, self.child.environment) for pid in candidates)

    async def _end_unseen(self, kill_after: float) -> Remains:
        """End the program's first process group, where the process table cannot be read."""
        for number, seconds in ((signal.SIGTERM, kill_after), (signal.SIGKILL, KILL_S)):
            self._signal_group(number)
            await asyncio.wait([self.child.exited], timeout=seconds)
        return Remains(is_alive=not self.child.exited.done(), is_unsure=True)

    def _signal_group(self, number: signal.Signals) -> None:
        if self.child.is_ours:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.child.pid, number)


def _signal(processes: dict[int, ProcessEntry], number: signal.Signals) -> None:
    for pid in processes:
        # It has ended meanwhile, or belongs to another user: the next read of the table shows which.
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
