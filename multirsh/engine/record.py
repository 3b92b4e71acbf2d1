"""Where a run's events are kept, as the engine sees it: handed in, and waited for where that matters.

Two things wait until what was told is safe. A command is only sent once its
host's ``HostStarted`` is: so that of a run that is killed at any moment, nobody
is forgotten whose command may have begun. And a reader is only given events
that are: so that whoever acts on one finds it in the record.

Neither waits for ever. A record that does not answer in time, as on a file
server that is away, is given up, and the run goes on without it.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Final, Protocol

from multirsh.events import Event

PATIENCE_S: Final = 10.0
"""Seconds that a record may take until something is safe: a busy disk takes a few, a dead server for ever."""

LAST_S: Final = 2.0
"""The same, for a run that is being stopped or is past its deadline."""


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

    def give_up(self, reason: str) -> None:
        """Keep no more, and have all that was given done, since nothing of it is waited for any longer.

        Args:
            reason: Why, for people.
        """


class _NoRecord:
    def record(self, event: Event) -> None:
        """Keep nothing."""

    def close(self) -> None:
        """Nothing was kept."""

    def give_up(self, reason: str) -> None:
        """Nothing was kept, and nothing is waited for."""


NO_RECORD: Final[Record] = _NoRecord()


async def safe(ticket: Future[None] | None, record: Record) -> None:
    """Wait for what a record has given, and give the record up if that takes too long."""
    if ticket is None or ticket.done():
        return
    timer = give_up_later(ticket, record, PATIENCE_S)
    try:
        await asyncio.wrap_future(ticket)
    finally:
        timer.cancel()


def give_up_later(ticket: Future[None], record: Record, seconds: float) -> asyncio.TimerHandle:
    """Give a record up if what it has given is not done in time.

    Args:
        ticket: What was given.
        record: By which record.
        seconds: From now.
    """

    def look() -> None:
        if not ticket.done():
            record.give_up(f"no answer within {seconds:g} s")

    return asyncio.get_running_loop().call_later(seconds, look)
