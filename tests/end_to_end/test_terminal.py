"""At a terminal: prompts, Ctrl-C at them, the progress line, jobs in the background."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.end_to_end.remotes import Remotes
from tests.program import MULTIRSH, Program
from tests.servers.accounts import PASSWORD
from tests.servers.namespace import Namespace
from tests.servers.processes import naming
from tests.terminal import Terminal
from tests.waiting import wait_until

pytestmark = pytest.mark.root


PROGRAM = " ".join(MULTIRSH)
"""Without the function ``multirsh`` of ``Terminal``, which would be a shell beside it."""


def processes_of(remotes: Remotes) -> set[int]:
    """The multirsh that runs commands of ``remotes``."""
    return naming(str(remotes.folder)) & naming("-m\0multirsh")


def state_of(pid: int) -> str:
    """``T`` is stopped (proc_pid_stat(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


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
    screen = terminal.expect(r"longest in flight: .*\n")
    assert "multirsh: SIGINT: starting no more hosts; repeat it to end the running commands" in screen
    assert "0/5, 5 in flight, no more to start" in screen
    terminal.expect("0/5  waiting")
    terminal.type("\x03")

    screen = terminal.expect(r"^code \d+")
    assert "cancelled (stopped, its processes are dead): h[01-05]" in screen
    assert screen.endswith("code 130")
    assert terminal.echoes()


def test_enter_asks_how_it_goes(terminal: Terminal, remotes: Remotes) -> None:
    terminal.run(f"multirsh -f hosts.yaml -g few '{remotes.waiting}'; echo code $?")
    remotes.wait_for(5)

    terminal.type("\r")
    screen = terminal.expect(r"longest in flight: h01 .*\n")
    assert "0/5, 5 in flight, 0 to start" in screen
    remotes.let_go()

    assert "code 0" in terminal.expect(r"^code \d+")


def test_enter_is_the_commands_where_they_read_the_terminal(terminal: Terminal) -> None:
    """No progress line is drawn over what is typed, either."""
    terminal.run("multirsh -f hosts.yaml -w h01 -I 'echo ready; sleep 1; head -1'; echo code $?")
    terminal.expect("h01: ready")

    terminal.type("a line\r")
    terminal.type("\x04")

    screen = terminal.expect(r"^code \d+")
    assert "h01: a line" in screen
    assert "in flight" not in screen
    assert "waiting for h01" not in terminal.seen


def test_a_job_in_the_background_is_not_stopped(terminal: Terminal) -> None:
    """It writes, and reads nothing: neither SIGTTIN nor, unless ``stty tostop``, SIGTTOU."""
    terminal.run("multirsh -f hosts.yaml -w h01 echo done & wait $!; echo code $?; jobs")

    assert "h01: done" in terminal.expect(r"^code \d+")
    assert "code 0" in terminal.seen


@pytest.mark.parametrize(("how", "words"), [("", ""), ("", "-I"), ("nohup", ""), ("setsid", "")])
def test_what_is_typed_beside_a_job_in_the_background_is_not_its(
    terminal: Terminal, remotes: Remotes, how: str, words: str
) -> None:
    """A process that reads the terminal of another job is stopped by SIGTTIN (termios(3)); ours is not."""
    terminal.run(f"{how} {PROGRAM} -f hosts.yaml -g few {words} '{remotes.waiting}' &")
    remotes.wait_for(5)
    terminal.type("\r\r")
    terminal.run("echo typed")  # the shell has read all of it, and so had whoever wanted it, too
    terminal.expect(r"^typed")

    (ours,) = processes_of(remotes)
    assert state_of(ours) != "T"
    remotes.let_go()
    wait_until(lambda: not processes_of(remotes), what="the end of one that is not stopped")
    assert "in flight:" not in terminal.seen


def test_a_job_in_the_background_leaves_the_terminals_settings_alone(
    terminal: Terminal, remotes: Remotes
) -> None:
    """They are of the job in the foreground, such as an editor; who sets them is stopped (SIGTTOU)."""
    terminal.run(f"{PROGRAM} -f hosts.yaml -g few '{remotes.waiting}' >out 2>&1 &")
    remotes.wait_for(5)

    terminal.run(f"stty -echo; touch {remotes.folder}/go; wait; stty echo; jobs; echo over")

    assert "Stopped" not in terminal.expect(r"^over")
    assert not processes_of(remotes)


def test_a_question_of_a_job_in_the_background_waits_for_the_foreground(
    terminal: Terminal, remotes: Remotes
) -> None:
    terminal.run(f"{PROGRAM} -f hosts.yaml -g few --batch 1 --step '{remotes.marking('echo done')}' &")
    terminal.expect(r"go on\?")
    terminal.type("n\r")
    terminal.expect(r"n: command not found")

    (ours,) = processes_of(remotes)
    assert state_of(ours) != "T"
    terminal.run("fg")
    terminal.type("a\r")
    terminal.expect(r"5 hosts: 5 ok")


def test_a_job_that_comes_to_the_foreground_listens_there(terminal: Terminal, remotes: Remotes) -> None:
    terminal.run(f"{PROGRAM} -f hosts.yaml -g few '{remotes.waiting}' &")
    remotes.wait_for(5)
    terminal.run("fg")

    for _ in range(100):  # it looks again every second
        terminal.type("\r")
        if terminal.shows("longest in flight", within_s=0.2):
            break
    remotes.let_go()
    assert "longest in flight" in terminal.expect(r"5 hosts: 5 ok")


# Questions.


def test_a_batch_at_a_time_as_is_answered(terminal: Terminal) -> None:
    terminal.run("multirsh -f hosts.yaml -g few --batch 1 --step echo done; echo code $?")

    terminal.expect(r"h01: done")
    terminal.expect(r"multirsh: batch 1 has ended; go on\? \[y\]es, \[n\]o, \[a\]ll: ")
    terminal.type("perhaps\r")
    terminal.expect(r"multirsh: batch 1 has ended; go on\?")
    terminal.type("y\r")
    screen = terminal.expect(r"multirsh: batch 2 has ended; go on\?")
    assert "h02: done" in screen
    terminal.type("No\r")

    screen = terminal.expect(r"^code \d+")
    assert "stopped after batch 2, as you answered" in screen
    assert "5 hosts: 2 ok, 3 not run" in screen
    assert screen.endswith("code 6")


def test_all_the_rest_without_asking(terminal: Terminal) -> None:
    terminal.run("multirsh -f hosts.yaml -g few --batch 1 --step echo done; echo code $?")
    terminal.expect(r"go on\?")
    terminal.type("a\r")

    screen = terminal.expect(r"^code \d+")
    assert "go on?" not in screen
    assert "5 hosts: 5 ok" in screen


def test_ctrl_c_at_the_question_ends_the_run(terminal: Terminal) -> None:
    terminal.run("multirsh -f hosts.yaml -g few --batch 1 --step echo done; echo code $?")
    terminal.expect(r"go on\?")

    terminal.type("\x03")

    screen = terminal.expect(r"^code \d+")
    assert "5 hosts: 1 ok, 4 not run" in screen
    assert screen.endswith("code 130")


def test_the_end_of_the_terminals_input_is_a_no(terminal: Terminal) -> None:
    terminal.run("multirsh -f hosts.yaml -g few --batch 1 --step echo done; echo code $?")
    terminal.expect(r"go on\?")

    terminal.type("\x04")

    assert "code 6" in terminal.expect(r"^code \d+")


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


class TestAJumpHostsPassword:
    """It is asked for while the run goes on, by the name of the jump host."""

    JUMP = "127.9.9.9"

    @pytest.fixture
    def asked(
        self, sshd_here: StartServer, namespace: Namespace, in_namespace: Namespace, multirsh: Program
    ) -> Iterator[tuple[Terminal, str]]:
        """A terminal where the question stands, and the question."""
        server = sshd_here(options={"PasswordAuthentication": "yes", "PubkeyAuthentication": "no"})
        multirsh.knows(server, 5)
        with (multirsh.home / ".ssh/known_hosts").open("a") as file:
            file.write(server.known_hosts([self.JUMP]))
        with Terminal(multirsh) as terminal:
            terminal.run(f"multirsh -J {self.JUMP} -f hosts.yaml --ask-pass echo in; echo code $?")
            terminal.expect(r"Password: $")
            terminal.type(f"{PASSWORD}\r")
            question = f"{server.user}@{self.JUMP}'s password: "
            terminal.expect(f"{re.escape(question)}$")
            yield terminal, question

    def test_opens_the_way_to_all_hosts(self, asked: tuple[Terminal, str]) -> None:
        terminal, question = asked
        terminal.type("wrong\r")
        terminal.expect(f"{re.escape(question)}$")
        terminal.type(f"{PASSWORD}\r")
        screen = terminal.expect(r"^code \d+")

        assert screen.count(": in\r\n") == 5
        assert "code 0" in screen
        assert question not in screen
        assert PASSWORD not in terminal.seen
        assert "wrong" not in terminal.seen

    def test_ctrl_c_leaves_the_echo_on(self, asked: tuple[Terminal, str]) -> None:
        terminal, _ = asked
        terminal.type("\x03")
        terminal.expect("starting no more hosts")
        terminal.type("\x03")
        screen = terminal.expect(r"^code \d+")

        assert "code 130" in screen
        assert terminal.echoes()

    def test_the_end_of_input_is_no_answer(self, asked: tuple[Terminal, str]) -> None:
        terminal, _ = asked
        terminal.type("\x04")
        screen = terminal.expect(r"^code \d+")

        assert "code 4" in screen
        assert terminal.echoes()
