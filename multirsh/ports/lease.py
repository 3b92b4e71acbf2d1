"""What the ledger hands out, and what it says when it has nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from multirsh.ports.sockets import Endpoint


class Route(NamedTuple):
    """From where to where: what a local port is unique to.

    Attributes:
        source: The local address, numeric, as ``Endpoint.address``.
        remote: The destination.
    """

    source: str
    remote: Endpoint


@dataclass(frozen=True, slots=True, eq=False)
class Lease:
    """The use of one local port on one route; each lease is only equal to itself.

    Attributes:
        route: From where to where.
        port: The port to bind; ``None`` leaves the choice to the kernel.
        shared: Whether to bind with SO_REUSEADDR, so that others may use the port towards other
            destinations; without it the kernel refuses a port on which anything is left.
    """

    route: Route
    port: int | None = None
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Busy:
    """There is no port now.

    Attributes:
        until: When there may be one, on the clock of the question; ``None`` where it is not known, as
            when all are held.
    """

    until: float | None
