"""Standard input over SSH: all of it, its end once, and remotes that do not read."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from pathlib import Path

import pytest

from multirsh.engine.spool import Spool
from multirsh.events import Output
from multirsh.model import ClosedBy, ErrorKind, Fate, Status
from tests.fleets import addresses, endings, fleet_of, hosts_on, known, ssh_options
from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace
from tests.waiting import HANG_GUARD_S

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

MUCH = random.Random(1).randbytes(5_000_000)


async def told(server: Daemon, folder: Path, command: str, stdin: bytes | Spool | None, hosts: int = 1):  # type: ignore[no-untyped-def]
    names = addresses(hosts)
    fleet = fleet_of(hosts_on(server, names), ssh_options(known(server, names, folder)))
    async with fleet:
        events = [event async for event in fleet.run(command, stdin=stdin).events()]
    output = b"".join(event.data for event in events if isinstance(event, Output))
    return output, list(endings(events).values())


@pytest.fixture(params=["sshd", "dropbear"])
def server(request: pytest.FixtureRequest, sshd: Daemon, dropbear: Daemon) -> Daemon:
    return {"sshd": sshd, "dropbear": dropbear}[request.param]


async def test_all_of_it_arrives(server: Daemon, in_module_namespace: Namespace, tmp_path: Path) -> None:
    output, endings_ = await told(server, tmp_path, "sha256sum", MUCH, hosts=3)
    assert output == f"{hashlib.sha256(MUCH).hexdigest()}  -\n".encode() * 3
    assert {ending.closed_by for ending in endings_} == {ClosedBy.REMOTE}
    assert not in_module_namespace.client_side([server.port])


@pytest.mark.parametrize("stdin", [None, b""], ids=["none", "empty"])
async def test_without_input_its_end_comes_at_once(
    server: Daemon, in_module_namespace: Namespace, tmp_path: Path, stdin: bytes | None
) -> None:
    output, (ending,) = await told(server, tmp_path, "cat; echo ended", stdin)
    assert (output, ending.status) == (b"ended\n", Status.OK)


@pytest.mark.parametrize(
    ("command", "status"), [("exit 3", 3), ("head -c 3 >&2; exit 4", 4), ("exec <&-; exit 5", 5)]
)
async def test_a_remote_that_does_not_read_keeps_its_status(
    server: Daemon, in_module_namespace: Namespace, tmp_path: Path, command: str, status: int
) -> None:
    _, (ending,) = await told(server, tmp_path, command, MUCH)
    assert (ending.status, ending.exit_status) == (Status.FAILED, status)
    assert ending.closed_by is ClosedBy.REMOTE


async def test_one_that_never_reads_holds_nobody_back(
    sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path
) -> None:
    """It sleeps until the other has read all: would the two be fed in step, neither would end."""
    flag = tmp_path / "read"
    waits = f"until [ -e {flag} ]; do sleep 0.05; done"
    command = f'case $SSH_CONNECTION in *" 127.1.0.1 "*) {waits};; *) wc -c; touch {flag};; esac'
    output, endings_ = await told(sshd, tmp_path, command, MUCH, hosts=2)
    assert output == b"5000000\n"
    assert {ending.status for ending in endings_} == {Status.OK}


@pytest.mark.parametrize("command", ["cat", "sleep 600.875"], ids=["waits for it", "does not want it"])
async def test_input_that_cannot_be_read_is_this_machines_fault_and_ends_the_command(
    sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path, command: str
) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    async with asyncio.timeout(HANG_GUARD_S):
        _, (ending,) = await told(sshd, tmp_path, command, Spool(folder))
    os.close(folder)
    assert ending.status is Status.LOCAL
    assert ending.error is not None
    assert (ending.error.kind, ending.error.message) == (
        ErrorKind.STDIN,
        "standard input cannot be read: Is a directory",
    )
    assert ending.error.fate is Fate.DEAD
    assert ending.closed_by is ClosedBy.REMOTE
