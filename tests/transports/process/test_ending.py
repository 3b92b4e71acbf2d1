"""Programs ended with all that they started: real processes, and a look at every one afterwards."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from multirsh.model import Exited, Fate, Host, Outcome
from multirsh.testing.conformance import Collected, Input
from multirsh.transports.login_deadline import LoginDeadline
from multirsh.transports.process import table
from multirsh.transports.process.child import Child, Launch
from multirsh.transports.process.connection import ProcessConnection
from multirsh.transports.process.ending import Tree
from tests.servers.processes import every_process, kill, naming, wait_until_gone
from tests.waiting import HANG_GUARD_S

pytestmark = pytest.mark.usefixtures("no_leaks")

_NAPS = itertools.count(os.getpid() * 1000 + 10**8)


def connection(*, sees_all: bool = True) -> ProcessConnection:
    def launch(command: str) -> Launch:
        return Launch((b"sh", b"-c", command.encode()))

    return ProcessConnection(Host("here"), launch, user=None, sees_all=sees_all, close_timeout=60)


@asynccontextmanager
async def given_up(
    command: str, *, sleepers: int, sees_all: bool = True
) -> AsyncIterator[tuple[ProcessConnection, str, Collected]]:
    """A command that was given up on once ``sleepers`` processes of it sleep NAP seconds."""
    nap, sink, made = str(next(_NAPS)), Collected(), connection(sees_all=sees_all)
    await made.open(LoginDeadline())
    running = asyncio.get_running_loop().create_task(made.run(command.replace("NAP", nap), sink))
    try:
        async with asyncio.timeout(HANG_GUARD_S):
            while len(naming(f"sleep\0{nap}")) < sleepers:  # noqa: ASYNC110 - processes tell nobody
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait([running])
        yield made, nap, sink
    finally:
        made.close()
        await made.closed()
        kill(naming(nap))


@pytest.mark.parametrize(
    ("command", "sleepers"),
    [
        ("sleep NAP", 1),
        ("sleep NAP & sleep NAP & wait", 2),
        ("setsid sleep NAP & sleep NAP", 2),
        ("(sleep NAP &) ; (sleep NAP &)", 2),  # orphans in its session, and it has ended
        ("setsid sh -c '(sleep NAP &) ; sleep NAP' & sleep NAP", 3),
        ("setsid -f sleep NAP", 1),  # gone from session and parent, but it holds the output
        ("(trap '' TERM; sleep NAP; sleep NAP) & sleep NAP", 2),
        ("sleep NAP & until ps -o args= -p $! | grep -q ^sleep; do :; done; kill -STOP $!; sleep NAP", 2),
        ("kill -STOP $$ & sleep NAP", 1),
    ],
)
async def test_nothing_of_it_is_left(command: str, sleepers: int) -> None:
    async with given_up(command, sleepers=sleepers) as (given, nap, _):
        assert await given.end_command(kill_after=0.3) is Fate.DEAD
        assert not naming(nap)
        assert await given.end_command(kill_after=0.3) is Fate.DEAD


async def test_a_daemon_that_has_left_without_a_trace_makes_it_unsure() -> None:
    async with given_up("setsid -f sleep NAP >/dev/null 2>&1 </dev/null; sleep NAP", sleepers=2) as run:
        given, nap, _ = run
        assert await given.end_command(kill_after=1) is Fate.UNKNOWN
        assert len(naming(nap)) == 1


async def test_what_others_do_cannot_be_told() -> None:
    async with given_up("sleep NAP", sleepers=1, sees_all=False) as (given, nap, _):
        assert await given.end_command(kill_after=1) is Fate.UNKNOWN
        assert not naming(nap)


async def test_where_processes_are_not_shown_its_group_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "read_table", lambda: None)
    async with given_up("trap '' TERM; sleep NAP & sleep NAP; sleep NAP", sleepers=2) as (given, nap, _):
        assert await given.end_command(kill_after=0.2) is Fate.UNKNOWN
        assert not wait_until_gone(naming(nap))


async def test_what_is_given_up_on_and_only_closed_is_killed() -> None:
    async with given_up("trap '' TERM; sleep NAP & setsid sleep NAP & sleep NAP", sleepers=3) as run:
        given, nap, _ = run
        given.close()
        await given.closed()
        assert not wait_until_gone(naming(nap))


async def test_what_a_command_that_ended_leaves_behind_is_left_alone() -> None:
    nap, made = str(next(_NAPS)), connection()
    await made.open(LoginDeadline())
    command = f"sleep {nap} >/dev/null 2>&1 </dev/null &"
    assert await made.run(command, Collected()) == Exited(0)
    assert await made.end_command(kill_after=1) is Fate.DEAD
    made.close()
    await made.closed()
    left = naming(f"sleep\0{nap}")
    assert len(left) == 1
    kill(left)


async def test_a_cancellation_hurries() -> None:
    async with given_up("trap '' TERM; sleep NAP; sleep NAP", sleepers=1) as (given, nap, _):
        end = asyncio.get_running_loop().create_task(given.end_command(kill_after=60))
        await asyncio.sleep(0.1)
        end.cancel()
        await asyncio.wait([end])
        assert not wait_until_gone(naming(nap))


async def test_last_words_come_even_to_a_reader_that_waits() -> None:
    async with given_up("trap 'echo bye; exit' TERM; sleep NAP", sleepers=1) as (given, _, sink):
        given.pause_output()
        assert await given.end_command(kill_after=5) is Fate.DEAD
        assert sink.stdout == b"bye\n"


async def test_a_program_that_was_reaped_by_somebody_else_is_lost_and_its_number_is_let_be() -> None:
    child = Child(Launch((b"sleep", b"60")))
    os.kill(child.pid, signal.SIGKILL)
    os.waitpid(child.pid, 0)  # noqa: ASYNC222 - it is killed
    await asyncio.wait([child.exited])
    assert child.exited.result() is None
    assert not child.is_ours
    tree = Tree(child)
    tree.kill()
    assert (await tree.end(0)).is_unsure
    child.let_go()


async def test_a_program_is_not_reaped_before_it_is_let_go() -> None:
    child = Child(Launch((b"true",)))
    await asyncio.wait([child.exited])
    assert child.exited.result() == 0
    assert every_process()[child.pid].is_zombie
    child.let_go()
    child.let_go()
    assert child.pid not in every_process()


async def test_without_pidfds_a_thread_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_pid: int, _flags: int = 0) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "pidfd_open", refused)
    made = connection()
    await made.open(LoginDeadline())
    assert await made.run("exit 7", Collected()) == Exited(7)
    made.close()
    await made.closed()


async def test_a_hundred_are_ended_at_once_with_few_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def counted() -> table.Table | None:
        nonlocal looks
        looks += 1
        return read()

    read = table.read_table
    monkeypatch.setattr(table, "read_table", counted)
    children = [Child(Launch((b"sleep", b"60"))) for _ in range(100)]
    async with asyncio.TaskGroup() as group:
        ends = [group.create_task(Tree(child).end(5)) for child in children]
    assert not any(end.result().is_alive for end in ends)
    await asyncio.wait([child.exited for child in children])
    for child in children:
        child.let_go()
    assert looks < 10


async def test_a_program_that_reads_slowly_gets_all_and_one_that_stops_is_not_waited_for() -> None:
    async def run(command: str) -> tuple[Outcome, bytes]:
        made, sink = connection(), Collected()
        await made.open(LoginDeadline())
        try:
            return await made.run(command, sink, Input(bytes(1024 * 1024))), bytes(sink.stdout)
        finally:
            made.close()
            await made.closed()

    assert await run("sleep 0.2; wc -c") == (Exited(0), b"1048576\n")
    began = time.monotonic()
    assert await run("exec <&-; sleep 0.1; exit 9") == (Exited(9), b"")
    assert time.monotonic() - began < 60
