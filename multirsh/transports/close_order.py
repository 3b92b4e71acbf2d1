"""The order of closing: the remote's FIN comes before ours, or no FIN is sent.

Everything that decides when a TCP connection may be closed is in this file:
one enum of states, one of events, one of commands, and one table. It uses
no socket, no loop and no clock; ``transports.remote_first`` carries out the
commands and reports the events. The diagram in docs/close-order.md is made
from the same table.

Why: the end that sends the first FIN keeps the connection's addresses and
ports for a minute in TIME_WAIT (RFC 9293, section 3.6). A runner that makes
thousands of connections must not be that end. So we say goodbye inside the
protocol (SSH_MSG_DISCONNECT), keep the socket until the remote's FIN, and
only then close. If the remote does not answer before a deadline, the
connection is reset: RST leaves no state at either end, where a FIN would
leave FIN_WAIT at ours.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from multirsh.errors import IllegalTransition
from multirsh.model import ClosedBy


class State(enum.Enum):
    """The states of a connection."""

    OPEN = "open"
    """The connection is in use."""
    FLUSHING = "flushing"
    """We are done, but some of our bytes, the goodbye among them, have not been sent yet."""
    AWAITING_PEER = "awaiting peer"
    """All our bytes have been sent; the remote's FIN has not arrived."""
    CLOSED_BY_REMOTE = "closed by remote"
    """The remote's FIN arrived first."""
    RESET = "reset"
    """One end sent RST."""


class Event(enum.Enum):
    """The events of a connection."""

    CLOSE_WANTED = "close wanted"
    """The code above is done with the connection."""
    FLUSHED = "flushed"
    """The kernel has taken our last byte."""
    PEER_FIN = "peer's FIN"
    """The socket reads end of file."""
    PEER_RESET = "peer's RST"
    """The socket reports a reset or another fatal error."""
    DEADLINE = "deadline"
    """The close timeout has passed since the close was wanted."""
    ABANDONED = "abandoned"
    """The process is exiting and has no time left to wait."""


class CloseStep(enum.Enum):
    """What the transport around the state machine must do."""

    NOTHING = "nothing"
    FLUSH_UNTIL_DEADLINE = "flush, start the deadline"
    """Send what is buffered, report FLUSHED, and start the close timeout."""
    CLOSE_SOCKET = "close the socket"
    """Call close(2): our FIN, if any, answers theirs."""
    RESET_SOCKET = "reset the socket"
    """Set SO_LINGER to zero seconds, then call close(2): RST is sent at once, and no state is left."""


_ENDINGS: Final[Mapping[Event, tuple[State, CloseStep]]] = {
    Event.PEER_FIN: (State.CLOSED_BY_REMOTE, CloseStep.CLOSE_SOCKET),
    Event.PEER_RESET: (State.RESET, CloseStep.CLOSE_SOCKET),
    Event.ABANDONED: (State.RESET, CloseStep.RESET_SOCKET),
}

TRANSITIONS: Final[Mapping[State, Mapping[Event, tuple[State, CloseStep]]]] = MappingProxyType(
    {
        State.OPEN: {
            Event.CLOSE_WANTED: (State.FLUSHING, CloseStep.FLUSH_UNTIL_DEADLINE),
            **_ENDINGS,
        },
        State.FLUSHING: {
            Event.CLOSE_WANTED: (State.FLUSHING, CloseStep.NOTHING),
            Event.FLUSHED: (State.AWAITING_PEER, CloseStep.NOTHING),
            Event.DEADLINE: (State.RESET, CloseStep.RESET_SOCKET),
            **_ENDINGS,
        },
        State.AWAITING_PEER: {
            Event.CLOSE_WANTED: (State.AWAITING_PEER, CloseStep.NOTHING),
            Event.DEADLINE: (State.RESET, CloseStep.RESET_SOCKET),
            **_ENDINGS,
        },
        State.CLOSED_BY_REMOTE: {},
        State.RESET: {},
    }
)
"""All transitions. No row sends our FIN before the remote's."""

_CLOSED_BY: Final[Mapping[State, ClosedBy]] = {
    State.CLOSED_BY_REMOTE: ClosedBy.REMOTE,
    State.RESET: ClosedBy.RESET,
}


class CloseOrder:
    """The state machine of one connection.

    Attributes:
        state: The current state; only ``receive`` changes it.
        closed_by: Which end closed first; ``None`` while neither has.
    """

    __slots__ = ("closed_by", "state")

    def __init__(self) -> None:
        # Plain attributes rather than properties: every read and write of the connection uses them.
        self.state = State.OPEN
        self.closed_by: ClosedBy | None = None

    def receive(self, event: Event) -> CloseStep:
        """Change the state as the table says.

        Returns:
            What the caller must do.

        Raises:
            IllegalTransition: The table has no such row; the state is unchanged.
        """
        move = TRANSITIONS[self.state].get(event)
        if move is None:
            raise IllegalTransition(f"close order: {event.name} in {self.state.name}")
        self.state, command = move
        self.closed_by = _CLOSED_BY.get(self.state)
        return command


def diagram() -> str:
    """Return the table as a Mermaid state diagram; a test compares it with ``docs/close-order.md``."""
    lines = ["stateDiagram-v2", "    direction LR", f"    [*] --> {State.OPEN.name}"]
    for state, row in TRANSITIONS.items():
        for event, (target, command) in row.items():
            does = "" if command is CloseStep.NOTHING else f" / {command.value}"
            lines.append(f"    {state.name} --> {target.name}: {event.value}{does}")
        if not row:
            lines.append(f"    {state.name} --> [*]")
    return "\n".join(lines) + "\n"
