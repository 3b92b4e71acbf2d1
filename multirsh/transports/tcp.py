"""TCP sockets of this machine: how they are bound and connected, which address wins, and why none did.

A host's addresses are tried a little after one another; the first that connects wins::

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
"""What is this machine's fault and not the host's."""

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
"""Of several addresses' errors, which tells most of the host: that somebody answered, then that nobody did,
then that this machine could not ask; a family without a route tells least."""

_NAMED: Final = 4
"""So many of a host's addresses are named in its error."""

_ROUTE_ERRORS: Final = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})


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


def dial_error(error: OSError) -> DialError:
    """Tell what a failed connect means."""
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
    """Tell what it means that no address of a host could be connected to.

    Args:
        failures: Each address that was tried, with why not; one or more.

    Returns:
        The one error there is, or the most telling, with what was tried in its message.
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
    """A failure that is this machine's fault and not the host's."""
    return DialError(Status.LOCAL, Failure(kind, phase, message))


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


ATTEMPT_DELAY_SECONDS: Final = 0.25
"""From one attempt to the next, while none has failed (RFC 8305, section 8: Connection Attempt Delay)."""

Connected = TypeVar("Connected")
"""What an attempt gives."""


class NoneConnected(Exception):  # noqa: N818 - what it means the dialler says
    """No address could be connected to.

    Attributes:
        failures: Each address that was tried, in order, with why not.
    """

    def __init__(self, failures: Sequence[tuple[Address, OSError | DialError]]) -> None:
        super().__init__("no address could be connected to")
        self.failures = tuple(failures)


def interleaved(addresses: Sequence[Address]) -> list[Address]:
    """Put the families by turns, the first address's first; within a family the order stays.

    The order that comes in is getaddrinfo(3)'s (RFC 6724), in which all addresses of a family that does not
    work may stand before the first that does. An address that stands there twice is left out once.

    Source: RFC 8305, section 4, with a First Address Family Count of 1.
    """
    distinct = list(dict.fromkeys(addresses))
    first = [address for address in distinct if address.family is distinct[0].family]
    other = [address for address in distinct if address.family is not distinct[0].family]
    return [address for address in chain.from_iterable(zip_longest(first, other)) if address is not None]


class Spare:
    """Sockets beside one for each host, for those that try several addresses at once.

    Args:
        sockets: How many; ``None`` for any number.
    """

    def __init__(self, sockets: int | None = None) -> None:
        self._left = sockets

    def take(self) -> bool:
        """Take one, if there is one."""
        if self._left is None:
            return True
        if not self._left:
            return False
        self._left -= 1
        return True

    def give_back(self) -> None:
        """Give back what was taken."""
        if self._left is not None:
            self._left += 1


class Race:
    """Which address is tried when; pure.

    The next begins as soon as the newest has failed, or when it has had its time.
    """

    def __init__(self, count: int, *, delay: float) -> None:
        """Begin with none tried.

        Args:
            count: How many addresses there are.
            delay: Seconds that an attempt has before the next begins beside it; infinite for one after
                another.
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
        """When the next may begin, on the clock of ``begin``; ``None`` if there is no other."""
        return None if self._begun == self._count else self._next_at

    def begin(self, now: float) -> int:
        """The next attempt begins.

        Returns:
            Which of the addresses it is for.
        """
        number = self._begun
        self._begun += 1
        self._under_way.add(number)
        self._next_at = now + self._delay
        return number

    def postpone(self, now: float) -> None:
        """The next could not begin although it was time."""
        self._next_at = now + self._delay

    def failed(self, number: int) -> None:
        """An attempt has failed."""
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
    """Connect to the first of ``addresses`` that lets us.

    Args:
        addresses: In the order to try them; one or more.
        connect: Tries one; raises OSError or DialError, and leaves nothing behind when it is cancelled.
        discard: Throws away a connection that is not wanted; called at once, and must not fail.
        spare: Sockets for attempts beside a host's first; where there is none, the next address waits for a
            failure.
        delay: As for ``Race``.

    Returns:
        The winner's; every other attempt has ended, and what it had was thrown away.

    Raises:
        NoneConnected: All have failed.
    """
    if len(addresses) > 1:
        return await _Runner(addresses, connect, discard, spare, Race(len(addresses), delay=delay)).run()
    (address,) = addresses
    try:
        return await connect(address)
    except (OSError, DialError) as error:
        raise NoneConnected([(address, error)]) from None


class _Runner(Generic[Connected]):
    """The shell around a ``Race``."""

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
            NoneConnected: All have failed.
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
