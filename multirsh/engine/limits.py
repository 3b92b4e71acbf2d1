"""How much at once, and for how long: the run's bounds, checked where they are made."""

from __future__ import annotations

import math
from dataclasses import dataclass

from multirsh.arguments import check_fields
from multirsh.engine.pace import AUTO, StartRate
from multirsh.errors import UsageError
from multirsh.ports.ledger import EVERY_PORT, PortBudget

DEFAULT_FANOUT = 64
DEFAULT_CONNECT_SECONDS = 10.0
DEFAULT_CLOSE_SECONDS = 3.0
DEFAULT_PORT_SECONDS = 120.0
DEFAULT_KILL_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much at once.

    Attributes:
        fanout: Hosts in flight at once, at the most; a host whose socket only drains is not in flight.
        ports: Local ports to be used towards one destination, at the most.
        handshakes: Hosts that are being connected to and logged in to at once; ``None`` for no such bound.
        start_rate: New connections a second, or as many as each server takes (``AUTO``).

    Raises:
        UsageError: A figure that cannot be meant.
    """

    fanout: int = DEFAULT_FANOUT
    ports: PortBudget = EVERY_PORT
    handshakes: int | None = None
    start_rate: StartRate = AUTO

    def __post_init__(self) -> None:
        check_fields(self)
        if self.fanout < 1:
            raise UsageError(f"a fanout of {self.fanout} would run nothing", hint="give 1 or more")
        if self.handshakes is not None and self.handshakes < 1:
            raise UsageError(f"{self.handshakes} handshakes at once let nobody in", hint="give 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """For how long, each in seconds.

    Attributes:
        connect: From the name's look-up to logged in, waits for a local port not counted; ``None`` for no
            bound.
        port: How long a host waits for a local port that is free, at the most; ``None`` for no bound.
            TIME_WAIT ends after 60.
        command: From there to the command's end; ``None`` for no bound.
        run: The whole run's; ``None`` for no bound.
        kill_after: From TERM to KILL, for a remote command that was given up on.
        close: From the last byte of ours to a reset, if the remote does not close.

    Raises:
        UsageError: A figure that is not a positive number of seconds.
    """

    connect: float | None = DEFAULT_CONNECT_SECONDS
    port: float | None = DEFAULT_PORT_SECONDS
    command: float | None = None
    run: float | None = None
    kill_after: float = DEFAULT_KILL_SECONDS
    close: float = DEFAULT_CLOSE_SECONDS

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("connect", "port", "command", "run", "kill_after", "close"):
            seconds: float | None = getattr(self, name)
            if seconds is not None and not (seconds > 0 and math.isfinite(seconds)):
                what = name.replace("_", " ")
                raise UsageError(
                    f"a {what} timeout of {seconds} seconds cannot be kept", hint="give more than 0"
                )
