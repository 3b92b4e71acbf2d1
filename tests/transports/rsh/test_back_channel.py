"""The connections that servers make back: who is let in, and how few listeners that takes."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing

import pytest
import pytest_asyncio

from multirsh.model import ErrorKind, Phase, Status
from multirsh.ports.sockets import Lease
from multirsh.transports.dialling import ReservedPort
from multirsh.transports.login_deadline import LoginDeadline, PortWaitOver
from multirsh.transports.remote_first import RemoteFirstTransport
from multirsh.transports.rsh.back_channel import (
    LISTENERS_AT_MOST,
    BackChannels,
    CallbackVerdict,
    Expectation,
    NoStderr,
    judge,
    plain,
)
from multirsh.transports.tcp import local_error
from tests.servers.namespace import Namespace

HERE = "127.0.0.1"

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]


class Listening:
    """A dialler that only listens, and counts.

    Attributes:
        listeners: How many there are, what is kept to be listened on included.
        reserving: How many wait for a port to listen on.
        is_free: Whether there is one.
    """

    def __init__(self) -> None:
        self.listeners = 0
        self.reserving = 0
        self.is_free = asyncio.Event()
        self._ports = itertools.count(900)

    async def reserve_listener(self, login_deadline: LoginDeadline) -> ReservedPort:
        self.reserving += 1
        try:
            async with login_deadline.for_a_port():
                await self.is_free.wait()
        finally:
            self.reserving -= 1
        self.listeners += 1
        return ReservedPort(socket.socket(), None)  # type: ignore[arg-type]  # given back as it is

    def listen_reserved(
        self, source: str, *, backlog: int, reserved: ReservedPort | None = None
    ) -> tuple[socket.socket, Lease]:
        if reserved is not None:
            self.unlisten(*reserved)
        elif self.reserving:
            raise local_error(ErrorKind.PORTS, "no reserved port is free to listen on", Phase.PORT)
        sock = socket.create_server((source, next(self._ports)), backlog=backlog)
        sock.setblocking(False)
        self.listeners += 1
        return sock, None  # type: ignore[return-value]  # given back as it is

    def unlisten(self, listener: socket.socket, lease: Lease) -> None:
        listener.close()
        self.listeners -= 1

    def adopt(self, sock: socket.socket, *, spares_peer: bool = False) -> RemoteFirstTransport:
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        return RemoteFirstTransport(loop, sock, close_timeout=1, on_closed=lambda _: None)


@pytest.fixture
def listening() -> Listening:
    return Listening()


@pytest_asyncio.fixture
async def channels(in_namespace: Namespace, listening: Listening) -> AsyncIterator[BackChannels]:
    made = BackChannels(listening)
    yield made
    made.release()
    assert listening.listeners == 0


def connected(port: int, *, host: str, source_port: int = 0) -> socket.socket:
    sock = socket.socket()
    sock.bind((host, source_port))
    sock.connect((HERE, port))
    return sock


def failed(expectation: Expectation) -> NoStderr:
    assert expectation._arrival.done()
    error = expectation._arrival.exception()
    assert isinstance(error, NoStderr)
    return error


@pytest.mark.parametrize(
    ("address", "port", "verdict"),
    [
        ("10.0.0.1", 512, CallbackVerdict.LET_IN),
        ("10.0.0.1", 1023, CallbackVerdict.LET_IN),
        ("10.0.0.1", 511, CallbackVerdict.WRONG_PORT),
        ("10.0.0.1", 1024, CallbackVerdict.WRONG_PORT),
        ("10.0.0.2", 1023, CallbackVerdict.STRANGER),
    ],
)
def test_who_is_let_in(address: str, port: int, verdict: CallbackVerdict) -> None:
    assert judge(address, port, ["10.0.0.1"]) is verdict


@pytest.mark.parametrize(
    ("address", "port", "verdict"),
    [
        ("10.0.0.2", 512, CallbackVerdict.LET_IN),
        ("10.0.0.2", 1023, CallbackVerdict.LET_IN),
        ("10.0.0.2", 1024, CallbackVerdict.STRANGER),
        ("10.0.0.1", 1024, CallbackVerdict.WRONG_PORT),
    ],
)
def test_who_is_let_in_at_a_port_of_the_hosts_own(address: str, port: int, verdict: CallbackVerdict) -> None:
    assert judge(address, port, ["10.0.0.1"], is_own=True) is verdict


@pytest.mark.parametrize(
    ("address", "spelling"),
    [("::ffff:10.0.0.1", "10.0.0.1"), ("fe80::1%eth0", "fe80::1"), ("10.0.0.1", "10.0.0.1")],
)
def test_one_address_has_one_spelling(address: str, spelling: str) -> None:
    assert plain(address) == spelling


async def test_one_listener_serves_many_hosts(channels: BackChannels, listening: Listening) -> None:
    hosts = [f"127.0.0.{number}" for number in range(2, 52)]
    expected = [await channels.expect(HERE, host, LoginDeadline()) for host in hosts]
    assert listening.listeners == 1
    theirs = [connected(900, host=host, source_port=700) for host in reversed(hosts)]
    for host, expectation in zip(hosts, expected, strict=True):
        transport = await expectation.connection()
        assert transport.get_extra_info("peername") == (host, 700)
        expectation.leave()
        transport.abandon()
    for sock in theirs:
        sock.close()


async def test_one_host_has_a_listener_for_each_handshake_and_then_again(
    channels: BackChannels, listening: Listening
) -> None:
    first, second = (
        await channels.expect(HERE, HERE, LoginDeadline()),
        await channels.expect(HERE, HERE, LoginDeadline()),
    )
    assert (first.port, second.port) == (900, 901)
    with closing(connected(second.port, host=HERE, source_port=701)):
        (await second.connection()).abandon()
        second.leave()
        assert (await channels.expect(HERE, HERE, LoginDeadline())).port == second.port


async def test_beyond_that_one_waits_its_turn(channels: BackChannels, listening: Listening) -> None:
    places = [await channels.expect(HERE, HERE, LoginDeadline()) for _ in range(LISTENERS_AT_MOST)]
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(channels.expect(HERE, HERE, LoginDeadline()))
        await asyncio.sleep(0)
        assert listening.listeners == LISTENERS_AT_MOST
        places[3].main_ended(None)
        places[3].leave()
        assert (await waiting).port == places[3].port


async def test_towards_one_address_some_have_their_turn_and_the_deadlines_of_the_others_stand_still(
    channels: BackChannels,
) -> None:
    async with asyncio.timeout(10) as scope, AsyncExitStack() as turns:
        for _ in range(LISTENERS_AT_MOST):
            await turns.enter_async_context(channels.turn(HERE, LoginDeadline()))
        async with channels.turn("127.0.0.2", LoginDeadline()):
            pass  # another address has turns of its own
        login_deadline = LoginDeadline(scope)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(_have_turn(channels, login_deadline))
            await asyncio.sleep(0)
            assert login_deadline.deadline is None
            await turns.aclose()
        assert waiting.done()
        assert login_deadline.deadline is not None


async def _have_turn(channels: BackChannels, login_deadline: LoginDeadline) -> None:
    async with channels.turn(HERE, login_deadline):
        pass


async def test_all_wait_for_a_port_to_listen_on_and_the_first_gets_it_for_all(
    channels: BackChannels, listening: Listening
) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(channels.make_ready(LoginDeadline()))
        await asyncio.sleep(0)
        assert listening.reserving == 3
        listening.is_free.set()
    assert (listening.listeners, listening.reserving) == (1, 0)


async def test_each_waits_for_a_port_to_listen_on_for_as_long_as_it_may(
    channels: BackChannels, listening: Listening
) -> None:
    async def give_up(scope: asyncio.Timeout) -> None:
        with pytest.raises(PortWaitOver):
            await channels.make_ready(LoginDeadline(scope, port_seconds=0.2))

    async with asyncio.timeout(0.1) as scope, asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(give_up(scope))
    assert listening.reserving == 0


async def test_the_first_listener_of_a_further_address_of_ours_is_waited_for(
    channels: BackChannels, listening: Listening
) -> None:
    (await channels.expect(HERE, HERE, LoginDeadline())).leave()
    async with asyncio.TaskGroup() as group:
        blocker = group.create_task(listening.reserve_listener(LoginDeadline()))
        waiting = group.create_task(channels.expect("127.0.0.2", HERE, LoginDeadline()))
        await asyncio.sleep(0)
        assert (listening.listeners, listening.reserving) == (1, 2)
        listening.is_free.set()
    listening.unlisten(*blocker.result())
    assert waiting.result().port == 901


async def test_a_place_that_was_given_up_is_not_taken_for_another(
    channels: BackChannels, listening: Listening
) -> None:
    """Its connection may still come, and would be taken for the other handshake's."""
    for _ in range(LISTENERS_AT_MOST):
        (await channels.expect(HERE, HERE, LoginDeadline())).leave()
    with pytest.raises(NoStderr, match="never came"):
        await channels.expect(HERE, HERE, LoginDeadline())
    assert (await channels.expect(HERE, "127.0.0.2", LoginDeadline())).port == 900


