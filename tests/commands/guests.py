"""Users of a real sshd, one for each login shell, and what commands told there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from multirsh.commands.command import Command
from multirsh.engine.fleet import Fleet
from multirsh.engine.results import HostResult
from multirsh.engine.spool import Given
from multirsh.model import Host, Scalar
from multirsh.transports.base import Stdin
from tests.fleets import fleet_of, hosts_on, known, ssh_options
from tests.servers.daemon import Daemon
from tests.waiting import HANG_GUARD_S

HOST = "127.1.0.1"


@asynccontextmanager
async def fleet_as_guest(
    server: Daemon, folder: Path, *, command_s: float | None = None, **variables: Scalar
) -> AsyncIterator[Fleet]:
    """A fleet of one host, ``HOST``, that ``server`` lets its guest into."""
    trusted = known(server, [HOST], folder)
    (host,) = hosts_on(server, [HOST], user=server.guest)
    named = Host(host.name, settings=host.settings, vars=variables)
    async with fleet_of([named], ssh_options(trusted), command_s=command_s) as fleet:
        yield fleet


async def told(fleet: Fleet, command: Command | str, stdin: bytes | Stdin | None = None) -> HostResult:
    """What became of ``command`` on ``HOST``."""
    given = Given(stdin) if isinstance(stdin, bytes) else stdin
    async with asyncio.timeout(HANG_GUARD_S):
        results = await fleet.run(command, stdin=given).gather()
    return results[HOST]


def lines(result: HostResult) -> list[str]:
    """Its output, line by line, where nothing was said on stderr."""
    assert result.stderr == b"", result.stderr
    return result.stdout.decode().splitlines()
