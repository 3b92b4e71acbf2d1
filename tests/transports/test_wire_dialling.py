"""Local ports on the wire: which port a connection leaves from, and who waits for one.

In namespaces with few ports. The servers stand in the test's own loop; they
hold what they accept until they are told to close, and so close first.
"""

from __future__ import annotations

import asyncio
import errno
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from multirsh.model import ErrorKind, Phase, SourcePort, Status
from multirsh.ports.allocator import PortAllocator
from multirsh.ports.ledger import PortBudget
from multirsh.ports.tally import Tally
from multirsh.transports.dialling import Dialler
from multirsh.transports.login_deadline import LoginDeadline
from multirsh.transports.remote_first import RemoteFirstTransport
from multirsh.transports.tcp import DialError
from tests.servers.namespace import Namespace
from tests.servers.requirement import program

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

PORT = 2022
EVERYWHERE = "0.0.0.0"


class Holder:
    """A server that holds what it accepts, and closes it first."""

    def __init__(self) -> None:
        self._held: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def accept(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._held.put_nowait(writer)

    async def let_go(self, count: int) -> None:
        """Close so many, the oldest first."""
        for _ in range(count):
            (await self._held.get()).close()

    def close(self) -> None:
        """Close what is left."""
        while not self._held.empty():
            self._held.get_nowait().close()


@asynccontextmanager
async def holder(address: str = EVERYWHERE, port: int = PORT) -> AsyncIterator[Holder]:
    holding = Holder()
    server = await asyncio.start_server(holding.accept, address, port, backlog=1000)
    try:
        yield holding
    finally:
        server.close()
        holding.close()
        await server.wait_closed()


class Caller:
    """A dialler with its tally, and few words."""

    def __init__(
        self,
        *,
        budget: PortBudget | None = None,
        blacklist: Path = Path("/nonexistent"),
        bind_address: str | None = None,
    ) -> None:
        self.tally = Tally()
        self.warnings: list[str] = []
        self.phases: list[Phase] = []
        self.dialler = Dialler(
            ports=PortAllocator(budget=budget or PortBudget(), blacklist=blacklist),
            tally=self.tally,
            close_timeout=3,
            bind_address=bind_address,
            warn=self.warnings.append,
        )

    async def call(
        self,
        host: str = "127.0.0.1",
        *,
        source_port: SourcePort = SourcePort.EPHEMERAL,
        port_seconds: float | None = None,
        port: int = PORT,
    ) -> RemoteFirstTransport:
        transport = await self.dialler.dial(
            host,
            port,
            on_phase=self.phases.append,
            login_deadline=LoginDeadline(port_seconds=port_seconds),
            source_port=source_port,
        )
        transport.attach(asyncio.Protocol())
        return transport

    async def reserved(self, host: str = "127.0.0.1") -> RemoteFirstTransport:
        return await self.call(host, source_port=SourcePort.RESERVED)


def local_port(transport: RemoteFirstTransport) -> int:
    name: tuple[str, int] = transport.get_extra_info("sockname")
    return name[1]


def is_shared(transport: RemoteFirstTransport) -> bool:
    sock: socket.socket = transport.get_extra_info("socket")
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 1


@pytest.fixture
def few_ports() -> Iterator[Namespace]:
    """Stand in a namespace that has ten ephemeral ports."""
    with Namespace(local_ports=(40000, 40009)) as made, made.entered():
        yield made


# Ephemeral ports.


async def test_more_connections_than_port_report_after_another(few_ports: Namespace) -> None:
    caller = Caller()
    async with holder() as server:
        for _ in range(100):
            transport = await caller.call()
            await server.let_go(1)
            await transport.closed
    assert caller.tally.statistics().waited == 0
    assert few_ports.client_side([PORT], state="TIME-WAIT") == ()


async def test_more_at_once_than_ports_wait_in_turn(few_ports: Namespace) -> None:
    caller, order = Caller(), list[int]()

    async def call(number: int) -> None:
        transport = await caller.call()
        order.append(number)
        await transport.closed

    async with holder() as server, asyncio.TaskGroup() as group:
        for number in range(40):
            group.create_task(call(number))
        await server.let_go(40)
    assert order == sorted(order)
    statistics = caller.tally.statistics()
    assert (statistics.peak, statistics.waited, statistics.waiting) == (10, 30, 0)
    assert Phase.PORT in caller.phases


async def test_a_port_is_taken_by_one_destination_only(few_ports: Namespace) -> None:
    caller = Caller()
    async with holder() as server:
        transports = [await caller.call(f"127.0.1.{number}") for number in range(1, 101)]
        assert len(few_ports.client_side([PORT])) == 100
        await server.let_go(100)
        for transport in transports:
            await transport.closed
    assert caller.tally.statistics().waited == 0


@pytest.mark.parametrize("address", ["127.0.0.77", "::1"])
async def test_a_chosen_source_shares_ports_between_destinations_all_the_same(
    few_ports: Namespace, address: str
) -> None:
    """A plain bind(2) to an address and port 0 would take each of the ten ports for itself."""
    caller = Caller(bind_address=address)
    places = (
        [("::1", PORT + n) for n in range(3)]
        if ":" in address
        else [(f"127.0.1.{n}", PORT) for n in range(1, 4)]
    )
    for place in places:
        async with holder(*place) as server:
            transports = [await caller.call(place[0], port=place[1]) for _ in range(10)]
            assert {transport.get_extra_info("sockname")[0] for transport in transports} == {address}
            await server.let_go(10)
            for transport in transports:
                await transport.closed


async def test_an_address_of_the_other_family_is_not_tried_from_a_chosen_source(few_ports: Namespace) -> None:
    with pytest.raises(DialError, match=r"no address of the family of 127\.0\.0\.77") as caught:
        await Caller(bind_address="127.0.0.77").call("::1")
    assert caught.value.status is Status.UNREACHABLE


async def test_a_source_that_is_not_ours_is_told_as_such(few_ports: Namespace) -> None:
    with pytest.raises(DialError, match=r"10\.1\.2\.3 is not an address of this machine") as caught:
        await Caller(bind_address="10.1.2.3").call()
    assert (caught.value.status, caught.value.failure.kind) == (Status.LOCAL, ErrorKind.ADDRESS)


async def test_a_budget_leaves_the_rest_of_the_range_alone(few_ports: Namespace) -> None:
    caller = Caller(budget=PortBudget(count=3))
    async with holder() as server, asyncio.TaskGroup() as group:
        tasks = [group.create_task(caller.call()) for _ in range(12)]
        await server.let_go(12)
    assert {local_port(task.result()) for task in tasks} == {40007, 40008, 40009}
    assert caller.tally.statistics().peak == 3
    await caller.dialler.drained()


async def test_ports_that_others_hold_are_waited_for(few_ports: Namespace) -> None:
    caller = Caller()
    async with holder() as server:
        others = [socket.create_connection(("127.0.0.1", PORT)) for _ in range(10)]
        calling = asyncio.create_task(caller.call())  # noqa: TID251 - it is to wait while we look
        while not caller.tally.statistics().waiting:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0)
        await server.let_go(1)
        first = others.pop(0)
        assert await asyncio.to_thread(first.recv, 1) == b""
        first.close()  # the server was first, so nothing stays in TIME_WAIT here
        transport = await calling
        await server.let_go(10)
        await transport.closed
        for other in others:
            other.close()
    assert caller.tally.statistics().waited == 1


