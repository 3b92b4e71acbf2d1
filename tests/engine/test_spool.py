"""Input for many, read once: from pipes, files and terminals."""

from __future__ import annotations

import asyncio
import errno
import os
import pty
import random
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from multirsh.engine.spool import CHUNK_BYTES, READ_BYTES, Given, Spool
from multirsh.transports.base import Stdin

pytestmark = pytest.mark.usefixtures("no_leaks")

SOME = random.Random(1).randbytes(300_000)


async def all_of(stdin: Stdin) -> bytes:
    read = b""
    while data := await stdin.read(len(read)):
        assert len(data) <= CHUNK_BYTES
        read += data
    return read


@contextmanager
def piped(*, memory_bytes: int = 1 << 20) -> Iterator[tuple[Spool, int]]:
    """A spool of a pipe, and the pipe's other end, which the test closes."""
    source, sink = os.pipe()
    spool = Spool(source, memory_bytes=memory_bytes)
    try:
        yield spool, sink
    finally:
        spool.close()
        os.close(source)


async def write(sink: int, data: bytes) -> None:
    """Write it all and close; a pipe holds less than that."""

    def work() -> None:
        with os.fdopen(sink, "wb") as file:
            file.write(data)

    await asyncio.to_thread(work)


@pytest.mark.parametrize("memory_bytes", [1 << 20, 100_000, 0], ids=["memory", "spilled", "disk"])
async def test_every_host_gets_all_of_the_input(memory_bytes: int) -> None:
    with piped(memory_bytes=memory_bytes) as (spool, sink):
        async with asyncio.TaskGroup() as group:
            readers = [group.create_task(all_of(spool)) for _ in range(3)]
            sizing = group.create_task(spool.size())
            await write(sink, SOME)
        assert [reader.result() for reader in readers] == [SOME] * 3
        assert sizing.result() == len(SOME)
        assert await all_of(spool) == SOME  # one that comes late


async def test_input_is_given_out_before_its_end_is_known() -> None:
    with piped() as (spool, sink):
        os.write(sink, b"first")
        assert await spool.read(0) == b"first"
        waiting = asyncio.create_task(spool.read(5))  # noqa: TID251 - it waits while the test goes on
        await asyncio.sleep(0)
        assert not waiting.done()
        os.write(sink, b"second")
        assert await waiting == b"second"
        os.close(sink)
        assert await spool.read(11) == b""
        assert await spool.size() == 11


async def test_nothing_is_read_before_the_first_host_asks() -> None:
    source, sink = os.pipe()
    os.write(sink, b"mine")
    os.close(sink)
    Spool(source).close()
    assert os.read(source, 9) == b"mine"
    os.close(source)


async def test_reading_stays_only_a_little_ahead_of_the_host_that_has_read_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A source without an end, such as yes(1), would fill the disk."""
    monkeypatch.setattr("multirsh.engine.spool.AHEAD_BYTES", 100_000)
    with piped() as (spool, sink):
        os.set_blocking(sink, False)

        def fill() -> int:
            written = 0
            while written < 5_000_000 and select.select([], [sink], [], 0.5)[1]:
                written += os.write(sink, bytes(READ_BYTES))
            return written

        async with asyncio.TaskGroup() as group:
            filling = group.create_task(asyncio.to_thread(fill))
            assert await spool.read(0)
        # More is not taken: what is ahead, one read(2), and what the pipe holds of the last write.
        assert filling.result() < 100_000 + 2 * READ_BYTES + 1_000_000

        offset = 0
        async with asyncio.TaskGroup() as group:
            filling = group.create_task(asyncio.to_thread(fill))
            while offset < 2_000_000:
                offset += len(await spool.read(offset))
        assert filling.result() > 0
        os.close(sink)
        while data := await spool.read(offset):
            offset += len(data)


async def test_a_file_is_read_in_place_from_its_present_offset(tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(SOME)
    descriptor = os.open(path, os.O_RDONLY)
    os.lseek(descriptor, 1000, os.SEEK_SET)
    spool = Spool(descriptor)
    assert await spool.size() == len(SOME) - 1000
    assert await all_of(spool) == SOME[1000:]
    assert os.lseek(descriptor, 0, os.SEEK_CUR) == 1000
    spool.close()
    os.close(descriptor)


async def test_a_read_error_reaches_every_host(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    spool = Spool(folder)
    for _ in range(2):
        with pytest.raises(IsADirectoryError):
            await spool.read(0)
    with pytest.raises(IsADirectoryError):
        await spool.size()
    spool.close()
    os.close(folder)


async def test_a_full_disk_is_reported_and_stored_input_is_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.open("/dev/full", os.O_RDWR)
    real = os.write
    with piped(memory_bytes=5) as (spool, sink):
        real(sink, b"small")
        assert await spool.read(0) == b"small"
        monkeypatch.setattr(os, "write", lambda _fd, data: real(full, data))
        real(sink, b"too much")
        with pytest.raises(OSError, match="No space left") as caught:
            await spool.read(5)
        assert caught.value.errno == errno.ENOSPC
        os.close(sink)
    os.close(full)


async def test_a_terminal_is_read_line_by_line_until_its_end() -> None:
    keyboard, terminal = pty.openpty()
    spool = Spool(terminal)
    os.write(keyboard, b"typed\n")
    assert await spool.read(0) == b"typed\n"
    os.write(keyboard, b"\x04")
    assert await spool.read(6) == b""
    spool.close()
    os.close(keyboard)
    os.close(terminal)


async def test_bytes_in_memory_are_given_out() -> None:
    assert await all_of(Given(SOME)) == SOME
    assert await Given(b"").read(0) == b""
    assert await Given(SOME).size() == len(SOME)


async def test_input_without_a_thread_to_read_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    theirs, ours = os.pipe()
    spool = Spool(theirs)
    try:
        with pytest.raises(OSError, match="no thread is left"):
            await spool.read(0)
    finally:
        spool.close()
        os.close(theirs)
        os.close(ours)
