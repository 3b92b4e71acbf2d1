"""The kernel's own table of TCP sockets, from /proc/net/tcp and /proc/net/tcp6.

Source: Documentation/networking/proc_net_tcp.rst and net/ipv4/tcp_ipv4.c
(``get_tcp4_sock``): addresses are the network-order words printed as host-
order hexadecimal, so on every machine the bytes of each 32-bit word come
out in the machine's own order.
"""

from __future__ import annotations

import enum
import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from multirsh.ports.ledger import Endpoint

PROC_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


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


@dataclass(frozen=True, slots=True)
class TcpSocket:
    """One row of the kernel's table.

    Attributes:
        state: Where in TCP's life it is.
        local: This machine's end.
        remote: The other end; address ``0.0.0.0`` or ``::`` and port 0 for a listener.
    """

    state: TcpState
    local: Endpoint
    remote: Endpoint


def read_table(tables: tuple[Path, ...] = PROC_TABLES) -> list[TcpSocket] | None:
    """Read the TCP sockets of this network namespace.

    Returns:
        Every socket, IPv4 then IPv6; ``None`` where the kernel shows no such table (not Linux, or
        /proc is not mounted).
    """
    sockets: list[TcpSocket] = []
    readable = False
    for table in tables:
        try:
            text = table.read_text(encoding="ascii")
        except OSError:
            continue
        readable = True
        sockets.extend(parse_table(text))
    return sockets if readable else None


def parse_table(text: str) -> Iterator[TcpSocket]:
    """Parse the text of /proc/net/tcp or tcp6; a row that is not one is passed over."""
    for line in text.splitlines()[1:]:
        fields = line.split(maxsplit=4)
        if len(fields) < 4:  # noqa: PLR2004 - sl, local, remote, state
            continue
        try:
            yield TcpSocket(
                state=TcpState(int(fields[3], 16)), local=_endpoint(fields[1]), remote=_endpoint(fields[2])
            )
        except ValueError:
            continue


def _endpoint(field: str) -> Endpoint:
    address, _, port = field.partition(":")
    words = bytes.fromhex(address)
    packed = (
        struct.pack(f">{len(words) // 4}I", *struct.unpack(f"={len(words) // 4}I", words))
        if _LITTLE_ENDIAN
        else words
    )
    ip = ipaddress.ip_address(packed)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return Endpoint(str(ip), int(port, 16))


_LITTLE_ENDIAN: Final = struct.pack("=H", 1) == struct.pack("<H", 1)
