"""The kernel's table of TCP sockets by NETLINK_SOCK_DIAG, as ss(8) reads it.

Requests are built and replies parsed as bytes, without a socket; ``dump``
is the one function that has one. TCP only.

A dump is no snapshot: the kernel walks its hash table while sockets come and
go, so one that changes in the meantime may be missed or told twice. That is
all that NLM_F_DUMP_INTR could say, so nothing is made of it.

Sources: sock_diag(7), netlink(7), include/uapi/linux/inet_diag.h,
net/ipv4/inet_diag.c.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from multirsh.linux import netlink_socket
from multirsh.ports.addresses import IPV4_BYTES, Once, pack, word_ipv4, word_ipv6
from multirsh.ports.sockets import Endpoint, TcpSocket, TcpState

NETLINK_SOCK_DIAG: Final = 4
SOCK_DIAG_BY_FAMILY: Final = 20
NLM_F_REQUEST: Final = 0x1
NLM_F_DUMP: Final = 0x300
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
INET_DIAG_REQ_BYTECODE: Final = 1
INET_DIAG_BC_JMP: Final = 1
INET_DIAG_BC_S_GE: Final = 2
INET_DIAG_BC_S_LE: Final = 3
INET_DIAG_BC_D_COND: Final = 8

MINI_SOCKET_TIMER: Final = 3
"""The timer of what is nothing but a timer any more: TIME_WAIT, or FIN_WAIT2 that no process holds.

Where ``tcp_fin_timeout`` is above 60 s, FIN_WAIT2 is a whole socket at first; its keepalive timer then ends
that first part, and the end itself is not known (``tcp_rcv_state_process``).
"""

BOUND_ONLY: Final = 1 << 13
"""Asks for sockets that are bound and neither listen nor connect (TCP_BOUND_INACTIVE, Linux 6.8); they are
told as CLOSE."""

MAX_FILTER: Final = 32
"""Destinations that the kernel is asked to filter by, one comparison each; more are filtered here."""

RECEIVE_BYTES: Final = 1 << 16
"""Room for one datagram: the kernel fills 32 KiB at a time if there is room (net/netlink/af_netlink.c)."""

TIMEOUT_S: Final = 5.0
"""Seconds without an answer: the kernel's comes at once, that of a sandbox perhaps never."""

_MAX_ERRNO: Final = 4095
_ALIGNMENT: Final = 4

_HEADER: Final = struct.Struct("=IHHII")
_REQUEST: Final = struct.Struct("=BBBxI48x")
_ATTRIBUTE: Final = struct.Struct("=HH")
_OPERATION: Final = struct.Struct("=BBH")
_CONDITION: Final = struct.Struct("=BBxxi")
_STATUS: Final = struct.Struct("=i")
_ROW: Final = struct.Struct("=IH10x xBBxHH16s16s12xI8xII")
"""A header's size and type; state, timer, ports, addresses, expiry, uid and inode of inet_diag_msg."""
_HEADER_BYTES: Final = _HEADER.size
_ROW_BYTES: Final = _ROW.size

_STATES: Final = [TcpState(number) if number in set(TcpState) else None for number in range(256)]


class Replies(NamedTuple):
    """What one datagram held.

    Attributes:
        sockets: In the kernel's order.
        is_last: Whether the dump ends with it.
    """

    sockets: list[TcpSocket]
    is_last: bool