async def test_a_port_that_others_keep_is_waited_for_no_longer_than_allowed(few_ports: Namespace) -> None:
    caller = Caller()
    async with holder():
        others = [socket.create_connection(("127.0.0.1", PORT)) for _ in range(10)]
        for other in others:
            other.close()  # ours were first: ten ports in TIME_WAIT
        with pytest.raises(DialError, match=r"no local port was free towards 127.0.0.1 port 2022") as caught:
            await caller.call(port_seconds=3)
    failure = caught.value.failure
    assert (caught.value.status, failure.kind, failure.phase) == (Status.LOCAL, ErrorKind.PORTS, Phase.PORT)
    (warning,) = caller.warnings
    assert "waiting for the first, in about 6" in warning or "in about 5" in warning
    assert caller.tally.statistics().held == caller.tally.statistics().waiting == 0


# Reserved ports.


async def test_reserved_ports_are_taken_from_the_top_and_in_turn(in_namespace: Namespace) -> None:
    caller = Caller()
    async with holder() as server:
        transports = [await caller.reserved() for _ in range(3)]
        await server.let_go(3)
        for transport in transports:
            await transport.closed
        again = await caller.reserved()
        await server.let_go(1)
    await again.closed
    assert [local_port(transport) for transport in [*transports, again]] == [1023, 1022, 1021, 1020]


