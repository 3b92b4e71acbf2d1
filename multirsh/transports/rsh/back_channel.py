"""The connections that rsh servers make back to this machine for stderr, and the hosts that they belong to.

One listener serves many hosts at once: a connection is assigned to a host by
the address that it comes from. A further listener is opened only if every
open one already expects a connection from that address. So a few reserved
ports are enough for thousands of hosts. Two servers at one address differ
only in the port that they connect to, so an address has one handshake at a
time on each listener.

Any program that knows a port can connect to it. A connection must come from a
reserved port, which only a privileged process can bind (rshd(8), step 3), and
from an expected address; all others are reset at once. A host is expected at
the address that was dialled and at every other address of its name. A server
behind a virtual address may connect from an address that is not known before.
Such a connection is accepted only if one handshake alone expects a connection
on that port, and no abandoned one may still arrive there: it cannot then
belong to another host. rcmd(3), which checks the port alone, does the same.
It is not trusted yet: the command is sent only when the script on the host
has written its key, which was sent to that host alone, on both connections
(``conversation``).
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
"""The most listeners on one local address, and so the most handshakes at once with one remote address."""

BACKLOG: Final = 1024
"""The most connections that wait to be accepted while the loop is busy; the kernel has a limit of its own."""

LOOK_AGAIN_S: Final = 0.1
"""Seconds until a listener is read again after the process had no descriptor left."""


class CallbackVerdict(enum.Enum):
    """What is done with an incoming connection."""

    LET_IN = "let in"
    WRONG_PORT = "wrong port"
    """It comes from an expected address, but not from a reserved port."""
    STRANGER = "stranger"
    """It comes from an address that is not expected."""


def judge(address: str, port: int, awaited: Collection[str], *, is_own: bool = False) -> CallbackVerdict:
    """Decide whether to accept an incoming connection.

    Args:
        address: The numeric address that it comes from, as ``plain`` returns it.
        port: The port that it comes from.
        awaited: The addresses from which a connection is expected.
        is_own: Whether one host alone uses the listener, so that the connection cannot belong to another.
    """
    if is_own and port in RESERVED:
        return CallbackVerdict.LET_IN
    if address not in awaited:
        return CallbackVerdict.STRANGER
    return CallbackVerdict.LET_IN if port in RESERVED else CallbackVerdict.WRONG_PORT


def plain(address: str) -> str:
    """Return the one spelling of an address: without a zone, and mapped IPv4 as IPv4."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return str(parsed)


class NoStderr(Exception):  # noqa: N818 - the host's failure says what is wrong
    """The connection for stderr cannot be made.

    Attributes:
        reason: The status and the failure of the host.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason[1].message)
        self.reason = reason


class Listening(Protocol):
    """The part of the dialler that this module uses."""

    async def reserve_listener(self, login_deadline: LoginDeadline) -> ReservedPort:
        """Wait for a reserved port to listen on, and return it."""

    def listen_reserved(
        self, source: str, *, backlog: int, reserved: ReservedPort | None = None
    ) -> tuple[socket.socket, Lease]:
        """Listen on a reserved port; return the socket and the port's lease."""

    def unlisten(self, listener: socket.socket, lease: Lease) -> None:
        """Close a listener, and give its lease back."""

    def adopt(self, sock: socket.socket, *, spares_peer: bool = False) -> RemoteFirstTransport:
        """Take over a socket that a listener has accepted."""


class Expectation:
    """One host's place at a listener, from before the port is sent to it until its connection is there."""

    def __init__(self, listener: _Listener, addresses: frozenset[str]) -> None:
        self._listener = listener
        self._addresses = addresses
        self._arrival: asyncio.Future[RemoteFirstTransport] = asyncio.get_running_loop().create_future()
        self._is_settled = False

    @property
    def port(self) -> int:
        """The port that is sent to the server."""
        return self._listener.port

    async def connection(self) -> RemoteFirstTransport:
        """Wait for the connection.

        Raises:
            NoStderr: It cannot be made.
        """
        transport = await self._arrival
        self._is_settled = True
        return transport

    def arrived(self, transport: RemoteFirstTransport) -> None:
        """Deliver the connection."""
        if self._arrival.done():  # it was abandoned in this very turn of the loop
            transport.abandon()
        else:
            self._arrival.set_result(transport)

    def fail(self, reason: Reason, *, may_still_come: bool = False) -> None:
        """Stop waiting for the connection.

        Args:
            reason: The status and the failure of the host.
            may_still_come: Whether the server may still make it; no other host may then take it.
        """
        self._is_settled = not may_still_come
        if not self._arrival.done():
            self._arrival.set_exception(NoStderr(reason))

    def main_ended(self, error: OSError | None) -> None:
        """Stop waiting, because the main connection has ended, and with it the server that would connect."""
        self.fail(failures.no_stderr(error))

    def leave(self) -> None:
        """Leave the place, and abandon a connection that has arrived and was not taken."""
        if self._arrival.done() and not self._arrival.cancelled() and self._arrival.exception() is None:
            if not self._is_settled:
                self._arrival.result().abandon()
            self._is_settled = True
        self._arrival.cancel()
        self._listener.leave(self._addresses, is_spoilt=not self._is_settled)