def dump(
    *,
    states: Collection[TcpState] | None = None,
    towards: Collection[Endpoint] | None = None,
    local_ports: range | None = None,
) -> list[TcpSocket]:
    """Ask the kernel for the TCP sockets of this thread's network namespace.

    Args:
        states: Only these; ``None`` for all, listeners and sockets that are merely bound included.
        towards: Only those whose remote end is one of these; ``None`` for any.
        local_ports: Only those whose local port is one of these, without gaps; ``None`` for any. Instead of
            ``towards``, not beside it.

    Returns:
        Those of IPv4, then those of IPv6.

    Raises:
        OSError: The kernel does not answer, or not us: EPROTONOSUPPORT or ENOENT without its modules,
            EAFNOSUPPORT beyond Linux, EPERM in a sandbox, TimeoutError, EBADMSG for nonsense.
    """
    packed = [(pack(remote.address), remote.port) for remote in towards or ()]
    families = [socket.AF_INET, socket.AF_INET6]
    if packed and all(len(address) > IPV4_BYTES for address, _ in packed):
        families.remove(socket.AF_INET)
    found: list[TcpSocket] = []
    with netlink_socket(NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(TIMEOUT_S)
        for family in families:
            kernel.send(build_request(family, states=states, towards=packed, local_ports=local_ports))
            is_last = False
            while not is_last:
                rows, is_last = parse_replies(_receive(kernel), family)
                found += rows
    if local_ports is not None:
        return [row for row in found if row.local.port in local_ports]
    if towards is None:
        return found
    wanted = frozenset(towards)
    return [row for row in found if row.remote in wanted]


def build_request(
    family: int,
    *,
    states: Collection[TcpState] | None = None,
    towards: Collection[tuple[bytes, int]] = (),
    local_ports: range | None = None,
) -> bytes:
    """Build the request for a dump of TCP sockets.

    Args:
        family: AF_INET or AF_INET6.
        states: Only these; ``None`` for all.
        towards: Packed addresses and ports of remotes, to be filtered by; with none, and with more than
            MAX_FILTER, the kernel is asked for all.
        local_ports: Without gaps; to be filtered by where ``towards`` is not.
    """
    request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _state_bits(states))
    program = b""
    if 0 < len(towards) <= MAX_FILTER:
        program = remote_filter(towards)
    elif local_ports:
        program = local_filter(local_ports)
    if program:
        request += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(program), INET_DIAG_REQ_BYTECODE) + program
    size = _HEADER_BYTES + len(request)
    return _HEADER.pack(size, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + request


def remote_filter(towards: Iterable[tuple[bytes, int]]) -> bytes:
    """Write the program by which the kernel keeps sockets whose remote end is one of these.

    A condition that holds goes on to a jump to the program's end, which keeps the socket; one that does
    not goes on to the next condition. The last condition has no jump: it ends at the end, or one
    operation beyond it, which drops the socket. A condition on an IPv4 address holds for an IPv6 socket
    that uses it, too (``inet_diag_bc_run``).

    Args:
        towards: Packed addresses, of 4 or 16 bytes, and ports.
    """
    program = b""
    for address, port in reversed(list(towards)):
        family = socket.AF_INET if len(address) == IPV4_BYTES else socket.AF_INET6
        condition = _CONDITION.pack(family, 8 * len(address), port) + address
        size = _OPERATION.size + len(condition)
        step = _OPERATION.pack(INET_DIAG_BC_D_COND, size, size + _OPERATION.size) + condition
        jump = _OPERATION.pack(INET_DIAG_BC_JMP, _OPERATION.size, _OPERATION.size + len(program))
        program = step + jump + program if program else step
    return program


def local_filter(ports: range) -> bytes:
    """Write the program by which the kernel keeps sockets whose local port is in ``ports``.

    A comparison is two operations long, the second of which holds the port; where it fails, it goes on
    beyond the end, which drops the socket (``inet_diag_bc_run``).
    """
    bounds = ((INET_DIAG_BC_S_GE, min(ports)), (INET_DIAG_BC_S_LE, max(ports)))
    size = 2 * _OPERATION.size
    program = b""
    for code, port in reversed(bounds):
        beyond = size + len(program) + _OPERATION.size
        program = _OPERATION.pack(code, size, beyond) + _OPERATION.pack(0, 0, port) + program
    return program


def parse_replies(datagram: bytes, family: int) -> Replies:
    """Parse what one read gave.

    Args:
        datagram: Netlink messages, each with a header.
        family: Of the request: AF_INET or AF_INET6. It says what the addresses are.

    Raises:
        OSError: The kernel's error, or EBADMSG where these are not messages. The dump is then over.
    """
    sockets: list[TcpSocket] = []
    # By tuple's own constructor, which takes half the time of theirs; and many rows share a remote end.
    make, port_of, states = tuple.__new__, socket.ntohs, _STATES
    addresses = Once(word_ipv4 if family == socket.AF_INET else word_ipv6)
    remotes: Once[tuple[bytes, int], Endpoint] = Once(
        lambda remote: Endpoint(addresses[remote[0]], port_of(remote[1]))
    )
    padded = datagram + bytes(_ROW_BYTES)
    offset, end = 0, len(datagram)
    while offset < end:
        size, kind, number, timer, port, remote_port, address, remote, expires, uid, inode = _ROW.unpack_from(
            padded, offset
        )
        if kind == SOCK_DIAG_BY_FAMILY and _ROW_BYTES <= size <= end - offset:
            state = states[number]
            if state is not None:
                local = make(Endpoint, (addresses[address], port_of(port)))
                seconds_left = expires / 1000 if timer == MINI_SOCKET_TIMER else None
                row = (state, local, remotes[remote, remote_port], seconds_left, inode, uid)
                sockets.append(make(TcpSocket, row))
        elif kind == SOCK_DIAG_BY_FAMILY or not _HEADER_BYTES <= size <= end - offset:
            raise _nonsense("a message cut short")
        elif _is_end(kind, padded[offset + _HEADER_BYTES : offset + size]):
            return Replies(sockets, is_last=True)
        offset += (size + _ALIGNMENT - 1) & -_ALIGNMENT
    return Replies(sockets, is_last=False)


def _state_bits(states: Collection[TcpState] | None) -> int:
    # NEW_SYN_RECV comes with SYN_RECV, and as SYN_RECV; asked for by itself it would, too.
    wanted = set(TcpState if states is None else states) - {TcpState.NEW_SYN_RECV}
    return sum(1 << state for state in wanted) | (BOUND_ONLY if TcpState.CLOSE in wanted else 0)


def _receive(kernel: socket.socket) -> bytes:
    datagram, _, flags, _ = kernel.recvmsg(RECEIVE_BYTES)
    if flags & socket.MSG_TRUNC:
        raise _nonsense(f"a datagram of more than {RECEIVE_BYTES} bytes")
    return datagram


def _is_end(kind: int, payload: bytes) -> bool:
    """Whether a message that is no socket ends the dump.

    Raises:
        OSError: It tells an error: as one, or as the result of a dump that failed half-way.
    """
    if kind not in {NLMSG_ERROR, NLMSG_DONE}:
        return False
    if len(payload) >= _STATUS.size:
        (status,) = _STATUS.unpack_from(payload)
        if -_MAX_ERRNO <= status < 0:
            raise OSError(-status, os.strerror(-status))
    elif kind == NLMSG_ERROR:
        raise _nonsense("an error without its number")
    return kind == NLMSG_DONE


def _nonsense(what: str) -> OSError:
    return OSError(errno.EBADMSG, f"the kernel's table of sockets: {what}")
