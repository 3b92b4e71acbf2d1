"""What a test must not leave behind: descriptors, children, tasks."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from tests.servers.processes import children_of

SETTLE_WITHIN_S: Final = 10.0
"""Seconds that an end already begun may take: a child to be reaped, a closing callback to run."""


@dataclass(frozen=True, slots=True)
class Belongings:
    """What this process holds at one moment.

    Attributes:
        descriptors: What each open descriptor points to, by number.
        children: Process ids.
    """

    descriptors: dict[int, str]
    children: frozenset[int]

    @classmethod
    def now(cls) -> Self:
        """Look at /proc."""
        descriptors = {}
        for entry in Path("/proc/self/fd").iterdir():
            # The descriptor that lists the folder is in the list, and gone.
            with suppress(OSError):
                descriptors[int(entry.name)] = str(entry.readlink())
        return cls(descriptors, frozenset(children_of(os.getpid())))

    def added_in(self, later: Belongings) -> list[str]:
        """Name what ``later`` holds and this does not."""
        # By target and count, not by number: a descriptor may be closed and its number used again.
        new = Counter(later.descriptors.values()) - Counter(self.descriptors.values())
        return [
            *(f"descriptor {target}" for target in new.elements()),
            *(f"child {pid}" for pid in sorted(later.children - self.children)),
        ]

    def added_since(self) -> list[str]:
        """Name what is held now beyond this, once that stops shrinking or the time to settle is over."""
        deadline = time.monotonic() + SETTLE_WITHIN_S
        while (added := self.added_in(Belongings.now())) and time.monotonic() < deadline:
            time.sleep(0.01)
        return added


async def stray_tasks() -> set[asyncio.Task[Any]]:
    """Find the running loop's tasks besides the caller, after giving them time to end by themselves."""
    others = asyncio.all_tasks() - {task for task in [asyncio.current_task()] if task is not None}
    if not others:
        return set()
    _, left = await asyncio.wait(others, timeout=SETTLE_WITHIN_S)
    return left
