"""The connections that rsh servers make back to us, for stderr: who is let in, and whom it belongs to.

One listener serves many hosts at once: what comes in is known by the address
it comes from. Only towards an address from which every listener already
awaits one is another listener opened. So a handful of reserved ports is
enough for thousands of hosts. A server could only be told apart by the port
it was given, so an address has one handshake at a time on each listener.

Anything that knows a port may connect to it. A connection must come from a
reserved port, as of a privileged process (rshd(8), step 3), and from an
address that is awaited; all others are reset at once. A host is awaited at
the address that was dialled and at all others of its name. A server behind a
virtual address, or with addresses that its name does not have, comes from one
that nothing tells. It is taken where the port is the host's own, so that no
other host can be meant: one handshake alone awaits a connection there, and
none that was given up on may still come. That is what rcmd(3) does, which
looks at the port alone. What is taken so is not yet believed: the command is
sent only when the script on the host has written its key, which was told to
that host alone, on both connections (``conversation``).
"""

from __future__ import annotations

import asyncio
import enum
import ipaddress
import socket
from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Final, Protocol

from multirsh.model import ErrorKind
from multirsh.ports.sockets import Lease
from multirsh.transports.dialling import ReservedPort
from multirsh.transports.login_deadline import LoginDeadline
from multirsh.transports.remote_first import RemoteFirstTransport
from multirsh.transports.rsh import failures
from multirsh.transports.rsh.failures import Reason
from multirsh.transports.rsh.rcmd import RESERVED
from multirsh.transports.tcp import DialError, reset

LISTENERS_AT_MOST: Final = 16
"""Listeners on one local address, so handshakes at once with one remote address; others wait their turn."""

BACKLOG: Final = 1024
"""Connections that may wait to be accepted while the loop is busy; the kernel has a bound of its own."""

LOOK_AGAIN_S: Final = 0.1
"""Seconds until a listener is asked again after the process had no descriptor left."""


class CallbackVerdict(enum.Enum):
    """What is done with a connection that came in."""

    LET_IN = "let in"
    WRONG_PORT = "wrong port"
    """From an address that is awaited, but not from a reserved port."""
    STRANGER = "stranger"
    """From an address that is not awaited."""


def judge(address: str, port: int, awaited: Collection[str], *, is_own: bool = False) -> CallbackVerdict:
    """Decide about a connection that came in.

    Args:
        address: Where it comes from, numeric, as ``plain`` gives it.
        port: And from which port.
        awaited: Addresses whose connection is awaited.
        is_own: Whether the port that it came to is one host's own, so that it can only be that host's.
    """
    if is_own and port in RESERVED:
        return CallbackVerdict.LET_IN
    if address not in awaited:
        return CallbackVerdict.STRANGER
    return CallbackVerdict.LET_IN if port in RESERVED else CallbackVerdict.WRONG_PORT


def plain(address: str) -> str:
    """One spelling for one address: without a zone, and IPv4 as such even where IPv6 carries it."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return str(parsed)


class NoStderr(Exception):  # noqa: N818 - the host's failure says what is wrong
    """There will be no connection for stderr.

    Attributes:
        reason: What the host's result will be.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason[1].message)
        self.reason = reason


class Listening(Protocol):
    """What is asked of the dialler."""

    async def reserve_listener(self, login_deadline: LoginDeadline) -> ReservedPort:
        """A reserved port to listen on, waited for."""

    def listen_reserved(
        self, source: str, *, backlog: int, reserved: ReservedPort | None = None
    ) -> tuple[socket.socket, Lease]:
        """A listener on a reserved port, and its lease."""

    def unlisten(self, listener: socket.socket, lease: Lease) -> None:
        """Close it."""

    def adopt(self, sock: socket.socket, *, spares_peer: bool = False) -> RemoteFirstTransport:
        """Take over what it has accepted."""


