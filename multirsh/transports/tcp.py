"""Binds and connects TCP sockets, tries the addresses of a host, and words the errors.

The addresses of a host are tried with a short delay in between; the first that connects wins::

    2001:db8::1   SYN ......................... reset by us, once another has won
    192.0.2.1       250 ms   SYN  SYN-ACK       wins
    2001:db8::2              (never tried)

``Race`` decides, and ``first_to_connect`` carries out.

Sources: ip(7), socket(7), connect(2), bind(2), capabilities(7); RFC 8305, sections 4 (order), 5 (attempts)
and 8 (figures).
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from itertools import chain, zip_longest
from typing import Any, Final, Generic, TypeAlias, TypeVar

from multirsh.errors import UsageError
from multirsh.linux import bind_no_port, choose_port_from
from multirsh.model import ErrorKind, Failure, Phase, Status
from multirsh.ports.sockets import Endpoint, Lease
from multirsh.transports.resolver import Address

_LOCAL_ERRORS: Final = {
    errno.EMFILE: (ErrorKind.FILES, "no file descriptor is left in this process (ulimit -n)"),
    errno.ENFILE: (ErrorKind.FILES, "no file descriptor is left on this machine (fs.file-max)"),
    errno.ENOBUFS: (ErrorKind.MEMORY, "no buffer is left in this machine's kernel"),
    errno.ENOMEM: (ErrorKind.MEMORY, "no memory is left on this machine"),
}
"""Errors whose cause is on this machine and not on the host."""

_TELLING: Final = (
    ErrorKind.REFUSED,
    ErrorKind.RESET,
    ErrorKind.TIMEOUT,
    ErrorKind.PORTS,
    ErrorKind.PRIVILEGE,
    ErrorKind.ADDRESS,
    ErrorKind.FILES,
    ErrorKind.MEMORY,
)
"""The order in which to pick from the errors of several addresses: first that the host answered, then that it
did not, then that this machine could not try; a family without a route comes last."""

_NAMED: Final = 4
"""The most addresses that the error of a host names."""

_ROUTE_ERRORS: Final = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})


class DialError(Exception):
    """No TCP connection could be made.

    Attributes:
        status: The status of the host's result.
        failure: Kind, phase and message.
    """

    def __init__(self, status: Status, failure: Failure) -> None:
        super().__init__(failure.message)
        self.status = status
        self.failure = failure


def dial_error(error: OSError) -> DialError:
    """Return the error for a failed connect."""
    code = error.errno
    if code in _LOCAL_ERRORS:
        kind, message = _LOCAL_ERRORS[code]
        return local_error(kind, message, Phase.CONNECT)
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


def none_connected(failures: Sequence[tuple[str, OSError | DialError]]) -> DialError:
    """Return the error for a host none of whose addresses could be connected to.

    Args:
        failures: Each address that was tried, with its error; one or more.

    Returns:
        The most informative of the errors; if there are several, its message lists the addresses.
    """
    errors = [error if isinstance(error, DialError) else dial_error(error) for _, error in failures]
    if len(errors) == 1:
        return errors[0]
    chief = min(errors, key=lambda error: _rank(error.failure.kind))
    tried: dict[str, list[str]] = {}
    for (address, _), error in list(zip(failures, errors, strict=True))[:_NAMED]:
        tried.setdefault(error.failure.message, []).append(address)
    words = [f"{', '.join(addresses)}: {message}" for message, addresses in tried.items()]
    if len(failures) > _NAMED:
        words.append(f"and {len(failures) - _NAMED} more")
    failure = Failure(chief.failure.kind, chief.failure.phase, "; ".join(words))
    return DialError(chief.status, failure)


def _rank(kind: ErrorKind) -> int:
    return _TELLING.index(kind) if kind in _TELLING else len(_TELLING)


def local_error(kind: ErrorKind, message: str, phase: Phase) -> DialError:
    """Return an error whose cause is on this machine and not on the host."""
    return DialError(Status.LOCAL, Failure(kind, phase, message))


SockAddr: TypeAlias = tuple[Any, ...]
"""An address of the socket module: ``(address, port)``, and for IPv6 also flow label and zone."""

BY_RESET: Final = struct.pack("ii", 1, 0)
"""The value of SO_LINGER with which close(2) sends RST and keeps no state (socket(7), RFC 9293 3.10.7.1)."""

BY_FIN: Final = struct.pack("ii", 0, 0)
"""The value of SO_LINGER with which close(2) sends FIN."""

NO_PRIVILEGE: Final = (
    "local ports below 1024 need the capability CAP_NET_BIND_SERVICE: give it to the interpreter with"
    " 'sudo setcap cap_net_bind_service=+ep {python}', run as root, or let all users bind them with"
    " 'sudo sysctl net.ipv4.ip_unprivileged_port_start=512'"
)


class PortRefused(Exception):  # noqa: N818 - another port may do
    """The kernel refused the port that was leased.

    Attributes:
        four_tuple: Whether only the four-tuple is in use (connect), and not the port as such (bind).
    """

    def __init__(self, *, four_tuple: bool) -> None:
        super().__init__("four-tuple in use" if four_tuple else "port in use")
        self.four_tuple = four_tuple


def endpoint(sockaddr: SockAddr) -> Endpoint:
    """Return the address, without its zone, and the port."""
    return Endpoint(_without_zone(str(sockaddr[0])), int(sockaddr[1]))


@lru_cache(maxsize=4096)
def _without_zone(text: str) -> str:
    """Return the address in the form of ``Endpoint``; cached, since each connection needs it four times."""
    address, _, _zone = text.partition("%")
    ip = ipaddress.ip_address(address)
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip)


def family_of(address: str) -> socket.AddressFamily:
    """Return the family of a numeric address, ``AF_INET`` or ``AF_INET6``."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def own_address(text: str) -> str:
    """Check that ``text`` is a numeric address of this machine, and return it in its usual form.

    Raises:
        UsageError: It is not numeric, or not an address of this machine.
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
    """Return the local address that the kernel would choose for a connection; this sends no packet.

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
    """Connect from the port of the lease.

    Args:
        address: The remote address.
        lease: The lease of the local port.
        source: The local address.
        bind_source: Whether the local address was given, rather than chosen by the kernel.
        window: The ephemeral ports to choose from; ``None`` for all.

    Returns:
        A connected, non-blocking socket. On any error or cancellation it is reset.

    Raises:
        PortRefused: The port is in use; another may work.
        DialError: This user may not bind the port, or the address is not one of this machine.
        OSError: connect(2) failed.
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
    """Close without a FIN, and so without TIME_WAIT, by resetting the connection, if any (socket(7))."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, BY_RESET)
    sock.close()


