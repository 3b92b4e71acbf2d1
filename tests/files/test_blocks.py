"""What hosts share: reads of a push; and what bounds each: lanes, and bytes under way."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from multirsh.files.blocks import BLOCK_BYTES, Blocks
from multirsh.files.disk import Disk
from multirsh.files.entries import Entry
from multirsh.files.lanes import Flight, open_lanes
from multirsh.files.options import CopyOptions
from multirsh.files.tree import look
from multirsh.files.words import FileTrouble


def content_of(path: str) -> bytes:
    return Path(path).read_bytes()


def entry_of(path: Path) -> Entry:
    return look([os.fsencode(path)], CopyOptions()).entries[0]


async def test_hosts_at_the_same_pace_share_a_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(3 * BLOCK_BYTES + 5))
    disk = Disk()
    with disk.held():
        blocks = Blocks(disk, cache_bytes=2 * BLOCK_BYTES)
        entry = entry_of(file)

        async def host() -> bytes:
            return b"".join([await blocks.get(entry, number) for number in range(4)])

        async with asyncio.TaskGroup() as group:
            hosts = [group.create_task(host()) for _ in range(20)]

        assert {task.result() for task in hosts} == {file.read_bytes()}
        assert blocks.reads == 4
        await blocks.get(entry, 0)  # long gone: who is late reads again
        assert blocks.reads == 5


async def test_a_host_that_leaves_takes_no_read_with_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    disk = Disk()
    with disk.held():
        blocks = Blocks(disk)
        entry = entry_of(file)
        async with asyncio.TaskGroup() as group:
            leaves = group.create_task(blocks.get(entry, 0))
            stays = group.create_task(blocks.get(entry, 0))
            await asyncio.sleep(0)
            leaves.cancel()

        assert stays.result() == b"x"


async def test_a_file_that_grows_is_read_as_far_as_it_went(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")
    empty = tmp_path / "empty"
    empty.touch()
    entries = [entry_of(file), entry_of(empty)]
    for grown in (file, empty):
        with grown.open("ab") as log:
            log.write(b"more")
    disk = Disk()
    with disk.held():
        blocks = Blocks(disk)

        assert [await blocks.get(entry, 0) for entry in entries] == [b"0123456789", b""]


@pytest.mark.parametrize("path", ["/proc/version", "/sys/kernel/mm/transparent_hugepage/enabled"])
async def test_a_file_is_read_to_its_end_whatever_its_size_is_said_to_be(path: str) -> None:
    entry, content = entry_of(Path(path)), content_of(path)
    assert entry.size != len(content)
    disk = Disk()
    with disk.held():
        assert await Blocks(disk).get(entry, 0) == content


@pytest.mark.parametrize("change", ["shorter", "other", "another", "gone"])
async def test_a_file_that_changes_meanwhile_is_not_mixed(tmp_path: Path, change: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")
    entry = entry_of(file)
    if change == "gone":
        file.unlink()
    elif change == "another":
        new = tmp_path / "new"
        new.write_bytes(b"9876543210 and more")
        new.rename(file)
    else:
        file.write_bytes({"shorter": b"0", "other": b"9876543210"}[change])
        os.utime(file, ns=(1, 1))
    disk = Disk()
    with disk.held(), pytest.raises(FileTrouble):
        await Blocks(disk).get(entry, 0)


async def test_bytes_under_way_are_bounded_and_fair() -> None:
    flight = Flight(10)
    order: list[int] = []

    async def take(size: int) -> None:
        await flight.take(size)
        order.append(size)

    await flight.take(8)
    async with asyncio.TaskGroup() as group:
        for size in (6, 2, 9):
            group.create_task(take(size))
        await asyncio.sleep(0)
        assert order == []
        assert not flight.take_now(1), "nobody passes those who wait"
        flight.give(8)
        await asyncio.sleep(0)
        assert order == [6, 2]
        flight.give(8)
    assert order == [6, 2, 9]


async def test_who_gives_up_waiting_holds_nothing() -> None:
    flight = Flight(10)
    await flight.take(10)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(flight.take(5))
        await asyncio.sleep(0)
        waiting.cancel()
    flight.give(10)

    assert flight.take_now(10)


async def test_the_first_failure_ends_all_lanes_by_its_own_name() -> None:
    async def fails() -> None:
        raise FileTrouble("this one")

    async def waits() -> None:
        await asyncio.Event().wait()

    async def copy() -> None:
        async with open_lanes() as lanes:
            await lanes.start(waits())
            await lanes.start(fails())
            await lanes.start(waits())

    with pytest.raises(FileTrouble, match="this one"):
        await copy()


async def test_no_more_lanes_than_there_are() -> None:
    running = most = 0

    async def copy() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    async with open_lanes(3) as lanes:
        for _ in range(20):
            await lanes.start(copy())

    assert most == 3
