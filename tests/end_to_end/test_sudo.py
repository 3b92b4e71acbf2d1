"""``--sudo`` by the command line: asked once, given where it is wanted, and nowhere to be seen."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program import Program, ended
from tests.servers.accounts import PASSWORD
from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace
from tests.servers.requirement import program
from tests.servers.sshd import start_sshd
from tests.servers.sudoers import FREE, PEOPLE, TRUSTED, SudoRules, make_rules
from tests.terminal import Terminal
from tests.waiting import wait_until

pytestmark = pytest.mark.root

CANARY = "canary-7f3a9c"
HOSTS = 4


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> SudoRules:
    """The rules of the file's server."""
    return make_rules(tmp_path_factory.mktemp("sudo"))


@pytest.fixture(scope="module")
def server(module_namespace: Namespace, rules: SudoRules) -> Iterator[Daemon]:
    """An sshd with sudo."""
    with start_sshd(namespace=module_namespace, replaced=rules.replaced(), people=PEOPLE) as started:
        yield started


@pytest.fixture
def user(server: Daemon, rules: SudoRules, in_module_namespace: Namespace, multirsh: Program) -> Program:
    """Somebody who knows the password, and another one."""
    rules.rule()
    rules.set_password(PASSWORD)
    multirsh.knows(server, HOSTS)
    multirsh.write("right", f"{PASSWORD}\n", mode=0o600)
    multirsh.write("canary", f"{CANARY}\n", mode=0o600)
    return multirsh


def words(*more: str, person: str = TRUSTED.name) -> list[str]:
    """The options of all calls."""
    return ["-f", "hosts.yaml", "-l", person, *more]


def everything_shown(user: Program, end: object) -> str:
    """What was printed, and what was written below the home but the password's own file."""
    kept = [
        file.read_bytes().decode("utf-8", "replace")
        for file in user.home.rglob("*")
        if file.is_file() and file.name not in {"canary", "right"}
    ]
    return "\n".join([str(end), *kept])


@pytest.mark.parametrize(
    ("option", "who"),
    [
        ("--sudo", "root"),
        ("--sudo=root", "root"),
        ("--sudo=mrother", "mrother"),
        ("--become=sudo", "root"),
        ("--become=sudo:mrother", "mrother"),
    ],
)
def test_as_whom(user: Program, option: str, who: str) -> None:
    end = user(*words("-N", "-q", "--password-file", "right", option, "id", "-un"))

    assert (end.code, end.out, end.err) == (0, f"{who}\n" * HOSTS, "")


def test_the_word_after_sudo_is_the_command(user: Program) -> None:
    """Even where it is the name of a user."""
    end = user(*words("-N", "-q", "--sudo", "root", person=FREE.name))

    assert end.code == 5
    assert "root: command not found" in end.err or "root: not found" in end.err


def test_with_standard_input(user: Program) -> None:
    end = user(
        *words("-N", "-q", "--password-file", "right", "--sudo", "-I", "wc", "-c"), stdin=b"x" * 300_000
    )

    assert (end.code, end.out, end.err) == (0, "300000\n" * HOSTS, "")


def test_a_script(user: Program) -> None:
    user.write("who.sh", 'echo "$(id -un) $1 $(cat)"\n')
    options = words("-N", "-q", "--password-file", "right", "--sudo", "-I")
    end = user("script", *options, "who.sh", "a b", stdin=b"in\n")

    assert (end.code, end.out, end.err) == (0, "root a b in\n" * HOSTS, "")


def test_asked_at_the_terminal_once(user: Program) -> None:
    with Terminal(user) as terminal:
        terminal.type(f"multirsh {' '.join(words('-N', '-q', '-K', '--sudo', 'id', '-un'))}\r")
        terminal.expect("sudo password: ")
        terminal.type(f"{PASSWORD}\r")
        terminal.expect(r"(root\s+){4}\$ $")
    assert PASSWORD not in terminal.seen
    assert terminal.seen.count("sudo password: ") == 1


