"""Who gets a port next, and how often the kernel is asked: in virtual time, with a table that is told."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from multirsh.model import ClosedBy, SourcePort
from multirsh.ports.allocator import LONGEST_POLL_SECONDS, PortAllocator
from multirsh.ports.ledger import PortBudget
from multirsh.ports.reserved import ANYWHERE
from multirsh.ports.sockets import Endpoint, Lease, Route, TcpSocket, TcpState
from multirsh.ports.sysctls import KernelPorts
from tests.virtual_time import idle, in_virtual_time, virtual_loop

EPHEMERAL, RESERVED = SourcePort.EPHEMERAL, SourcePort.RESERVED
SOURCE = "10.0.0.1"
HOST, OTHER, THIRD = (Route(SOURCE, Endpoint(f"10.1.0.{number}", 514)) for number in (1, 2, 3))


class Table:
    """The kernel's table, as it is told to be."""

    def __init__(self, *rows: TcpSocket, seconds: float = 0.0) -> None:
        self.rows: list[TcpSocket] | None = list(rows)
        self.seconds = seconds
        self.asked: list[str] = []

    def __call__(
        self, *, towards: Collection[Endpoint] | None = None, local_ports: range | None = None
    ) -> Sequence[TcpSocket] | None:
        virtual_loop().spend(self.seconds)
        self.asked.append(
            "reserved" if local_ports else "all" if towards is None else " ".join(sorted(_addresses(towards)))
        )
        if self.rows is None:
            return None
        return [
            row
            for row in self.rows
            if (towards is None or row.remote in towards)
            and (local_ports is None or row.local.port in local_ports)
        ]


def _addresses(towards: Collection[Endpoint]) -> list[str]:
    return [remote.address for remote in towards]


class Ports:
    """An allocator of few ports, what was told to those who wait, and who was served in which order."""

    def __init__(
        self, table: Table | None = None, *, ports: int = 2, blacklist: Path = Path("/nonexistent")
    ) -> None:
        self.table = table or Table()
        self.allocator = PortAllocator(
            budget=PortBudget(count=ports),
            blacklist=blacklist,
            kernel=KernelPorts(ephemeral=range(40000, 41000), tw_reuse=0),
            read_table=self.table,
        )
        self.told: dict[str, list[float | None]] = {}
        self.served: list[str] = []
        self.leases: dict[str, Lease] = {}

    def lease(self, route: Route = HOST, kind: SourcePort = EPHEMERAL, *, turn: int | None = None) -> Lease:
        found = self.allocator.lease(route, kind, turn=self.allocator.turn() if turn is None else turn)
        assert found is not None
        return found

    def has_none(self, route: Route = HOST, kind: SourcePort = EPHEMERAL, *, turn: int | None = None) -> bool:
        return self.allocator.lease(route, kind, turn=self.allocator.turn() if turn is None else turn) is None

    def connected(self, route: Route = HOST, kind: SourcePort = EPHEMERAL, port: int = 40999) -> Lease:
        lease = self.lease(route, kind)
        self.allocator.connected(lease, lease.port or port)
        return lease

    async def wait(
        self, name: str, route: Route = HOST, kind: SourcePort = EPHEMERAL, *, turn: int | None = None
    ) -> Lease:
        told = self.told.setdefault(name, [])
        lease = await self.allocator.wait_for_lease(
            route, kind, turn=self.allocator.turn() if turn is None else turn, on_estimate=told.append
        )
        self.served.append(name)
        self.leases[name] = lease
        return lease

    async def is_at_rest(self) -> bool:
        """Whether nothing is left that would wake the loop."""
        await idle(2 * LONGEST_POLL_SECONDS)
        return not self.allocator._lines and self.allocator._timer is None


def row(port: int, left: float | None = None, *, route: Route = HOST) -> TcpSocket:
    state = TcpState.ESTABLISHED if left is None else TcpState.TIME_WAIT
    return TcpSocket(state, Endpoint(route.source, port), route.remote, left)


# One who asks.


@in_virtual_time
async def test_the_table_is_read_once_before_the_first_lease_and_not_again_while_there_is_room() -> None:
    ports = Ports(ports=1000)
    for _ in range(100):
        ports.allocator.give_back(ports.connected(), ClosedBy.REMOTE)
        await asyncio.sleep(1)
    assert ports.table.asked == ["all"]


