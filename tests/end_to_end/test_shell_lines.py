"""The shell with lines from a pipe, over real sshd."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest

from tests.end_to_end.remotes import Remotes
from tests.program import Program, ended, said
from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace

pytestmark = pytest.mark.root

SHELL = ("shell", "-f", "hosts.yaml", "-g", "few")
LOGIN = r"Accepted publickey for"


def test_lines_are_run_in_order(on_sshd: Program, sshd: Daemon, in_module_namespace: Namespace) -> None:
    logins = sshd.log.count(LOGIN)
    done = on_sshd(*SHELL, stdin=b"# a comment\necho one\n\n@h[01-02]\n=\necho two\n!cat; echo here\nexit 3")
    assert done.out.endswith("---- h[01-02] (2)\ntwo\nhere\n")
    assert sorted(done.out.splitlines()[:5]) == [f"h{number:02}: one" for number in range(1, 6)]
    assert "failed (exit 3): h[01-02]" in done.err
    assert done.code == 5
    assert sshd.log.count(LOGIN) == logins + 5
    assert not in_module_namespace.client_side([sshd.port])
    state = on_sshd.home / ".local/state/multirsh"
    assert not (state / "shell_history").exists()
    assert len(list((state / "runs").glob("2*.ndjson"))) == 3  # a record for each command


@pytest.mark.parametrize("line", ["-@few", ".nosuch"])
def test_a_line_with_an_error_ends_the_shell_before_others_run_on_the_wrong_hosts(
    on_sshd: Program, line: str
) -> None:
    done = on_sshd(*SHELL, stdin=f"echo one\n{line}\necho two\n".encode())
    assert (done.code, "two" in done.out) == (2, False)
    assert done.out.count("one") == 5


def test_every_line_is_a_run_with_its_own_id_in_json(on_sshd: Program) -> None:
    done = on_sshd(*SHELL, "--json", stdin=b"echo one\necho two\n")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert len({event["run"] for event in events}) == 2
    ends = [event for event in events if event["event"] == "host_finished"]
    assert [end["closed_by"] for end in ends] == [None] * 10
    assert [end["seconds"]["auth"] is None for end in ends] == [False] * 5 + [True] * 5


def test_a_signal_ends_the_command_and_the_shell(
    on_sshd: Program, remotes: Remotes, sshd: Daemon, in_module_namespace: Namespace
) -> None:
    with on_sshd.start(*SHELL, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(f"{remotes.marking()}\necho not this\n".encode())
        remotes.wait_for(5)
        process.send_signal(signal.SIGTERM)
        said(process, "SIGTERM: ending the running commands")
        end = ended(process)
    assert (end.code, end.out) == (128 + signal.SIGTERM, "")
    assert "cancelled (stopped, its processes are dead): h[01-05]" in end.err
    assert not remotes.alive
    assert not in_module_namespace.client_side([sshd.port])


def test_a_signal_while_it_waits_for_a_line_ends_the_shell(on_sshd: Program) -> None:
    with on_sshd.start(*SHELL, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"echo up\n")
        said(process, "5 hosts: 5 ok")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 128 + signal.SIGINT


def test_a_shell_that_is_killed_leaves_no_port_in_time_wait(
    on_sshd: Program, sshd: Daemon, in_module_namespace: Namespace
) -> None:
    with on_sshd.start(*SHELL, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        process.stdin.write(b"true\n")
        said(process, "5 hosts: 5 ok")
        assert len(in_module_namespace.client_side([sshd.port])) == 5
        process.kill()
        process.wait()
    assert not in_module_namespace.client_side([sshd.port])


def test_a_reader_that_closes_the_pipe_ends_the_shell(on_sshd: Program) -> None:
    done = on_sshd.shell(
        "printf 'echo one\\necho two\\necho three\\n' | multirsh shell -f hosts.yaml -a | head -n 1;"
        " echo ${PIPESTATUS[1]}"
    )
    assert done.out.splitlines()[-1] in {"0", "141"}
    assert done.out.count(": ") == 1


def test_standard_input_cannot_be_both_hosts_file_and_lines(on_sshd: Program) -> None:
    done = on_sshd("shell", "-f", "-", stdin=b"h01\n")
    assert done.code == 2
    assert "-f - reads standard input, where the shell's lines come from" in done.err
