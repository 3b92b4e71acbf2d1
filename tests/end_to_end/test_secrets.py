"""Passwords: from a file or a command, and nowhere to be seen, even where the login fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartHooked
from tests.program import Program, ended
from tests.servers.accounts import PASSWORD
from tests.servers.daemon import Daemon
from tests.servers.hooked import Conduct
from tests.servers.namespace import Namespace
from tests.servers.sshd import start_sshd
from tests.waiting import wait_until

pytestmark = pytest.mark.root

CANARY = "canary-7f3a"


@pytest.fixture(scope="module")
def by_password(module_namespace: Namespace) -> Iterator[Daemon]:
    """An sshd that takes nothing but passwords."""
    options = {"PasswordAuthentication": "yes", "PubkeyAuthentication": "no"}
    with start_sshd(namespace=module_namespace, options=options) as server:
        yield server


@pytest.fixture
def user(by_password: Daemon, in_module_namespace: Namespace, multirsh: Program) -> Program:
    """Somebody who knows it."""
    multirsh.knows(by_password, 5)
    multirsh.write("right", f"{PASSWORD}\nnot this\n", mode=0o600)
    multirsh.write("wrong", f"{CANARY}\n", mode=0o600)
    return multirsh


@pytest.mark.parametrize(
    "source",
    [
        ("--password-file", "right"),
        ("--password-command", "cat right"),
        ("--password-file", "/dev/stdin"),
        ("--password-file", "-"),
    ],
    ids=" ".join,
)
def test_a_password_opens_all(user: Program, source: tuple[str, str]) -> None:
    piped = f"{PASSWORD}\n".encode() if source[1] in {"-", "/dev/stdin"} else b""
    ended = user("-f", "hosts.yaml", "-q", *source, "true", stdin=piped)

    assert (ended.code, ended.out, ended.err) == (0, "", "")


def test_without_a_password_nobody_is_asked(user: Program) -> None:
    """There is a terminal in many places where nobody sits; ``--ask-pass`` is the way to be asked."""
    ended = user("-f", "hosts.yaml", "true")

    assert ended.code == 4
    assert "auth (denied): h[01-05]\n" in ended.err


def test_ask_pass_without_a_terminal(user: Program) -> None:
    process = user.start("-f", "hosts.yaml", "--ask-pass", "true", prefix=["setsid", "--wait"])

    end = ended(process)

    assert (end.code, end.out) == (2, "")
    assert end.err == (
        "multirsh: there is no terminal to ask for the password on; "
        "use --password-file or --password-command, or run at a terminal\n"
    )


@pytest.mark.parametrize("source", [("--password-file", "wrong"), ("--password-command", "cat wrong")])
def test_a_failing_login_does_not_tell_the_password(user: Program, source: tuple[str, str]) -> None:
    ended = user("-f", "hosts.yaml", "--json", *source, "true")

    assert ended.code == 4
    assert CANARY not in ended.out + ended.err
    assert '"status":"auth"' in ended.out
    (record, _index) = sorted((user.home / ".local").rglob("*.ndjson"))
    assert CANARY not in record.read_text()
    assert '"status":"auth"' in record.read_text()


def test_nobody_else_sees_it(
    in_namespace: Namespace, namespace: Namespace, hooked: StartHooked, multirsh: Program
) -> None:
    """While a login is under way, the password is in no process's arguments or environment."""
    server = hooked(Conduct(replies_to_auth=False), address="0.0.0.0")
    multirsh.knows(server, 2)
    multirsh.write("wrong", f"{CANARY}\n", mode=0o600)
    process = multirsh.start(
        *("-f", "hosts.yaml", "--json", "-t", "1", "--close-timeout", "0.2"),
        *("--password-file", "wrong", "true"),
    )
    wait_until(lambda: len(namespace.client_side([server.port])) == 2, what="two connections")

    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            for name in ("cmdline", "environ"):
                try:
                    assert CANARY.encode() not in (entry / name).read_bytes()
                except OSError:
                    continue
    end = ended(process)

    assert end.code == 3
    assert CANARY not in end.out + end.err