async def test_a_reserved_port_is_shared_between_destinations(in_namespace: Namespace) -> None:
    caller = Caller(budget=PortBudget(count=1))
    async with holder() as server:
        transports = [await caller.reserved(f"127.0.1.{number}") for number in range(1, 51)]
        assert {local_port(transport) for transport in transports} == {1023}
        assert all(map(is_shared, transports))
        await server.let_go(50)
        for transport in transports:
            await transport.closed


async def test_towards_where_it_has_just_been_a_port_is_bound_alone(in_namespace: Namespace) -> None:
    """With SO_REUSEADDR the kernel might give us a 4-tuple that it still keeps."""
    caller, shared = Caller(budget=PortBudget(count=1)), list[bool]()
    async with holder() as server:
        for host in ("127.0.1.1", "127.0.1.1", "127.0.1.2", "127.0.1.1"):
            transport = await caller.reserved(host)
            shared.append(is_shared(transport))
            await server.let_go(1)
            await transport.closed
    assert shared == [True, False, True, False]


async def test_ports_that_are_listened_on_or_listed_are_passed_over(
    in_namespace: Namespace, tmp_path: Path
) -> None:
    blacklist = tmp_path / "bindresvport.blacklist"
    blacklist.write_text("# for others\n1021\n631 # cups\n")
    caller = Caller(blacklist=blacklist)
    with socket.create_server(("127.0.0.1", 1023)):
        async with holder() as server:
            transports = [await caller.reserved() for _ in range(2)]
            await server.let_go(2)
            for transport in transports:
                await transport.closed
    assert [local_port(transport) for transport in transports] == [1022, 1020]


async def test_ports_that_others_have_bound_are_passed_over(in_namespace: Namespace) -> None:
    caller = Caller()
    with socket.socket() as other:
        other.bind(("0.0.0.0", 1023))
        async with holder() as server:
            transport = await caller.reserved()
            await server.let_go(1)
            await transport.closed
    assert local_port(transport) == 1022


async def test_a_4_tuple_that_the_kernel_keeps_is_not_taken(in_namespace: Namespace) -> None:
    caller = Caller(budget=PortBudget(count=2))
    async with holder() as server:
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", 1023))
            other.connect(("127.0.0.1", PORT))
        # Now in TIME_WAIT, and SO_REUSEADDR with timestamps would take it over.
        await server.let_go(1)
        for _ in range(3):
            transport = await caller.reserved()
            assert local_port(transport) == 1022
            await server.let_go(1)
            await transport.closed
        elsewhere = await caller.reserved("127.0.0.9")
        assert local_port(elsewhere) == 1023
        await server.let_go(1)
        await elsewhere.closed


async def test_a_listener_on_a_reserved_port_serves_many(in_namespace: Namespace) -> None:
    caller = Caller(budget=PortBudget(count=2))
    listener, lease = caller.dialler.listen_reserved("127.0.0.1", backlog=5)
    assert listener.getsockname() == ("127.0.0.1", 1023)
    peers = [socket.create_connection(listener.getsockname()) for _ in range(3)]
    adopted = [caller.dialler.adopt(listener.accept()[0]) for _ in peers]
    for transport in adopted:
        transport.attach(asyncio.Protocol())
    caller.dialler.unlisten(listener, lease)
    again, second = caller.dialler.listen_reserved("127.0.0.1", backlog=5)
    assert again.getsockname() == ("127.0.0.1", 1022)
    with pytest.raises(DialError, match="no reserved port is free to listen on"):
        caller.dialler.listen_reserved("127.0.0.1", backlog=5)
    caller.dialler.unlisten(again, second)
    for peer in peers:
        peer.close()
    await caller.dialler.drained()
    assert caller.tally.statistics().held == 0


