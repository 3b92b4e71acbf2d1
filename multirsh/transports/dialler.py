"""The dialler: names to addresses to connected sockets, each with its lease of a local port.

Every TCP connection of every transport is made here, so this is where the
ledger hears of it, and where all that still drains can be waited for.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from multirsh.model import ClosedBy, ErrorKind, Failure, Phase, Status
from multirsh.ports import Endpoint, Ledger
from multirsh.transports.remote_first import RemoteFirstTransport
from multirsh.transports.threads import in_daemon_thread

LOOKUPS_AT_ONCE: Final = 32
"""Threads in getaddrinfo(3) at the most; each may block for as long as the resolver's own timeout."""

IP_BIND_ADDRESS_NO_PORT: Final = 24
"""include/uapi/linux/in.h; Python's socket module has it from 3.12 on."""

_LOCAL_ERRORS: Final = {
    errno.EMFILE: (ErrorKind.FILES, "no file descriptor is left in this process (ulimit -n)"),
    errno.ENFILE: (ErrorKind.FILES, "no file descriptor is left on this machine (fs.file-max)"),
    errno.ENOBUFS: (ErrorKind.MEMORY, "no buffer is left in this machine's kernel"),
    errno.ENOMEM: (ErrorKind.MEMORY, "no memory is left on this machine"),
    errno.EADDRNOTAVAIL: (ErrorKind.PORTS, "no local port is free towards that address"),
    errno.EADDRINUSE: (ErrorKind.PORTS, "no local port is free towards that address"),
}
"""What is this machine's fault and not the host's."""

_ROUTE_ERRORS: Final = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})


@dataclass(frozen=True, slots=True)
class Address:
    """One place to connect to, as getaddrinfo(3) gives it.

    Attributes:
        family: ``AF_INET`` or ``AF_INET6``.
        sockaddr: What ``connect`` takes.
    """

    family: socket.AddressFamily
    sockaddr: tuple[Any, ...]


class DialError(Exception):
    """No TCP connection could be made.

    Attributes:
        status: What the host's result will be.
        failure: Kind, phase and message.
    """

    def __init__(self, status: Status, failure: Failure) -> None:
        super().__init__(failure.message)
        self.status = status
        self.failure = failure


class Resolver:
    """Looks names up, each in a thread of its own.

    A semaphore bounds the threads; hosts wait for it in order, and their timeouts run.
    """

    def __init__(self, lookups_at_once: int = LOOKUPS_AT_ONCE) -> None:
        self._slots = asyncio.Semaphore(lookups_at_once)

    async def resolve(self, host: str, port: int, family: int = socket.AF_UNSPEC) -> list[Address]:
        """Turn a name or an IP literal into addresses, in the order to try them.

        Raises:
            socket.gaierror: There are none.
        """
        try:
            # A literal, with a zone or without, needs no look-up and so no thread.
            return _addresses(host, port, family, socket.AI_NUMERICHOST | socket.AI_NUMERICSERV)
        except socket.gaierror:
            pass
        async with self._slots:
            return await in_daemon_thread(
                lambda: _addresses(host, port, family, socket.AI_NUMERICSERV), name="multirsh-resolve"
            )


