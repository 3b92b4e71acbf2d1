"""The printer's batches to our streams."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from multirsh.cli import writer as writers
from multirsh.cli.process import write_all
from multirsh.cli.writer import Writer
from multirsh.output import Batch, OutputOptions, Printer, Write
from tests.output.events import output
from tests.waiting import HANG_GUARD_S


class LongPrinter(Printer):
    """One that has a hundred batches to give."""

    def __init__(self) -> None:
        super().__init__(OutputOptions(), began=0.0)
        self._batches: Iterator[Batch] = iter(
            [Batch((Write("stdout", b"%d\n" % number),)) for number in range(100)]
        )
        self.given = 0

    @property
    def has_more(self) -> bool:
        return self.given < 100

    def take(self, now: float) -> Batch:
        self.given += 1
        return next(self._batches, Batch())


@pytest.fixture
def stdout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "stdout"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    monkeypatch.setitem(writers._DESCRIPTORS, "stdout", descriptor)
    yield path
    os.close(descriptor)


def test_two_that_write_at_once_lose_nothing_and_keep_the_order(stdout: Path) -> None:
    """As who follows the run and who ticks do."""

    async def together() -> None:
        writer = Writer(LongPrinter())
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(writer.write())

    asyncio.run(together())
    assert stdout.read_bytes() == b"".join(b"%d\n" % number for number in range(100))


def test_a_non_blocking_pipe_gets_everything() -> None:
    """O_NONBLOCK belongs to what is open, not to a process: whoever shares it may have set it (fcntl(2))."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    data = b"x" * 1_000_000
    with ThreadPoolExecutor() as pool, open(reading, "rb") as reader:  # noqa: PTH123 - a descriptor
        written = pool.submit(write_all, writing, data)
        written.add_done_callback(lambda _: os.close(writing))
        assert reader.read() == data
        written.result()


def test_a_fifo_in_the_place_of_a_file_does_not_block(stdout: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "web1")
    options = OutputOptions(folders={"stdout": tmp_path})

    async def written() -> Writer:
        printer = Printer(options, began=0.0)
        printer.feed(output("web1", b"a\n"))
        writer = Writer(printer)
        async with asyncio.timeout(HANG_GUARD_S):
            await writer.write()
        return writer

    (complaint,) = asyncio.run(written()).complaints
    assert f"{tmp_path}/web1 cannot be written: No such device or address" in complaint
    assert stdout.read_bytes() == b"web1: a\n"


def test_a_link_under_a_hosts_name_is_not_followed(stdout: Path, tmp_path: Path) -> None:
    """Another user may have put it there, in a shared folder, to have us write to a file of ours."""
    folder, ours = tmp_path / "out", tmp_path / "ours"
    folder.mkdir()
    ours.write_bytes(b"of ours\n")
    (folder / "web1").symlink_to(ours)
    (folder / "web2").symlink_to(tmp_path / "not there")
    (complaint,) = complaints_of(folder, "web1", "web2")
    assert f"{folder}/web1 cannot be written: there is a symbolic link in its place" in complaint
    assert ours.read_bytes() == b"of ours\n"
    assert not (tmp_path / "not there").exists()
    assert stdout.read_bytes() == b"web1: a\nweb2: a\n"


@pytest.mark.root
@pytest.mark.parametrize(
    ("folders_owner", "mode", "is_used"), [(0, 0o775, True), (0, 0o1777, False), (4242, 0o755, False)]
)
def test_a_hard_link_is_not_written_to_where_others_could_have_made_it(
    stdout: Path, tmp_path: Path, *, folders_owner: int, mode: int, is_used: bool
) -> None:
    folder, ours = tmp_path / "out", tmp_path / "ours"
    folder.mkdir()
    ours.touch()
    (folder / "web1").hardlink_to(ours)
    folder.chmod(mode)
    os.chown(folder, folders_owner, -1)
    said = "".join(complaints_of(folder, "web1"))
    assert ours.read_bytes() == (b"a\n" if is_used else b"")
    refusal = f"{folder}/web1 cannot be written: there is a hard link in its place"
    assert said == "" if is_used else refusal in said
    assert stdout.read_bytes() == b"web1: a\n"


@pytest.mark.root
@pytest.mark.parametrize(("folders_owner", "is_used"), [(0, False), (4242, True)])
def test_a_file_that_another_user_has_left_is_not_written_to_unless_the_folder_is_that_users(
    stdout: Path, tmp_path: Path, *, folders_owner: int, is_used: bool
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "web1").touch()
    os.chown(folder / "web1", 4242, -1)
    os.chown(folder, folders_owner, -1)
    said = "".join(complaints_of(folder, "web1"))
    assert (folder / "web1").read_bytes() == (b"a\n" if is_used else b"")
    refusal = f"{folder}/web1 cannot be written: another user has left it there (id 4242)"
    assert said == "" if is_used else refusal in said
    assert stdout.read_bytes() == b"web1: a\n"


def complaints_of(folder: Path, *hosts: str) -> list[str]:
    """What is said where each of some hosts writes a line to its file."""

    async def written() -> Writer:
        printer = Printer(OutputOptions(folders={"stdout": folder}), began=0.0)
        for host in hosts:
            printer.feed(output(host, b"a\n"))
        writer = Writer(printer)
        await writer.write()
        return writer

    return asyncio.run(written()).complaints
