"""sudo for real: Debian's, by sshd, on many hosts."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import asyncssh
import pytest

from multirsh.commands.command import Command, Script
from multirsh.commands.sudo.conversation import SudoState
from multirsh.commands.sudo.options import Sudo
from multirsh.commands.sudo.runner import STATE_TIMEOUTS
from multirsh.engine.fleet import Fleet
from multirsh.engine.results import HostResult
from multirsh.errors import UsageError
from multirsh.model import ErrorKind, Failure, Host, Phase, Settings, Status, TransportName
from multirsh.testing import FakeTransport
from multirsh.transports.passwords import PasswordSource
from tests.commands.sudo.sudo_fleets import Fleets
from tests.servers.accounts import PASSWORD, Person
from tests.servers.sudoers import FREE, OTHER, STRANGER, TRUSTED, SudoRules

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

CANARY = "canary-%H-7f3a 'wrong\\"


def told(results: Sequence[HostResult]) -> list[tuple[Status, bytes, bytes]]:
    return [(result.status, result.stdout, result.stderr) for result in results]


async def test_the_password_is_given_where_it_is_asked_for(fleets: Fleets) -> None:
    results = await fleets.run(TRUSTED, FREE, TRUSTED)

    assert told(results) == [(Status.OK, b"root\n", b"")] * 3


async def test_it_runs_as_another_user(fleets: Fleets) -> None:
    results = await fleets.run(TRUSTED, FREE, user=OTHER.name)

    assert told(results) == [(Status.OK, b"mrother\n", b"")] * 2


async def test_fifty_hosts(fleets: Fleets, rules: SudoRules) -> None:
    people = [TRUSTED] * 30 + [FREE] * 15 + [STRANGER] * 5

    results = await fleets.run(*people, stdin=b"to all\n", command="cat; id -un; echo done >&2; exit 3")

    assert told(results[:45]) == [(Status.FAILED, b"to all\nroot\n", b"done\n")] * 45
    assert [result.exit_status for result in results[:45]] == [3] * 45
    for result in results[45:]:
        assert result.error == Failure(ErrorKind.DENIED, Phase.SUDO, "mrstranger is not in the sudoers file.")
    assert "incorrect" not in rules.log
    assert rules.failures(TRUSTED) == 0


@pytest.mark.parametrize("fanout", [1, 64])
async def test_a_wrong_password_is_one_attempt_of_one_host(
    fleets: Fleets, rules: SudoRules, fanout: int
) -> None:
    people = [TRUSTED] * 45 + [FREE] * 5

    results = await fleets.run(*people, password=CANARY, fanout=fanout)

    statuses = [result.status for result in results]
    assert statuses == [Status.AUTH] * 45 + [Status.OK] * 5
    (refused,) = [
        result
        for result in results[:45]
        if result.error and result.error.message == "the password was refused"
    ]
    untried = Failure(
        ErrorKind.UNTRIED,
        Phase.SUDO,
        f"the password was refused on {refused.host.name}, and was not tried here",
    )
    assert {result.error for result in results[:45] if result is not refused} == {untried}
    assert fleets.warnings == [
        f"sudo: the password was refused on {refused.host.name}; it is not tried on other hosts"
    ]
    # sudo is killed at the prompt that is not answered, which would count as another attempt.
    assert rules.failures(TRUSTED) == 1
    assert TRUSTED.name not in rules.log


@pytest.mark.parametrize(
    ("person", "rule", "words"),
    [
        pytest.param(STRANGER, "", "mrstranger is not in the sudoers file.", id="not in sudoers"),
        pytest.param(
            TRUSTED,
            "Defaults requiretty\n",
            "sudo: sorry, you must have a tty to run sudo",
            id="requiretty",
        ),
        pytest.param(TRUSTED, "Defaults passwd_tries=1\n", None, id="passwd_tries=1, right"),
        pytest.param(
            STRANGER,
            f"{STRANGER.name} ALL=(ALL) /bin/ls\n",
            "sudo allows no shell here (/bin/sh); programs that its rules allow are run with: multirsh",
            id="shell not allowed",
        ),
        pytest.param(FREE, "Defaults rootpw, targetpw\n", None, id="NOPASSWD"),
    ],
)
async def test_what_sudo_says_is_told(
    fleets: Fleets, rules: SudoRules, person: Person, rule: str, words: str | None
) -> None:
    rules.rule(rule)

    (result,) = await fleets.run(person)

    if words is None:
        assert told([result]) == [(Status.OK, b"root\n", b"")]
        return
    assert result.error
    assert (result.status, result.error.kind, result.error.phase) == (
        Status.AUTH,
        ErrorKind.DENIED,
        Phase.SUDO,
    )
    assert result.error.message.startswith(words)
    assert not fleets.warnings


async def test_one_try_allowed_and_wrong(fleets: Fleets, rules: SudoRules) -> None:
    """There is no second prompt then."""
    rules.rule("Defaults passwd_tries=1\n")

    results = await fleets.run(TRUSTED, TRUSTED, password=CANARY)

    kinds = sorted(result.error.kind for result in results if result.error)
    assert kinds == [ErrorKind.DENIED, ErrorKind.UNTRIED]
    assert rules.log.count("incorrect password attempt") == 1


async def test_without_a_password_sudo_may_not_ask(fleets: Fleets) -> None:
    results = await fleets.run(TRUSTED, FREE, password=None, stdin=b"in", command="cat; id -un")

    assert results[0].error == Failure(ErrorKind.DENIED, Phase.SUDO, "sudo: a password is required")
    assert told(results[1:]) == [(Status.OK, b"inroot\n", b"")]


async def test_a_user_that_is_not_there(fleets: Fleets) -> None:
    (result,) = await fleets.run(TRUSTED, user="mrnobody")

    assert result.error
    assert (result.status, result.error.phase) == (Status.AUTH, Phase.SUDO)
    assert "mrnobody" in result.error.message or "sudo" in result.error.message


async def test_an_account_that_has_expired(fleets: Fleets, rules: SudoRules) -> None:
    rules.set_password(PASSWORD, expires="1")
    try:
        (result,) = await fleets.run(TRUSTED)
    finally:
        rules.set_password(PASSWORD)

    assert result.error
    assert (result.status, result.error.kind, result.error.phase) == (
        Status.AUTH,
        ErrorKind.DENIED,
        Phase.SUDO,
    )
    assert "expired" in result.error.message


async def test_a_password_that_must_be_changed_is_not_given_again(
    fleets: Fleets, rules: SudoRules, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PAM asks for the old one and for a new one, by prompts of its own."""
    monkeypatch.setattr("multirsh.commands.sudo.runner.LOGIN_S", 4.0)
    monkeypatch.setitem(STATE_TIMEOUTS, SudoState.ANSWERED, 4.0)
    rules.set_password(PASSWORD, changed=0)
    try:
        (result,) = await fleets.run(TRUSTED)
    finally:
        rules.set_password(PASSWORD)

    assert result.error
    assert result.error.phase is Phase.SUDO
    assert result.status in {Status.TIMEOUT, Status.AUTH}
    assert PASSWORD not in result.error.message