async def test_from_another_port_it_is_refused(channels: BackChannels) -> None:
    expectation = await channels.expect(HERE, HERE, LoginDeadline())
    with closing(connected(expectation.port, host=HERE, source_port=2000)) as theirs:
        with pytest.raises(NoStderr, match="port 2000: not a reserved port") as caught:
            await expectation.connection()
        with pytest.raises(ConnectionResetError):
            theirs.recv(1)
    status, failure = caught.value.reason
    assert (status, failure.kind, failure.phase) == (Status.UNREACHABLE, ErrorKind.PROTOCOL, Phase.HANDSHAKE)
    expectation.leave()


async def test_from_another_address_it_is_taken_where_the_port_is_the_hosts_own(
    channels: BackChannels,
) -> None:
    """As from a server behind a virtual address."""
    expectation = await channels.expect(HERE, HERE, LoginDeadline())
    with closing(connected(expectation.port, host="127.7.7.7", source_port=700)):
        transport = await expectation.connection()
        assert transport.get_extra_info("peername") == ("127.7.7.7", 700)
        expectation.leave()
        transport.abandon()
    assert (await channels.expect(HERE, HERE, LoginDeadline())).port == expectation.port


async def test_a_port_that_hosts_share_needs_an_address_of_the_host(channels: BackChannels) -> None:
    """Which are that it was reached at, and those of its name that no other host may come from."""
    first = await channels.expect(HERE, HERE, LoginDeadline(), others=["127.7.7.7", "127.7.7.8"])
    second = await channels.expect(HERE, "127.0.0.2", LoginDeadline(), others=["127.7.7.8", "127.7.7.9"])
    assert first.port == second.port
    with closing(connected(first.port, host="127.7.7.6", source_port=700)) as theirs:
        await asyncio.to_thread(_until_reset, theirs)
    for expectation, address in ((second, "127.7.7.9"), (first, "127.7.7.8")):
        with closing(connected(expectation.port, host=address, source_port=700)):
            transport = await expectation.connection()
            assert transport.get_extra_info("peername") == (address, 700)
            expectation.leave()
            transport.abandon()


