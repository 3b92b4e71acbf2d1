"""TCP sockets of ours: from which address and port they leave, and how they are bound to it.

Sources: ip(7), socket(7), connect(2), bind(2), capabilities(7).
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
import struct
import sys
from functools import lru_cache
from typing import Any, Final, TypeAlias

from multirsh.errors import UsageError
from multirsh.linux import bind_no_port, choose_port_from
from multirsh.model import ErrorKind, Phase
from multirsh.ports.sockets import Endpoint, Lease
from multirsh.transports.dial_error import local_error
from multirsh.transports.resolver import Address

SockAddr: TypeAlias = tuple[Any, ...]
"""As the socket module has it: ``(address, port)``, for IPv6 with flow label and zone."""

BY_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER by which close(2) sends RST and keeps no state (socket(7), RFC 9293 3.10.7.1)."""

BY_FIN: Final = struct.pack("ii", 0, 0)
"""SO_LINGER by which close(2) sends FIN."""

NO_PRIVILEGE: Final = (
    "local ports below 1024 need the capability CAP_NET_BIND_SERVICE: give it to the interpreter with"
    " 'sudo setcap cap_net_bind_service=+ep {python}', run as root, or let everybody bind them with"
    " 'sudo sysctl net.ipv4.ip_unprivileged_port_start=512'"
)


class PortRefused(Exception):  # noqa: N818 - another port may do
    """The kernel does not grant the port that was leased.

    Attributes:
        four_tuple: Whether it is in use towards this destination (connect), and not as such (bind).
    """

    def __init__(self, *, four_tuple: bool) -> None:
        super().__init__("four-tuple in use" if four_tuple else "port in use")
        self.four_tuple = four_tuple


def endpoint(sockaddr: SockAddr) -> Endpoint:
    """The address without its zone, and the port."""
    return Endpoint(_without_zone(str(sockaddr[0])), int(sockaddr[1]))


@lru_cache(maxsize=4096)
def _without_zone(text: str) -> str:
    """The address as ``Endpoint`` has it; asked four times a connection, half of them for our own address."""
    address, _, _zone = text.partition("%")
    ip = ipaddress.ip_address(address)
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip)


def family_of(address: str) -> socket.AddressFamily:
    """``AF_INET`` or ``AF_INET6``, of a numeric address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def own_address(text: str) -> str:
    """Check that ``text`` is a numeric address that connections may leave from.

    Raises:
        UsageError: It is none, or none of this machine's.
    """
    hint = "give one of those that 'ip address' lists"
    try:
        address = str(ipaddress.ip_address(text))
    except ValueError:
        raise UsageError(f"{text!r} is not an IP address to leave from", hint=hint) from None
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            raise UsageError(f"{address} cannot be left from: {error.strerror}", hint=hint) from None
    return address


def source_towards(address: Address) -> SockAddr:
    """The local address that a connection would leave from: the kernel's choice of route, and no packet.

    Raises:
        OSError: There is no route.
    """
    with socket.socket(address.family, socket.SOCK_DGRAM) as probe:
        probe.connect(address.sockaddr)
        found: SockAddr = probe.getsockname()
        return found


async def connected(
    address: Address, lease: Lease, *, source: SockAddr, bind_source: bool, window: range | None
) -> socket.socket:
    """Connect by the lease.

    Args:
        address: Where to.
        lease: Which port to leave from.
        source: The local address.
        bind_source: Whether it was chosen by somebody, and is not only what the kernel would choose.
        window: The ephemeral ports to choose from; ``None`` for all.

    Returns:
        A connected, non-blocking socket; closed again whatever interrupts.

    Raises:
        PortRefused: Another port may do.
        DialError: The address or the port is not ours to bind.
        OSError: Of connect(2).
    """
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if lease.port is not None:
            if lease.shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bind(sock, source, lease.port)
        else:
            if window is not None:
                choose_port_from(sock, window)  # where that cannot be, the ledger's count must do
            if bind_source:
                bind_no_port(sock)
                bind(sock, source, 0)
        await _connect(sock, address)
    except BaseException:
        reset(sock)  # if the handshake ended just as we gave up, a plain close would be the first FIN
        raise
    return sock


def reset(sock: socket.socket) -> None:
    """Close without a FIN, and so without TIME_WAIT: a connection, if there is one, is reset (socket(7))."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, BY_RESET)
    sock.close()


def bind(sock: socket.socket, source: SockAddr, port: int) -> None:
    """Bind, and tell apart what another port would mend from what it would not.

    Raises:
        PortRefused: Another port may do.
        DialError: The address or the port is not ours to bind.
    """
    try:
        sock.bind((source[0], port, *source[2:]))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortRefused(four_tuple=False) from None
        if error.errno in {errno.EACCES, errno.EPERM}:
            # setcap(8) refuses a symbolic link, which a virtual environment's interpreter is.
            message = NO_PRIVILEGE.format(python=os.path.realpath(sys.executable))
            raise local_error(ErrorKind.PRIVILEGE, message, Phase.PORT) from None
        if error.errno == errno.EADDRNOTAVAIL:
            message = f"{source[0]} is not an address of this machine"
            raise local_error(ErrorKind.ADDRESS, message, Phase.PORT) from None
        raise


async def _connect(sock: socket.socket, address: Address) -> None:
    try:
        await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
    except OSError as error:
        if error.errno in {errno.EADDRNOTAVAIL, errno.EADDRINUSE}:
            raise PortRefused(four_tuple=True) from None
        raise
