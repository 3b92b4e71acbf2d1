"""The values of this package: ends of connections, TCP's states, sockets, routes and leases.

The rows of a table are tuples and not dataclasses: a table may have tens of thousands of rows, and a tuple is
created several times faster.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple


class Endpoint(NamedTuple):
    """One end of a TCP connection.

    Attributes:
        address: Numeric IP address as ``ipaddress`` formats it, without brackets or zone; an IPv4 address
            that an IPv6 socket uses is formatted as IPv4.
        port: 1-65535; 0 for no port, as in the remote end of a listener.
    """

    address: str
    port: int


class TcpState(enum.IntEnum):
    """TCP states by the kernel's numbers (include/net/tcp_states.h)."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT1 = 4
    FIN_WAIT2 = 5
    TIME_WAIT = 6
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11
    NEW_SYN_RECV = 12


class TcpSocket(NamedTuple):
    """One row of the kernel's table.

    Attributes:
        state: The TCP state.
        local: The end on this machine.
        remote: The other end; address ``0.0.0.0`` or ``::`` and port 0 for a listener.
        seconds_left: Seconds until a timer of the kernel releases it (TIME_WAIT, and FIN_WAIT2 that no
            process holds); ``None`` if there is no such timer.
        inode: The inode of the socket, as in ``/proc/PID/fd`` of its holders; 0 if no process holds it.
        uid: The id of the user who made it; also 0 if no process holds it.
    """

    state: TcpState
    local: Endpoint
    remote: Endpoint
    seconds_left: float | None = None
    inode: int = 0
    uid: int = 0


class Route(NamedTuple):
    """A source address and a destination: a local port is used once on each route.

    Attributes:
        source: The local address, numeric, as in ``Endpoint.address``.
        remote: The destination.
    """

    source: str
    remote: Endpoint


@dataclass(frozen=True, slots=True, eq=False)
class Lease:
    """The use of one local port on one route; each lease is only equal to itself.

    Attributes:
        route: The source and the destination.
        port: The port to bind; ``None`` leaves the choice to the kernel.
        shared: Whether to bind with SO_REUSEADDR, so that others can use the port towards other
            destinations; without it the kernel refuses a port that any socket still has.
    """

    route: Route
    port: int | None = None
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Busy:
    """No port is free now.

    Attributes:
        until: When one may be free, on the clock of the request; ``None`` if that is not known, as when all
            are held.
    """

    until: float | None
