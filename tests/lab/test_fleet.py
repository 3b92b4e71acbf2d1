"""A lab from its start to its end, by the clients that people have."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import signal
import socket
import stat
import time
from pathlib import Path

import pytest

from multirsh.errors import UsageError
from multirsh.lab import Addressing, Endpoint, Lab, LabOptions
from multirsh.lab.plan import DEFAULT_PORT
from tests.lab.clients import READY, TREE, connect, openssh
from tests.lab.conftest import Family
from tests.servers.namespace import Namespace
from tests.servers.ports import free_port
from tests.servers.processes import wait_until_gone
from tests.waiting import HANG_GUARD_S

pytestmark = pytest.mark.usefixtures("no_leaks")


async def test_plain_ssh_works() -> None:
    async with Lab(LabOptions(hosts=10, port=0)) as lab:
        ended = await openssh(lab, "db2", "echo $MULTIRSH_LAB_HOST; echo err >&2; exit 7")
    assert (ended.status, ended.stdout, ended.stderr) == (7, b"db2\n", b"err\n")


async def test_plain_ssh_works_from_a_folder_with_an_awkward_name(tmp_path: Path) -> None:
    parent = tmp_path / "100%d of it"
    parent.mkdir()
    async with Lab(LabOptions(hosts=1, port=0, parent=parent)) as lab:
        ended = await openssh(lab, "web01", "echo here")
    assert ended.stdout == b"here\n", ended.stderr


async def test_plain_ssh_gets_every_byte_both_ways() -> None:
    data = os.urandom(1_000_000)
    async with Lab(LabOptions(hosts=1, port=0)) as lab:
        ended = await openssh(lab, "web01", "tee /dev/stderr", stdin=data)
    assert ended.status == 0
    assert hashlib.sha256(ended.stdout).digest() == hashlib.sha256(data).digest()
    assert hashlib.sha256(ended.stderr).digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize("status", [0, 1, 100, 254, 255])
async def test_plain_ssh_gets_the_status(status: int) -> None:
    async with Lab(LabOptions(hosts=1, port=0)) as lab:
        assert (await openssh(lab, "web01", f"exit {status}")).status == status


async def test_plain_ssh_reports_a_signal() -> None:
    async with Lab(LabOptions(hosts=1, port=0)) as lab:
        ended = await openssh(lab, "-v", "web01", "kill -TERM $$")
    assert ended.status == 255
    assert b"exit-signal" in ended.stderr


async def test_plain_ssh_without_a_command_is_a_shell_without_a_terminal() -> None:
    async with Lab(LabOptions(hosts=1, port=0)) as lab:
        ended = await openssh(lab, "web01", stdin=b"echo $MULTIRSH_LAB_HOST\nexit 4\n")
        forced = await openssh(lab, "-tt", "web01", "tty")
    assert (ended.status, ended.stdout) == (4, b"web01\n"), ended.stderr
    # ssh gives up where -t insists; without it, it goes on.
    assert b"PTY allocation request failed" in forced.stderr


async def test_a_killed_ssh_ends_the_commands_tree(family: Family) -> None:
    async with Lab(LabOptions(hosts=1, port=0, kill_after=1)) as lab:
        process = await asyncio.create_subprocess_exec(
            "ssh",
            *("-F", lab.ssh_config, "web01", TREE),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        assert await process.stdout.readexactly(len(READY)) == READY
        tree = family()
        assert len(tree) >= 4  # one may be between fork and exec, with no environment to read
        process.send_signal(signal.SIGKILL)
        await process.wait()
        assert not await asyncio.to_thread(wait_until_gone, tree | family())


async def test_the_end_of_the_lab_ends_commands_and_connections(family: Family) -> None:
    async with Lab(LabOptions(hosts=3, port=0, kill_after=1)) as lab, asyncio.TaskGroup() as tasks:
        for name in lab.names:
            connection = await connect(lab, name).__aenter__()
            process = await connection.create_process("trap '' TERM; echo ready; sleep 999; :", encoding=None)
            assert await process.stdout.readline() == b"ready\n"
            tasks.create_task(connection.wait_closed())
        trees = family()
        assert len(trees) >= 3
        assert lab.connections == 3
        assert lab.statistics().commands_running == 3
        tasks.create_task(lab.__aexit__(None, None, None))
    assert not wait_until_gone(trees)
    assert lab.connections == 0
    assert not lab.folder.exists()


async def test_files_are_private_and_gone_afterwards() -> None:
    async with Lab(LabOptions(hosts=2, port=0)) as lab:
        assert stat.S_IMODE(lab.folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(lab.client_key.stat().st_mode) == 0o600
        files = {lab.client_key, lab.known_hosts, lab.ssh_config, lab.hosts_file}
        assert set(lab.folder.iterdir()) == files
        assert lab.arguments == ("-F", str(lab.ssh_config), "-f", str(lab.hosts_file))
    assert not lab.folder.exists()


async def test_an_error_in_the_block_is_raised_unchanged_and_nothing_is_left() -> None:
    lab = Lab(LabOptions(hosts=2, port=0))
    with pytest.raises(ZeroDivisionError):
        async with lab:
            1 / 0  # noqa: B018
    assert not lab.folder.exists()


async def test_cancelling_the_block_leaves_nothing(family: Family) -> None:
    lab = Lab(LabOptions(hosts=2, port=0))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2), lab, connect(lab, "web01") as connection:
            await connection.run("sleep 1000")
    assert not lab.folder.exists()
    assert not wait_until_gone(family())


async def test_a_port_that_is_taken_leaves_nothing_behind(tmp_path: Path) -> None:
    async with Lab(LabOptions(hosts=1, port=0, parent=tmp_path)) as first:
        port = first.address_of("web01").port
        with pytest.raises(UsageError, match=f"port {port}"):
            await Lab(LabOptions(hosts=1, port=port, parent=tmp_path)).__aenter__()
        assert set(tmp_path.iterdir()) == {first.folder}  # noqa: ASYNC240 - one small look


@pytest.mark.parametrize(("hosts", "port"), [(0, 1), (100_000, 1), (1, -1), (1, 65536)])
def test_numbers_out_of_range(hosts: int, port: int) -> None:
    with pytest.raises(UsageError):
        LabOptions(hosts=hosts, port=port)


async def test_with_one_address_the_hosts_differ_by_port() -> None:
    async with Lab(LabOptions(hosts=5, port=0, addressing=Addressing.PORTS)) as lab:
        endpoints = [lab.address_of(name) for name in lab.names]
        assert {endpoint.address for endpoint in endpoints} == {"127.0.0.1"}
        assert len({endpoint.port for endpoint in endpoints}) == 5
        for name in lab.names:
            ended = await openssh(lab, name, "echo $MULTIRSH_LAB_HOST")
            assert ended.stdout.decode().strip() == name, ended.stderr
        ended = await openssh(lab, "-J", "bastion1", "web01", "echo $MULTIRSH_LAB_HOST")
        assert ended.stdout == b"web01\n", ended.stderr


async def test_an_unknown_host_has_no_address() -> None:
    async with Lab(LabOptions(hosts=1, port=0)) as lab:
        with pytest.raises(KeyError):
            lab.address_of("web99")


@pytest.mark.parametrize(
    "within_s",
    [HANG_GUARD_S, pytest.param(2.0, marks=pytest.mark.bench)],
    ids=["on any machine", "on a quiet machine"],
)
async def test_a_hundred_hosts_start_answer_and_stop(within_s: float) -> None:
    began = time.monotonic()
    async with Lab(LabOptions(hosts=100, port=0)) as lab:
        started = time.monotonic() - began
        async with asyncio.TaskGroup() as tasks:
            runs = [tasks.create_task(said_by(lab, name)) for name in lab.names]
        assert [run.result() for run in runs] == list(lab.names)
        ending = time.monotonic()
    assert started < within_s
    assert time.monotonic() - ending < within_s
    assert lab.statistics().connections_total == 100


async def said_by(lab: Lab, name: str) -> str:
    async with connect(lab, name) as connection:
        done = await connection.run("echo $MULTIRSH_LAB_HOST")
    assert isinstance(done.stdout, bytes)
    return done.stdout.decode().strip()


async def test_asyncssh_is_quiet_unless_a_log_level_is_set(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("asyncssh")
    root_level = logging.getLogger().level
    try:
        logging.getLogger().setLevel(logging.DEBUG)
        async with Lab(LabOptions(hosts=1, port=0)) as lab:
            await said_by(lab, "web01")
    finally:
        logging.getLogger().setLevel(root_level)
    assert not [record for record in caplog.records if record.name.startswith("asyncssh")]
    assert logger.level == logging.NOTSET


async def test_the_default_port_is_the_documented_one(in_namespace: Namespace) -> None:
    async with Lab(LabOptions(hosts=2)) as lab:
        assert lab.address_of("web02") == Endpoint("127.77.0.2", DEFAULT_PORT)


async def test_a_lab_restarts_at_once_on_ports_in_time_wait(in_namespace: Namespace) -> None:
    port = free_port(in_namespace)
    async with Lab(LabOptions(hosts=2, port=port)) as lab:
        clients = [await asyncio.open_connection(*lab.address_of(name)) for name in lab.names]
        for reader, _ in clients:
            assert (await reader.readline()).startswith(b"SSH-2.0-")
    # The lab has ended while these were open, so its side closed first and keeps TIME_WAIT.
    for reader, writer in clients:
        await reader.read()
        writer.close()
        await writer.wait_closed()
    waiting = [row for row in in_namespace.sockets("TIME-WAIT") if row.local.port == port]
    assert len(waiting) == 2
    # The premise: without SO_REUSEADDR the port could not be had.
    with socket.socket() as plain, pytest.raises(OSError, match="in use"):
        plain.bind(("127.77.0.1", port))
    async with Lab(LabOptions(hosts=2, port=port)) as again:
        assert [await said_by(again, name) for name in again.names] == list(again.names)


async def test_the_lab_closes_first_when_a_client_says_goodbye_and_waits(in_namespace: Namespace) -> None:
    async with Lab(LabOptions(hosts=20)) as lab:
        seconds = [await farewell(lab, name) for name in lab.names]
        port = lab.address_of("web01").port
        rows = in_namespace.sockets("TIME-WAIT")
        # Not always all 20: an ACK of the client's that crosses its FIN draws an answer to a socket that is
        # gone, and the reset for that ends the lab's TIME_WAIT early (RFC 1337).
        assert 0 < len([row for row in rows if row.local.port == port]) <= 20
        assert not in_namespace.client_side({port})
        assert not in_namespace.sockets("CLOSE-WAIT")
        assert max(seconds) < HANG_GUARD_S


async def farewell(lab: Lab, name: str) -> float:
    """Run a command, disconnect, and keep the socket until the lab's FIN; the seconds that took.

    asyncssh closes its own descriptor when it disconnects; the duplicate keeps the TCP connection.
    """
    endpoint = lab.address_of(name)
    own = socket.create_connection(endpoint)
    with own.dup() as held:
        held.setblocking(False)
        async with connect(lab, name, sock=own) as connection:
            await connection.run("true")
        began = time.monotonic()
        async with asyncio.timeout(HANG_GUARD_S):
            while await asyncio.get_running_loop().sock_recv(held, 65536):
                pass
    return time.monotonic() - began
