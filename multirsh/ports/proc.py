"""The kernel's table of TCP sockets, from the text of /proc/net/tcp and tcp6.

Slower than ``diag`` and without a filter, but there where that is refused.
It does not show sockets that are merely bound.

Source: Documentation/networking/proc_net_tcp.rst and net/ipv4/tcp_ipv4.c
(``get_tcp4_sock``, ``get_timewait4_sock``): addresses are network-order words
printed as host-order hexadecimal, so on every machine the bytes of each
32-bit word come out in the machine's own order. Times are in USER_HZ.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Final

from multirsh.linux import PROC
from multirsh.ports.addresses import IPV4_BYTES, Once, word_ipv4, word_ipv6
from multirsh.ports.sockets import Endpoint, TcpSocket, TcpState

PROC_TABLES: Final = (PROC / "thread-self" / "net" / "tcp", PROC / "thread-self" / "net" / "tcp6")
"""The calling thread's network namespace; /proc/net is that of the process's first thread."""

MINI_SOCKET_TIMER: Final = "03"
"""The timer of what is nothing but a timer any more: TIME_WAIT, or FIN_WAIT2 that no process holds."""

_ROW: Final = re.compile(
    r"^ *[0-9]+:"
    r" ([0-9A-F]{8}(?:[0-9A-F]{24})?):([0-9A-F]{4})"  # local
    r" ([0-9A-F]{8}(?:[0-9A-F]{24})?:[0-9A-F]{4})"  # remote
    r" ([0-9A-F]{2}) [0-9A-F]+:[0-9A-F]+"  # state, queues
    r" ([0-9A-F]{2}):([0-9A-F]{1,16}) [0-9A-F]+"  # timer, retransmits
    r" +([0-9]{1,10}) +[0-9]+ ([0-9]{1,20})\b",  # uid, timeout, inode
    re.MULTILINE,
)

_STATES: Final = {f"{state:02X}": state for state in TcpState}


def read_proc(
    *,
    states: Collection[TcpState] | None = None,
    towards: Collection[Endpoint] | None = None,
    local_ports: range | None = None,
    tables: tuple[Path, ...] = PROC_TABLES,
) -> list[TcpSocket]:
    """Read the TCP sockets of this thread's network namespace.

    Args:
        states: Only these; ``None`` for all there are.
        towards: Only those whose remote end is one of these; ``None`` for any.
        local_ports: Only those whose local port is one of these; ``None`` for any.
        tables: The files. One that is absent (no IPv6) is passed over.

    Returns:
        Those of IPv4, then those of IPv6.

    Raises:
        OSError: None of the files can be read.
    """
    texts: list[str] = []
    refused: OSError | None = None
    for table in tables:
        try:
            texts.append(table.read_text(encoding="ascii"))
        except OSError as error:
            refused = refused or error
    if refused is not None and not texts:
        raise refused
    wanted = None if towards is None else frozenset(towards)
    return [
        row
        for text in texts
        for row in parse_table(text)
        if (states is None or row.state in states)
        and (wanted is None or row.remote in wanted)
        and (local_ports is None or row.local.port in local_ports)
    ]


def parse_table(text: str, *, ticks_a_second: int | None = None) -> list[TcpSocket]:
    """Parse the text of /proc/net/tcp or tcp6; a row that is not one is passed over.

    Args:
        text: With its line of headings.
        ticks_a_second: USER_HZ; ``None`` for this machine's.
    """
    ticks = ticks_a_second or os.sysconf("SC_CLK_TCK")
    addresses = Once(_word)
    # As in diag.py: tuple's own constructor is quicker than theirs, and many rows share a remote end.
    remotes: Once[str, Endpoint] = Once(lambda end: Endpoint(addresses[end[:-5]], int(end[-4:], 16)))
    make, known = tuple.__new__, _STATES
    return [
        make(
            TcpSocket,
            (
                known[state],
                make(Endpoint, (addresses[address], int(port, 16))),
                remotes[remote],
                int(when, 16) / ticks if timer == MINI_SOCKET_TIMER else None,
                int(inode),
                int(uid),
            ),
        )
        for address, port, remote, state, timer, when, uid, inode in _ROW.findall(text)
        if state in known
    ]


def _word(text: str) -> str:
    words = bytes.fromhex(text)
    count = len(words) // 4
    packed = struct.pack(f">{count}I", *struct.unpack(f"={count}I", words))
    return word_ipv4(packed) if len(packed) == IPV4_BYTES else word_ipv6(packed)