@pytest.mark.parametrize("kind", [EPHEMERAL, RESERVED])
@in_virtual_time
async def test_what_others_have_at_the_start_is_not_handed_out(kind: SourcePort) -> None:
    ports = Ports(Table(row(40998), row(1023)))
    assert ports.connected(kind=kind).port == (1022 if kind is RESERVED else None)
    assert ports.has_none(kind=kind)


@in_virtual_time
async def test_what_the_table_said_at_the_start_is_old_when_it_is_first_asked_about() -> None:
    ports = Ports(Table(row(40998, 30.0), row(40999, 30.0)))
    ports.allocator.give_back(ports.lease(OTHER), None)
    ports.table.rows = []
    await asyncio.sleep(30)
    ports.lease()
    assert ports.table.asked == ["all"]


@in_virtual_time
async def test_a_blacklisted_port_is_not_taken(tmp_path: Path) -> None:
    blacklist = tmp_path / "bindresvport.blacklist"
    blacklist.write_text("1023 # not this one\n1021\n", encoding="ascii")
    ports = Ports(blacklist=blacklist)
    assert [ports.lease(kind=RESERVED).port for _ in range(2)] == [1022, 1020]


@in_virtual_time
async def test_who_finds_none_is_given_what_the_kernel_has_let_go_of_meanwhile() -> None:
    ports = Ports(Table(row(40998), row(40999)))
    assert ports.has_none()
    ports.table.rows = []
    await asyncio.sleep(1)
    ports.lease()


@in_virtual_time
async def test_a_refusal_asks_the_kernel() -> None:
    ports = Ports()
    for kind, asked in ((EPHEMERAL, "10.1.0.1"), (RESERVED, "reserved")):
        ports.allocator.refused(ports.lease(kind=kind), four_tuple=True)
        assert ports.table.asked[-1] == asked


@in_virtual_time
async def test_a_route_that_runs_low_is_corrected_but_not_at_every_lease() -> None:
    ports = Ports(ports=100)
    for _ in range(89):
        ports.lease()
    assert ports.table.asked == ["all"]
    for _ in range(10):
        ports.lease()
    assert ports.table.asked == ["all", "10.1.0.1"]
    for _ in range(100):
        ports.allocator.give_back(ports.lease(), None)
        await asyncio.sleep(0.01)
    assert len(ports.table.asked) <= 2 + 100 * 0.01 / 0.02 + 1


@in_virtual_time
async def test_a_table_that_takes_long_is_read_that_much_more_rarely() -> None:
    ports = Ports(Table(seconds=0.1), ports=1)
    ports.lease()
    began, before = virtual_loop().time(), len(ports.table.asked)
    while virtual_loop().time() < began + 20:
        assert ports.has_none()
        await asyncio.sleep(0.01)
    assert len(ports.table.asked) - before <= 20


@in_virtual_time
async def test_without_a_table_the_ledger_goes_by_what_it_knows() -> None:
    ports = Ports(ports=1)
    ports.table.rows = None
    ports.allocator.give_back(ports.connected(), ClosedBy.LOCAL)
    await ports.wait("who")
    assert virtual_loop().time() == pytest.approx(60)
    assert ports.told["who"][0] == pytest.approx(60)


@in_virtual_time
async def test_a_listener_that_finds_no_port_asks_the_kernel() -> None:
    ports = Ports(
        Table(TcpSocket(TcpState.LISTEN, Endpoint("0.0.0.0", 1023), Endpoint("0.0.0.0", 0))), ports=1
    )
    listening = Route(SOURCE, ANYWHERE)
    assert ports.allocator.lease(listening, SourcePort.RESERVED, turn=0) is None
    ports.table.rows = []
    await asyncio.sleep(1)
    listener = ports.allocator.lease(listening, SourcePort.RESERVED, turn=0)
    assert listener is not None
    accepted = ports.allocator.adopt(Route(SOURCE, Endpoint("10.1.0.1", 1000)), 1023)
    ports.allocator.give_back(listener, None)
    ports.allocator.give_back(accepted, ClosedBy.REMOTE)


# Those who wait.


@pytest.mark.parametrize("kind", [EPHEMERAL, RESERVED])
@in_virtual_time
async def test_ports_go_to_those_who_asked_first(kind: SourcePort) -> None:
    ports = Ports()
    held = [ports.connected(kind=kind, port=40998 + number) for number in range(2)]
    async with asyncio.TaskGroup() as group:
        for name in "abcdef":
            group.create_task(ports.wait(name, kind=kind))
        await idle()
        assert ports.served == []
        for count, name in enumerate("abcdef", 1):
            ports.allocator.give_back(held.pop(0), ClosedBy.REMOTE)
            await idle()
            assert ports.served == list("abcdef")[:count]
            held.append(ports.leases[name])
    for lease in held:
        ports.allocator.give_back(lease, None)
    assert await ports.is_at_rest()