class Expectation:
    """One host's place at a listener, from before it is told the port until its connection is there."""

    def __init__(self, listener: _Listener, addresses: frozenset[str]) -> None:
        self._listener = listener
        self._addresses = addresses
        self._arrival: asyncio.Future[RemoteFirstTransport] = asyncio.get_running_loop().create_future()
        self._is_settled = False

    @property
    def port(self) -> int:
        """What the server is told."""
        return self._listener.port

    async def connection(self) -> RemoteFirstTransport:
        """Wait for the connection.

        Raises:
            NoStderr: There will be none.
        """
        transport = await self._arrival
        self._is_settled = True
        return transport

    def arrived(self, transport: RemoteFirstTransport) -> None:
        """It is there."""
        if self._arrival.done():  # given up on in this very turn of the loop
            transport.abandon()
        else:
            self._arrival.set_result(transport)

    def fail(self, reason: Reason, *, may_still_come: bool = False) -> None:
        """None is waited for any more.

        Args:
            reason: Why not.
            may_still_come: Whether the server may make it nevertheless; nobody else may take it then.
        """
        self._is_settled = not may_still_come
        if not self._arrival.done():
            self._arrival.set_exception(NoStderr(reason))

    def main_ended(self, error: OSError | None) -> None:
        """The main connection is gone, and so is who would make this one."""
        self.fail(failures.no_stderr(error))

    def leave(self) -> None:
        """Give up the place, and what has come to it without being taken."""
        if self._arrival.done() and not self._arrival.cancelled() and self._arrival.exception() is None:
            if not self._is_settled:
                self._arrival.result().abandon()
            self._is_settled = True
        self._arrival.cancel()
        self._listener.leave(self._addresses, is_spoilt=not self._is_settled)


class _Listener:
    """One listening port, and who awaits a connection to it.

    Attributes:
        port: Its number.
    """

    def __init__(
        self,
        dialler: Listening,
        source: str,
        on_place_free: Callable[[], None],
        reserved: ReservedPort | None,
    ) -> None:
        """Listen, on the port that is ``reserved`` if there is one.

        Raises:
            DialError: There is no port to listen on.
        """
        self._dialler = dialler
        self._on_place_free = on_place_free
        self._sock, self._lease = dialler.listen_reserved(source, backlog=BACKLOG, reserved=reserved)
        self.port: int = self._sock.getsockname()[1]
        self._awaited: dict[str, Expectation] = {}
        # Connections that were given up on and may still come, each from one of several addresses: they must
        # not be taken for another's.
        self._spoilt: dict[str, frozenset[str]] = {}
        self._loop = asyncio.get_running_loop()
        self._watch()

    def is_free_for(self, address: str) -> bool:
        """Whether a connection from ``address`` could only be the one that is awaited next."""
        return address not in self._awaited and not self.is_spoilt_for(address)

    def is_spoilt_for(self, address: str) -> bool:
        """Whether a connection from ``address`` could be one that somebody has given up on."""
        return address in self._spoilt

    def expect(self, address: str, others: Iterable[str]) -> Expectation:
        """Await a connection from ``address``, or from any of ``others`` that is not another host's, too."""
        addresses = frozenset({address, *(other for other in others if self.is_free_for(other))})
        expectation = Expectation(self, addresses)
        self._awaited.update(dict.fromkeys(addresses, expectation))
        return expectation

    def leave(self, addresses: frozenset[str], *, is_spoilt: bool) -> None:
        """No longer await one from ``addresses``."""
        for address in addresses:
            del self._awaited[address]
        if is_spoilt:
            self._spoilt.update(dict.fromkeys(addresses, addresses))
        self._on_place_free()

    def close(self) -> None:
        """Listen no more."""
        self._loop.remove_reader(self._sock)
        self._dialler.unlisten(self._sock, self._lease)

    def _watch(self) -> None:
        if self._sock.fileno() >= 0:
            self._loop.add_reader(self._sock, self._on_readable)

    def _on_readable(self) -> None:
        while True:
            try:
                sock, sockaddr = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._cannot_accept(error)
                return
            self._take(sock, plain(sockaddr[0]), sockaddr[1])

    def _take(self, sock: socket.socket, address: str, port: int) -> None:
        is_late = self.is_spoilt_for(address) and address not in self._awaited
        if is_late and port in RESERVED:
            for same in self._spoilt[address]:  # the one that was given up on; another will not come
                self._spoilt.pop(same, None)
            self._on_place_free()
        awaited = set(self._awaited.values())
        is_own = len(awaited) == 1 and not self._spoilt and not is_late
        verdict = judge(address, port, self._awaited, is_own=is_own)
        if verdict is CallbackVerdict.LET_IN:
            expectation = self._awaited.get(address) or awaited.pop()
            with suppress(OSError):  # come and gone; its server will say so on the main connection
                # in.rshd binds one of its 512 reserved ports for this, without SO_REUSEADDR: its TIME_WAIT
                # would stop it at 512 commands a minute.
                transport = self._dialler.adopt(sock, spares_peer=True)
                expectation.arrived(transport)
            return
        reset(sock)
        if verdict is CallbackVerdict.WRONG_PORT:
            self._awaited[address].fail(failures.stderr_from_wrong_port(port))
        elif len(awaited) == 1 and port in RESERVED and not is_late:
            expected = ", ".join(sorted(self._awaited))
            awaited.pop().fail(failures.stderr_from_elsewhere(expected, address), may_still_come=True)

    def _cannot_accept(self, error: OSError) -> None:
        """No descriptor or memory is left: say so to those who wait, and look again a little later."""
        for expectation in list(self._awaited.values()):
            expectation.fail(failures.cannot_accept(error), may_still_come=True)
        self._loop.remove_reader(self._sock)
        self._loop.call_later(LOOK_AGAIN_S, self._watch)


