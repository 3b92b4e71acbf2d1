"""The barrier: which hosts it waits for, when it releases the command, and what it reports."""

from __future__ import annotations

import asyncio

from multirsh.engine.barrier import NAMES_TOLD, Barrier
from tests.virtual_time import idle, in_virtual_time, virtual_loop


@in_virtual_time
async def test_it_is_released_when_the_last_host_has_arrived() -> None:
    said: list[str] = []
    barrier = Barrier(["a", "b"], said.append)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(barrier.arrive("a"))
        await idle(5)
        assert not first.done()
        assert not barrier.is_released
        group.create_task(barrier.arrive("b"))
    assert barrier.is_released
    assert said == ["barrier: 2 of 2 hosts are ready"]


@in_virtual_time
async def test_a_failed_host_is_not_waited_for_but_named() -> None:
    said: list[str] = []
    barrier = Barrier([f"web{number}" for number in range(1, 6)], said.append)
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(barrier.arrive(name)) for name in ("web1", "web5")]
        await idle()
        for name in ("web2", "web3", "web4"):
            assert not waiting[0].done()
            barrier.fail(name)
    assert said == ["barrier: 2 of 5 hosts are ready; missing: web[2-4]"]


@in_virtual_time
async def test_a_host_that_ends_after_its_arrival_is_not_missing() -> None:
    said: list[str] = []
    barrier = Barrier(["a"], said.append)
    await barrier.arrive("a")
    barrier.fail("a")
    await barrier.arrive("a")  # tried again: it is not held again
    barrier.report_skew()
    assert said == [
        "barrier: 1 of 1 hosts are ready",
        "barrier: the command was sent to all within 0.0 ms",
    ]


def test_if_all_hosts_have_failed_the_command_is_sent_to_none() -> None:
    said: list[str] = []
    barrier = Barrier(["a", "b"], said.append)
    barrier.fail("a")
    barrier.fail("b")
    barrier.report_skew()
    assert barrier.skew is None
    assert said == ["barrier: 0 of 2 hosts are ready; missing: a,b"]


def test_a_long_list_of_the_missing_is_cut() -> None:
    said: list[str] = []
    names = [f"{number:x}a{'b' * number}" for number in range(100)]
    barrier = Barrier(names, said.append)
    for name in names:
        barrier.fail(name)
    (line,) = said
    assert line.endswith("...")
    assert len(line) < NAMES_TOLD + 60


@in_virtual_time
async def test_the_skew_is_from_the_first_start_to_the_last() -> None:
    said: list[str] = []
    barrier = Barrier(["a", "b"], said.append)

    async def last() -> None:
        await barrier.arrive("b")
        virtual_loop().spend(0.25)  # before the loop gets to the other one

    async with asyncio.TaskGroup() as group:
        group.create_task(barrier.arrive("a"))
        group.create_task(last())
    barrier.report_skew()
    assert barrier.skew == 0.25
    assert said[-1] == "barrier: the command was sent to all within 250.0 ms"


@in_virtual_time
async def test_a_barrier_that_is_called_off_releases_no_host_and_says_so_once() -> None:
    said: list[str] = []
    barrier = Barrier(["a", "b"], said.append)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(barrier.arrive("a"))
        await idle()
        barrier.call_off()
        barrier.call_off()
        barrier.fail("b")
        await idle()
        assert not waiting.done()
        waiting.cancel()
    assert said == ["barrier: called off; 1 of 2 hosts were ready"]


@in_virtual_time
async def test_a_released_barrier_cannot_be_called_off() -> None:
    said: list[str] = []
    barrier = Barrier(["a"], said.append)
    await barrier.arrive("a")
    barrier.call_off()
    assert len(said) == 1