async def test_the_lecture_goes_to_stderr(fleets: Fleets, rules: SudoRules) -> None:
    rules.rule("Defaults lecture=always\n")

    (result,) = await fleets.run(TRUSTED)

    assert (result.status, result.stdout) == (Status.OK, b"root\n")
    assert b"With great power comes great responsibility." in result.stderr
    assert b"multirsh-" not in result.stderr


@pytest.mark.parametrize("rule", ["", "Defaults use_pty\n", "Defaults use_pty, log_input, log_output\n"])
@pytest.mark.parametrize("person", [TRUSTED, FREE], ids=["asked", "free"])
async def test_input_reaches_the_command_whole(
    fleets: Fleets, rules: SudoRules, rule: str, person: Person, tmp_path: Path
) -> None:
    log = f"Defaults iolog_dir={rules.directory}/io\n"
    rules.rule(rule and rule + log)
    # What sudo records it loses the end of, where there is much of it.
    data = bytes(range(256)) * (16 if "log" in rule else 4096)

    (result,) = await fleets.run(person, stdin=data, command="cat")

    assert result.status is Status.OK
    assert result.stdout == data
    for file in (rules.directory / "io").rglob("*"):
        assert file.is_dir() or PASSWORD.encode() not in file.read_bytes()


async def test_on_a_terminal(fleets: Fleets, rules: SudoRules) -> None:
    rules.rule("Defaults requiretty\n")

    results = await fleets.run(TRUSTED, FREE, command=Command("tty; id -un; cat", tty=True), stdin=b"typed\n")

    for result in results:
        assert result.status is Status.OK
        assert result.stdout.startswith(b"/dev/pts/")
        assert result.stdout.endswith(b"\nroot\ntyped\n")
        assert PASSWORD.encode() not in result.stdout
        assert result.stderr == b""


