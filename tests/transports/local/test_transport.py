"""The login shell as sshd would start it, and whom commands run as."""

from __future__ import annotations

import os
import pwd

import pytest

from multirsh.engine.fleet import Fleet
from multirsh.errors import UsageError
from multirsh.model import Host, Settings, TransportName
from multirsh.transports.local.transport import LocalTransport, login_shell
from tests.servers.requirement import program

ME = pwd.getpwuid(os.getuid()).pw_name
HERE = Host("here", settings=Settings(transport=TransportName.LOCAL))

pytestmark = pytest.mark.usefixtures("no_leaks")


async def output(command: str) -> str:
    async with Fleet([HERE]) as fleet:
        return (await fleet.run(command).gather())["here"].text()


@pytest.mark.parametrize("shell", ["bash", "dash", "tcsh", "fish"])
async def test_any_login_shell_reads_the_command(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", str(program(shell, package=shell)))
    assert await output("echo 'one  two' | cat") == "one  two\n"


async def test_the_shell_is_called_by_its_last_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/bash")
    assert await output("echo $0 $-") == "bash hBc\n"


async def test_nothing_is_added_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/dash")
    lines = (await output("env -0 | tr '\\n\\0' ' \\n'")).splitlines()
    ours = {f"{name}={value}".replace("\n", " ") for name, value in os.environ.items()}
    # The shell sets the first three; readline, which pytest loads, the others behind Python's back.
    added = ("PWD=", "OLDPWD=", "_=", "LINES=", "COLUMNS=")
    assert {line for line in lines if not line.startswith(added)} <= ours


def test_without_a_shell_in_the_environment_the_user_database_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "bash")  # no path: not to be looked for
    assert login_shell() == pwd.getpwuid(os.getuid()).pw_shell
    monkeypatch.delenv("SHELL")
    assert login_shell() == pwd.getpwuid(os.getuid()).pw_shell


async def test_nobody_is_run_as_another(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    with pytest.raises(UsageError, match=f"runs commands as {ME}, and not as stranger; leave -l out"):
        await LocalTransport(Settings(user="stranger"), said.append).prepare([HERE])
    await LocalTransport(Settings(user=ME), said.append).prepare([HERE])
    assert said == []
    await LocalTransport(Settings(), said.append).prepare([Host("a", settings=Settings(user="stranger"))])
    assert said == [f"-R local runs everything as {ME}; the hosts' own users are not minded"]
    monkeypatch.setenv("SHELL", "/nowhere/sh")
    with pytest.raises(UsageError, match="the login shell /nowhere/sh cannot be started"):
        await LocalTransport(Settings(), said.append).prepare([HERE])
