"""Logins whose streams do not come back as they are: joined, discarded, read by a start-up file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from multirsh.commands.sudo.conversation import SudoState
from multirsh.commands.sudo.options import Sudo
from multirsh.commands.sudo.runner import STATE_TIMEOUTS
from multirsh.events import Output
from multirsh.model import ErrorKind, Failure, Phase, Status
from tests.commands.sudo.sudo_fleets import Fleets
from tests.servers.accounts import Person
from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace
from tests.servers.sshd import start_sshd
from tests.servers.sudoers import BASH, FREE, FREE_BASH, PEOPLE, TRUSTED, SudoRules

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

TEE = 'bash -c "$SSH_ORIGINAL_COMMAND" 2>&1 | tee -a /dev/null'


class StartUp:
    """The start-up files of those who have bash."""

    def __init__(self, server: Daemon) -> None:
        self._files = [server.accounts.home(person.name) / ".bashrc" for person in (BASH, FREE_BASH)]

    def say(self, text: str) -> None:
        for file in self._files:
            file.write_text(text)


@pytest.fixture
def start_up(server: Daemon) -> Iterator[StartUp]:
    files = StartUp(server)
    yield files
    files.say("")


@pytest.fixture(scope="module")
def forcing(module_namespace: Namespace, rules_of_all: SudoRules) -> Iterator[Daemon]:
    """A server that logs what commands write."""
    with start_sshd(
        namespace=module_namespace,
        replaced=rules_of_all.replaced(),
        people=PEOPLE,
        options={"ForceCommand": TEE},
    ) as started:
        yield started


def counting(folder: Path) -> tuple[str, Path]:
    """A command that leaves a line each time it runs, and where."""
    file = folder / "ran"
    file.write_text("")
    file.chmod(0o666)
    folder.chmod(0o755)
    return f"echo x >>{file}; echo out; exit 3", file


@pytest.mark.parametrize("start", ["exec 2>&1", "exec 2>/dev/null"])
async def test_a_command_runs_once_and_shows_no_mark(
    fleets: Fleets, start_up: StartUp, server: Daemon, start: str
) -> None:
    start_up.say(f"{start}\n")
    command, ran = counting(server.directory)

    results = await fleets.run(*[FREE_BASH] * 4, command=command)

    assert ran.read_text().count("x") == 4
    assert [(result.status, result.exit_status) for result in results] == [(Status.FAILED, 3)] * 4
    assert {(result.stdout, result.stderr) for result in results} == {(b"out\n", b"")}


@pytest.mark.parametrize("person", [BASH, FREE_BASH])
async def test_joined_streams_ask_as_others_do(fleets: Fleets, start_up: StartUp, person: Person) -> None:
    start_up.say("exec 2>&1\n")

    results = await fleets.run(person, person, command="id -un; cat; echo e >&2", stdin=b"in\n")

    told = [(result.status, result.stdout, result.stderr) for result in results]
    assert told == [(Status.OK, b"root\nin\ne\n", b"")] * 2


async def test_a_wrong_password_on_joined_streams(
    fleets: Fleets, start_up: StartUp, rules: SudoRules
) -> None:
    start_up.say("exec 2>&1\n")

    results = await fleets.run(BASH, BASH, BASH, password="wrong")

    kinds = sorted(result.error.kind for result in results if result.error)
    assert kinds == [ErrorKind.DENIED, ErrorKind.UNTRIED, ErrorKind.UNTRIED]
    assert rules.failures(BASH) == 1


@pytest.mark.parametrize("person", [TRUSTED, FREE])
async def test_a_forced_command_that_logs(
    forcing: Daemon, rules: SudoRules, in_module_namespace: Namespace, tmp_path: Path, person: Person
) -> None:
    command, ran = counting(forcing.directory)
    fleets = Fleets(forcing, tmp_path)

    results = await fleets.run(*[person] * 4, command=command)

    assert ran.read_text().count("x") == 4
    assert {(result.status, result.stdout, result.stderr) for result in results} == {
        (Status.OK, b"out\n", b"")  # the exit status is tee's
    }


async def test_where_nothing_comes_back_nothing_is_claimed(
    fleets: Fleets, start_up: StartUp, server: Daemon
) -> None:
    start_up.say("exec >/dev/null 2>&1\n")
    command, ran = counting(server.directory)

    results = await fleets.run(FREE_BASH, FREE_BASH, command=command)

    assert ran.read_text().count("x") == 2
    assert [result.status for result in results] == [Status.LOST] * 2
    assert all(
        result.error
        and "may or may not have run" in result.error.message
        and result.error.phase is Phase.SUDO
        for result in results
    )


async def test_a_start_up_file_that_reads_the_input_is_named(
    fleets: Fleets, start_up: StartUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STATE_TIMEOUTS, SudoState.QUIET, 2.0)
    start_up.say("echo hello; read -r line\n")

    (result,) = await fleets.run(BASH)

    assert result.error == Failure(
        ErrorKind.TIMEOUT,
        Phase.SUDO,
        "no sign within 2 s that sudo was started: a start-up file may read standard input, or all"
        " output is discarded or held back and the command may have run; the last output was: hello",
    )


async def test_what_looked_like_a_mark_is_not_lost_where_it_is_given_up_on(
    fleets: Fleets, start_up: StartUp
) -> None:
    start_up.say("exec 2>/dev/null\n")

    async with fleets.of(FREE_BASH) as fleet:
        run = fleet.run("printf 'sum'; exec sleep 1000", sudo=Sudo())
        output = b""
        async for event in run.events():
            if isinstance(event, Output):
                output += event.data
                run.stop()

    assert output == b"sum"


async def test_without_sudo_the_way_out_is_named(fleets: Fleets, start_up: StartUp) -> None:
    start_up.say("PATH=/nonexistent\n")

    results = await fleets.run(*[BASH] * 6)

    assert {result.status for result in results} == {Status.AUTH}
    for result in results:
        assert result.error
        assert "sudo: not found (install it there, or check the login's PATH)" in result.error.message


async def test_a_trace_shows_neither_marks_nor_the_wrapper(fleets: Fleets, start_up: StartUp) -> None:
    start_up.say("set -x\n")

    (result,) = await fleets.run(BASH)

    assert (result.status, result.stdout) == (Status.OK, b"root\n")
    assert b"multirsh" not in result.stderr
    assert b"printf" not in result.stderr
