"""A run's part of the machine: what a fleet of fakes sees of it."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from multirsh.engine.fleet import Fleet
from multirsh.engine.options import Limits
from multirsh.engine.pace import StartRate
from multirsh.engine.resources import Descriptors, DescriptorUse, RunResources
from multirsh.engine.run import Run
from multirsh.engine.run_machine import PREFETCH_HOSTS
from multirsh.errors import UsageError
from multirsh.model import Host, Status, TransportName
from multirsh.testing import Behaviour, FakeTransport
from multirsh.transports.base import Destination

pytestmark = pytest.mark.usefixtures("no_leaks")


ANY = StartRate(1e6)
"""No governor, which would ask for destinations, too."""


class Signposted(FakeTransport):
    """Notes whose destination was asked for."""

    def __init__(self, *, default: Behaviour) -> None:
        super().__init__(default=default)
        self.asked: list[str] = []

    def destination(self, host: Host) -> Destination | None:
        self.asked.append(host.name)
        return None


async def test_names_are_looked_up_ahead_but_not_too_far_and_once_each() -> None:
    gate = asyncio.Event()
    transport = Signposted(default=Behaviour(ends_after=gate))
    hosts = [Host(f"h{number}") for number in range(3 * PREFETCH_HOSTS)]
    async with (
        Fleet(
            hosts, limits=Limits(fanout=2, start_rate=ANY), transports={TransportName.SSH: transport}
        ) as fleet,
        asyncio.TaskGroup() as group,
    ):
        running = group.create_task(fleet.run("true").gather())
        while len(transport.connections) < 2:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0)
        assert transport.asked == [host.name for host in hosts[2 : 2 + PREFETCH_HOSTS]]
        gate.set()
    assert len(running.result()) == len(hosts)
    assert transport.asked == [host.name for host in hosts[2:]]


async def test_a_shortage_is_reported_once_and_before_anything_begins() -> None:
    said: list[str] = []
    descriptors = Descriptors(lambda: DescriptorUse(limit=64, in_use=10))
    machine = RunResources(descriptors, hosts=200, fanout=500, per_host=1, warn=said.append)
    assert not said
    machine.check(iter(()))
    assert len(said) == 1
    assert machine.fanout == machine.open_at_most < 64
    machine.release()
    again = RunResources(descriptors, hosts=200, fanout=500, per_host=1, warn=said.append)
    assert again.fanout == machine.fanout, "what was released is there again"


async def test_few_hosts_need_few_descriptors_whatever_the_fanout() -> None:
    said: list[str] = []
    descriptors = Descriptors(lambda: DescriptorUse(limit=64, in_use=10))
    machine = RunResources(descriptors, hosts=20, fanout=500, per_host=1, warn=said.append)
    machine.check(iter(()))
    assert not said
    assert machine.fanout == 500, "it is told as it was asked for"


SIX = [Host(f"h{number}") for number in range(6)]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Descriptors:
    """The process's account, of 1,024 descriptors; 40 are open."""
    descriptors = Descriptors(lambda: DescriptorUse(limit=1024, in_use=40))
    monkeypatch.setattr("multirsh.engine.fleet.PROCESS", descriptors)
    return descriptors


def whole(account: Descriptors) -> int:
    """How many hosts a run of very many would get now."""
    share, _ = account.claim(hosts=10_000, fanout=10_000, per_host=1)
    account.give_back(share)
    return share.hosts


async def test_a_run_that_is_not_read_holds_nothing(account: Descriptors) -> None:
    before = whole(account)
    async with Fleet(SIX, transports={TransportName.SSH: FakeTransport()}) as fleet:
        unread = fleet.run("true")
        assert whole(account) == before
        events = fleet.run("true").events()
        await anext(events)
        assert whole(account) < before, "one that is read holds its part"
        await events.aclose()
        assert whole(account) == before
    with pytest.raises(RuntimeError, match="fleet was left"):
        await unread.gather()


async def test_a_run_that_was_stopped_before_it_is_read_starts_no_host(account: Descriptors) -> None:
    before = whole(account)
    async with Fleet(SIX, transports={TransportName.SSH: FakeTransport()}) as fleet:
        for stopping in (Run.drain, Run.stop, Run.abandon):
            run = fleet.run("true")
            stopping(run)
            assert run.stop_reason is not None
            assert not run.waits().waits
            results = await run.gather()
            assert {result.status for result in results.values()} == {Status.NOT_RUN}
            assert len(results) == len(SIX)
    assert whole(account) == before


async def test_runs_of_several_fleets_side_by_side_keep_their_fanout(account: Descriptors) -> None:
    before = whole(account)
    gate, said = asyncio.Event(), list[str]()
    transport = FakeTransport(default=Behaviour(ends_after=gate))
    async with contextlib.AsyncExitStack() as fleets, asyncio.TaskGroup() as group:
        runs = []
        for _ in range(16):
            fleet = Fleet(SIX, transports={TransportName.SSH: transport}, warn=said.append)
            await fleets.enter_async_context(fleet)
            runs.append(group.create_task(fleet.run("true").gather()))
        while len(transport.connections) < 16 * len(SIX):  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0)
        gate.set()
    assert not said
    assert all(results.result().is_ok for results in runs)
    assert whole(account) == before


async def test_descriptors_of_kept_connections_are_given_back_when_the_fleet_is_left(
    account: Descriptors,
) -> None:
    before = whole(account)
    async with Fleet(SIX, transports={TransportName.SSH: FakeTransport()}, keep=True):
        assert whole(account) == before - len(SIX)
    assert whole(account) == before


async def test_a_barrier_of_more_hosts_than_there_are_descriptors_for_is_refused_when_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = Descriptors(lambda: DescriptorUse(limit=64, in_use=44))
    monkeypatch.setattr("multirsh.engine.fleet.PROCESS", few)
    hosts = [Host(f"h{number}") for number in range(30)]
    async with Fleet(hosts, transports={TransportName.SSH: FakeTransport()}) as fleet:
        with pytest.raises(UsageError, match="a barrier holds all 30 hosts at once"):
            await fleet.run("true", barrier=True).gather()
        assert (await fleet.run("true", barrier=True, hosts=hosts[:1]).gather()).is_ok
