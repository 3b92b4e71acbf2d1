"""The same by rsh, whose command runs in a script already, and whose input has a size."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from multirsh.commands.command import Command, Script
from multirsh.engine.fleet import Fleet
from multirsh.engine.results import HostResult
from multirsh.errors import UsageError
from multirsh.model import Status
from tests.commands.guests import lines
from tests.servers.rshd import SHELLS
from tests.transports.rsh.rsh_fleets import HERE, rsh_host

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks", "rshd", "in_module_namespace")]


@asynccontextmanager
async def fleet_as(user: str) -> AsyncIterator[Fleet]:
    async with Fleet([rsh_host(user=user)], warn=lambda _words: None) as fleet:
        yield fleet


async def told(user: str, command: Command | str, stdin: bytes | None = None) -> HostResult:
    async with fleet_as(user) as fleet:
        return (await fleet.run(command, stdin=stdin).gather())[HERE]


@pytest.mark.parametrize("user", [user for user in SHELLS if user != "mksh"])
class TestByShell:
    async def test_a_context(self, user: str) -> None:
        command = Command(
            "sh -c 'pwd; echo $MULTIRSH_HOST $A'; cat", directory="/usr", environment={"A": "b c"}
        )
        assert lines(await told(user, command, b"in\n")) == ["/usr", f"{HERE} b c", "in"]

    async def test_a_script(self, user: str) -> None:
        script = Script(b'#!/bin/sh\necho "$# $2"; cat; exit 9', ("{user}", "it's"))
        result = await told(user, Command(script=script, is_template=True), b"in\n" * 100_000)
        assert (result.stdout, result.stderr) == (b"2 it's\n" + b"in\n" * 100_000, b"")
        assert (result.status, result.exit_status) == (Status.FAILED, 9)

    async def test_a_script_without_input(self, user: str) -> None:
        script = Script(b'echo "$1"; cat; echo end', ("{user}",))
        assert lines(await told(user, Command(script=script, is_template=True))) == [user, "end"]


async def test_there_are_no_terminals() -> None:
    async with fleet_as("guest") as fleet:
        with pytest.raises(UsageError, match="no terminals by rsh"):
            fleet.run(Command("tty", tty=True))