async def test_a_wrong_password_on_a_terminal(fleets: Fleets, rules: SudoRules) -> None:
    (result,) = await fleets.run(TRUSTED, password=CANARY, command=Command("id", tty=True))

    assert result.error == Failure(ErrorKind.DENIED, Phase.SUDO, "the password was refused")
    assert rules.failures(TRUSTED) == 1


async def test_around_it_are_a_context_and_a_script(fleets: Fleets) -> None:
    command = Command(
        "echo $MULTIRSH_HOST $ONE $(pwd) $(id -un)", environment={"ONE": "1 2"}, directory="/usr"
    )
    results = await fleets.run(TRUSTED, FREE, command=command)
    assert {result.stdout for result in results} == {
        b"127.1.0.1 1 2 /usr root\n",
        b"127.1.0.2 1 2 /usr root\n",
    }

    script = Command(script=Script(b"#!/bin/sh\nid -un\necho $1\ncat\nexit 7\n", ("a b",)))
    results = await fleets.run(TRUSTED, FREE, command=script, stdin=b"in\n")
    assert {(result.exit_status, result.stdout) for result in results} == {(7, b"root\na b\nin\n")}


async def test_a_host_that_is_lost_on_trial_holds_up_nobody(fleets: Fleets, rules: SudoRules) -> None:
    """The first host's command is given up on; then the second one has its turn."""
    async with fleets.of(TRUSTED, TRUSTED) as fleet:
        first, second = fleet.hosts
        assert (await fleet.run("true", sudo=Sudo(), hosts=[first]).gather()).is_ok
        run = fleet.run("sleep 60", sudo=Sudo(), hosts=[second])
        async with asyncio.TaskGroup() as group:
            gathering = group.create_task(run.gather())
            await asyncio.sleep(0)
            run.stop()
        assert gathering.result()[second.name].status in {Status.CANCELLED, Status.NOT_RUN}
        assert (await fleet.run("true", sudo=Sudo()).gather()).is_ok


async def test_rsh_is_refused_before_anything_connects(fleets: Fleets) -> None:
    host = Host("sw1", settings=Settings(transport=TransportName.RSH))
    async with Fleet([host], sudo_password=PasswordSource(call=lambda: CANARY), warn=lambda _: None) as fleet:
        with pytest.raises(UsageError, match="sw1: rsh would send sudo's password in clear text"):
            fleet.run("id", sudo=Sudo())


async def test_so_is_every_transport_that_hides_nothing() -> None:
    fake = FakeTransport()
    fake.is_private = False
    source = PasswordSource(call=lambda: CANARY)
    async with Fleet([Host("a")], sudo_password=source, transports={TransportName.SSH: fake}) as fleet:
        with pytest.raises(UsageError, match="a: ssh would send"):
            fleet.run("id", sudo=Sudo())


@pytest.mark.parametrize("user", ["", "-x", "a\nb", "a\0b"])
def test_nobody_is_called_that(user: str) -> None:
    with pytest.raises(UsageError, match="the user of --sudo cannot be"):
        Sudo(user)


@pytest.fixture
def loud() -> Iterator[None]:
    """asyncssh tells all that it tells without the packets themselves."""
    asyncssh.set_debug_level(2)
    yield
    asyncssh.set_debug_level(1)


@pytest.mark.usefixtures("loud")
async def test_the_password_is_in_no_log_and_shown_by_no_object(
    fleets: Fleets, rules: SudoRules, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    rules.set_password(CANARY)
    try:
        async with fleets.of(TRUSTED, FREE, password=CANARY) as fleet:
            run = fleet.run("echo up; cat; sleep 1", sudo=Sudo(), stdin=b"in")
            shown = ""
            async for event in run.events():
                shown += repr(event)
                if "up" in repr(event):
                    ours = [thing for thing in gc.get_objects() if _is_ours(thing)]
                    shown += " ".join(map(repr, ours))
    finally:
        rules.set_password(PASSWORD)

    assert "Conversation object" in shown
    assert "Password(***)" in shown
    assert CANARY not in shown
    assert repr(CANARY) not in shown
    assert not [record for record in caplog.records if record.name.startswith("asyncssh")]
    assert CANARY not in caplog.text


def _is_ours(thing: object) -> bool:
    return str(type(thing).__module__).partition(".")[0] == "multirsh"


async def test_a_failure_of_our_own_shows_nothing(
    fleets: Fleets, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its traceback is logged."""

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("multirsh.commands.sudo.runner.failures.refused", broken)
    (result,) = await fleets.run(TRUSTED, password=CANARY)

    assert result.error
    assert result.error.kind is ErrorKind.INTERNAL
    assert "Traceback" in caplog.text
    assert CANARY not in caplog.text
    assert CANARY not in result.error.message
