"""What a run says it waits for, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from multirsh.engine.options import Batches, Limits, RetryPolicy, RollingPlan, StartRate
from multirsh.engine.schedule.rolling import Answer, GateOutcome
from multirsh.model import ErrorKind, Host, Phase, Status
from multirsh.testing import Behaviour, FakeTransport, refused
from multirsh.waits import Awaited, Wait, Waits
from tests.engine.watched import after, failing, watching
from tests.virtual_time import idle, in_virtual_time

STARTS: int = 100
"""Logins that a hop takes at once of which nothing is known, at the most."""


@in_virtual_time
async def test_nothing_where_only_the_commands_take_time() -> None:
    transport = FakeTransport(default=Behaviour(ends_after=after(5)))
    async with watching(transport, "a b c", limits=Limits(fanout=2)) as watched:
        assert watched.run.waits() == Waits()


@in_virtual_time
async def test_the_next_attempt() -> None:
    fails = Behaviour(fails=refused(""))
    transport = FakeTransport({"a": [fails, Behaviour()]}, default=Behaviour(ends_after=after(60)))
    policy = RetryPolicy(retries=1, delay=8.0)
    async with watching(transport, "a b", retry=policy) as watched:
        (wait,) = watched.run.waits().waits
        assert (wait.what, wait.hosts) == (Awaited.RETRY, 1)
        assert wait.until is not None
        assert 0 < wait.until <= 8
        assert watched.run.waits().again == {"a"}
        await idle(wait.until + 0.01)
        assert watched.run.waits() == Waits()


@in_virtual_time
async def test_the_start_rate() -> None:
    limits = Limits(start_rate=StartRate(0.1))
    async with watching(FakeTransport(), "a b", limits=limits) as watched:
        assert watched.run.waits().waits == (Wait(Awaited.START_RATE, until=10.0),)


@in_virtual_time
async def test_the_bound_on_handshakes() -> None:
    opens = asyncio.Event()
    transport = FakeTransport(default=Behaviour(opens_after=opens))
    async with watching(transport, "a b c", limits=Limits(handshakes=2)) as watched:
        assert watched.run.waits().waits == (Wait(Awaited.HANDSHAKES),)
        opens.set()
        await idle()
        assert watched.run.waits() == Waits()


class OneServer(FakeTransport):
    """All hosts log in at one."""

    def hop(self, host: Host) -> str:
        """The one."""
        return "bastion"


@in_virtual_time
async def test_a_server_that_takes_no_more_logins() -> None:
    opens = asyncio.Event()
    transport = OneServer(default=Behaviour(opens_after=opens))
    names = [f"h{number}" for number in range(STARTS)]
    async with watching(transport, names, limits=Limits(fanout=STARTS)) as watched:
        (wait,) = watched.run.waits().waits
        assert (wait.what, wait.hosts) == (Awaited.SERVER, STARTS - len(watched.started))
        opens.set()


@in_virtual_time
async def test_a_host_that_was_dropped_is_between_two_attempts() -> None:
    busy = Behaviour(fails=failing(Status.UNREACHABLE, ErrorKind.BUSY, Phase.HANDSHAKE))
    transport = OneServer({"a": [busy, Behaviour()]}, default=Behaviour(ends_after=after(60)))
    async with watching(transport, "a b") as watched:
        assert watched.run.waits().again == {"a"}
        assert [wait.what for wait in watched.run.waits().waits] == [Awaited.SERVER]


@in_virtual_time
async def test_what_comes_between_batches() -> None:
    async def gate(_batch: int, _hosts: Sequence[str]) -> GateOutcome:
        await asyncio.sleep(5)
        return GateOutcome(passed=True)

    async def ask(_question: str) -> Answer:
        await asyncio.sleep(5)
        return Answer.YES

    rolling = RollingPlan(batches=Batches.parse("1"), delay=30)
    async with watching(FakeTransport(), "a b", rolling=rolling, gate=gate, prompt=ask) as watched:
        seen = []
        for _ in range(3):
            seen.append(watched.run.waits().waits)
            await idle(5)
    assert seen == [(Wait(Awaited.GATE),), (Wait(Awaited.ANSWER),), (Wait(Awaited.BATCH_DELAY, until=40),)]


@in_virtual_time
async def test_the_others_at_the_barrier() -> None:
    opens = asyncio.Event()
    transport = FakeTransport({"c": Behaviour(opens_after=opens)}, default=Behaviour())
    async with watching(transport, "a b c", barrier=True) as watched:
        assert watched.run.waits().waits == (Wait(Awaited.BARRIER, 2),)
        opens.set()
        await idle()
        assert watched.run.waits() == Waits()
