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
import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from multirsh.ports.addresses import IPV4_BYTES, Addresses, word_ipv4, word_ipv6
from multirsh.ports.sockets import Endpoint, TcpSocket, TcpState

PROC_TABLES: Final = (Path("/proc/thread-self/net/tcp"), Path("/proc/thread-self/net/tcp6"))
"""The calling thread's network namespace; /proc/net is that of the process's first thread."""

MINI_SOCKET_TIMER: Final = "03"
"""The timer of what is nothing but a timer any more: TIME_WAIT, or FIN_WAIT2 that no process holds."""

_FIELDS: Final = 10
"""sl, local, remote, state, queues, timer, retransmits, uid, timeout, inode."""

_STATES: Final = {f"{state:02X}": state for state in TcpState}


def read_proc(
    *,
    states: Collection[TcpState] | None = None,
    towards: Collection[Endpoint] | None = None,
    tables: tuple[Path, ...] = PROC_TABLES,
) -> list[TcpSocket]:
    """Read the TCP sockets of this thread's network namespace.

    Args:
        states: Only these; ``None`` for all there are.
        towards: Only those whose remote end is one of these; ``None`` for any.
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
        if (states is None or row.state in states) and (wanted is None or row.remote in wanted)
    ]


def parse_table(text: str, *, ticks_a_second: int | None = None) -> Iterator[TcpSocket]:
    """Parse the text of /proc/net/tcp or tcp6; a row that is not one is passed over.

    Args:
        text: With its line of headings.
        ticks_a_second: USER_HZ; ``None`` for this machine's.
    """
    ticks = ticks_a_second or os.sysconf("SC_CLK_TCK")
    addresses = Addresses(_word)
    make = tuple.__new__
    for line in text.splitlines()[1:]:
        fields = line.split(maxsplit=_FIELDS)
        try:
            _, local, remote, state, _, timer, _, uid, _, inode = fields[:_FIELDS]
            local_address, _, local_port = local.partition(":")
            remote_address, _, remote_port = remote.partition(":")
            kind, _, when = timer.partition(":")
            yield make(
                TcpSocket,
                (
                    _STATES[state],
                    make(Endpoint, (addresses[local_address], int(local_port, 16))),
                    make(Endpoint, (addresses[remote_address], int(remote_port, 16))),
                    int(when, 16) / ticks if kind == MINI_SOCKET_TIMER else None,
                    int(inode),
                    int(uid),
                ),
            )
        except (ValueError, KeyError):
            continue


def _word(text: str) -> str:
    words = bytes.fromhex(text)
    count = len(words) // 4
    packed = struct.pack(f">{count}I", *struct.unpack(f"={count}I", words))
    return word_ipv4(packed) if len(packed) == IPV4_BYTES else word_ipv6(packed)