class BackChannels:
    """The listeners of one run."""

    def __init__(self, dialler: Listening) -> None:
        """Begin without any.

        Args:
            dialler: Opens the listeners, and takes over what they accept.
        """
        self._dialler = dialler
        self._listeners: dict[str, list[_Listener]] = {}
        self._place_free = asyncio.Event()
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._spare: ReservedPort | None = None
        self._reserving: set[asyncio.Timeout] = set()

    async def make_ready(self, login_deadline: LoginDeadline) -> None:
        """See to it that there is a port to listen on, before one is taken to connect from.

        Whoever held one and waited for the other could wait for others that do the same.

        Raises:
            DialError: There was none for as long as ``login_deadline`` has for a port.
        """
        if not any(self._listeners.values()):
            await self._reserve(login_deadline)

    @asynccontextmanager
    async def turn(self, address: str, login_deadline: LoginDeadline) -> AsyncGenerator[None, None]:
        """Await one of the turns towards ``address``, as many as there may be listeners; then have it inside.

        The deadlines stand still meanwhile: a host is not slow because others of its address are before it.
        They are bounded by deadlines of their own, so this is, too.
        """
        turns = self._turns.setdefault(plain(address), asyncio.Semaphore(LISTENERS_AT_MOST))
        login_deadline.stop()
        try:
            await turns.acquire()
        finally:
            login_deadline.go_on()
        try:
            yield
        finally:
            turns.release()

    async def expect(
        self, source: str, address: str, login_deadline: LoginDeadline, *, others: Iterable[str] = ()
    ) -> Expectation:
        """Take a place at a listener, and ``leave`` it in the end.

        Args:
            source: Our address towards the host: where it will connect to.
            address: The host's, where it will connect from.
            others: More addresses of the host, where it may connect from.
            login_deadline: Bounds the wait for a port, where ``address`` gets no listener at ``source``.

        Raises:
            DialError: No port could be had to listen on.
            NoStderr: So many connections from that address never came that there is no place left.
        """
        source, address = plain(source), plain(address)
        listeners = self._listeners.setdefault(source, [])
        while True:
            for listener in listeners:
                if listener.is_free_for(address):
                    return listener.expect(address, map(plain, others))
            if len(listeners) < LISTENERS_AT_MOST and self._opened(source, listeners):
                continue
            if not all(listener.is_spoilt_for(address) for listener in listeners):
                self._place_free.clear()
                await self._place_free.wait()
            elif len(listeners) < LISTENERS_AT_MOST:
                await self._reserve(login_deadline)
            else:
                raise NoStderr(failures.no_way_for_stderr(len(listeners)))

    async def _reserve(self, login_deadline: LoginDeadline) -> None:
        """Wait until there is a spare port, or was one.

        All that need it queue for a port, each with a deadline of its own; the first gets it for all.

        Raises:
            DialError: There was none for as long as ``login_deadline`` allows, or we may not have one.
        """
        if self._spare is not None:
            return
        unneeded = asyncio.timeout(None)
        try:
            async with unneeded:
                self._reserving.add(unneeded)
                try:
                    reserved = await self._dialler.reserve_listener(login_deadline)
                finally:
                    self._reserving.discard(unneeded)
        except TimeoutError:
            if not unneeded.expired():
                raise
            return
        if self._spare is not None:  # two were served in one turn of the loop
            self._dialler.unlisten(*reserved)
            return
        self._spare = reserved
        while self._reserving:
            self._reserving.pop().reschedule(0)

    def _opened(self, source: str, listeners: list[_Listener]) -> bool:
        """Open one more, if there is a port; the places of those that are open become free in their time.

        Raises:
            DialError: We may not have any.
        """
        spare, self._spare = self._spare, None
        try:
            listeners.append(_Listener(self._dialler, source, self._place_free.set, spare))
        except DialError as error:
            if error.failure.kind is not ErrorKind.PORTS:
                raise
            return False
        return True

    def release(self) -> None:
        """Close the listeners."""
        if self._spare is not None:
            self._dialler.unlisten(*self._spare)
            self._spare = None
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.close()
        self._listeners.clear()
