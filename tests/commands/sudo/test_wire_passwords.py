"""Every way in which a password can go wrong, on six hosts: attempts, mails, words, and no long wait."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from multirsh.commands.command import Command
from multirsh.model import ErrorKind, Phase, Status
from tests.commands.sudo.sudo_fleets import Fleets
from tests.servers.accounts import PASSWORD, Person
from tests.servers.sudoers import FAILLOCK, FREE, OATH, STRANGER, TRUSTED, SudoRules

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

HOSTS = 6

ECHO = OATH.replace(
    "auth required pam_oath", "auth optional pam_echo.so Now the token\nauth required pam_oath"
)

PROGRAMS = "programs that its rules allow are run with: multirsh 'sudo -n PROGRAM'"
NO_SHELL = f"sudo allows no shell here (/bin/sh); {PROGRAMS}"
UNTRIED = "the password was refused on H, and was not tried here"
SECOND = "after the password it asks for a second factor, which multirsh cannot answer"


@dataclass(frozen=True)
class Way:
    """One way in which it goes wrong.

    Attributes:
        words: The messages, and of how many hosts; ``H`` stands for a host's name.
        failures: As pam_faillock counts them.
        mails: As sudo sends them.
        password: What is given.
        stack: PAM's.
        rule: In sudoers.
        person: On all hosts.
        changed: When the password was changed.
        expires: When the account expires.
        is_locked: Whether it is locked; to sudo, that is a wrong password.
        tty: Whether the command gets a terminal.
    """

    words: dict[str, int]
    failures: int = 0
    mails: int = 0
    password: str | None = PASSWORD
    stack: str = FAILLOCK
    rule: str = ""
    person: Person = TRUSTED
    changed: int = 19_000
    expires: str = ""
    is_locked: bool = False
    tty: bool = False


WAYS = {
    "wrong": Way({"the password was refused": 1, UNTRIED: 5}, failures=1, password="wrong"),
    "wrong, on a terminal": Way(
        {"the password was refused": 1, UNTRIED: 5}, failures=1, password="wrong", tty=True
    ),
    "locked": Way({"the password was refused": 1, UNTRIED: 5}, failures=1, is_locked=True),
    "another's": Way(
        {
            "the password was refused: sudo asks for that of root (rootpw or targetpw in sudoers);"
            " give it with -K": 1,
            UNTRIED: 5,
        },
        failures=0,
        password="wrong",
        rule="Defaults targetpw\n",
    ),
    "wrong, one try": Way(
        {"the password was refused: sudo: 1 incorrect password attempt": 1, UNTRIED: 5},
        failures=1,
        mails=1,
        password="wrong",
        rule="Defaults passwd_tries=1\n",
    ),
    "expired": Way(
        {
            'sudo: Account expired or PAM config lacks an "account" section for sudo, contact your system'
            " administrator (extend it there: chage)": HOSTS
        },
        expires="1",
        mails=HOSTS,
    ),
    "must change": Way(
        {"the password is right and must be changed there first: log in and run passwd": HOSTS}, changed=0
    ),
    "second factor": Way({SECOND: HOSTS}, stack=OATH),
    "second factor, announced": Way({SECOND: HOSTS}, stack=ECHO),
    "no rights": Way({"mrstranger is not in the sudoers file.": HOSTS}, person=STRANGER, mails=HOSTS),
    "no terminal": Way(
        {"sudo: sorry, you must have a tty to run sudo (give --tty)": HOSTS}, rule="Defaults requiretty\n"
    ),
    "rules for programs": Way(
        {NO_SHELL: HOSTS}, person=STRANGER, rule=f"{STRANGER.name} ALL=(ALL) /usr/bin/id\n"
    ),
    "none given": Way({"sudo: a password is required": HOSTS}, password=None, mails=HOSTS),
    "noexec": Way(
        {
            "noexec in sudoers lets the shell start no program; programs that its rules allow are run with:"
            " multirsh 'sudo -n PROGRAM'": HOSTS
        },
        person=FREE,
        rule="Defaults noexec\n",
    ),
}


@pytest.fixture
def restored(rules: SudoRules) -> Iterator[SudoRules]:
    """The rules, which a test may change."""
    oath = rules.directory / "oath"
    oath.write_text(f"HOTP {TRUSTED.name} - 3132333435363738393031323334353637383930\n")
    oath.chmod(0o600)
    yield rules
    rules.authenticate()
    rules.set_password(PASSWORD)


@pytest.mark.parametrize("name", WAYS)
async def test_what_is_counted_and_said(fleets: Fleets, restored: SudoRules, name: str) -> None:
    way = WAYS[name]
    restored.rule(way.rule)
    restored.authenticate(way.stack)
    restored.set_password(PASSWORD, changed=way.changed, expires=way.expires, is_locked=way.is_locked)
    began = time.monotonic()

    results = await fleets.run(
        *[way.person] * HOSTS, command=Command("id -un", tty=way.tty), password=way.password
    )

    refused = {
        result.host.name
        for result in results
        if result.error
        and result.error.message.startswith("the password was refused")
        and result.error.kind is ErrorKind.DENIED
    }
    words = Counter(
        result.error.message.replace(next(iter(refused), "\0"), "H") for result in results if result.error
    )
    assert words == way.words
    assert {(result.status, result.error and result.error.phase) for result in results} == {
        (Status.AUTH, Phase.SUDO)
    }
    assert restored.failures(way.person) == way.failures
    assert restored.mails == way.mails
    assert b"multirsh" not in b"".join(result.stdout + result.stderr for result in results)
    # No host of these is waited for as one that says nothing is: that takes 10 s, and 120 in the end.
    assert time.monotonic() - began < 40


async def test_the_right_password_alarms_no_one(fleets: Fleets, rules: SudoRules) -> None:
    results = await fleets.run(*[TRUSTED] * 20, *[FREE] * 5)

    assert {result.status for result in results} == {Status.OK}
    assert rules.mails == 0
    assert "a password is required" not in rules.log
    assert rules.failures(TRUSTED) == 0


async def test_the_log_names_the_command(fleets: Fleets, rules: SudoRules) -> None:
    (result,) = await fleets.run(TRUSTED, command="systemctl restart nginx || true")

    assert result.status is Status.OK
    assert rules.log.rstrip().endswith(" sh 'systemctl restart nginx || true'")
