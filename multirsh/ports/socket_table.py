"""The kernel's table of TCP sockets, as ss(8) reads it.

``read_table`` asks by NETLINK_SOCK_DIAG, or reads ``/proc/net/tcp`` where the kernel lacks netlink or a
sandbox refuses it. ``/proc`` is slower, cannot filter, and does not show sockets that are merely bound.
Netlink requests are built and replies parsed as bytes, without a socket; ``dump`` is the one function that
opens one.

A dump is not a snapshot: the kernel walks its hash table while sockets come and go, so a socket that changes
meanwhile may be missed or reported twice. NLM_F_DUMP_INTR could say no more than that, so it is ignored.

Sources: sock_diag(7), netlink(7), include/uapi/linux/inet_diag.h, net/ipv4/inet_diag.c;
Documentation/networking/proc_net_tcp.rst and net/ipv4/tcp_ipv4.c (``get_tcp4_sock``, ``get_timewait4_sock``).
"""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
import struct
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from multirsh.linux import PROC, netlink_socket
from multirsh.ports.sockets import Endpoint, TcpSocket, TcpState

IPV4_BYTES: Final = 4

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

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
reported as CLOSE."""

MAX_FILTER: Final = 32
"""The most destinations that the kernel filters by, one comparison each; more are filtered here."""

RECEIVE_BYTES: Final = 1 << 16
"""The buffer for one datagram: the kernel fills up to 32 KiB at a time (net/netlink/af_netlink.c)."""

TIMEOUT_S: Final = 5.0
"""Seconds to wait for an answer: the kernel answers at once, a sandbox perhaps never."""

_MAX_ERRNO: Final = 4095
_ALIGNMENT: Final = 4

_HEADER: Final = struct.Struct("=IHHII")
_REQUEST: Final = struct.Struct("=BBBxI48x")
_ATTRIBUTE: Final = struct.Struct("=HH")
_OPERATION: Final = struct.Struct("=BBH")
_CONDITION: Final = struct.Struct("=BBxxi")
_STATUS: Final = struct.Struct("=i")
_ROW: Final = struct.Struct("=IH10x xBBxHH16s16s12xI8xII")
"""The size and type of a header; state, timer, ports, addresses, expiry, uid and inode of inet_diag_msg."""
_HEADER_BYTES: Final = _HEADER.size
_ROW_BYTES: Final = _ROW.size

_STATES: Final = [TcpState(number) if number in set(TcpState) else None for number in range(256)]

PROC_TABLES: Final = (PROC / "thread-self" / "net" / "tcp", PROC / "thread-self" / "net" / "tcp6")
"""The calling thread's network namespace; /proc/net is that of the process's first thread."""

_PROC_ROW: Final = re.compile(
    r"^ *[0-9]+:"
    r" ([0-9A-F]{8}(?:[0-9A-F]{24})?):([0-9A-F]{4})"  # local
    r" ([0-9A-F]{8}(?:[0-9A-F]{24})?:[0-9A-F]{4})"  # remote
    r" ([0-9A-F]{2}) [0-9A-F]+:[0-9A-F]+"  # state, queues
    r" ([0-9A-F]{2}):([0-9A-F]{1,16}) [0-9A-F]+"  # timer, retransmits
    r" +([0-9]{1,10}) +[0-9]+ ([0-9]{1,20})\b",  # uid, timeout, inode
    re.MULTILINE,
)

_PROC_STATES: Final = {f"{state:02X}": state for state in TcpState}


def read_table(
    *,
    states: Collection[TcpState] | None = None,
    towards: Collection[Endpoint] | None = None,
    local_ports: range | None = None,
) -> list[TcpSocket] | None:
    """Read the TCP sockets of this thread's network namespace.

    It takes milliseconds: about 25 where there are 10,000 sockets, 5 for one destination's among them.

    Args:
        states: Only these; ``None`` for all. SYN_RECV includes what the kernel calls NEW_SYN_RECV inside.
            Sockets that are merely bound are CLOSE, where the kernel shows them (netlink, Linux 6.8).
        towards: Only those whose remote end is one of these; ``None`` for any.
        local_ports: Only those whose local port is one of these, without gaps; ``None`` for any. Instead of
            ``towards``, not beside it.

    Returns:
        Those of IPv4, then those of IPv6; ``None`` if neither netlink nor /proc shows them (another system,
        or a sandbox without both).
    """
    for read in (dump, read_proc):
        try:
            return read(states=states, towards=towards, local_ports=local_ports)
        except OSError:
            continue
    return None


class Replies(NamedTuple):
    """The content of one datagram.

    Attributes:
        sockets: The sockets, in the kernel's order.
        is_last: Whether the dump ends with this datagram.
    """

    sockets: list[TcpSocket]
    is_last: bool


def dump(
    *,
    states: Collection[TcpState] | None = None,
    towards: Collection[Endpoint] | None = None,
    local_ports: range | None = None,
) -> list[TcpSocket]:
    """Read the TCP sockets of this thread's network namespace by netlink.

    Args:
        states: Only these; ``None`` for all, listeners and sockets that are merely bound included.
        towards: Only those whose remote end is one of these; ``None`` for any.
        local_ports: Only those whose local port is one of these, without gaps; ``None`` for any. Instead of
            ``towards``, not beside it.

    Returns:
        Those of IPv4, then those of IPv6.

    Raises:
        OSError: The kernel does not answer this process: EPROTONOSUPPORT or ENOENT without its modules,
            EAFNOSUPPORT on other systems, EPERM in a sandbox, TimeoutError, EBADMSG for an invalid message.
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
        towards: Packed addresses and ports of remotes to filter by. With none, and with more than
            MAX_FILTER, the kernel returns all sockets.
        local_ports: Local ports to filter by, without gaps, if ``towards`` does not filter.
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
    """Build the program by which the kernel selects sockets by their remote ends.

    A condition that holds continues with a jump to the end of the program, which selects the socket; one
    that does not hold continues with the next condition. The last condition has no jump: it leads to the
    end, or one operation beyond it, which drops the socket. A condition on an IPv4 address also holds for
    an IPv6 socket that uses the address (``inet_diag_bc_run``).

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
    """Build the program by which the kernel selects sockets whose local port is in ``ports``.

    A comparison is two operations long, the second of which contains the port. If it fails, it leads beyond
    the end, which drops the socket (``inet_diag_bc_run``).
    """
    bounds = ((INET_DIAG_BC_S_GE, min(ports)), (INET_DIAG_BC_S_LE, max(ports)))
    size = 2 * _OPERATION.size
    program = b""
    for code, port in reversed(bounds):
        beyond = size + len(program) + _OPERATION.size
        program = _OPERATION.pack(code, size, beyond) + _OPERATION.pack(0, 0, port) + program
    return program


def parse_replies(datagram: bytes, family: int) -> Replies:
    """Parse one datagram.

    Args:
        datagram: Netlink messages, each with a header.
        family: AF_INET or AF_INET6, as in the request; it determines the kind of the addresses.

    Raises:
        OSError: The kernel reported an error, or the messages are invalid (EBADMSG). The dump is then over.
    """
    sockets: list[TcpSocket] = []
    # tuple.__new__ takes half the time of the classes' own constructors, and many rows share a remote end.
    make, port_of, states = tuple.__new__, socket.ntohs, _STATES
    addresses = Memo(word_ipv4 if family == socket.AF_INET else word_ipv6)
    remotes: Memo[tuple[bytes, int], Endpoint] = Memo(
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
    # The kernel reports NEW_SYN_RECV as SYN_RECV, even if only the former is requested.
    wanted = set(TcpState if states is None else states) - {TcpState.NEW_SYN_RECV}
    return sum(1 << state for state in wanted) | (BOUND_ONLY if TcpState.CLOSE in wanted else 0)


def _receive(kernel: socket.socket) -> bytes:
    datagram, _, flags, _ = kernel.recvmsg(RECEIVE_BYTES)
    if flags & socket.MSG_TRUNC:
        raise _nonsense(f"a datagram of more than {RECEIVE_BYTES} bytes")
    return datagram


def _is_end(kind: int, payload: bytes) -> bool:
    """Whether a message that is not a socket ends the dump.

    Raises:
        OSError: It reports an error, or that the dump has failed half-way.
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


