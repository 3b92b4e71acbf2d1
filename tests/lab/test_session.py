"""A session, from asyncssh's side: the finer points that the ssh program does not show."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import asyncssh
import pytest

from multirsh.lab import Lab, LabOptions
from tests.lab.clients import READY, TREE, connect
from tests.lab.conftest import Family
from tests.servers.processes import wait_until_gone
from tests.waiting import HANG_GUARD_S

pytestmark = pytest.mark.usefixtures("no_leaks")

ONE = LabOptions(hosts=1, port=0, kill_after=1)


async def test_bytes_both_ways_and_the_status() -> None:
    data = os.urandom(1_000_000)
    async with Lab(ONE) as lab, connect(lab, "web01") as connection:
        process = await connection.create_process("tee /dev/stderr; exit 200", encoding=None)
        stdout, stderr = await process.communicate(data)
    assert stdout == data
    assert stderr == data
    assert process.exit_status == 200


async def test_a_signal_is_reported_by_name() -> None:
    async with Lab(ONE) as lab, connect(lab, "web01") as connection:
        done = await connection.run("kill -USR1 $$", stdin=asyncssh.DEVNULL)
    assert done.exit_status == -1
    assert done.exit_signal is not None
    assert done.exit_signal[0] == "USR1"


async def test_a_signal_from_the_client_reaches_the_command() -> None:
    async with (
        Lab(ONE) as lab,
        connect(lab, "web01") as connection,
        connection.create_process(
            "trap 'echo got it; exit 5' USR1; echo ready; while :; do sleep 0.01; done", encoding=None
        ) as process,
    ):
        assert await process.stdout.readline() == b"ready\n"
        process.send_signal("USR1")
        assert await process.stdout.read() == b"got it\n"
        await process.wait_closed()
    assert process.exit_status == 5


async def test_many_sessions_on_one_connection() -> None:
    async with Lab(ONE) as lab, connect(lab, "web01") as connection, asyncio.TaskGroup() as tasks:
        runs = [tasks.create_task(connection.run(f"cat; exit {n}", input=b"%d" % n)) for n in range(40)]
    assert [(run.result().exit_status, run.result().stdout) for run in runs] == [
        (n, b"%d" % n) for n in range(40)
    ]


async def test_a_client_that_does_not_read_holds_the_command_back() -> None:
    size = 50_000_000
    async with (
        Lab(ONE) as lab,
        connect(lab, "web01") as connection,
        connection.create_process(
            f"head -c {size} /dev/zero | tee /dev/stderr | sha256sum >&2", encoding=None, window=65536
        ) as process,
    ):
        # Nothing is read yet; a command on the same connection must still get through.
        assert (await connection.run("echo here", stdin=asyncssh.DEVNULL)).stdout == b"here\n"
        (server,) = lab._census.connections
        held = sum(channel.get_write_buffer_size() for channel in server._channels.values())
        assert held < 1_000_000
        stdout, stderr = await asyncio.gather(  # noqa: TID251 - nothing outlives it
            process.stdout.read(), process.stderr.read()
        )
    assert stdout == b""
    assert stderr.startswith(bytes(size))
    assert hashlib.sha256(bytes(size)).hexdigest().encode() in stderr


async def test_a_command_that_does_not_read_holds_the_client_back(tmp_path: Path) -> None:
    go = tmp_path / "go"
    data = os.urandom(20_000_000)
    async with Lab(ONE) as lab, connect(lab, "web01") as connection:
        process = await connection.create_process(
            f"while [ ! -e {go} ]; do sleep 0.01; done; sha256sum", encoding=None
        )
        process.stdin.write(data)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await process.stdin.drain()
        go.touch()
        process.stdin.write_eof()
        async with asyncio.timeout(HANG_GUARD_S):
            output = await process.stdout.read()
    assert output.split()[0] == hashlib.sha256(data).hexdigest().encode()


async def test_a_dropped_connection_ends_the_tree(family: Family) -> None:
    async with Lab(ONE) as lab:
        async with connect(lab, "web01") as connection:
            process = await connection.create_process(TREE, encoding=None)
            assert await process.stdout.readexactly(len(READY)) == READY
            tree = family()
            assert len(tree) >= 4  # one may be between fork and exec, with no environment to read
            connection.abort()
        assert not await asyncio.to_thread(wait_until_gone, tree | family())
        await until_idle(lab)
        assert lab.statistics().commands_total == 1


async def test_a_dropped_connection_ends_a_command_that_still_has_input_to_read(family: Family) -> None:
    async with Lab(ONE) as lab:
        async with connect(lab, "web01") as connection:
            process = await connection.create_process("echo ready; exec sleep 1000", encoding=None)
            assert await process.stdout.readline() == b"ready\n"
            process.stdin.write(bytes(5_000_000))
            tree = family()
            connection.abort()
        assert not await asyncio.to_thread(wait_until_gone, tree | family())
        await until_idle(lab)


async def test_a_closed_channel_ends_a_command_that_still_has_input_to_read(family: Family) -> None:
    async with Lab(ONE) as lab, connect(lab, "web01") as connection:
        process = await connection.create_process("echo ready; exec sleep 1000", encoding=None)
        assert await process.stdout.readline() == b"ready\n"
        process.stdin.write(bytes(5_000_000))
        # An answer to this shows that the lab has taken all it will take.
        await connection.run("true", stdin=asyncssh.DEVNULL)
        process.channel.abort()
        assert not await asyncio.to_thread(wait_until_gone, family())


async def test_a_closed_channel_ends_the_tree_and_the_connection_lives(family: Family) -> None:
    async with Lab(ONE) as lab, connect(lab, "web01") as connection:
        process = await connection.create_process("sleep 1000 & echo ready; wait", encoding=None)
        assert await process.stdout.readline() == b"ready\n"
        tree = family()
        process.close()
        await process.wait_closed()
        assert not await asyncio.to_thread(wait_until_gone, tree | family())
        assert (await connection.run("echo still", stdin=asyncssh.DEVNULL)).stdout == b"still\n"


async def test_no_terminal_and_no_subsystem() -> None:
    async with Lab(ONE) as lab, connect(lab, "web01") as connection:
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.create_process("tty", term_type="xterm")
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.start_sftp_client()


async def test_a_shell_reads_its_commands_from_input() -> None:
    async with Lab(ONE) as lab, connect(lab, "web01") as connection:
        done = await connection.run(None, input=b"echo $MULTIRSH_LAB_HOST\nexit 6\n")
    assert (done.exit_status, done.stdout) == (6, b"web01\n")


async def test_a_command_that_cannot_be_started_says_so() -> None:
    async with Lab(ONE) as lab, connect(lab, "web01") as connection:
        done = await connection.run("echo \0", stdin=asyncssh.DEVNULL)
    assert done.exit_status == 126
    assert isinstance(done.stderr, bytes)
    assert done.stderr.startswith(b"multirsh lab: ")


async def until_idle(lab: Lab) -> None:
    """Wait for the last command's task to have seen its end."""
    async with asyncio.timeout(HANG_GUARD_S):
        while lab.statistics().commands_running:  # noqa: ASYNC110 - the lab sets no event for it
            await asyncio.sleep(0.005)