@in_virtual_time
async def test_who_was_refused_comes_back_before_those_who_asked_later() -> None:
    ports = Ports(ports=1)
    turn = ports.allocator.turn()
    lease = ports.lease(turn=turn)
    async with asyncio.TaskGroup() as group:
        group.create_task(ports.wait("later"))
        await idle()
        ports.allocator.refused(lease, four_tuple=True)
        assert ports.has_none(turn=turn)
        group.create_task(ports.wait("refused", turn=turn))
        await asyncio.sleep(1)
        assert ports.served == ["refused"]
        ports.allocator.give_back(ports.leases["refused"], None)
        await asyncio.sleep(1)
        assert ports.served == ["refused", "later"]
    ports.allocator.give_back(ports.leases["later"], None)
    assert await ports.is_at_rest()


@pytest.mark.parametrize("kind", [EPHEMERAL, RESERVED])
@in_virtual_time
async def test_who_comes_later_does_not_take_what_has_become_free_before_anybody_looked(
    kind: SourcePort,
) -> None:
    ports = Ports(ports=1)
    ports.table.rows = None
    ports.allocator.give_back(ports.connected(kind=kind), ClosedBy.LOCAL)
    async with asyncio.TaskGroup() as group:
        group.create_task(ports.wait("waits", kind=kind))
        await asyncio.sleep(59.99)
        virtual_loop().spend(0.1)
        assert ports.has_none(kind=kind)
    ports.allocator.give_back(ports.leases["waits"], None)
    ports.lease(kind=kind)


@in_virtual_time
async def test_reserved_ports_go_to_those_who_asked_first_whatever_the_route() -> None:
    ports = Ports(ports=1)
    ports.allocator.give_back(ports.connected(kind=RESERVED), ClosedBy.REMOTE)
    alone = ports.connected(kind=RESERVED)
    assert not alone.shared
    ports.table.rows = None
    first, second, third = (ports.allocator.turn() for _ in range(3))
    async with asyncio.TaskGroup() as group:
        group.create_task(ports.wait("second, alone", HOST, RESERVED, turn=second))
        await idle()
        group.create_task(ports.wait("first, shared", OTHER, RESERVED, turn=first))
        await idle()
        assert ports.has_none(THIRD, RESERVED, turn=third)
        ports.allocator.give_back(alone, ClosedBy.REMOTE)
        await idle()
        assert ports.served == ["first, shared"]
        ports.allocator.give_back(ports.leases["first, shared"], ClosedBy.REMOTE)
        await idle()
    ports.allocator.give_back(ports.leases["second, alone"], ClosedBy.REMOTE)
    assert await ports.is_at_rest()


@in_virtual_time
async def test_one_who_cannot_be_served_yet_does_not_hold_up_other_destinations() -> None:
    ports = Ports(Table(row(1023, 60.0)), ports=1)
    assert ports.has_none(HOST, RESERVED)
    async with asyncio.TaskGroup() as group:
        group.create_task(ports.wait("must wait", HOST, RESERVED))
        await idle()
        group.create_task(ports.wait("need not", OTHER, RESERVED))
        await idle()
        assert ports.served == ["need not"]
        ports.allocator.give_back(ports.leases["need not"], None)
        ports.table.rows = []
    assert ports.served == ["need not", "must wait"]
    assert virtual_loop().time() < 2


@in_virtual_time
async def test_everybody_who_waits_is_told_so_at_once_and_who_does_not_is_not() -> None:
    ports = Ports(ports=1)
    ports.allocator.give_back(ports.connected(), ClosedBy.LOCAL)
    ports.table.rows = [row(40999, 60.0)]
    async with asyncio.TaskGroup() as group:
        for name in ("first", "second"):
            group.create_task(ports.wait(name))
        await idle()
        assert ports.told["first"] == [60.0, 60.0]
        assert ports.told["second"] == [60.0]
        await asyncio.sleep(10)
        ports.table.rows = []
        await asyncio.sleep(1)
        ports.allocator.give_back(ports.leases["first"], None)
    ports.allocator.give_back(ports.leases["second"], None)
    ports.allocator.give_back(await ports.wait("third"), None)
    assert ports.told["third"] == []


