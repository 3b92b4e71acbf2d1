"""Deadlines that stand still while a host waits for a local port."""

from __future__ import annotations

import asyncio

import pytest

from multirsh.transports.patience import Patience, PortWaitOver
from tests.virtual_time import in_virtual_time, virtual_loop


def now() -> float:
    return virtual_loop().time()


async def wait_for_a_port(patience: Patience, seconds: float) -> None:
    async with patience.for_a_port():
        await asyncio.sleep(seconds)


async def forever() -> None:
    await asyncio.Event().wait()


@in_virtual_time
async def test_a_deadline_passes_in_its_time() -> None:
    async def enter() -> None:
        async with asyncio.timeout(5) as scope:
            Patience(scope)
            await asyncio.sleep(10)

    with pytest.raises(TimeoutError):
        await enter()
    assert now() == 5


@in_virtual_time
async def test_a_pause_does_not_count_for_those_beside_it_either() -> None:
    async def enter() -> None:
        async with asyncio.timeout(5) as first, asyncio.timeout(7) as second:
            opener, follower = Patience(first), Patience(second)
            with follower.beside(opener):
                with opener.paused():
                    await asyncio.sleep(100)
                await forever()

    with pytest.raises(TimeoutError):
        await enter()
    assert now() == 105


@in_virtual_time
async def test_waiting_for_a_port_does_not_count() -> None:
    async def enter() -> None:
        async with asyncio.timeout(5) as scope:
            patience = Patience(scope)
            await asyncio.sleep(3)
            await wait_for_a_port(patience, 100)
            await asyncio.sleep(1)
            await wait_for_a_port(patience, 100)
            await asyncio.sleep(10)

    with pytest.raises(TimeoutError):
        await enter()
    assert now() == pytest.approx(205)


@in_virtual_time
async def test_every_deadline_of_the_way_stands_still() -> None:
    async def connect(patience: Patience) -> None:
        async with patience.within(5):
            await asyncio.sleep(4)
            await wait_for_a_port(patience, 100)
            await asyncio.sleep(2)

    async with asyncio.timeout(20) as scope:
        with pytest.raises(TimeoutError):
            await connect(Patience(scope))
        assert now() == pytest.approx(105)
        assert scope.when() == pytest.approx(120)


@in_virtual_time
async def test_no_deadline_is_none_afterwards_either() -> None:
    async with asyncio.timeout(None) as scope:
        patience = Patience(scope)
        async with patience.within(None):
            await wait_for_a_port(patience, 1000)
            await asyncio.sleep(1000)
        assert scope.when() is None
    await wait_for_a_port(Patience(), 1000)


@in_virtual_time
async def test_the_wait_for_ports_has_a_bound_of_its_own_over_all_waits() -> None:
    patience = Patience(port_seconds=10)
    await wait_for_a_port(patience, 6)
    await asyncio.sleep(100)
    with pytest.raises(PortWaitOver):
        await wait_for_a_port(patience, 5)
    assert now() == pytest.approx(110)
    with pytest.raises(PortWaitOver):
        await wait_for_a_port(patience, 1)
    assert now() == pytest.approx(110)


@in_virtual_time
async def test_who_need_not_wait_may_have_a_port_though_its_patience_is_used_up() -> None:
    patience = Patience(port_seconds=0)
    async with patience.for_a_port():
        pass


@in_virtual_time
async def test_a_deadline_that_passed_as_the_wait_began_is_not_revived() -> None:
    """Both in one turn of the loop: the deadline's callback comes first, then the host finds no port."""

    async def enter() -> None:
        async with asyncio.timeout(5) as scope:
            connected = virtual_loop().create_future()
            virtual_loop().call_at(5, connected.set_result, None)
            await connected
            await wait_for_a_port(Patience(scope, port_seconds=100), 50)

    with pytest.raises(TimeoutError):
        await enter()
    assert now() == 5


