"""The values the kernel's table is made of: ends of connections, TCP's states, sockets.

Tuples and no dataclasses: a table may hold tens of thousands of rows, and a
tuple is made several times faster.
"""

from __future__ import annotations

import enum
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