@in_virtual_time
async def test_what_other_programs_let_go_of_is_seen_within_a_second_however_many_wait() -> None:
    routes = [Route(SOURCE, Endpoint(f"10.2.0.{number}", 22)) for number in range(50)]
    ports = Ports(Table(*(row(40999, route=route) for route in routes)), ports=1)
    async with asyncio.TaskGroup() as group:
        for route in routes:
            assert ports.has_none(route)
            group.create_task(ports.wait(route.remote.address, route))
        await idle()
        before = len(ports.table.asked)
        await asyncio.sleep(60)
        assert ports.served == []
        assert len(ports.table.asked) - before <= 60 / LONGEST_POLL_SECONDS + 6, "one reading for all"
        ports.table.rows = []
        await asyncio.sleep(LONGEST_POLL_SECONDS)
        assert len(ports.served) == len(routes)
    for lease in ports.leases.values():
        ports.allocator.give_back(lease, None)
    assert await ports.is_at_rest()
    assert ports.allocator._ledger.routes() == 0


@in_virtual_time
async def test_when_one_has_connected_after_a_refusal_the_others_need_not_wait_for_the_poll() -> None:
    ports = Ports()
    ports.allocator.refused(ports.lease(), four_tuple=True)
    async with asyncio.TaskGroup() as group:
        for name in "ab":
            group.create_task(ports.wait(name))
        await asyncio.sleep(0.06)
        assert ports.served == ["a"]
        began = virtual_loop().time()
        ports.allocator.connected(ports.leases["a"], 40999)
        await idle()
        assert ports.served == ["a", "b"]
        assert virtual_loop().time() == began


# Those who give up.


@in_virtual_time
async def test_who_gives_up_leaves_its_place_to_the_next() -> None:
    ports = Ports(ports=1)
    held = ports.connected()
    async with asyncio.TaskGroup() as group:
        waiting = {name: group.create_task(ports.wait(name)) for name in "abc"}
        await idle()
        waiting["a"].cancel()
        waiting["b"].cancel()
        await idle()
        ports.allocator.give_back(held, ClosedBy.REMOTE)
        await idle()
        assert ports.served == ["c"]
    ports.allocator.give_back(ports.leases["c"], None)
    assert await ports.is_at_rest()


@pytest.mark.parametrize("kind", [EPHEMERAL, RESERVED])
@pytest.mark.parametrize("granted_first", [False, True])
@in_virtual_time
async def test_a_port_that_comes_as_its_waiter_gives_up_goes_to_the_next(
    *, kind: SourcePort, granted_first: bool
) -> None:
    """Both in one turn of the loop, in either order, before the waiter's task can run."""
    ports = Ports(ports=1)
    held = ports.connected(kind=kind)
    async with asyncio.TaskGroup() as group:
        first, _second = (group.create_task(ports.wait(name, kind=kind)) for name in "ab")
        await idle()
        if not granted_first:
            first.cancel()
        ports.allocator.give_back(held, ClosedBy.REMOTE)
        if granted_first:
            first.cancel()
        await idle()
        assert first.cancelled()
        assert ports.served == ["b"]
    ports.allocator.give_back(ports.leases["b"], None)
    ports.allocator.give_back(ports.lease(kind=kind), None)
    assert await ports.is_at_rest()


@in_virtual_time
async def test_when_all_give_up_nothing_is_lost_and_nothing_goes_on() -> None:
    ports = Ports(ports=1)
    held = ports.connected()
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(ports.wait(str(number))) for number in range(10)]
        await asyncio.sleep(3)
        for task in waiting:
            task.cancel()
        ports.allocator.give_back(held, ClosedBy.REMOTE)
    assert ports.served == []
    assert await ports.is_at_rest()
    assert ports.allocator._ledger.routes() == 0


@in_virtual_time
async def test_thousands_who_wait_at_one_door_are_served_without_much_ado() -> None:
    ports = Ports(ports=10)
    held = [ports.connected(port=40990 + number) for number in range(10)]
    count = 3000
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(ports.wait(str(number)))
        await idle()
        while len(ports.served) < count:
            for lease in held:
                ports.allocator.give_back(lease, ClosedBy.REMOTE)
            before = len(ports.served)
            await idle()
            held = [ports.leases[name] for name in ports.served[before:]]
            assert len(held) == 10
    assert ports.served == [str(number) for number in range(count)]
