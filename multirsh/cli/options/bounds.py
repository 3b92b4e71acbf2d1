"""How much at once, and for how long: ``-j``, ``-t``, ``--ports`` and the like."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from multirsh.cli import values
from multirsh.cli.options.declare import option, together
from multirsh.ports.ledger import PortBudget

if TYPE_CHECKING:
    from multirsh.engine.limits import Timeouts

_of_connecting = partial(option, section="Connection")
_of_running = partial(option, section="Run")
_of_closing = partial(option, section="Ports and closing")

RUNNING = together(
    _of_connecting(
        "-t",
        "--connect-timeout",
        type=values.seconds,
        default=10.0,
        metavar="S",
        help="Seconds from the name's look-up to logged in.  [default: 10]",
    ),
    _of_running(
        "-j",
        "--fanout",
        type=values.count,
        default=64,
        show_default=True,
        metavar="N",
        help="Hosts in flight at once.",
    ),
    _of_running(
        "-u",
        "--command-timeout",
        type=values.seconds,
        metavar="S",
        help="Seconds the command may take on a host.  [default: as many as it takes]",
    ),
    _of_running(
        "--deadline",
        type=values.seconds,
        metavar="S",
        help="Seconds the whole run may take.  [default: as many as it takes]",
    ),
    _of_running(
        "--kill-after",
        type=values.seconds,
        default=5.0,
        metavar="S",
        help="Seconds from TERM to KILL, where a command is given up on.  [default: 5]",
    ),
)

CLOSING = together(
    _of_closing(
        "--close-timeout",
        type=values.seconds,
        default=3.0,
        metavar="S",
        help="Seconds a remote may take to close, before its connection is reset.  [default: 3]",
    ),
    _of_closing(
        "--require-remote-close",
        is_flag=True,
        help="Exit with 4 if any connection was not closed by its remote.",
    ),
    _of_closing(
        "--ports",
        "port_budget",
        type=values.port_budget,
        default="100%",
        metavar="N|P%",
        help="Local ports to use towards one destination, and reserved ports in all; the rest is for other "
        "programs.  [default: 100%]",
    ),
    _of_closing(
        "--port-wait",
        type=values.seconds,
        default=120.0,
        metavar="S",
        help="Seconds a host may wait, beyond -t, for a local port to become free.  [default: 120]",
    ),
    _of_closing(
        "--bind",
        "bind_address",
        metavar="ADDR",
        help="The local address to connect from.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much, how long, and how to exit; the fields are the options."""

    fanout: int
    connect_timeout: float
    command_timeout: float | None
    deadline: float | None
    kill_after: float
    close_timeout: float
    require_remote_close: bool
    port_budget: PortBudget
    port_wait: float
    bind_address: str | None
    largest_status: bool

    def timeouts(self) -> Timeouts:
        """As the engine wants them."""
        from multirsh.engine.limits import Timeouts  # noqa: PLC0415 - the engine is not needed for --help

        return Timeouts(
            connect=self.connect_timeout,
            port=self.port_wait,
            command=self.command_timeout,
            run=self.deadline,
            kill_after=self.kill_after,
            close=self.close_timeout,
        )