def test_without_a_terminal_nobody_can_be_asked(user: Program) -> None:
    end = ended(user.start(*words("--sudo", "-K", "true"), prefix=["setsid", "--wait"]))

    assert (end.code, end.out) == (2, "")
    assert "there is no terminal to ask for the password on" in end.err


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        (["--become", "su"], "h1: there are no terminals by local; leave out --become"),
        (["--become", "sudo", "--sudo"], "--sudo and --become exclude each other"),
        (["--become", "runas"], "--become runas: 'runas' is not sudo, doas or su"),
        (["--become", "su:"], "the user of --become cannot be"),
    ],
)
def test_what_become_cannot_be(multirsh: Program, option: list[str], complaint: str) -> None:
    end = multirsh("-w", "h1", "-R", "local", *option, "id")

    assert (end.code, end.out) == (2, "")
    assert complaint in end.err


def test_asking_for_no_sudo(user: Program) -> None:
    end = user(*words("-K", "true"))

    assert end.code == 2
    assert end.err == "multirsh: -K requires --sudo or --become\n"


def test_a_wrong_password_is_said_once_and_shown_nowhere(user: Program, rules: SudoRules) -> None:
    for output in ((), ("--json",)):
        rules.rule()
        end = user(*words(*output, "--password-file", "canary", "--sudo", "id"))

        assert end.code == 4
        assert end.err.count("it is not tried on other hosts") == 1
        assert CANARY not in everything_shown(user, end)
        assert rules.failures(TRUSTED) == 1
        if output:
            assert end.out.count('"status":"auth"') == HOSTS
            assert end.out.count('"phase":"sudo"') == HOSTS
            assert end.out.count('"kind":"untried"') == HOSTS - 1
        else:
            assert "auth (sudo denied): h" in end.err
            assert "auth (sudo untried): h" in end.err


@pytest.mark.parametrize("sent", [None, signal.SIGINT, signal.SIGTERM], ids=str)
def test_the_canary_is_nowhere(user: Program, rules: SudoRules, sent: signal.Signals | None) -> None:
    """It is the right one, so it goes all the way; processes are searched while the command runs."""
    rules.set_password(CANARY)
    user.environ["PYTHONASYNCIODEBUG"] = "1"
    nap = f"7{os.getpid()}.25"
    process = user.start(
        *words("--json", "-u", "300" if sent else "8", "--kill-after", "0.5", "--password-file", "canary"),
        *("--sudo", f"echo begun; echo begun >&2; cat /proc/self/environ; exec sleep {nap}"),
    )
    wait_until(lambda: sleepers(nap) == HOSTS, what="the commands")

    found = [str(place) for place in places_with(CANARY.encode())]
    if sent is not None:
        process.send_signal(sent)
    if sent is signal.SIGINT:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)  # the first one only starts no more hosts; two at once would be one
        process.send_signal(sent)
    end = ended(process)

    assert found == []
    assert end.code in {3, 128 + (sent or 0)}
    assert CANARY not in everything_shown(user, end)
    assert "multirsh-asks" not in end.out + end.err
    assert CANARY not in rules.log


def sleepers(nap: str) -> int:
    return sum(f"sleep\0{nap}\0".encode() in words and b"sudo" not in words for words in command_lines())


def command_lines() -> Iterator[bytes]:
    for entry in Path("/proc").iterdir():
        try:
            yield (entry / "cmdline").read_bytes()
        except OSError:
            continue


def places_with(secret: bytes) -> Iterator[Path]:
    """Arguments and environments of all processes, ours and the remotes'."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            for name in ("cmdline", "environ"):
                try:
                    if secret in (entry / name).read_bytes():
                        yield entry / name
                except OSError:
                    continue


_PARROT = """\
#!/bin/sh
while [ "$1" != -p ]; do shift; done
printf "${2%%%p*}" >&2
read -r told
echo "told $told, that is $told" >&2
echo "$told"
exit 1
"""


def test_a_host_that_repeats_what_it_reads(
    module_namespace: Namespace, in_module_namespace: Namespace, multirsh: Program, tmp_path: Path
) -> None:
    """In place of sudo there is a program that asks like it and shows what it is told."""
    parrot = tmp_path / "sudo"
    parrot.write_text(_PARROT)
    parrot.chmod(0o755)
    sudo = program("sudo", package="sudo")
    with start_sshd(namespace=module_namespace, replaced={str(sudo): parrot}) as server:
        multirsh.knows(server, 2)
        multirsh.write("canary", f"{CANARY}\n", mode=0o600)
        for output in ((), ("--json",)):
            end = multirsh("-f", "hosts.yaml", *output, "--password-file", "canary", "--sudo", "true")

            assert end.code == 4
            assert "told ***, that is ***" in end.out + end.err
            assert CANARY not in everything_shown(multirsh, end)
