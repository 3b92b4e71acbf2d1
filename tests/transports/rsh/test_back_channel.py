"""The connections that servers make back: who is let in, and how few listeners that takes."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator
from contextlib import closing

import pytest
import pytest_asyncio

from multirsh.model import ErrorKind, Phase, Status
from multirsh.ports.lease import Lease
from multirsh.transports.dialler import ReservedPort
from multirsh.transports.patience import Patience
from multirsh.transports.remote_first import RemoteFirstTransport
from multirsh.transports.rsh.back_channel import (
    LISTENERS_AT_MOST,
    BackChannels,
    Expectation,
    NoStderr,
    Verdict,
    judge,
    plain,
)
from tests.servers.namespace import Namespace

HERE = "127.0.0.1"

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]


class Listening:
    """A dialler that only listens, and counts."""

    def __init__(self) -> None:
        self.listeners = 0
        self._ports = itertools.count(900)

    async def reserve_listener(self, patience: Patience) -> ReservedPort:
        raise AssertionError("nobody asks for it here")

    def listen_reserved(
        self, source: str, *, backlog: int, reserved: ReservedPort | None = None
    ) -> tuple[socket.socket, Lease]:
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
        ("10.0.0.1", 512, Verdict.LET_IN),
        ("10.0.0.1", 1023, Verdict.LET_IN),
        ("10.0.0.1", 511, Verdict.WRONG_PORT),
        ("10.0.0.1", 1024, Verdict.WRONG_PORT),
        ("10.0.0.2", 1023, Verdict.STRANGER),
    ],
)
def test_who_is_let_in(address: str, port: int, verdict: Verdict) -> None:
    assert judge(address, port, ["10.0.0.1"]) is verdict


@pytest.mark.parametrize(
    ("address", "spelling"),
    [("::ffff:10.0.0.1", "10.0.0.1"), ("fe80::1%eth0", "fe80::1"), ("10.0.0.1", "10.0.0.1")],
)
def test_one_address_has_one_spelling(address: str, spelling: str) -> None:
    assert plain(address) == spelling


async def test_one_listener_serves_many_hosts(channels: BackChannels, listening: Listening) -> None:
    hosts = [f"127.0.0.{number}" for number in range(2, 52)]
    expected = [await channels.expect(HERE, host) for host in hosts]
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
    first, second = await channels.expect(HERE, HERE), await channels.expect(HERE, HERE)
    assert (first.port, second.port) == (900, 901)
    with closing(connected(second.port, host=HERE, source_port=701)):
        (await second.connection()).abandon()
        second.leave()
        assert (await channels.expect(HERE, HERE)).port == second.port


async def test_beyond_that_one_waits_its_turn(channels: BackChannels, listening: Listening) -> None:
    places = [await channels.expect(HERE, HERE) for _ in range(LISTENERS_AT_MOST)]
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(channels.expect(HERE, HERE))
        await asyncio.sleep(0)
        assert listening.listeners == LISTENERS_AT_MOST
        places[3].main_ended(None)
        places[3].leave()
        assert (await waiting).port == places[3].port


async def test_a_place_that_was_given_up_is_not_taken_for_another(
    channels: BackChannels, listening: Listening
) -> None:
    """Its connection may still come, and would be taken for the other handshake's."""
    for _ in range(LISTENERS_AT_MOST):
        (await channels.expect(HERE, HERE)).leave()
    with pytest.raises(NoStderr, match="in vain"):
        await channels.expect(HERE, HERE)
    assert (await channels.expect(HERE, "127.0.0.2")).port == 900


async def test_from_another_port_it_is_refused(channels: BackChannels) -> None:
    expectation = await channels.expect(HERE, HERE)
    with closing(connected(expectation.port, host=HERE, source_port=2000)) as theirs:
        with pytest.raises(NoStderr, match="port 2000, which is not a reserved one") as caught:
            await expectation.connection()
        with pytest.raises(ConnectionResetError):
            theirs.recv(1)
    status, failure = caught.value.reason
    assert (status, failure.kind, failure.phase) == (Status.UNREACHABLE, ErrorKind.PROTOCOL, Phase.HANDSHAKE)
    expectation.leave()


async def test_from_another_address_it_is_refused(channels: BackChannels) -> None:
    expectation = await channels.expect(HERE, HERE)
    with closing(connected(expectation.port, host="127.7.7.7", source_port=700)) as theirs:
        with pytest.raises(NoStderr, match=r"from 127\.7\.7\.7 and not from 127\.0\.0\.1"):
            await expectation.connection()
        with pytest.raises(ConnectionResetError):
            theirs.recv(1)
    expectation.leave()
    assert (await channels.expect(HERE, HERE)).port != expectation.port  # the right one may still come


async def test_a_stranger_does_no_harm_to_whom_it_cannot_be(channels: BackChannels) -> None:
    """From no reserved port, or while several are awaited: nothing says whose it was meant to be."""
    first = await channels.expect(HERE, HERE)
    with closing(connected(first.port, host="127.7.7.7", source_port=2000)) as theirs:
        await asyncio.to_thread(_until_reset, theirs)
    second = await channels.expect(HERE, "127.0.0.2")
    with closing(connected(first.port, host="127.7.7.7", source_port=700)) as theirs:
        await asyncio.to_thread(_until_reset, theirs)
    assert not first._arrival.done()
    assert not second._arrival.done()


def _until_reset(sock: socket.socket) -> None:
    with pytest.raises(ConnectionResetError):
        sock.recv(1)


async def test_what_came_and_was_not_taken_is_reset(channels: BackChannels) -> None:
    expectation = await channels.expect(HERE, HERE)
    with closing(connected(expectation.port, host=HERE, source_port=700)) as theirs:
        await asyncio.wait([expectation._arrival])
        expectation.leave()
        await asyncio.to_thread(_until_reset, theirs)


async def test_the_end_of_the_main_connection_is_told(channels: BackChannels) -> None:
    expectation = await channels.expect(HERE, HERE)
    expectation.main_ended(None)
    expectation.main_ended(ConnectionResetError())
    assert "closed the connection and made none back" in str(failed(expectation))
    expectation.leave()
