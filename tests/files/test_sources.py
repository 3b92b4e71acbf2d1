"""What hosts share: reads of a push; and what bounds each: tasks, and bytes under way."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from multirsh.files.concurrency import DiskThreads
from multirsh.files.options import CopyOptions
from multirsh.files.results import FileError
from multirsh.files.sources import BLOCK_BYTES, BlockCache, SourceEntry, read_sources


def content_of(path: str) -> bytes:
    return Path(path).read_bytes()


def entry_of(path: Path) -> SourceEntry:
    return read_sources([os.fsencode(path)], CopyOptions()).entries[0]


async def test_hosts_at_the_same_pace_share_a_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(3 * BLOCK_BYTES + 5))
    disk = DiskThreads()
    with disk.held():
        blocks = BlockCache(disk, cache_bytes=2 * BLOCK_BYTES)
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
    disk = DiskThreads()
    with disk.held():
        blocks = BlockCache(disk)
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
    disk = DiskThreads()
    with disk.held():
        blocks = BlockCache(disk)

        assert [await blocks.get(entry, 0) for entry in entries] == [b"0123456789", b""]


@pytest.mark.parametrize("path", ["/proc/version", "/sys/kernel/mm/transparent_hugepage/enabled"])
async def test_a_file_is_read_to_its_end_whatever_its_size_is_said_to_be(path: str) -> None:
    entry, content = entry_of(Path(path)), content_of(path)
    assert entry.size != len(content)
    disk = DiskThreads()
    with disk.held():
        assert await BlockCache(disk).get(entry, 0) == content


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
    disk = DiskThreads()
    with disk.held(), pytest.raises(FileError):
        await BlockCache(disk).get(entry, 0)