class Dialler:
    """Makes the TCP connections of a run and knows those that are not closed yet."""

    def __init__(self, *, ledger: Ledger, close_timeout: float, resolver: Resolver | None = None) -> None:
        """Make a dialler.

        Args:
            ledger: Hears of every connection.
            close_timeout: Seconds each connection waits for the remote's FIN, at the most.
            resolver: How names are looked up.
        """
        self._ledger = ledger
        self._close_timeout = close_timeout
        self._resolver = resolver or Resolver()
        self._open: set[RemoteFirstTransport] = set()

    async def dial(
        self,
        host: str,
        port: int,
        *,
        on_phase: Callable[[Phase], None],
        family: int = socket.AF_UNSPEC,
        bind_address: str | None = None,
    ) -> RemoteFirstTransport:
        """Connect to ``host``, trying its addresses in turn.

        Args:
            host: A name or an IP literal.
            port: 1-65535.
            on_phase: Told when the look-up and when each connect begins.
            family: ``AF_INET`` or ``AF_INET6`` to allow only one.
            bind_address: The local address to leave from, numeric.

        Returns:
            A transport to which a protocol is to be attached.

        Raises:
            DialError: No address could be connected to; it is the last one's error.
        """
        on_phase(Phase.RESOLVE)
        try:
            addresses = await self._resolver.resolve(host, port, family)
        except (socket.gaierror, UnicodeError) as error:
            reason = error.strerror if isinstance(error, socket.gaierror) else "not a valid name"
            raise DialError(
                Status.UNREACHABLE, Failure(ErrorKind.NAME, Phase.RESOLVE, f"{host}: {reason}")
            ) from None
        on_phase(Phase.CONNECT)
        last: OSError | None = None
        for address in addresses:
            try:
                return self._adopt(await _connected(address, bind_address))
            except OSError as error:
                last = error
        raise _dial_error(last if last is not None else OSError(errno.EHOSTUNREACH, "no address"))

    def adopt_pipe(self, sock: socket.socket) -> RemoteFirstTransport:
        """Take over a connected socket that holds no port, such as a ProxyCommand's end."""
        return self._watch(sock, lambda _closed_by: None)

    async def drained(self) -> None:
        """Wait until no connection is open any more; each is bounded by its close timeout once closed."""
        while self._open:
            await asyncio.wait({transport.closed for transport in self._open})

    def abandon(self) -> None:
        """Reset everything that is still open: there is no time left to be polite."""
        for transport in list(self._open):
            transport.abandon()

    def _adopt(self, sock: socket.socket) -> RemoteFirstTransport:
        """Take over a connected socket and note its ports.

        Raises:
            OSError: The peer has come and gone: there is nobody to talk to.
        """
        loop = asyncio.get_running_loop()
        try:
            transport = self._watch(
                sock, lambda closed_by: self._ledger.give_back(lease, closed_by, loop.time())
            )
        except OSError:
            sock.close()
            raise
        local, remote = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        lease = self._ledger.take(_endpoint(local), _endpoint(remote))
        return transport

    def _watch(self, sock: socket.socket, on_closed: Callable[[ClosedBy], None]) -> RemoteFirstTransport:
        loop = asyncio.get_running_loop()

        def closed(closed_by: ClosedBy) -> None:
            self._open.discard(transport)
            on_closed(closed_by)

        transport = RemoteFirstTransport(loop, sock, close_timeout=self._close_timeout, on_closed=closed)
        self._open.add(transport)
        return transport


async def _connected(address: Address, bind_address: str | None) -> socket.socket:
    """A connected, non-blocking socket; closed again whatever interrupts."""
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if bind_address is not None:
            if sys.platform == "linux":
                # Else bind(2) takes a port for itself alone, whatever the destination (ip(7), Linux 4.2).
                sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((bind_address, 0))
        await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
    except BaseException:
        # If the handshake ended just as we gave up, a plain close would be the first FIN.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        raise
    return sock


def _dial_error(error: OSError) -> DialError:
    code = error.errno
    if code in _LOCAL_ERRORS:
        kind, message = _LOCAL_ERRORS[code]
        return DialError(Status.LOCAL, Failure(kind, Phase.CONNECT, message))
    if code == errno.ECONNREFUSED:
        kind = ErrorKind.REFUSED
    elif code == errno.ETIMEDOUT:
        kind = ErrorKind.TIMEOUT
    elif code in _ROUTE_ERRORS:
        kind = ErrorKind.NO_ROUTE
    else:
        kind = ErrorKind.RESET
        if code == errno.ENOTCONN:
            code = errno.ECONNRESET  # the peer was gone before its name was asked for
    reason = os.strerror(code).lower() if code else str(error)  # asyncio's words repeat the address
    return DialError(Status.UNREACHABLE, Failure(kind, Phase.CONNECT, reason))


def _addresses(host: str, port: int, family: int, flags: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, flags)
    return [Address(family, sockaddr) for family, _, _, _, sockaddr in found]


def _endpoint(sockaddr: tuple[Any, ...]) -> Endpoint:
    address, _, _zone = str(sockaddr[0]).partition("%")
    return Endpoint(str(ipaddress.ip_address(address)), int(sockaddr[1]))
