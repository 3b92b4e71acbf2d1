"""What is worth a warning and what can be done about it, in words: each way out with its price.

Every function decides by figures whether there is anything to say. The words
name today's settings of Linux, and what not to touch.

Source: Linux Documentation/networking/ip-sysctl.rst; net/ipv4/tcp_ipv4.c
(``tcp_twsk_unique``).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from multirsh.ports.diagnosis.values import DestinationUse, Holder
from multirsh.ports.ledger import TIME_WAIT_SECONDS
from multirsh.ports.sockets import Endpoint
from multirsh.ports.sysctls import KernelPorts

MUCH: Final = 0.8
"""The share of a pool from which on its use is worth a warning."""

_FORGOTTEN: Final = 20
"""Connections in CLOSE_WAIT, in one program, that are no more just on their way out."""
_MANY_ORPHANS: Final = 100
_FEW: Final = 5
"""As many numbers as are read at a glance."""

_WIDE: Final = range(16384, 61000)
"""A wider range to suggest: it leaves the ports alone where most services listen."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """A way out.

    Attributes:
        what: What to do.
        price: What it costs, or where it does not help; empty where there is nothing to say.
        command: What to type, or ``None``.
    """

    what: str
    price: str = ""
    command: str | None = None


class FindingKind(enum.StrEnum):
    """What a warning is about; for programs."""

    FEW_PORTS_LEFT = "few_ports_left"
    RESERVED_PORTS_RUN_OUT = "reserved_ports_run_out"
    TIME_WAIT_IS_DROPPED = "time_wait_is_dropped"
    NEVER_CLOSED = "never_closed"
    ORPHANS = "orphans"
    LISTENERS_IN_THE_RANGE = "listeners_in_the_range"
    REUSE_WITHOUT_TIMESTAMPS = "reuse_without_timestamps"
    FIN_TIMEOUT_WAS_CHANGED = "fin_timeout_was_changed"


@dataclass(frozen=True, slots=True)
class Finding:
    """A warning.

    Attributes:
        kind: What it is about.
        is_urgent: Whether something fails because of it, or soon will; else it is a note.
        message: What is the matter, in a sentence or two.
        ways: What to do, the best first.
        leave_alone: What not to touch, though one reads of it, and why.
    """

    kind: FindingKind
    is_urgent: bool
    message: str
    ways: tuple[Remedy, ...] = ()
    leave_alone: tuple[str, ...] = ()


NOT_THE_TIMEOUT: Final = (
    "net.ipv4.tcp_fin_timeout bounds FIN_WAIT2; TIME_WAIT always lasts 60 s, whatever it says"
)
NOT_RECYCLE: Final = "net.ipv4.tcp_tw_recycle broke connections from behind NAT; Linux 4.12 took it out"
NOT_THE_BUCKETS: Final = (
    "do not lower net.ipv4.tcp_max_tw_buckets: connections would lose their protection from late segments"
)

_REMOTE_FIRST: Final = Remedy(
    "let the other end close first, as multirsh does, or keep connections open and use them again",
    "a change in the program that connects",
)


def few_ports_left(destination: DestinationUse, usable: int, kernel: KernelPorts) -> Finding | None:
    """One destination has most of the ports that there are for it."""
    if usable - destination.left < MUCH * usable or not destination.used:
        return None
    return Finding(
        FindingKind.FEW_PORTS_LEFT,
        True,
        f"{destination.used:,} of the {usable:,} ports there are for connections to "
        f"{worded(destination.remote)} are in use. When all are, connect(2) says: Cannot assign requested "
        "address (EADDRNOTAVAIL).",
        (
            _REMOTE_FIRST,
            *(() if destination.reuses else _reuse(kernel)),
            *_widen(kernel),
            Remedy("use a second address, at either end", "each pair of addresses has all ports for itself"),
        ),
        (NOT_THE_TIMEOUT, NOT_RECYCLE, NOT_THE_BUCKETS),
    )


def _reuse(kernel: KernelPorts) -> tuple[Remedy, ...]:
    timestamps = "net.ipv4.tcp_timestamps=1, " + ("the default" if kernel.timestamps else "which is 0 here")
    return (
        Remedy(
            f"let connect(2) take over ports that have been in TIME_WAIT for {kernel.tw_reuse_delay:g} s",
            f"both ends need TCP timestamps ({timestamps}); it helps only the end that connects",
            "sysctl -w net.ipv4.tcp_tw_reuse=1",
        ),
    )


def _widen(kernel: KernelPorts) -> tuple[Remedy, ...]:
    first, last = min(kernel.ephemeral.start, _WIDE.start), max(kernel.ephemeral.stop, _WIDE.stop) - 1
    if range(first, last + 1) == kernel.ephemeral:
        return ()
    return (
        Remedy(
            f"widen the range to {first}-{last}",
            "first list the ports in it on which services listen in net.ipv4.ip_local_reserved_ports, or a "
            "connection may have one of them when its service restarts",
            f"sysctl -w net.ipv4.ip_local_port_range='{first} {last}'",
        ),
    )


def reserved_ports_run_out(taken: int, there_are: int) -> Finding | None:
    """Rsh's ports are nearly all taken."""
    if taken < MUCH * there_are:
        return None
    return Finding(
        FindingKind.RESERVED_PORTS_RUN_OUT,
        True,
        f"{taken} of the {there_are} reserved ports (512-1023) are taken. rsh, NFS mounts and the like get "
        "one of what is left, and fail when there is none.",
        (
            _REMOTE_FIRST,
            Remedy(f"wait: what is in TIME_WAIT is free after {TIME_WAIT_SECONDS:g} s"),
            Remedy("mount NFS with noresvport", "the server must allow it (export option insecure)"),
        ),
        ("tcp_tw_reuse and ip_local_port_range do nothing for ports that a program chooses itself",),
    )


