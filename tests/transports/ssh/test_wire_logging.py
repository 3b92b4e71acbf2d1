"""What is logged while multirsh connects and runs: nothing of asyncssh's, and no secret, at any level."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest
from asyncssh.logging import SSHLogger

from multirsh.commands.command import Command
from multirsh.model import Status
from tests.conftest import StartHooked, StartServer
from tests.fleets import fleet_of, hosts_on, known, ssh_options
from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace

CANARY = "canary-91b2"
HOST = "127.1.2.3"


@pytest.fixture
def everything(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Logging as loud as a program can set it up, asyncssh's dumps of packets included."""
    before = SSHLogger._debug_level
    asyncssh.set_debug_level(3)
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "asyncssh")
    yield caplog
    asyncssh.set_debug_level(before)


def said_by_ssh(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What asyncssh logged."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("asyncssh")]


@pytest.mark.root
async def test_a_run_logs_nothing_of_asyncssh_and_no_secret(
    sshd: Daemon,
    in_module_namespace: Namespace,
    everything: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    jump = f"{sshd.user}@127.1.9.9:{sshd.port}"
    hosts = hosts_on(sshd, [HOST, "127.1.2.4"], jump=jump)
    # A jump host is entered with the identity files of ssh's configuration.
    ssh = ssh_options(
        known(sshd, [HOST, "127.1.2.4", "127.1.9.9"], tmp_path), f"IdentityFile={sshd.client_key}"
    )
    command = Command(f"cat; echo $SECRET {CANARY}", environment={"SECRET": CANARY})
    async with fleet_of(hosts, ssh) as fleet:
        results = await fleet.run(command, stdin=CANARY.encode()).gather()
        failed = await fleet.run(f"{CANARY} 2>/dev/null").gather()
    assert {result.status for result in results.values()} == {Status.OK}
    assert {result.status for result in failed.values()} == {Status.FAILED}
    assert said_by_ssh(everything) == []
    assert {record.name.partition(".")[0] for record in everything.records} <= {"multirsh", "asyncio"}
    assert CANARY not in everything.text


@pytest.mark.root
async def test_a_password_is_not_logged(
    sshd_here: StartServer, in_namespace: Namespace, everything: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text(f"{CANARY}\n")
    password.chmod(0o600)
    server = sshd_here(options={"PasswordAuthentication": "yes", "PubkeyAuthentication": "no"})
    ssh = ssh_options(known(server, [HOST], tmp_path), "PreferredAuthentications=password")
    async with fleet_of(hosts_on(server, [HOST]), ssh, password=password) as fleet:
        results = await fleet.run("true").gather()
    assert {result.status for result in results.values()} == {Status.AUTH}
    server.log.wait_for("Failed password")
    assert said_by_ssh(everything) == []
    assert CANARY not in everything.text


async def test_connections_that_are_not_of_multirsh_log_as_before(
    hooked: StartHooked, everything: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    server = hooked()
    async with asyncssh.connect(
        "127.0.0.1",
        server.port,
        username=server.user,
        client_keys=[str(server.client_key)],
        known_hosts=None,
        config=[],
        agent_path=None,
    ):
        pass
    assert said_by_ssh(everything)
