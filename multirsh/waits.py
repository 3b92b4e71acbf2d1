"""What a run waits for besides its commands, as values: the engine knows, the output tells."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final


class Awaited(enum.Enum):
    """What may be waited for, in the order of telling."""

    GATE = "gate"
    """It decides whether the next batch may start."""
    ANSWER = "answer"
    """A person is asked the same."""
    BATCH_DELAY = "batch delay"
    """The pause before the next batch."""
    PORT = "port"
    """A local port that is free."""
    START_RATE = "start rate"
    """No more connections are started a second."""
    HANDSHAKES = "handshakes"
    """No more logins are begun at once."""
    SERVER = "server"
    """A server, or bastion, that takes no more logins for now."""
    RETRY = "retry"
    """The next attempt at a host."""
    NAME = "name"
    """A name that is looked up for longer than usual."""
    BARRIER = "barrier"
    """Everybody else, to be logged in, too."""


@dataclass(frozen=True, slots=True)
class Wait:
    """One thing that is waited for.

    Attributes:
        what: Which.
        hosts: How many wait for it; 0 where it is the run as a whole.
        until: When the first of them goes on, on the loop's clock; ``None`` where nobody knows.
    """

    what: Awaited
    hosts: int = 0
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """All that a run waits for at one moment.

    Attributes:
        waits: Each thing once, in the order of ``Awaited``.
        again: The hosts that are between two attempts, and so not in flight.
    """

    waits: tuple[Wait, ...] = ()
    again: frozenset[str] = frozenset()


NO_WAITS: Final = Waits()
