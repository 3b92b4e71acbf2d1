"""A run's part of the machine: what a fleet of fakes sees of it."""

from __future__ import annotations

import asyncio

import pytest

from multirsh.engine.conductor import AHEAD
from multirsh.engine.descriptors import Descriptors, DescriptorUse
from multirsh.engine.fleet import Fleet
from multirsh.engine.limits import Limits
from multirsh.engine.machine import Machine
from multirsh.engine.pace import StartRate
from multirsh.model import Host, TransportName
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


async def test_names_are_looked_up_ahead_but_not_too_far_and_each_once() -> None:
    gate = asyncio.Event()
    transport = Signposted(default=Behaviour(ends_after=gate))
    hosts = [Host(f"h{number}") for number in range(3 * AHEAD)]
    async with (
        Fleet(
            hosts, limits=Limits(fanout=2, start_rate=ANY), transports={TransportName.SSH: transport}
        ) as fleet,
        asyncio.TaskGroup() as group,
    ):
        running = group.create_task(fleet.run("true").gather())
        while len(transport.connections) < 2:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0)
        assert transport.asked == [host.name for host in hosts[2 : 2 + AHEAD]]
        gate.set()
    assert len(running.result()) == len(hosts)
    assert transport.asked == [host.name for host in hosts[2:]]


async def test_a_shortage_is_told_once_and_before_anything_begins() -> None:
    said: list[str] = []
    descriptors = Descriptors(lambda: DescriptorUse(limit=64, in_use=10))
    machine = Machine(descriptors, hosts=200, fanout=500, per_host=1, warn=said.append)
    assert not said
    machine.check(iter(()))
    assert len(said) == 1
    assert machine.fanout == machine.open_at_most < 64
    machine.release()
    again = Machine(descriptors, hosts=200, fanout=500, per_host=1, warn=said.append)
    assert again.fanout == machine.fanout, "what was released is there again"


async def test_few_hosts_need_no_more_than_there_is_whatever_the_fanout() -> None:
    said: list[str] = []
    descriptors = Descriptors(lambda: DescriptorUse(limit=64, in_use=10))
    machine = Machine(descriptors, hosts=20, fanout=500, per_host=1, warn=said.append)
    machine.check(iter(()))
    assert not said
