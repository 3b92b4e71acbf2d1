"""At a terminal: prompts, Ctrl-C at them, the progress line, jobs in the background."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.program import Program
from tests.cli.terminal import Terminal
from tests.conftest import StartServer
from tests.servers.accounts import PASSWORD
from tests.servers.namespace import Namespace

pytestmark = pytest.mark.root


@pytest.fixture
def terminal(on_sshd: Program) -> Iterator[Terminal]:
    with Terminal(on_sshd) as made:
        yield made


def test_the_progress_line_comes_and_goes(terminal: Terminal) -> None:
    terminal.run("multirsh -f hosts.yaml -g few 'sleep 1; echo done'; echo code $?")

    screen = terminal.expect(r"^code \d+")

    assert "0/5  waiting for h01 and 4 more" in screen
    _, cleared, after = screen.rpartition("\x1b[J")
    assert cleared
    assert "waiting" not in after
    assert "5 hosts:" in after
    assert "code 0" in after


def test_ctrl_c_while_commands_run(terminal: Terminal) -> None:
    terminal.run("multirsh -f hosts.yaml -g few sleep 60; echo code $?")
    terminal.expect("0/5  waiting")

    terminal.type("\x03")

    screen = terminal.expect(r"^code \d+")
    assert "cancelled (stopped)" in screen
    assert screen.endswith("code 130")
    assert terminal.echoes()


def test_a_job_in_the_background_is_not_stopped(terminal: Terminal) -> None:
    """It writes, and reads nothing: neither SIGTTIN nor, unless ``stty tostop``, SIGTTOU."""
    terminal.run("multirsh -f hosts.yaml -w h01 echo done & wait $!; echo code $?; jobs")

    assert "h01: done" in terminal.expect(r"^code \d+")
    assert "code 0" in terminal.seen


def test_a_locked_key_is_asked_for_once(on_sshd: Program, terminal: Terminal) -> None:
    config = on_sshd.home / ".ssh/config"
    key = Path(next(line.split()[1] for line in config.read_text().splitlines() if "IdentityFile" in line))
    locked = on_sshd.write("locked", key.read_text(), mode=0o600)
    terminal.run(f"ssh-keygen -q -p -N 'open sesame' -f {locked}")
    config.write_text(config.read_text().replace(str(key), "/nowhere"))

    terminal.run("multirsh -i locked -f hosts.yaml -x 'h[11-20]' echo in; echo code $?")
    terminal.expect(r"[Pp]assphrase.*: $")
    terminal.type("wrong\r")
    terminal.expect(r"[Pp]assphrase.*: $")
    terminal.type("open sesame\r")
    screen = terminal.expect(r"^code \d+")

    assert screen.count(": in\r\n") == 10
    assert "assphrase" not in screen
    assert "sesame" not in screen
    assert "code 0" in screen


def test_ctrl_c_at_a_prompt_leaves_the_echo_on(terminal: Terminal) -> None:
    terminal.run("multirsh -f hosts.yaml --ask-pass true; echo code $?")
    terminal.expect(r"Password: $")

    terminal.type("\x03")

    screen = terminal.expect(r"^code \d+")
    assert "code 130" in screen
    assert screen.startswith("\r\n")
    assert terminal.echoes()


def test_a_password_is_asked_for_once(
    sshd_here: StartServer, namespace: Namespace, in_namespace: Namespace, multirsh: Program
) -> None:
    server = sshd_here(options={"PasswordAuthentication": "yes", "PubkeyAuthentication": "no"})
    multirsh.knows(server, 5)
    with Terminal(multirsh) as terminal:
        terminal.run("multirsh -f hosts.yaml --ask-pass echo in; echo code $?")
        terminal.expect(r"Password: $")
        terminal.type(f"{PASSWORD}\r")
        screen = terminal.expect(r"^code \d+")

    assert screen.count(": in\r\n") == 5
    assert "code 0" in screen
    assert PASSWORD not in terminal.seen
