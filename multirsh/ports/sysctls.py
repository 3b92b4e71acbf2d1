"""The kernel's settings for local ports: ranges, reservations, TIME_WAIT.

They are read and never written. The files belong to the network namespace of
the thread that opens them.

Source: Documentation/networking/ip-sysctl.rst; defaults that it does not state
are from net/ipv4/tcp_ipv4.c (``tcp_sk_init``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from multirsh.linux import PROC

SYSCTLS: Final = PROC / "sys" / "net" / "ipv4"

LARGEST_PORT: Final = 65535

_ENOUGH_BYTES: Final = 1 << 19
"""More than 65,536 ports and commas take: only the first read of the reserved ports returns anything."""

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelPorts:
    """The settings of this network namespace; each default is Linux's own.

    Attributes:
        ephemeral: Ports that the kernel chooses from (ip_local_port_range), the last one included.
        reserved_by_admin: Ports that it never chooses (ip_local_reserved_ports); a program can still bind
            one by its number.
        unprivileged_start: The first port that binding needs no CAP_NET_BIND_SERVICE for
            (ip_unprivileged_port_start).
        tw_reuse: Whether a connect may take over a port in TIME_WAIT (tcp_tw_reuse): 0 never, 1 yes, 2 on
            loopback only. It needs timestamps.
        tw_reuse_delay: Seconds in TIME_WAIT before that (tcp_tw_reuse_delay; older kernels have no such
            file, and a fixed second).
        fin_timeout: Seconds in FIN_WAIT2 of a connection that no process holds (tcp_fin_timeout).
        max_tw_buckets: The most sockets in TIME_WAIT (tcp_max_tw_buckets); more are dropped at once, with a
            line in the kernel's log. The default is that of a machine with much memory.
        timestamps: Whether connections have TCP timestamps (tcp_timestamps, RFC 7323).
        unread: Names of the settings that could not be read, and so have the default: an old kernel,
            another system, or /proc is not mounted.
    """

    ephemeral: range = range(32768, 61000)
    reserved_by_admin: frozenset[int] = frozenset()
    unprivileged_start: int = 1024
    tw_reuse: int = 2
    tw_reuse_delay: float = 1.0
    fin_timeout: int = 60
    max_tw_buckets: int = 262_144
    timestamps: bool = True
    unread: tuple[str, ...] = ()

    @property
    def ephemeral_ports(self) -> int:
        """The number of ports that the kernel chooses from: those of the range that are not reserved."""
        return len(self.ephemeral) - sum(port in self.ephemeral for port in self.reserved_by_admin)


def read_kernel_ports(folder: Path = SYSCTLS) -> KernelPorts:
    """Read the settings; those that cannot be read have the default, and are named in ``unread``.

    Args:
        folder: The folder with the files of net.ipv4.
    """
    default = KernelPorts()
    unread: list[str] = []

    def read(name: str, parse: Callable[[str], _Value], otherwise: _Value) -> _Value:
        try:
            return parse(_text(folder / name))
        except (OSError, ValueError):
            unread.append(name)
            return otherwise

    return KernelPorts(
        ephemeral=read("ip_local_port_range", parse_range, default.ephemeral),
        reserved_by_admin=read("ip_local_reserved_ports", parse_ports, default.reserved_by_admin),
        unprivileged_start=read("ip_unprivileged_port_start", int, default.unprivileged_start),
        tw_reuse=read("tcp_tw_reuse", int, default.tw_reuse),
        tw_reuse_delay=_reuse_delay(folder, default.tw_reuse_delay),
        fin_timeout=read("tcp_fin_timeout", int, default.fin_timeout),
        max_tw_buckets=read("tcp_max_tw_buckets", int, default.max_tw_buckets),
        timestamps=read("tcp_timestamps", _is_on, default.timestamps),
        unread=tuple(unread),
    )


def parse_range(text: str) -> range:
    """Parse ip_local_port_range: ``32768 60999``, both ends included.

    Raises:
        ValueError: It is not two ports in order.
    """
    first, last = text.split()
    return _range(first, last)


def parse_ports(text: str) -> frozenset[int]:
    """Parse ip_local_reserved_ports: ``8080,9000-9100``, or nothing.

    Raises:
        ValueError: It is not a list of ports and ranges.
    """
    ports: set[int] = set()
    for item in text.strip().split(","):
        if not item:
            continue
        first, _, last = item.partition("-")
        ports.update(_range(first, last or first))
    return frozenset(ports)


def _range(first: str, last: str) -> range:
    if not 0 <= int(first) <= int(last) <= LARGEST_PORT:
        raise ValueError(f"not a range of ports: {first!r} to {last!r}")
    return range(int(first), int(last) + 1)


def _is_on(text: str) -> bool:
    return int(text) != 0


def _reuse_delay(folder: Path, otherwise: float) -> float:
    """Read the delay, in seconds; older kernels, which have the default delay, lack the file."""
    try:
        return int(_text(folder / "tcp_tw_reuse_delay")) / 1000
    except (OSError, ValueError):
        return otherwise


def _text(path: Path) -> str:
    """Read a setting by one read(2): a second one would return end of file, even if data is left."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _ENOUGH_BYTES).decode("ascii")
    finally:
        os.close(descriptor)