def time_wait_is_dropped(buckets: int, kernel: KernelPorts) -> Finding | None:
    """The kernel is about to forget TIME_WAIT before its time."""
    if buckets < MUCH * kernel.max_tw_buckets or not buckets:
        return None
    wanted = max(262_144, 2 * kernel.max_tw_buckets)
    return Finding(
        FindingKind.TIME_WAIT_IS_DROPPED,
        True,
        f"{buckets:,} connections are in TIME_WAIT, and the kernel keeps {kernel.max_tw_buckets:,} at the "
        "most. Beyond that it drops them and logs: TCP: time wait bucket table overflow.",
        (
            Remedy(
                "raise the limit",
                "about 300 bytes of memory for each",
                f"sysctl -w net.ipv4.tcp_max_tw_buckets={wanted}",
            ),
        ),
        (NOT_THE_BUCKETS,),
    )


def never_closed(program: Holder | None, count: int) -> Finding | None:
    """A program has not noticed that the far ends are gone."""
    if count < _FORGOTTEN:
        return None
    who = "a program" if program is None else f"{program.name} (pid {program.pid})"
    return Finding(
        FindingKind.NEVER_CLOSED,
        True,
        f"{count:,} connections of {who} are in CLOSE_WAIT: the other ends have closed, and it has not. They "
        "stay until it does.",
        (Remedy("mend the program: it must close a socket from which it has read end of file"),),
        ("no setting of the kernel ends CLOSE_WAIT",),
    )


def orphans(count: int) -> Finding | None:
    """Many connections have been closed here, and their far ends do not answer."""
    if count < _MANY_ORPHANS:
        return None
    return Finding(
        FindingKind.ORPHANS,
        False,
        f"{count:,} connections were closed by programs here, and the far ends have not closed or do not "
        "answer. The kernel ends them by itself.",
        (Remedy("see why the far ends do not close: they may have died, or a firewall drops their packets"),),
    )


def listeners_in_the_range(ports: Sequence[int], kernel: KernelPorts) -> Finding | None:
    """Services listen where the kernel takes ports for connections from."""
    if not ports:
        return None
    few = folded(ports[:_FEW]) + (f" and {len(ports) - _FEW} more" if len(ports) > _FEW else "")
    return Finding(
        FindingKind.LISTENERS_IN_THE_RANGE,
        False,
        f"Something listens on {few}, where the kernel takes ports for connections from. While it is "
        "stopped, a connection may get that port, and it cannot start again.",
        (
            Remedy(
                "keep the port for the service",
                "not worth it for a port that was chosen by chance (port 0)",
                reservation(ports, kernel),
            ),
        ),
    )


def reservation(ports: Iterable[int], kernel: KernelPorts) -> str:
    """The command that keeps ports out of the kernel's choice, those already kept included."""
    return f"sysctl -w net.ipv4.ip_local_reserved_ports={folded({*ports, *kernel.reserved_by_admin})}"


def reuse_without_timestamps(kernel: KernelPorts) -> Finding | None:
    """A setting is on that cannot work."""
    if kernel.timestamps or kernel.tw_reuse == 0:
        return None
    return Finding(
        FindingKind.REUSE_WITHOUT_TIMESTAMPS,
        False,
        f"net.ipv4.tcp_tw_reuse is {kernel.tw_reuse}, but TCP timestamps are off, and it does nothing "
        "without them.",
        (
            Remedy(
                "turn them on, as is the default", "12 bytes a segment", "sysctl -w net.ipv4.tcp_timestamps=1"
            ),
        ),
    )


def fin_timeout_was_changed(kernel: KernelPorts) -> Finding | None:
    """Somebody has turned a knob that does not do what is said of it."""
    if kernel.fin_timeout >= TIME_WAIT_SECONDS:
        return None
    return Finding(
        FindingKind.FIN_TIMEOUT_WAS_CHANGED,
        False,
        f"net.ipv4.tcp_fin_timeout is {kernel.fin_timeout}. It bounds FIN_WAIT2 of connections that no "
        "process holds; if it was meant to shorten TIME_WAIT, it does not: that lasts 60 s.",
    )


def worded(endpoint: Endpoint) -> str:
    """``192.0.2.1:22`` or ``[2001:db8::1]:22``."""
    address = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    return f"{address}:{endpoint.port}"


def folded(ports: Iterable[int]) -> str:
    """Ports as sysctl words them: ``111,6000-6003``."""
    runs: list[list[int]] = []
    for port in sorted(ports):
        if runs and port == runs[-1][1] + 1:
            runs[-1][1] = port
        else:
            runs.append([port, port])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
