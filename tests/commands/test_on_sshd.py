"""Commands with something around them, on real servers, by every login shell."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from multirsh.commands.command import Command
from multirsh.engine.fleet import Fleet
from multirsh.engine.results import HostResult
from multirsh.engine.spool import Given
from multirsh.model import Host
from tests.commands.shells import LOGIN_SHELLS, at
from tests.fleets import fleet_of, hosts_on, known, ssh_options
from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace
from tests.servers.sshd import start_sshd

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

HOST = "127.1.0.1"


@pytest.fixture(scope="module", params=LOGIN_SHELLS)
def by_shell(
    request: pytest.FixtureRequest, module_namespace: Namespace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    """An sshd whose guest has this login shell."""
    folder = tmp_path_factory.mktemp("shell")
    for part in (folder, *folder.parents):
        if part.name.startswith("pytest"):
            part.chmod(0o755)
    with start_sshd(namespace=module_namespace, shell=at(request.param, folder)) as server:
        yield server


@pytest.fixture
async def guest(by_shell: Daemon, in_module_namespace: Namespace, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with guests_of(by_shell, tmp_path) as fleet:
        yield fleet


@asynccontextmanager
async def guests_of(server: Daemon, folder: Path, **variables: str) -> AsyncIterator[Fleet]:
    trusted = known(server, [HOST], folder)
    (host,) = hosts_on(server, [HOST], user=server.guest)
    named = Host(host.name, settings=host.settings, vars=variables)
    async with fleet_of([named], ssh_options(trusted)) as fleet:
        yield fleet


async def told(fleet: Fleet, command: Command | str, stdin: bytes | None = None) -> HostResult:
    results = await fleet.run(command, stdin=None if stdin is None else Given(stdin)).gather()
    return results[HOST]


async def test_tty(guest):
    r = await told(
        guest, Command("tty; stty -a; echo $TERM; cat; cat; echo err 1>&2", tty=True), b"hello\nworld"
    )
    print(r.stdout.decode(), r.stderr, r.status)
    r = await told(guest, Command("cat; echo end", tty=True))
    print(r.stdout.decode(), r.stderr, r.status)
