"""The values of this package: ends of connections, TCP's states, sockets, routes and leases.

What a table is made of is a tuple and not a dataclass: a table may hold tens of thousands of rows, and a
tuple is made several times faster.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple


class Endpoint(NamedTuple):
    """One end of a TCP connection.

    Attributes:
        address: Numeric IP address as ``ipaddress`` words it, without brackets or zone; an IPv4 address
            that an IPv6 socket uses is worded as IPv4.
        port: 1-65535; 0 stands for none, as at the far end of a listener.
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
        state: Where in TCP's life it is.
        local: This machine's end.
        remote: The other end; address ``0.0.0.0`` or ``::`` and port 0 for a listener.
        seconds_left: Until the kernel lets go of it by itself, where a timer says so (TIME_WAIT, and
            FIN_WAIT2 that no process holds); else ``None``.
        inode: Of the socket, by which ``/proc/PID/fd`` names its holders; 0 where no process holds it.
        uid: Of the user who made it; 0 also where no process holds it.
    """

    state: TcpState
    local: Endpoint
    remote: Endpoint
    seconds_left: float | None = None
    inode: int = 0
    uid: int = 0


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
