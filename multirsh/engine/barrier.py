"""A barrier: all hosts are logged in to and wait; then the command is released to all of them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from multirsh.inventory import fold

NAMES_TOLD: Final = 400
"""The largest number of characters of the missing hosts' names in a line for people."""


class Barrier:
    """Holds the hosts of one run until all of them are ready or have failed."""

    def __init__(self, hosts: Sequence[str], say: Callable[[str], None]) -> None:
        """Close the barrier.

        Args:
            hosts: The names of all hosts of the run.
            say: Called with lines for people: which hosts are missing, and how far apart the starts were.
        """
        self._awaited = dict.fromkeys(hosts)
        self._total = len(hosts)
        self._missing: list[str] = []
        self._say = say
        self._released = asyncio.Event()
        self._is_off = False
        self._waiting = 0
        self._first_start: float | None = None
        self._last_start: float | None = None

    async def arrive(self, host: str) -> None:
        """Note that ``host`` is logged in, and wait until every other host is or has failed."""
        if self._released.is_set():
            return  # the command was released before, and the host is tried again
        self._waiting += 1
        self._settle(host)
        await self._released.wait()
        now = asyncio.get_running_loop().time()
        self._first_start = now if self._first_start is None else self._first_start
        self._last_start = now

    def fail(self, host: str) -> None:
        """Note that ``host`` has ended; if it has not arrived, it is missing."""
        if host in self._awaited:
            self._missing.append(host)
            self._settle(host)

    def call_off(self) -> None:
        """Never release the command; the run gives up the hosts that wait."""
        if not (self.is_released or self._is_off):
            self._is_off = True
            self._say(f"barrier: called off; {self._waiting} of {self._total} hosts were ready")

    @property
    def is_released(self) -> bool:
        """Whether the command was released."""
        return self._released.is_set()

    @property
    def waiting(self) -> int:
        """The number of hosts that are logged in and wait for the others."""
        return 0 if self.is_released or self._is_off else self._waiting

    @property
    def skew(self) -> float | None:
        """Seconds between the first and the last start of the command; ``None`` before the first one."""
        if self._first_start is None or self._last_start is None:
            return None
        return self._last_start - self._first_start

    def report_skew(self) -> None:
        """Report how far apart the starts of the command were, if there were any."""
        if self.skew is not None:
            self._say(f"barrier: the command was sent to all within {self.skew * 1000:.1f} ms")

    def _settle(self, host: str) -> None:
        self._awaited.pop(host, None)
        if self._awaited or self._is_off or self.is_released:
            return
        missing = ""
        if self._missing:
            names = fold(self._missing)
            missing = f"; missing: {names if len(names) <= NAMES_TOLD else names[:NAMES_TOLD] + '...'}"
        self._say(f"barrier: {self._waiting} of {self._total} hosts are ready{missing}")
        self._released.set()
