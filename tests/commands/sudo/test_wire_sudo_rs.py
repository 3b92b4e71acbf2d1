"""sudo-rs in sudo's place: its own prompts and words, and three tries of which one is used."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from multirsh.commands.command import Command
from multirsh.model import ErrorKind, Status
from tests.commands.sudo.sudo_fleets import Fleets
from tests.servers.accounts import PASSWORD
from tests.servers.sudoers import FREE, OATH, OTHER, STRANGER, TRUSTED, SudoRules, make_rules

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks"), pytest.mark.usefixtures("stack")]


@pytest.fixture(scope="module")
def rules_of_all() -> Iterator[SudoRules]:
    """The rules of the file's server."""
    with tempfile.TemporaryDirectory(prefix="multirsh-sudo-") as folder:
        Path(folder).chmod(0o711)
        yield make_rules(Path(folder), is_rs=True)


@pytest.mark.parametrize("tty", [False, True])
async def test_nothing_of_the_conversation_is_shown(fleets: Fleets, *, tty: bool) -> None:
    results = await fleets.run(TRUSTED, FREE, TRUSTED, command=Command("id -un; cat", tty=tty), stdin=b"in\n")

    told = [(result.status, result.stdout, result.stderr) for result in results]
    assert told == [(Status.OK, b"root\nin\n", b"")] * 3


async def test_as_another_user(fleets: Fleets) -> None:
    (result,) = await fleets.run(TRUSTED, user=OTHER.name)

    assert (result.stdout, result.stderr) == (b"mrother\n", b"")


@pytest.mark.parametrize("tty", [False, True])
async def test_a_wrong_password_is_one_attempt(fleets: Fleets, rules: SudoRules, *, tty: bool) -> None:
    results = await fleets.run(*[TRUSTED] * 6, command=Command("id", tty=tty), password="wrong")

    kinds = sorted(result.error.kind for result in results if result.error)
    assert kinds == [ErrorKind.DENIED, *[ErrorKind.UNTRIED] * 5]
    assert rules.failures(TRUSTED) == 1
    assert {result.stdout + result.stderr for result in results} <= {
        b"",
        b"sudo: Authentication failed, try again.\n",
    }


async def test_a_second_factor(fleets: Fleets, rules: SudoRules) -> None:
    rules.authenticate(OATH)
    oath = rules.directory / "oath"
    oath.write_text(f"HOTP {TRUSTED.name} - 3132333435363738393031323334353637383930\n")
    oath.chmod(0o600)

    results = await fleets.run(*[TRUSTED] * 6)

    assert {result.error.message for result in results if result.error} == {
        (
            "after the password it asks for a second factor (One-time password (OATH) for `mrtrusted':),"
            " which multirsh cannot answer"
        )
    }


async def test_a_password_that_must_be_changed(fleets: Fleets, rules: SudoRules) -> None:
    rules.set_password(PASSWORD, changed=0)

    results = await fleets.run(*[TRUSTED] * 6)

    assert {result.error.message for result in results if result.error} == {
        "the password is right and must be changed there first: log in and run passwd"
    }


async def test_no_rights_and_no_such_user(fleets: Fleets) -> None:
    (result,) = await fleets.run(STRANGER)
    assert result.error
    assert result.error.message.startswith(
        "sudo-rs: I'm sorry mrstranger. I'm afraid I can't do that (programs"
    )
    assert b"multirsh" not in result.stderr

    (result,) = await fleets.run(FREE, user="nobodyhere")
    assert result.error
    assert result.error.message == "sudo-rs: user 'nobodyhere' not found"
