"""Where a run's events are kept, as the engine sees it: handed in, and waited for where that matters.

Two things wait until what was told is safe. A command is only sent once its
host's ``HostStarted`` is: so that of a run that is killed at any moment, nobody
is forgotten whose command may have begun. And a reader is only given events
that are: so that whoever acts on one finds it in the record.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Final, Protocol

from multirsh.events import Event


class Record(Protocol):
    """Keeps the events of one run."""

    def record(self, event: Event) -> Future[None] | None:
        """Take an event, without waiting.

        Returns:
            Done when it is safe; it never fails, and takes no cancellation. ``None`` if there is nothing to
            wait for.
        """

    def close(self) -> Future[None] | None:
        """No event follows.

        Returns:
            Done when the record is complete; as ``record``.
        """


class _NoRecord:
    def record(self, event: Event) -> None:
        """Keep nothing."""

    def close(self) -> None:
        """Nothing was kept."""


NO_RECORD: Final[Record] = _NoRecord()


async def safe(ticket: Future[None] | None) -> None:
    """Wait for what ``Record`` has given."""
    if ticket is not None and not ticket.done():
        await asyncio.wrap_future(ticket)