def bind(sock: socket.socket, source: SockAddr, port: int) -> None:
    """Bind to ``port``, and tell errors that another port may avoid from those that it cannot.

    Raises:
        PortRefused: The port is in use; another may work.
        DialError: This user may not bind the port, or the address is not one of this machine.
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


ATTEMPT_DELAY_SECONDS: Final = 0.25
"""Seconds between two attempts while none has failed (RFC 8305, section 8: Connection Attempt Delay)."""

Connected = TypeVar("Connected")
"""The result of a successful attempt."""


class NoneConnected(Exception):  # noqa: N818 - the dialler turns it into an error
    """No address could be connected to.

    Attributes:
        failures: Each address that was tried, in order, with its error.
    """

    def __init__(self, failures: Sequence[tuple[Address, OSError | DialError]]) -> None:
        super().__init__("no address could be connected to")
        self.failures = tuple(failures)


def interleaved(addresses: Sequence[Address]) -> list[Address]:
    """Alternate between the families, beginning with that of the first address; keep the order within each.

    The input is in the order of getaddrinfo(3) (RFC 6724), in which all addresses of a family that does not
    work may come before the first of one that does. Duplicates are removed.

    Source: RFC 8305, section 4, with a First Address Family Count of 1.
    """
    distinct = list(dict.fromkeys(addresses))
    first = [address for address in distinct if address.family is distinct[0].family]
    other = [address for address in distinct if address.family is not distinct[0].family]
    return [address for address in chain.from_iterable(zip_longest(first, other)) if address is not None]


class Spare:
    """The sockets that hosts may use beyond one each, to try several addresses at once.

    Args:
        sockets: Their number; ``None`` for no limit.
    """

    def __init__(self, sockets: int | None = None) -> None:
        self._left = sockets

    def take(self) -> bool:
        """Take one socket; return whether one was left."""
        if self._left is None:
            return True
        if not self._left:
            return False
        self._left -= 1
        return True

    def give_back(self) -> None:
        """Give one socket back."""
        if self._left is not None:
            self._left += 1


class Race:
    """Decides when each address is tried; pure.

    The next attempt begins as soon as the newest has failed, or when the delay has passed.
    """

    def __init__(self, count: int, *, delay: float) -> None:
        """Begin with no address tried.

        Args:
            count: The number of addresses.
            delay: Seconds from one attempt to the next beside it; infinite for one attempt at a time.
        """
        self._count = count
        self._delay = delay
        self._begun = 0
        self._under_way: set[int] = set()
        self._next_at = float("-inf")

    @property
    def is_idle(self) -> bool:
        """Whether no attempt is under way."""
        return not self._under_way

    @property
    def next_at(self) -> float | None:
        """When the next attempt may begin, on the clock of ``begin``; ``None`` if no address is left."""
        return None if self._begun == self._count else self._next_at

    def begin(self, now: float) -> int:
        """Begin the next attempt.

        Returns:
            The index of its address.
        """
        number = self._begun
        self._begun += 1
        self._under_way.add(number)
        self._next_at = now + self._delay
        return number

    def postpone(self, now: float) -> None:
        """Put off the next attempt, which could not begin although it was due."""
        self._next_at = now + self._delay

    def failed(self, number: int) -> None:
        """Record that an attempt has failed."""
        self._under_way.remove(number)
        if number == self._begun - 1 or not self._under_way:
            self._next_at = float("-inf")


async def first_to_connect(
    addresses: Sequence[Address],
    connect: Callable[[Address], Awaitable[Connected]],
    *,
    discard: Callable[[Connected], None],
    spare: Spare,
    delay: float = ATTEMPT_DELAY_SECONDS,
) -> Connected:
    """Connect to the first of ``addresses`` that accepts the connection.

    Args:
        addresses: The addresses, in the order in which to try them; one or more.
        connect: Connects to one address. It raises OSError or DialError, and cleans up when cancelled.
        discard: Closes a connection that is not needed; it must not block or fail.
        spare: The sockets for attempts beside a host's first; if none is left, the next address waits for a
            failure.
        delay: As for ``Race``.

    Returns:
        The result of the winning attempt. All others have ended, and their connections are discarded.

    Raises:
        NoneConnected: All attempts have failed.
    """
    if len(addresses) > 1:
        return await _Runner(addresses, connect, discard, spare, Race(len(addresses), delay=delay)).run()
    (address,) = addresses
    try:
        return await connect(address)
    except (OSError, DialError) as error:
        raise NoneConnected([(address, error)]) from None


class _Runner(Generic[Connected]):
    """Carries out the attempts of a ``Race``."""

    def __init__(
        self,
        addresses: Sequence[Address],
        connect: Callable[[Address], Awaitable[Connected]],
        discard: Callable[[Connected], None],
        spare: Spare,
        race: Race,
    ) -> None:
        self._addresses = addresses
        self._connect = connect
        self._discard = discard
        self._spare = spare
        self._race = race
        self._tasks: list[asyncio.Task[None]] = []
        self._won: list[Connected] = []
        self._failures: dict[int, OSError | DialError] = {}
        self._news = asyncio.Event()

    async def run(self) -> Connected:
        """Run the race.

        Raises:
            NoneConnected: All attempts have failed.
        """
        try:
            async with asyncio.TaskGroup() as group:
                await self._begin_all(group)
        except BaseException:
            for connected in self._won:
                self._discard(connected)
            raise
        if not self._won:
            raise NoneConnected(
                [(self._addresses[number], error) for number, error in sorted(self._failures.items())]
            )
        return self._won[0]

    async def _begin_all(self, group: asyncio.TaskGroup) -> None:
        """Begin one attempt after another, until one has won or all have begun."""
        loop = asyncio.get_running_loop()
        while not self._won and (at := self._race.next_at) is not None:
            if at > loop.time():
                await self._news_until(at)
            elif self._race.is_idle:
                self._begin(group, has_spare=False)
            elif self._spare.take():
                self._begin(group, has_spare=True)
            else:
                self._race.postpone(loop.time())

    def _begin(self, group: asyncio.TaskGroup, *, has_spare: bool) -> None:
        number = self._race.begin(asyncio.get_running_loop().time())
        task = group.create_task(self._attempt(number))
        self._tasks.append(task)
        if has_spare:
            # Not in the attempt: one that is cancelled before its first step would not give it back.
            task.add_done_callback(lambda _: self._spare.give_back())

    async def _news_until(self, when: float) -> None:
        self._news.clear()
        try:
            async with asyncio.timeout_at(None if when == float("inf") else when):
                await self._news.wait()
        except TimeoutError:
            return

    async def _attempt(self, number: int) -> None:
        try:
            connected = await self._connect(self._addresses[number])
        except (OSError, DialError) as error:
            self._failures[number] = error
            self._race.failed(number)
        else:
            if self._won:
                self._discard(connected)
                return
            self._won.append(connected)
            for task in self._tasks:
                if task is not asyncio.current_task():
                    task.cancel()
        self._news.set()
