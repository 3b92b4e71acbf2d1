"""What a run waits for besides its commands: the engine makes these values, and the output shows them."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final


class Awaited(enum.Enum):
    """What may be waited for, in the order in which it is shown."""

    GATE = "gate"
    """The command that decides whether the next batch may start."""
    ANSWER = "answer"
    """The user's answer, which decides the same."""
    BATCH_DELAY = "batch delay"
    """The pause before the next batch."""
    PORT = "port"
    """A free local port."""
    START_RATE = "start rate"
    """The limit of new connections per second."""
    HANDSHAKES = "handshakes"
    """The limit of logins at the same time."""
    SERVER = "server"
    """A server or jump host that accepts no more logins for now."""
    RETRY = "retry"
    """The next attempt at a host."""
    NAME = "name"
    """A name lookup that takes longer than usual."""
    BARRIER = "barrier"
    """The logins of all other hosts."""


@dataclass(frozen=True, slots=True)
class Wait:
    """One thing that is waited for.

    Attributes:
        what: What is waited for.
        hosts: The number of hosts that wait for it; 0 if the run as a whole waits.
        until: When the first of them continues, in seconds of the loop's clock; ``None`` if it is not known.
    """

    what: Awaited
    hosts: int = 0
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Everything that a run waits for at one moment.

    Attributes:
        waits: Each thing once, in the order of ``Awaited``.
        again: The hosts that are between two attempts, and therefore not in flight.
    """

    waits: tuple[Wait, ...] = ()
    again: frozenset[str] = frozenset()


NO_WAITS: Final = Waits()
