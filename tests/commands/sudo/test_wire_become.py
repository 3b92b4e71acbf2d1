"""doas and su, which ask on a terminal: the same secrecy, the same trial, and the input in full."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from multirsh.commands.command import Command, Script
from multirsh.commands.remote_shell import Job
from multirsh.commands.sudo.options import Become, Sudo
from multirsh.commands.sudo.wrapping import TerminalStdin, new_marks, wrapped
from multirsh.engine.spool import Given
from multirsh.errors import UsageError
from multirsh.events import Output
from multirsh.model import ErrorKind, Failure, Fate, Phase, Status
from multirsh.transports.passwords import Password
from multirsh.transports.ssh.connection import SshConnection
from tests.commands.sudo.sudo_fleets import Fleets
from tests.servers.accounts import PASSWORD
from tests.servers.sudoers import FREE, OATH, OTHER, STRANGER, TRUSTED, SudoRules, make_rules

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks"), pytest.mark.usefixtures("stack")]

BOTH = pytest.mark.parametrize("by", [Become.DOAS, Become.SU])


@pytest.fixture(scope="module")
def rules_of_all() -> Iterator[SudoRules]:
    """The rules of the file's server."""
    with tempfile.TemporaryDirectory(prefix="multirsh-sudo-") as folder:
        Path(folder).chmod(0o711)
        rules = make_rules(Path(folder))
        rules.permit(f"permit {TRUSTED.name}\npermit nopass {FREE.name}\n")
        yield rules


@BOTH
async def test_it_runs_as_root_and_shows_nothing_else(fleets: Fleets, by: Become) -> None:
    results = await fleets.run(*[TRUSTED] * 3, by=by, command="id -un; echo e >&2; exit 3")

    told = [(result.status, result.exit_status, result.stdout, result.stderr) for result in results]
    assert told == [(Status.FAILED, 3, b"root\ne\n", b"")] * 3


@BOTH
async def test_as_another_user(fleets: Fleets, by: Become) -> None:
    (result,) = await fleets.run(TRUSTED, by=by, user=OTHER.name)

    assert (result.stdout, result.stderr) == (b"mrother\n", b"")


@BOTH
async def test_the_input_comes_in_full(fleets: Fleets, by: Become) -> None:
    data = bytes(range(256)) * 200

    results = await fleets.run(TRUSTED, TRUSTED, by=by, command="cat", stdin=data)

    assert [result.stdout == data for result in results] == [True] * 2


@BOTH
async def test_without_input_there_is_an_end(fleets: Fleets, by: Become) -> None:
    (result,) = await fleets.run(TRUSTED, by=by, command="cat; echo end")

    assert (result.status, result.stdout) == (Status.OK, b"end\n")


@BOTH
async def test_a_script_and_its_input(fleets: Fleets, by: Become) -> None:
    script = Command(script=Script(b"#!/bin/sh\nid -un\necho $1\ncat\nexit 7\n" + b"#x\n" * 2000, ("a b",)))

    (result,) = await fleets.run(TRUSTED, by=by, command=script, stdin=b"in\n")

    assert (result.exit_status, result.stdout) == (7, b"root\na b\nin\n")


@BOTH
async def test_a_wrong_password_is_one_attempt(fleets: Fleets, rules: SudoRules, by: Become) -> None:
    results = await fleets.run(*[TRUSTED] * 6, by=by, password="wrong")

    kinds = sorted(result.error.kind for result in results if result.error)
    assert kinds == [ErrorKind.DENIED, *[ErrorKind.UNTRIED] * 5]
    assert rules.failures(TRUSTED if by is Become.DOAS else TRUSTED._replace(name="root")) == 1
    assert {result.stdout for result in results} == {b""}
    assert b"".join(result.stderr for result in results).startswith(f"{by}: Authentication fail".encode())


