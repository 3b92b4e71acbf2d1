"""The kernel's own table of TCP sockets, from /proc/net/tcp and /proc/net/tcp6.

Source: Documentation/networking/proc_net_tcp.rst and net/ipv4/tcp_ipv4.c
(``get_tcp4_sock``): addresses are the network-order words printed as host-
order hexadecimal, so on every machine the bytes of each 32-bit word come
out in the machine's own order.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from multirsh.ports.sockets import Endpoint, TcpSocket, TcpState

PROC_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


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
            yield TcpSocket(TcpState(int(fields[3], 16)), _endpoint(fields[1]), _endpoint(fields[2]))
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