def read_proc(
    *,
    states: Collection[TcpState] | None = None,
    towards: Collection[Endpoint] | None = None,
    local_ports: range | None = None,
    tables: tuple[Path, ...] = PROC_TABLES,
) -> list[TcpSocket]:
    """Read the TCP sockets of this thread's network namespace.

    Args:
        states: Only these; ``None`` for all.
        towards: Only those whose remote end is one of these; ``None`` for any.
        local_ports: Only those whose local port is one of these; ``None`` for any.
        tables: The files; one that is absent (no IPv6) is skipped.

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
    """Parse the text of /proc/net/tcp or tcp6; lines that are not rows are skipped.

    Args:
        text: The text, including the line of headings.
        ticks_a_second: USER_HZ; ``None`` for that of this machine.
    """
    ticks = ticks_a_second or os.sysconf("SC_CLK_TCK")
    addresses = Memo(_word_proc)
    # As in ``parse_replies``.
    remotes: Memo[str, Endpoint] = Memo(lambda end: Endpoint(addresses[end[:-5]], int(end[-4:], 16)))
    make, known = tuple.__new__, _PROC_STATES
    return [
        make(
            TcpSocket,
            (
                known[state],
                make(Endpoint, (addresses[address], int(port, 16))),
                remotes[remote],
                int(when, 16) / ticks if int(timer, 16) == MINI_SOCKET_TIMER else None,
                int(inode),
                int(uid),
            ),
        )
        for address, port, remote, state, timer, when, uid, inode in _PROC_ROW.findall(text)
        if state in known
    ]


def _word_proc(text: str) -> str:
    words = bytes.fromhex(text)
    count = len(words) // 4
    packed = struct.pack(f">{count}I", *struct.unpack(f"={count}I", words))
    return word_ipv4(packed) if len(packed) == IPV4_BYTES else word_ipv6(packed)


class Memo(dict[_Key, _Value]):
    """The results of a function by its argument, computed when first looked up.

    Args:
        make: The function.
    """

    def __init__(self, make: Callable[[_Key], _Value]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: _Key) -> _Value:
        value = self[key] = self._make(key)
        return value


def word_ipv4(packed: bytes) -> str:
    """Format the first four bytes, in network order, as an IPv4 address."""
    return socket.inet_ntop(socket.AF_INET, packed[:IPV4_BYTES])


@lru_cache(maxsize=4096)
def word_ipv6(packed: bytes) -> str:
    """Format sixteen bytes, in network order; a mapped IPv4 address (RFC 4291, section 2.5.5.2) as IPv4.

    It uses ``ipaddress``, since C libraries differ in where they write ``::`` and dots.
    """
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address)


def pack(address: str) -> bytes:
    """Pack an address into four or sixteen bytes, in network order.

    Raises:
        ValueError: It is not an address as in ``Endpoint``.
    """
    return ipaddress.ip_address(address).packed
