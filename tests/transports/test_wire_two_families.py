"""A host of two families on the wire: one of them dead, refusing, or as good as the other.

In a namespace whose IPv6 void swallows packets. Names are the tests' own.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest

from multirsh.model import ClosedBy, ErrorKind, SourcePort, Status
from multirsh.ports.allocator import PortAllocator
from multirsh.ports.ledger import PortBudget
from multirsh.ports.sockets import Route
from multirsh.ports.tally import Tally
from multirsh.transports import dialling
from multirsh.transports.dialling import Dialler
from multirsh.transports.login_deadline import LoginDeadline
from multirsh.transports.remote_first import RemoteFirstTransport
from multirsh.transports.resolver import Answer, Found, Name, Resolver
from multirsh.transports.tcp import ATTEMPT_DELAY_SECONDS, DialError, Spare, endpoint
from tests.servers.namespace import Namespace
from tests.waiting import HANG_GUARD_S

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

PORT = 2022
DEAD = "fd09::99"
HERE_6, HERE_4 = "::1", "127.0.0.1"


@pytest.fixture
def with_void() -> Iterator[Namespace]:
    """Stand in a namespace in which fd09::/64 is a void."""
    with Namespace() as made, made.entered():
        made.add_void("fd09::/64")
        yield made


def named(addresses: Sequence[str]) -> Resolver:
    """A resolver by which every name has these addresses."""

    def look_up(_name: Name) -> Answer:
        return Found(
            tuple(
                (socket.AF_INET6, (address, 0, 0, 0)) if ":" in address else (socket.AF_INET, (address, 0))
                for address in addresses
            )
        )

    return Resolver(look_up=look_up)


class Caller:
    """A dialler for one name, with its tally."""

    def __init__(
        self,
        *addresses: str,
        spare: Spare | None = None,
        budget: PortBudget | None = None,
        bind: str | None = None,
    ) -> None:
        self.tally = Tally()
        self.ports = PortAllocator(budget=budget or PortBudget())
        self.dialler = Dialler(
            ports=self.ports,
            tally=self.tally,
            close_timeout=3,
            resolver=named(addresses),
            spare=spare,
            bind_address=bind,
        )

    async def call(self, source_port: SourcePort = SourcePort.EPHEMERAL) -> RemoteFirstTransport:
        transport = await self.dialler.dial(
            "both",
            PORT,
            on_phase=lambda _phase: None,
            login_deadline=LoginDeadline(),
            source_port=source_port,
        )
        transport.attach(asyncio.Protocol())
        return transport

    async def fails(self) -> DialError:
        with pytest.raises(DialError) as caught:
            await self.call()
        return caught.value


class Server:
    """Accepts, counts, and closes first when it is told to."""

    def __init__(self) -> None:
        self.peers: list[str] = []
        self._held: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def accept(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peers.append(writer.get_extra_info("peername")[0])
        self._held.put_nowait(writer)

    async def let_go(self, count: int = 1) -> None:
        """Close so many, once they have come."""
        for _ in range(count):
            (await self._held.get()).close()

    def close(self) -> None:
        """Close what is left."""
        while not self._held.empty():
            self._held.get_nowait().close()


@asynccontextmanager
async def server(*addresses: str) -> AsyncIterator[Server]:
    serving = Server()
    listening = [
        await asyncio.start_server(serving.accept, address, PORT, backlog=1000) for address in addresses
    ]
    try:
        yield serving
    finally:
        for each in listening:
            each.close()
        serving.close()
        for each in listening:
            await each.wait_closed()


def remote(transport: RemoteFirstTransport) -> str:
    return str(transport.get_extra_info("peername")[0])


async def test_where_ipv6_is_a_black_hole_ipv4_is_there_after_a_quarter_of_a_second(
    with_void: Namespace,
) -> None:
    caller = Caller(DEAD, HERE_4)
    loop = asyncio.get_running_loop()
    async with server(HERE_4) as serving:
        began = loop.time()
        async with asyncio.timeout(HANG_GUARD_S):
            transport = await caller.call()
        assert ATTEMPT_DELAY_SECONDS <= loop.time() - began < HANG_GUARD_S
        assert remote(transport) == HERE_4
        assert caller.tally.statistics().held == 1, "the other one's lease is given back"
        assert [row.peer.address for row in with_void.client_side([PORT])] == [HERE_4], "and its SYN is gone"
        await serving.let_go()
        await transport.closed
    assert caller.tally.statistics().closed_by[ClosedBy.REMOTE] == 1
    assert sum(caller.tally.statistics().closed_by.values()) == 1
    assert not with_void.client_side([PORT])


async def test_the_first_that_refuses_costs_no_wait(
    with_void: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialling, "ATTEMPT_DELAY_SECONDS", 2 * HANG_GUARD_S)
    caller = Caller(HERE_6, HERE_4)
    async with server(HERE_4) as serving:
        async with asyncio.timeout(HANG_GUARD_S):
            transport = await caller.call()
        assert remote(transport) == HERE_4
        await serving.let_go()
        await transport.closed
    assert not caller.tally.statistics().held


async def test_where_both_work_there_is_one_connection_and_nothing_else(
    with_void: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialling, "ATTEMPT_DELAY_SECONDS", 60)  # this machine may be busy for longer
    callers = [Caller(HERE_6, HERE_4) for _ in range(50)]
    async with server(HERE_6, HERE_4) as serving:
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(caller.call()) for caller in callers]
        assert {remote(call.result()) for call in calls} == {HERE_6}
        assert len(with_void.client_side([PORT])) == 50
        await serving.let_go(50)
        assert serving.peers == [HERE_6] * 50
        for call in calls:
            assert await call.result().closed is ClosedBy.REMOTE
    assert not with_void.client_side([PORT])
    assert [caller.tally.statistics().peak for caller in callers] == [1] * 50


async def test_a_connection_that_lost_is_reset_and_leaves_nothing(with_void: Namespace) -> None:
    caller = Caller(HERE_4)
    async with server(HERE_4) as serving:
        sock = socket.create_connection((HERE_4, PORT))
        route = Route(HERE_4, endpoint(sock.getpeername()))
        caller.tally.leased()
        caller.dialler._discard((sock, caller.ports.adopt(route, sock.getsockname()[1])))
        assert not caller.tally.statistics().held
        assert not with_void.client_side([PORT]), "no FIN-WAIT and no TIME-WAIT"
        await serving.let_go()


async def test_all_that_fail_are_named(with_void: Namespace) -> None:
    error = await Caller(HERE_6, HERE_4, "fd77::1").fails()
    assert (error.status, error.failure.kind) == (Status.UNREACHABLE, ErrorKind.REFUSED)
    assert error.failure.message == "::1, 127.0.0.1: connection refused; fd77::1: network is unreachable"


async def test_from_reserved_ports_addresses_are_tried_one_after_another(with_void: Namespace) -> None:
    caller = Caller(DEAD, HERE_4, budget=PortBudget(count=1))
    async with server(HERE_4):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2 * ATTEMPT_DELAY_SECONDS):
                await caller.call(SourcePort.RESERVED)
        assert not with_void.client_side([PORT]), "the second was never tried, and the first is gone"
    caller = Caller(HERE_6, HERE_4, budget=PortBudget(count=2))
    async with server(HERE_4) as serving:
        transport = await caller.call(SourcePort.RESERVED)
        assert remote(transport) == HERE_4
        await serving.let_go()
        await transport.closed
    assert not caller.tally.statistics().held


async def test_a_chosen_source_leaves_one_family_and_no_race(
    with_void: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialling, "ATTEMPT_DELAY_SECONDS", 2 * HANG_GUARD_S)
    caller = Caller(DEAD, HERE_4, bind="127.0.0.5")
    async with server(HERE_4) as serving:
        async with asyncio.timeout(HANG_GUARD_S):
            transport = await caller.call()
        assert transport.get_extra_info("sockname")[0] == "127.0.0.5"
        await serving.let_go()
        await transport.closed


async def test_cancelled_at_any_time_it_leaves_no_socket_and_no_lease(with_void: Namespace) -> None:
    async with server(HERE_4, HERE_6):
        for turns in range(40):
            caller = Caller(*([DEAD, HERE_4] if turns % 2 else [HERE_6, HERE_4]))
            async with asyncio.TaskGroup() as group:
                calling = group.create_task(caller.call())
                for _ in range(turns // 2):
                    await asyncio.sleep(0.0 if turns % 4 < 2 else 0.02)
                calling.cancel()
            if not calling.cancelled():
                calling.result().abandon()
            assert not caller.tally.statistics().held
            assert not caller.tally.statistics().waiting
            await caller.dialler.drained()
    assert not [row for row in with_void.client_side([PORT]) if row.state != "TIME-WAIT"]
    assert not with_void.client_side([PORT], state="TIME-WAIT")


async def test_many_of_them_share_the_spare_sockets(with_void: Namespace) -> None:
    """With one spare socket for ten hosts, no more than eleven sockets are there at once."""
    spare, most = Spare(1), 0
    callers = [Caller(DEAD, HERE_4, spare=spare) for _ in range(10)]
    async with server(HERE_4) as serving:
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(caller.call()) for caller in callers]
            while not all(call.done() for call in calls):
                most = max(most, len(with_void.client_side([PORT])))
                await asyncio.sleep(0.01)
        assert most <= 11
        await serving.let_go(10)
        for call in calls:
            await call.result().closed
    assert spare.take()
    assert not spare.take()