@in_virtual_time
async def test_a_wait_that_ends_as_its_bound_does_is_one_or_the_other() -> None:
    patience = Patience(port_seconds=5)
    with pytest.raises(PortWaitOver):
        await wait_for_a_port(patience, 5)
    assert not patience.stands_still
    assert now() == 5


@in_virtual_time
async def test_a_timeout_within_the_wait_is_not_taken_for_its_end() -> None:
    patience = Patience(port_seconds=5)
    with pytest.raises(TimeoutError, match="of its own"):
        async with patience.for_a_port():
            raise TimeoutError("of its own")
    assert not patience.stands_still


@in_virtual_time
async def test_a_cancelled_wait_is_cancelled_and_the_deadlines_go_on() -> None:
    async with asyncio.timeout(5) as scope:
        patience = Patience(scope, port_seconds=50)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(wait_for_a_port(patience, 100))
            await asyncio.sleep(20)
            waiting.cancel()
        assert waiting.cancelled()
        assert scope.when() == pytest.approx(25)
        with pytest.raises(PortWaitOver):
            await wait_for_a_port(patience, 100)
    assert now() == pytest.approx(50), "30 s of 50 were left"


# Beside others.


@in_virtual_time
async def test_who_needs_what_another_opens_stands_still_while_that_one_waits() -> None:
    opener = Patience()

    async def follow() -> None:
        async with asyncio.timeout(5) as scope:
            with Patience(scope).beside(opener):
                await forever()

    async def gave_up_at() -> float:
        with pytest.raises(TimeoutError):
            await follow()
        return now()

    async with asyncio.TaskGroup() as group:
        early = group.create_task(gave_up_at())
        await asyncio.sleep(2)
        waiting = group.create_task(wait_for_a_port(opener, 100))
        await asyncio.sleep(50)
        late = group.create_task(gave_up_at())
        await waiting
        assert not opener.stands_still
    assert early.result() == pytest.approx(105)
    assert late.result() == pytest.approx(107)
    assert opener.followers == []


@in_virtual_time
async def test_who_goes_beside_nobody_goes_on() -> None:
    patience = Patience()
    with patience.beside(None):
        assert not patience.stands_still


@in_virtual_time
async def test_a_followers_follower_stands_still_too() -> None:
    first, second, third = Patience(), Patience(), Patience()
    with second.beside(first), third.beside(second):
        async with first.for_a_port():
            assert third.stands_still
        assert not third.stands_still
    async with first.for_a_port():
        with second.beside(first):
            with third.beside(second):
                assert third.stands_still
            assert not third.stands_still
        assert not second.stands_still


@in_virtual_time
async def test_who_waits_itself_beside_one_that_waits_goes_on_when_both_do() -> None:
    opener = Patience()
    async with asyncio.timeout(5) as scope:
        patience = Patience(scope)
        with patience.beside(opener):
            async with asyncio.TaskGroup() as group:
                group.create_task(wait_for_a_port(opener, 30))
                await asyncio.sleep(1)
                await wait_for_a_port(patience, 100)
            assert not patience.stands_still
        assert scope.when() == pytest.approx(106)


@in_virtual_time
async def test_a_part_that_begins_while_all_stands_still_has_its_full_time_afterwards() -> None:
    opener, patience = Patience(), Patience()

    async def part() -> None:
        with patience.beside(opener), pytest.raises(TimeoutError):
            async with patience.within(5):
                await forever()

    async with asyncio.TaskGroup() as group:
        group.create_task(wait_for_a_port(opener, 30))
        await asyncio.sleep(20)
        group.create_task(part())
    assert now() == pytest.approx(35)


@in_virtual_time
async def test_a_part_that_ends_while_all_stands_still_is_not_touched_again() -> None:
    opener, patience = Patience(), Patience()
    with patience.beside(opener):
        async with patience.within(5):
            opener.stop()
        opener.go_on()
        assert not patience.stands_still
