"""``multirsh lab``, a fleet to practise on, as its users see it."""

from __future__ import annotations

import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.test_json import events_of
from tests.program import Program, ended
from tests.servers.ports import free_port

NAMES = ["bastion1", "cache1", "db1", "db2", *(f"web0{number}" for number in range(1, 7))]


@pytest.fixture
def user(multirsh: Program, tmp_path: Path) -> Program:
    """A user with a temporary folder of the test's own."""
    (tmp_path / "tmp").mkdir()
    multirsh.environ["TMPDIR"] = str(tmp_path / "tmp")
    return multirsh


def left(user: Program) -> list[str]:
    """What is in the temporary folder."""
    return [path.name for path in Path(user.environ["TMPDIR"]).iterdir()]


def test_a_command_on_all(user: Program) -> None:
    ended = user("lab", "echo $MULTIRSH_LAB_HOST")

    assert sorted(ended.out.splitlines()) == [f"{name}: {name}" for name in NAMES]
    assert ended.err.startswith("10 hosts: 10 ok in ")
    assert ended.code == 0
    assert left(user) == []


def test_a_group_and_a_failure(user: Program) -> None:
    ended = user("lab", "-g", "web", "exit 3")

    assert (ended.code, ended.out) == (5, "")
    assert "\nfailed (exit 3): web[01-06]\n" in ended.err


def test_events(user: Program) -> None:
    ended = user("lab", "--hosts", "3", "--json", "uptime")

    rows = events_of(ended.out)
    assert len(rows[0]["hosts"]) == 3
    assert rows[-1]["counts"] == {"ok": 3}
    assert rows[-1]["ports"]["closed_by"] == {"remote": 3, "local": 0, "reset": 0}


def test_an_unknown_group(user: Program) -> None:
    ended = user("lab", "-g", "wbe", "true")

    assert ended.code == 2
    assert ended.err.endswith("; did you mean web?\n")
    assert left(user) == []


@pytest.fixture
def lab_port() -> int:
    """A free port for a lab, which may be started on it more than once."""
    return free_port(None, address="127.77.0.1")


@pytest.fixture
def kept_up(user: Program, lab_port: int) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A lab that stays up, and what it prints when it is up."""
    process = user.start("lab", "--lab-port", str(lab_port), "--hosts", "4")
    assert process.stdout is not None
    said = b""
    while b"Ctrl-C" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    yield process, said.decode()
    if process.poll() is None:
        process.kill()
    process.communicate()


def test_it_stays_up_and_the_commands_that_it_prints_work(
    user: Program, kept_up: tuple[subprocess.Popen[bytes], str], lab_port: int
) -> None:
    process, said = kept_up
    commands = [line.strip() for line in said.splitlines() if line.startswith("  ")]
    assert said.startswith("4 SSH servers are up: ")
    assert [shlex.split(command)[0] for command in commands] == ["multirsh", "multirsh", "ssh"]

    everywhere, group, ssh = (user.shell(f"{command} </dev/null") for command in commands)

    assert everywhere.code == 0
    assert everywhere.err.startswith("4 hosts: 4 ok in ")
    assert group.code == 0
    assert set(group.out.splitlines()) <= {f"web0{number}: web0{number}" for number in range(1, 5)}
    assert group.out
    assert ssh.code == 0

    process.send_signal(signal.SIGINT)
    assert ended(process).code == 130
    assert left(user) == []
    assert user("lab", "--lab-port", str(lab_port), "--hosts", "4", "true").code == 0


def test_a_second_lab_beside_the_first_takes_another_port_unless_one_is_given(
    user: Program, kept_up: tuple[subprocess.Popen[bytes], str], lab_port: int
) -> None:
    with_default = user.start("lab", "--hosts", "4")
    assert with_default.stdout is not None
    try:
        assert with_default.stdout.readline().startswith(b"4 SSH servers are up: ")
        assert user("lab", "--hosts", "4", "true").code == 0
    finally:
        with_default.send_signal(signal.SIGINT)
        assert ended(with_default).code == 130

    refused = user("lab", "--lab-port", str(lab_port), "--hosts", "4", "true")

    assert refused.code == 2
    assert f"cannot listen on port {lab_port}: it is in use or not allowed; choose another" in refused.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name)
def test_other_signals_end_it_too(
    user: Program, kept_up: tuple[subprocess.Popen[bytes], str], number: signal.Signals
) -> None:
    process, _ = kept_up

    process.send_signal(number)

    end = ended(process)
    assert (end.code, end.err) == (128 + number, "\nmultirsh: the lab ends\n")
    assert left(user) == []