async def test_one_of_several_addresses_that_comes_late_is_awaited_at_none_of_them(
    channels: BackChannels,
) -> None:
    late = await channels.expect(HERE, "127.0.0.2", LoginDeadline(), others=["127.0.0.3"])
    late.leave()
    elsewhere = await channels.expect(HERE, "127.0.0.3", LoginDeadline())
    assert elsewhere.port != late.port
    elsewhere.main_ended(None)
    elsewhere.leave()
    expectation = await channels.expect(HERE, HERE, LoginDeadline())
    with closing(connected(late.port, host="127.0.0.3", source_port=700)) as theirs:
        await asyncio.to_thread(_until_reset, theirs)
    assert not expectation._arrival.done()
    assert (await channels.expect(HERE, "127.0.0.2", LoginDeadline())).port == late.port


async def test_from_another_address_it_is_refused_while_one_may_come_that_was_given_up_on(
    channels: BackChannels,
) -> None:
    (await channels.expect(HERE, "127.0.0.9", LoginDeadline())).leave()
    expectation = await channels.expect(HERE, HERE, LoginDeadline())
    with closing(connected(expectation.port, host="127.7.7.7", source_port=700)) as theirs:
        with pytest.raises(NoStderr, match=r"from 127\.7\.7\.7, not from 127\.0\.0\.1"):
            await expectation.connection()
        with pytest.raises(ConnectionResetError):
            theirs.recv(1)
    expectation.leave()
    assert (
        await channels.expect(HERE, HERE, LoginDeadline())
    ).port != expectation.port  # the right one may still come


