"""All use of features that Linux has and other systems may lack.

No other module uses such a feature directly, so they run on any system. Each
function says what it does if the system lacks the feature, and ``missing``
lists what is lacking. mypy enforces this: it also checks the code for macOS
(``mypy --platform darwin``).

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
"""proc(5), on Linux and if it is mounted. All its readers allow for its absence."""

_IP_BIND_ADDRESS_NO_PORT: Final = 24
"""include/uapi/linux/in.h; Python's socket module has it from 3.12 on."""

_IP_LOCAL_PORT_RANGE: Final = 51
"""include/uapi/linux/in.h, Linux 6.3: the last port in the upper half, the first in the lower."""

_M_ARENA_MAX: Final = -8
"""glibc's malloc.h: the most arenas that malloc(3) makes, each of 64 MiB of address space."""

_SIOCGIFFLAGS: Final = 0x8913
"""include/uapi/linux/sockios.h; other systems have other numbers."""


def missing() -> tuple[str, ...]:
    """Return what this system lacks, and what multirsh does instead: a line for each, for the user."""
    has_processes = (PROC / "self" / "stat").exists()
    has_sockets = hasattr(socket, "AF_NETLINK") or (PROC / "net" / "tcp").exists()
    lines = (
        (hasattr(os, "fdatasync"), "fdatasync(2): records are synchronized by fsync(2), which takes longer"),
        (hasattr(os, "pidfd_open"), "pidfd_open(2): each local program takes a thread"),
        (hasattr(os, "waitid"), "waitid(2): processes that a local program leaves behind are not ended"),
        (has_processes, "processes in /proc: whether an abandoned local command has ended is unknown"),
        (has_processes, "/proc/self/statm: output is not limited to the memory that ulimit -v leaves"),
        (has_sockets, "netlink(7), /proc/net/tcp: holders of ports and TIME_WAIT are unknown"),
        (IS_LINUX, "IP_BIND_ADDRESS_NO_PORT: with --bind a port serves one destination at a time"),
        (IS_LINUX, "IP_LOCAL_PORT_RANGE: --ports bounds how many ports are used, but not which"),
    )
    return tuple(line for is_there, line in lines if not is_there)


def sync_data(descriptor: int) -> None:
    """Wait until the data of a file is on disk: by fdatasync(2), else by fsync(2), which syncs more.

    Raises:
        OSError: It could not be written.
    """
    if hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)


def address_bytes() -> int | None:
    """Read the size of this process's address space, in bytes (proc_pid_statm(5)); ``None`` if unknown."""
    try:
        pages = int((PROC / "self" / "statm").read_text("ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return pages * resource.getpagesize()


def use_one_arena() -> None:
    """Make malloc(3) use one arena instead of one for each thread (mallopt(3)).

    Only glibc has several.
    """
    if not IS_LINUX:
        return
    import ctypes  # noqa: PLC0415 - hardly any run needs it

    with contextlib.suppress(AttributeError, OSError):  # another C library's malloc has no arenas
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def open_process(pid: int) -> int | None:
    """Open a descriptor that can be read when process ``pid`` has ended, whether it is reaped or not.

    Returns:
        The descriptor, which the caller closes; ``None`` if the system or a sandbox has no pidfd_open(2)
        (Linux has it from 5.3 on), or no descriptor is left.
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
    """Read how a child has ended, without reaping it, so that its process id is not reused.

    Args:
        pid: The child; ``CAN_LEAVE_UNREAPED`` has to be true.
        wait: Whether to wait until it has ended.

    Returns:
        Its exit status; the negated number of the signal that ended it; ``None`` if it has not ended.

    Raises:
        ChildProcessError: Other code of this process has reaped it.
    """
    if not hasattr(os, "waitid"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    how = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | (0 if wait else os.WNOHANG))
    if how is None:
        return None
    return int(how.si_status if how.si_code == os.CLD_EXITED else -how.si_status)


def signal_name(number: int) -> str:
    """Return a signal's name without ``SIG``; ``RTMIN+N`` for a real-time signal; its number if unnamed."""
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:  # of the real-time signals, only the first and the last have names
        return f"RTMIN+{number - signal.SIGRTMIN}" if hasattr(signal, "SIGRTMIN") else str(number)


def bind_no_port(sock: socket.socket) -> None:
    """Make bind(2) to port 0 leave the choice of the port to connect(2) (Linux 4.2).

    On other systems bind(2) takes a port for this socket alone, whatever its destination.
    """
    if IS_LINUX:
        sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)


def choose_port_from(sock: socket.socket, window: range) -> None:
    """Restrict the kernel's choice of a local port (Linux 6.3); other systems ignore it.

    Args:
        sock: A socket that is not bound yet.
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
    """Make the kernel probe a silent peer (tcp(7)), as soon and as often as the system lets it be set.

    Args:
        sock: A TCP socket.
        idle: Seconds of silence until the first probe; the system's default, often two hours, if it cannot
            be set.
        interval: Seconds between probes.
        probes: The connection is reset after this number of probes without an answer.

    Raises:
        OSError: setsockopt(2) failed, as on some systems for a socket that was reset.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # macOS calls the first of them TCP_KEEPALIVE.
    values = {"TCP_KEEPIDLE": idle, "TCP_KEEPALIVE": idle, "TCP_KEEPINTVL": interval, "TCP_KEEPCNT": probes}
    for name, value in values.items():
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def interface_flags(name: str) -> int | None:
    """Read the flags of a network interface (netdevice(7)); ``None`` if it does not exist."""
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
        OSError: EAFNOSUPPORT on other systems; an error of socket(2) in a sandbox.
    """
    if not hasattr(socket, "AF_NETLINK"):
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