async def test_a_port_to_listen_on_is_waited_for(in_namespace: Namespace) -> None:
    caller = Caller(budget=PortBudget(count=1))
    async with holder() as server:
        transport = await caller.reserved()
        reserving = asyncio.create_task(caller.dialler.reserve_listener(LoginDeadline()))  # noqa: TID251 - it waits
        while not caller.tally.statistics().waiting:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0)
        await server.let_go(1)
        await transport.closed
        reserved = await reserving
        listener, lease = caller.dialler.listen_reserved("127.0.0.1", backlog=1, reserved=reserved)
        assert (lease, listener.getsockname()) == (reserved.lease, ("127.0.0.1", 1023))
        caller.dialler.unlisten(listener, lease)
        with socket.create_server(("127.0.0.1", 1023)), pytest.raises(DialError) as caught:
            await caller.dialler.reserve_listener(LoginDeadline(port_seconds=0.1))
    assert "no reserved port was free to listen on" in str(caught.value)
    assert caller.tally.statistics().waiting == 0


UNPRIVILEGED = """
import asyncio
from tests.transports.test_wire_dialling import Caller

async def main():
    try:
        await Caller().reserved()
    except Exception as error:
        print(type(error).__name__, error.status, error.failure.kind, error.failure.message)

asyncio.run(main())
"""


def unprivileged(namespace: Namespace) -> subprocess.CompletedProcess[bytes]:
    root = Path(__file__).parents[2]
    return namespace.run(
        [
            *(program("setpriv", package="util-linux"), "--bounding-set=-net_bind_service"),
            *(sys.executable, "-c", UNPRIVILEGED),
        ],
        env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
    )


def test_without_the_capability_the_error_names_it_and_the_way_out(namespace: Namespace) -> None:
    told = unprivileged(namespace).stdout.decode()
    assert told.startswith("DialError local privilege local ports below 1024 need")
    for words in ("CAP_NET_BIND_SERVICE", "setcap cap_net_bind_service=+ep", "ip_unprivileged_port_start"):
        assert words in told
    (interpreter,) = re.findall(r"setcap cap_net_bind_service=\+ep ([^' ]+)", told)
    assert not Path(interpreter).is_symlink(), "setcap takes none"
    assert Path(interpreter).samefile(sys.executable)


def test_where_everybody_may_bind_them_no_capability_is_needed(namespace: Namespace) -> None:
    namespace.set_sysctl("net.ipv4.ip_unprivileged_port_start", "512")
    assert b"unreachable refused" in unprivileged(namespace).stdout


async def test_a_refused_connection_gives_its_port_back_at_once(in_namespace: Namespace) -> None:
    caller = Caller(budget=PortBudget(count=1))
    for _ in range(3):
        with pytest.raises(DialError, match=r"connection refused"):
            await caller.reserved()
    assert caller.tally.statistics().held == 0


def test_the_kernel_refuses_as_the_ledger_expects(in_namespace: Namespace) -> None:
    """The facts that ``ports.reserved`` leans on: who may bind what beside whom."""
    with socket.create_server(("127.0.0.1", PORT)) as server, socket.socket() as first:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        first.bind(("127.0.0.1", 1000))
        first.connect(server.getsockname())
        with socket.socket() as alone, pytest.raises(OSError, match="in use") as caught:
            alone.bind(("127.0.0.1", 1000))
        assert caught.value.errno == errno.EADDRINUSE
        with socket.socket() as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            same.bind(("127.0.0.1", 1000))
            with pytest.raises(OSError, match="assign") as caught:
                same.connect(server.getsockname())
        assert caught.value.errno == errno.EADDRNOTAVAIL