async def test_a_stranger_does_no_harm_to_whom_it_cannot_be(channels: BackChannels) -> None:
    """From no reserved port, or while several are awaited: nothing says whose it was meant to be."""
    first = await channels.expect(HERE, HERE, LoginDeadline())
    with closing(connected(first.port, host="127.7.7.7", source_port=2000)) as theirs:
        await asyncio.to_thread(_until_reset, theirs)
    second = await channels.expect(HERE, "127.0.0.2", LoginDeadline())
    with closing(connected(first.port, host="127.7.7.7", source_port=700)) as theirs:
        await asyncio.to_thread(_until_reset, theirs)
    assert not first._arrival.done()
    assert not second._arrival.done()


async def test_one_that_comes_too_late_is_not_taken_for_a_wrong_one(channels: BackChannels) -> None:
    late = await channels.expect(HERE, "127.0.0.2", LoginDeadline())
    late.leave()
    expectation = await channels.expect(HERE, HERE, LoginDeadline())
    assert expectation.port == late.port
    with closing(connected(late.port, host="127.0.0.2", source_port=700)) as theirs:
        await asyncio.to_thread(_until_reset, theirs)
    assert not expectation._arrival.done()
    assert (await channels.expect(HERE, "127.0.0.2", LoginDeadline())).port == late.port, (
        "none is to come any more"
    )


async def test_for_another_listener_than_the_spoilt_ones_a_port_is_waited_for(
    channels: BackChannels, listening: Listening
) -> None:
    (await channels.expect(HERE, HERE, LoginDeadline())).leave()
    async with asyncio.TaskGroup() as group:
        blocker = group.create_task(listening.reserve_listener(LoginDeadline()))
        await asyncio.sleep(0)
        waiting = group.create_task(channels.expect(HERE, HERE, LoginDeadline()))
        await asyncio.sleep(0)
        assert listening.reserving == 2
        listening.is_free.set()
    listening.unlisten(*blocker.result())
    assert waiting.result().port == 901


def _until_reset(sock: socket.socket) -> None:
    with pytest.raises(ConnectionResetError):
        sock.recv(1)


async def test_what_came_and_was_not_taken_is_reset(channels: BackChannels) -> None:
    expectation = await channels.expect(HERE, HERE, LoginDeadline())
    with closing(connected(expectation.port, host=HERE, source_port=700)) as theirs:
        await asyncio.wait([expectation._arrival])
        expectation.leave()
        await asyncio.to_thread(_until_reset, theirs)


async def test_the_end_of_the_main_connection_is_told(channels: BackChannels) -> None:
    expectation = await channels.expect(HERE, HERE, LoginDeadline())
    expectation.main_ended(None)
    expectation.main_ended(ConnectionResetError())
    assert "closed the connection and did not connect back" in str(failed(expectation))
    expectation.leave()
