"""Files and bytes of one host that are copied at the same time are bounded."""

from __future__ import annotations

import asyncio

import pytest

from multirsh.files.concurrency import ByteLimiter, limited_tasks
from multirsh.files.results import FileError


async def test_bytes_under_way_are_bounded_and_fair() -> None:
    flight = ByteLimiter(10)
    order: list[int] = []

    async def take(size: int) -> None:
        await flight.acquire(size)
        order.append(size)

    await flight.acquire(8)
    async with asyncio.TaskGroup() as group:
        for size in (6, 2, 9):
            group.create_task(take(size))
        await asyncio.sleep(0)
        assert order == []
        assert not flight.acquire_nowait(1), "nobody passes those who wait"
        flight.release(8)
        await asyncio.sleep(0)
        assert order == [6, 2]
        flight.release(8)
    assert order == [6, 2, 9]


async def test_who_gives_up_waiting_holds_nothing() -> None:
    flight = ByteLimiter(10)
    await flight.acquire(10)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(flight.acquire(5))
        await asyncio.sleep(0)
        waiting.cancel()
    flight.release(10)

    assert flight.acquire_nowait(10)


async def test_the_first_failure_ends_all_lanes_by_its_own_name() -> None:
    async def fails() -> None:
        raise FileError("this one")

    async def waits() -> None:
        await asyncio.Event().wait()

    async def copy() -> None:
        async with limited_tasks() as tasks:
            await tasks.start(waits())
            await tasks.start(fails())
            await tasks.start(waits())

    with pytest.raises(FileError, match="this one"):
        await copy()


async def test_no_more_lanes_than_there_are() -> None:
    running = most = 0

    async def copy() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    async with limited_tasks(3) as tasks:
        for _ in range(20):
            await tasks.start(copy())

    assert most == 3