@BOTH
async def test_a_second_factor(fleets: Fleets, rules: SudoRules, by: Become) -> None:
    rules.authenticate(OATH)
    oath = rules.directory / "oath"
    oath.write_text(
        "".join(
            f"HOTP {name} - 3132333435363738393031323334353637383930\n" for name in (TRUSTED.name, "root")
        )
    )
    oath.chmod(0o600)

    (result,) = await fleets.run(TRUSTED, by=by)

    assert result.error
    assert result.error.message.startswith(
        "after the password it asks for a second factor (One-time password"
    )


async def test_su_without_a_password_is_not_left_waiting(fleets: Fleets) -> None:
    (result,) = await fleets.run(TRUSTED, by=Become.SU, password=None)

    assert result.error == Failure(ErrorKind.DENIED, Phase.SUDO, "a password is required")


async def test_doas_that_asks_for_none_and_doas_that_lets_nobody_in(fleets: Fleets) -> None:
    results = await fleets.run(FREE, STRANGER, by=Become.DOAS, password=None)

    assert (results[0].status, results[0].stdout) == (Status.OK, b"root\n")
    assert results[1].error
    assert results[1].error.message == "doas: Operation not permitted"


@pytest.mark.parametrize("text", ["sudo-rs", "doas:", "su:-x", ""])
def test_what_it_cannot_be(text: str) -> None:
    with pytest.raises(UsageError, match="--become"):
        Sudo.read(text)


async def test_no_files_are_copied_so(fleets: Fleets, tmp_path: Path) -> None:
    async with fleets.of(TRUSTED) as fleet:
        with pytest.raises(UsageError, match="no files can be copied by doas"):
            fleet.push([Path(__file__)], tmp_path, sudo=Sudo(by=Become.DOAS))


FIRST = """\
auth requisite pam_oath.so usersfile={directory}/oath window=10 digits=6
auth required pam_unix.so
account required pam_unix.so
session required pam_permit.so
"""


@BOTH
async def test_a_question_before_the_password_is_not_answered_with_it(
    fleets: Fleets, rules: SudoRules, by: Become
) -> None:
    rules.authenticate(FIRST)
    oath = rules.directory / "oath"
    oath.write_text(
        "".join(
            f"HOTP {name} - 3132333435363738393031323334353637383930\n" for name in (TRUSTED.name, "root")
        )
    )
    oath.chmod(0o600)

    results = await fleets.run(TRUSTED, TRUSTED, by=by)

    for result in results:
        assert result.error
        assert result.error.message.startswith(
            "it asks for something besides the password (One-time password"
        )


async def test_what_the_terminal_held_before_is_not_the_commands_to_read() -> None:
    """As where su asks for nothing, and the other's shell has written what looked like a prompt."""
    text = wrapped(
        Job("cat"), Sudo(by=Become.DOAS), new_marks(), may_ask=True, has_input=True, tty=False
    ).partition("\nexec doas -u root -- ")[2]
    given = TerminalStdin(Given(b"\\:\nin\n"))
    pieces = [PASSWORD.encode() + b"\n"]
    while piece := await given.read(0):
        pieces.append(piece)

    done = await asyncio.to_thread(
        subprocess.run, ["/bin/sh", "-c", text], input=b"".join(pieces), capture_output=True, check=True
    )

    assert done.stdout.partition(b":")[2] == b"\\:\nin\n"


@pytest.mark.parametrize("by", Become)
async def test_only_sudos_password_is_given_to_the_sudo_that_ends_commands(
    fleets: Fleets, monkeypatch: pytest.MonkeyPatch, by: Become
) -> None:
    given: list[bool] = []

    async def end_command(_: object, *, kill_after: float, password: Password | None) -> Fate:
        given.append(password is not None)
        return Fate.UNKNOWN

    async with fleets.of(TRUSTED) as fleet:
        run = fleet.run("echo up; exec sleep 20", sudo=Sudo(by=by))
        monkeypatch.setattr(SshConnection, "end_command", end_command)
        async for event in run.events():
            if isinstance(event, Output):
                run.stop()

    assert given == [by is Become.SUDO]
