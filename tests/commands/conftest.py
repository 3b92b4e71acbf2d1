"""A guest at an sshd of its own for each login shell."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from multirsh.engine.fleet import Fleet
from tests.commands.guests import fleet_as_guest
from tests.commands.shells import LOGIN_SHELLS, at
from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace
from tests.servers.sshd import start_sshd


@pytest.fixture(scope="module", params=LOGIN_SHELLS)
def by_shell(request: pytest.FixtureRequest, module_namespace: Namespace) -> Iterator[Daemon]:
    """An sshd whose guest has this login shell."""
    with tempfile.TemporaryDirectory(prefix="multirsh-shell-") as folder:
        Path(folder).chmod(0o755)  # the guest is to find its shell
        with start_sshd(namespace=module_namespace, shell=at(request.param, Path(folder))) as server:
            yield server


@pytest_asyncio.fixture
async def guest(by_shell: Daemon, in_module_namespace: Namespace, tmp_path: Path) -> AsyncIterator[Fleet]:
    """The fleet of that guest."""
    async with fleet_as_guest(by_shell, tmp_path) as fleet:
        yield fleet


@pytest.fixture
def shell(by_shell: Daemon) -> str:
    """The name of the guest's login shell."""
    line = next(
        line
        for line in (by_shell.accounts.directory / "passwd").read_text().splitlines()
        if line.startswith(f"{by_shell.guest}:")
    )
    return Path(line.split(":")[-1]).name
