"""One command as a child process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping

import pytest

from multirsh.lab.command import LabCommand, Stream
from tests.servers.processes import carrying, wait_until_gone
from tests.waiting import HANG_GUARD_S

pytestmark = pytest.mark.usefixtures("no_leaks")

MARK = "MULTIRSH_TEST_COMMAND"


class Notes:
    """A receiver that writes everything down."""

    def __init__(self) -> None:
        self.output: dict[Stream, bytearray] = {stream: bytearray() for stream in Stream}
        self.heard = asyncio.Event()
        self.waits = 0
        self.resumed = asyncio.Event()

    def output_received(self, stream: Stream, data: bytes) -> None:
        self.output[stream] += data
        self.heard.set()

    def input_must_wait(self) -> None:
        self.waits += 1

    def input_may_resume(self) -> None:
        self.resumed.set()


@pytest.fixture
def mark() -> Mapping[str, str]:
    """An environment by which a command's whole family is found."""
    return {MARK: str(os.getpid()), "PATH": os.environ["PATH"]}


@contextlib.asynccontextmanager
async def running(
    script: str, notes: Notes, mark: Mapping[str, str], *, grace: float = 5
) -> AsyncIterator[LabCommand]:
    command = LabCommand.spawn(("/bin/sh", "-c", script), environment=mark, folder="/", receiver=notes)
    try:
        await command.connect()
        async with asyncio.timeout(HANG_GUARD_S):
            yield command
    finally:
        await command.end(grace=grace)


def family(mark: Mapping[str, str]) -> set[int]:
    return carrying(f"{MARK}={mark[MARK]}")


async def result_of(script: str, mark: Mapping[str, str]) -> tuple[int, bytes, bytes]:
    notes = Notes()
    async with running(script, notes, mark) as command:
        command.end_input()
        await command.finished()
        status = await command.end(grace=0)
    return status, bytes(notes.output[Stream.STDOUT]), bytes(notes.output[Stream.STDERR])


async def test_both_outputs_and_the_status(mark: Mapping[str, str]) -> None:
    assert await result_of("echo out; echo err >&2; exit 7", mark) == (7, b"out\n", b"err\n")


async def test_output_that_comes_after_the_other_closed_is_not_lost(mark: Mapping[str, str]) -> None:
    assert await result_of("exec >&-; sleep 0.05; echo late >&2", mark) == (0, b"", b"late\n")


async def test_a_signal_is_a_negative_status(mark: Mapping[str, str]) -> None:
    status, _, _ = await result_of("kill -KILL $$", mark)
    assert status == -signal.SIGKILL


async def test_input_is_passed_on_and_ends(mark: Mapping[str, str]) -> None:
    notes = Notes()
    data = os.urandom(300_000)
    async with running("cat", notes, mark) as command:
        command.write(data)
        command.end_input()
        await command.finished()
    assert notes.output[Stream.STDOUT] == data
    assert notes.waits == 1
    assert notes.resumed.is_set()


async def test_input_that_is_not_read_does_not_block_the_sender(mark: Mapping[str, str]) -> None:
    notes = Notes()
    async with running("exec <&-; echo closed; sleep 60", notes, mark, grace=5) as command:
        await notes.heard.wait()
        command.write(bytes(300_000))
        await notes.resumed.wait()
        command.write(b"more")
        command.end_input()


async def test_paused_output_blocks_the_command(mark: Mapping[str, str]) -> None:
    notes = Notes()
    async with running("head -c 10000000 /dev/zero; echo done >&2", notes, mark) as command:
        await notes.heard.wait()
        command.pause_output()
        held = len(notes.output[Stream.STDOUT])
        assert held < 10_000_000
        command.resume_output()
        await command.finished()
    assert len(notes.output[Stream.STDOUT]) == 10_000_000


async def test_the_whole_tree_gets_term_first(mark: Mapping[str, str]) -> None:
    notes = Notes()
    script = """
        sh -c 'trap "echo inner; exit" TERM; echo ready; while :; do sleep 0.01; done' &
        trap 'wait; echo outer; exit 3' TERM
        wait
    """
    async with running(script, notes, mark) as command:
        await notes.heard.wait()
        assert await command.end(grace=5) == 3
    assert notes.output[Stream.STDOUT].splitlines() == [b"ready", b"inner", b"outer"]
    assert not wait_until_gone(family(mark))


async def test_a_command_that_ignores_term_is_killed(mark: Mapping[str, str]) -> None:
    notes = Notes()
    script = "trap '' TERM; sleep 1000 & echo ready; wait; sleep 1000"
    async with running(script, notes, mark) as command:
        await notes.heard.wait()
        assert await command.end(grace=0.05) == -signal.SIGKILL
    assert not wait_until_gone(family(mark))


async def test_what_a_finished_command_leaves_running_is_killed(mark: Mapping[str, str]) -> None:
    assert await result_of("sleep 1000 >/dev/null 2>&1 & exit 4", mark) == (4, b"", b"")
    assert not wait_until_gone(family(mark))


async def test_a_command_is_not_in_our_session(mark: Mapping[str, str]) -> None:
    _, output, _ = await result_of("ps -o sid= -p $$; echo $$", mark)
    session, process = map(int, output.split())
    assert session == process != os.getsid(0)


async def test_cancelling_the_end_kills_at_once(mark: Mapping[str, str]) -> None:
    notes = Notes()
    command = LabCommand.spawn(
        ("/bin/sh", "-c", "trap '' TERM; echo ready; sleep 1000; sleep 1000"),
        environment=mark,
        folder="/",
        receiver=notes,
    )
    await command.connect()
    await notes.heard.wait()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await command.end(grace=1000)
    assert not wait_until_gone(family(mark))


def test_a_program_that_does_not_exist(mark: Mapping[str, str]) -> None:
    with pytest.raises(FileNotFoundError):
        LabCommand.spawn(("/nowhere/sh",), environment=mark, folder="/", receiver=Notes())


async def test_without_descriptors_for_processes_the_child_is_polled(
    mark: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int) -> int:
        raise OSError

    if sys.platform == "linux":
        monkeypatch.setattr(os, "pidfd_open", refuse)
    script = "sleep 1000 >/dev/null 2>&1 & echo out; exit 9"
    assert await result_of(script, mark) == (9, b"out\n", b"")
    assert not wait_until_gone(family(mark))


async def test_a_command_cancelled_before_it_is_connected_is_killed(mark: Mapping[str, str]) -> None:
    command = LabCommand.spawn(("/bin/sleep", "1000"), environment=mark, folder="/", receiver=Notes())
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await command.connect()
    task.uncancel()
    assert await command.end(grace=1000) == -signal.SIGKILL
    assert not wait_until_gone(family(mark))


async def test_output_paused_before_it_flows_stays_paused(mark: Mapping[str, str]) -> None:
    notes = Notes()
    command = LabCommand.spawn(("/bin/sh", "-c", "echo out"), environment=mark, folder="/", receiver=notes)
    command.pause_output()
    await command.connect()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await command.finished()
    command.resume_output()
    await command.finished()
    assert await command.end(grace=0) == 0
    assert notes.output[Stream.STDOUT] == b"out\n"
