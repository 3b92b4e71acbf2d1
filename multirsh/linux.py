"""The one door to what Linux has and other systems may be without.

Every name of Linux alone that multirsh uses is used here, so the rest of it
runs anywhere: each function says what happens where the system is without,
and ``missing`` lists what that is. mypy holds the rest to this, as it reads
the code for macOS too (``mypy --platform darwin``).

Sources: fdatasync(2), pidfd_open(2), waitid(2), signal(7), ip(7), netdevice(7), netlink(7), mallopt(3),
proc(5).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Final

IS_LINUX: Final = sys.platform == "linux"

PROC: Final = Path("/proc")
"""proc(5): on Linux, where it is mounted. All readers of it expect that there is none."""

_IP_BIND_ADDRESS_NO_PORT: Final = 24
"""include/uapi/linux/in.h; Python's socket module has it from 3.12 on."""

_IP_LOCAL_PORT_RANGE: Final = 51
"""include/uapi/linux/in.h, Linux 6.3: the last port in the upper half, the first in the lower."""

_M_ARENA_MAX: Final = -8
"""glibc's malloc.h: how many arenas malloc(3) makes, each of 64 MiB of addresses."""

_SIOCGIFFLAGS: Final = 0x8913
"""include/uapi/linux/sockios.h; other systems number their requests otherwise."""


def missing() -> tuple[str, ...]:
    """What this system is without, and what multirsh does instead: a line each, for people."""
    has_processes = (PROC / "self" / "stat").exists()
    has_sockets = hasattr(socket, "AF_NETLINK") or (PROC / "net" / "tcp").exists()
    lines = (
        (hasattr(os, "fdatasync"), "fdatasync(2): records are synchronized by fsync(2), which takes longer"),
        (hasattr(os, "pidfd_open"), "pidfd_open(2): each local program takes a thread"),
        (hasattr(os, "waitid"), "waitid(2): what a local program left behind when it ended is not ended"),
        (has_processes, "processes in /proc: the fate of a local command that was given up on is unknown"),
        (has_processes, "/proc/self/statm: what ulimit -v leaves is unknown, and output is not fitted to it"),
        (has_sockets, "netlink(7), /proc/net/tcp: who holds a port, and what is in TIME_WAIT, is unknown"),
        (IS_LINUX, "IP_BIND_ADDRESS_NO_PORT: with --bind a port serves one destination at a time"),
        (IS_LINUX, "IP_LOCAL_PORT_RANGE: --ports bounds how many ports are used, but not which"),
    )
    return tuple(line for is_there, line in lines if not is_there)


def sync_data(descriptor: int) -> None:
    """Wait until what was written to a file is on disk: fdatasync(2), else fsync(2), which syncs more.

    Raises:
        OSError: It is not.
    """
    if hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)


def address_bytes() -> int | None:
    """Read how many bytes of addresses this process uses (proc_pid_statm(5)); ``None`` where none tells."""
    try:
        pages = int((PROC / "self" / "statm").read_text("ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return pages * resource.getpagesize()


def use_one_arena() -> None:
    """Have malloc(3) take the addresses of one arena and not of one for each thread (mallopt(3)).

    Only glibc's makes several.
    """
    if not IS_LINUX:
        return
    import ctypes  # noqa: PLC0415 - hardly any run needs it

    with contextlib.suppress(AttributeError, OSError):  # another C library's malloc has no arenas
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def open_process(pid: int) -> int | None:
    """Open a descriptor that can be read when process ``pid`` has ended, whether it is reaped or not.

    Returns:
        It, to be closed by the caller; ``None`` where the system or a sandbox has none (before Linux 5.3), or
        no descriptor is left.
    """
    if hasattr(os, "pidfd_open"):
        try:
            descriptor: int = os.pidfd_open(pid)
        except OSError:
            return None
        return descriptor
    return None


CAN_LEAVE_UNREAPED: Final = hasattr(os, "waitid")
"""Whether a child's status can be read before it is reaped. Python has waitid(2) on macOS from 3.13 on."""


def exit_status(pid: int, *, wait: bool) -> int | None:
    """Read how a child has ended, and leave it unreaped, so that its number stays its own.

    Args:
        pid: The child. ``CAN_LEAVE_UNREAPED`` holds.
        wait: Whether to wait until it has ended.

    Returns:
        Its exit status; the number of a signal, below 0; ``None`` where it has not ended.

    Raises:
        ChildProcessError: It was reaped by other code of this process.
    """
    if not hasattr(os, "waitid"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    how = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | (0 if wait else os.WNOHANG))
    if how is None:
        return None
    return int(how.si_status if how.si_code == os.CLD_EXITED else -how.si_status)


def signal_name(number: int) -> str:
    """A signal's name without ``SIG``; ``RTMIN+N`` for a real-time one; its number where it has none."""
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:  # of the real-time signals, only the first and the last have names
        return f"RTMIN+{number - signal.SIGRTMIN}" if hasattr(signal, "SIGRTMIN") else str(number)


def bind_no_port(sock: socket.socket) -> None:
    """Have bind(2) to port 0 leave the choice of a port to connect(2) (Linux 4.2).

    Elsewhere bind(2) takes a port for this socket alone, whatever its destination.
    """
    if IS_LINUX:
        sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)


def choose_port_from(sock: socket.socket, window: range) -> None:
    """Narrow the kernel's choice of a local port (Linux 6.3); elsewhere it stays as it is.

    Args:
        sock: Not bound yet.
        window: The ports, without gaps.
    """
    if not IS_LINUX:
        return
    try:
        # As bytes: the number may be above what a C int holds.
        packed = struct.pack("=I", window[-1] << 16 | window[0])
        sock.setsockopt(socket.IPPROTO_IP, _IP_LOCAL_PORT_RANGE, packed)
    except OSError:
        return


def keep_alive(sock: socket.socket, *, idle: int, interval: int, probes: int) -> None:
    """Have the kernel probe a peer that is silent (tcp(7)), as soon and as often as the system can be told.

    Args:
        sock: A TCP socket.
        idle: Seconds of silence until the first probe; where it cannot be set, the system's own, often two
            hours.
        interval: Seconds between probes.
        probes: The connection is reset after so many without an answer.

    Raises:
        OSError: Of setsockopt(2), as for a socket that was reset on some systems.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # macOS calls the first of them TCP_KEEPALIVE.
    values = {"TCP_KEEPIDLE": idle, "TCP_KEEPALIVE": idle, "TCP_KEEPINTVL": interval, "TCP_KEEPCNT": probes}
    for name, value in values.items():
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def interface_flags(name: str) -> int | None:
    """Read the flags of a network interface (netdevice(7)); ``None`` where there is none of that name."""
    if not IS_LINUX:
        return None
    request = struct.pack("16sH22x", name.encode(), 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            return int(struct.unpack("16sH22x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))[1])
        except OSError:
            return None


def netlink_socket(protocol: int) -> socket.socket:
    """Open a socket to the kernel (netlink(7)).

    Raises:
        OSError: EAFNOSUPPORT beyond Linux; of socket(2) in a sandbox.
    """
    if not hasattr(socket, "AF_NETLINK"):
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