class _Listener:
    """One listening port, and the hosts that expect a connection to it.

    Attributes:
        port: The number of the port.
    """

    def __init__(
        self,
        dialler: Listening,
        source: str,
        on_place_free: Callable[[], None],
        reserved: ReservedPort | None,
    ) -> None:
        """Listen, on the port ``reserved`` if one is given.

        Raises:
            DialError: There is no port to listen on.
        """
        self._dialler = dialler
        self._on_place_free = on_place_free
        self._sock, self._lease = dialler.listen_reserved(source, backlog=BACKLOG, reserved=reserved)
        self.port: int = self._sock.getsockname()[1]
        self._awaited: dict[str, Expectation] = {}
        # Abandoned connections that may still arrive, each from one of several addresses: they must not be
        # mistaken for those of other hosts.
        self._spoilt: dict[str, frozenset[str]] = {}
        self._loop = asyncio.get_running_loop()
        self._watch()

    def is_free_for(self, address: str) -> bool:
        """Whether a connection from ``address`` could only be the one that is expected next."""
        return address not in self._awaited and not self.is_spoilt_for(address)

    def is_spoilt_for(self, address: str) -> bool:
        """Whether a connection from ``address`` could be one that was abandoned."""
        return address in self._spoilt

    def expect(self, address: str, others: Iterable[str]) -> Expectation:
        """Expect a connection from ``address``, or from any of ``others`` that no other host uses."""
        addresses = frozenset({address, *(other for other in others if self.is_free_for(other))})
        expectation = Expectation(self, addresses)
        self._awaited.update(dict.fromkeys(addresses, expectation))
        return expectation

    def leave(self, addresses: frozenset[str], *, is_spoilt: bool) -> None:
        """Stop expecting a connection from ``addresses``."""
        for address in addresses:
            del self._awaited[address]
        if is_spoilt:
            self._spoilt.update(dict.fromkeys(addresses, addresses))
        self._on_place_free()

    def close(self) -> None:
        """Stop listening."""
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
            for same in self._spoilt[address]:  # the abandoned one; it comes only once
                self._spoilt.pop(same, None)
            self._on_place_free()
        awaited = set(self._awaited.values())
        is_own = len(awaited) == 1 and not self._spoilt and not is_late
        verdict = judge(address, port, self._awaited, is_own=is_own)
        if verdict is CallbackVerdict.LET_IN:
            expectation = self._awaited.get(address) or awaited.pop()
            with suppress(OSError):  # it has ended already; its server will say why on the main connection
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
        """Fail the waiting hosts, since no descriptor or memory is left, and accept again a little later."""
        for expectation in list(self._awaited.values()):
            expectation.fail(failures.cannot_accept(error), may_still_come=True)
        self._loop.remove_reader(self._sock)
        self._loop.call_later(LOOK_AGAIN_S, self._watch)


class BackChannels:
    """The listeners of one run."""

    def __init__(self, dialler: Listening) -> None:
        """Begin without listeners.

        Args:
            dialler: Opens the listeners, and takes over the sockets that they accept.
        """
        self._dialler = dialler
        self._listeners: dict[str, list[_Listener]] = {}
        self._place_free = asyncio.Event()
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._spare: ReservedPort | None = None
        self._reserving: set[asyncio.Timeout] = set()

    async def make_ready(self, login_deadline: LoginDeadline) -> None:
        """Make sure that there is a port to listen on, before one is taken to connect from.

        Hosts that each held one port and waited for a second would wait for each other.

        Raises:
            DialError: No port was free within the time that ``login_deadline`` allows for one.
        """
        if not any(self._listeners.values()):
            await self._reserve(login_deadline)

    @asynccontextmanager
    async def turn(self, address: str, login_deadline: LoginDeadline) -> AsyncGenerator[None, None]:
        """Wait for a turn towards ``address``, and hold it inside; there are as many as listeners at most.

        The deadline is suspended meanwhile: a host is not slow because others at its address come first.
        Each of those has a deadline of its own, so the wait is bounded.
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
        """Take a place at a listener, which the caller has to ``leave`` in the end.

        Args:
            source: The local address towards the host, to which it will connect.
            address: The address of the host, from which it will connect.
            others: Further addresses of the host, from which it may connect.
            login_deadline: Bounds the wait for a port, if a further listener is needed.

        Raises:
            DialError: There is no port to listen on.
            NoStderr: No place is left, since too many connections from that address never arrived.
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
        """Wait until there is, or was, a spare port.

        All hosts that need one wait for it, each with a deadline of its own; the first gets it for all.

        Raises:
            DialError: No port was free within ``login_deadline``, or this user may not bind one.
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
        """Open one more listener, and return whether there was a port for it.

        Raises:
            DialError: This user may not bind a reserved port.
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
