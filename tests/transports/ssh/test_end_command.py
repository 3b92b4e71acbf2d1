"""The script that ends commands, seen from outside: its line in every shell, its answer in every noise."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.model import Fate
from multirsh.transports.ssh.asyncssh_internals import forces_command
from multirsh.transports.ssh.end_command import (
    ScriptReport,
    bootstrap,
    is_ready,
    judge,
    make_key,
    read_report,
    script,
)
from tests.servers.requirement import program

KEY = "0123456789abcdef"

ALWAYS = ("dash", "bash", "busybox", "tcsh", "fish")
"""Those that the test command installs; the others are tried where they are."""

LOGIN_SHELLS = [
    shell for shell in (*ALWAYS, "zsh", "ksh", "mksh", "csh") if shell in ALWAYS or shutil.which(shell)
]


def called_sh(shell: str, folder: Path) -> Path:
    """``shell`` by the name of sh, without which busybox is none and bash another."""
    link = folder / "sh"
    link.symlink_to(program(shell, package=shell))
    return link


class TestTheLine:
    @pytest.mark.parametrize("shell", LOGIN_SHELLS)
    def test_every_login_shell_becomes_a_shell_that_reads_the_script(
        self, shell: str, tmp_path: Path
    ) -> None:
        path = called_sh(shell, tmp_path) if shell == "busybox" else program(shell, package=shell)
        done = subprocess.run(
            [path, "-c", bootstrap(KEY, kill_after=2.5)],
            input=b"echo $$ $# $1 $2\n",
            capture_output=True,
            check=True,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        )
        ready, answer = done.stdout.decode().splitlines()
        assert ready == f"{KEY}:ready"
        assert answer.split()[1:] == ["2", KEY, "250"]
        assert done.stderr == b""

    def test_it_holds_nothing_that_shells_read_differently(self) -> None:
        line = bootstrap(make_key(), kill_after=1)
        assert line.isascii()
        assert line.isprintable()
        assert line.startswith("exec /bin/sh -c '")
        assert line.endswith("'")
        assert not set("'\\!`") & set(line.removeprefix("exec /bin/sh -c '")[:-1])

    def test_who_repeats_it_is_not_ready(self) -> None:
        line = bootstrap(KEY, kill_after=1).encode()
        assert not is_ready(b"rbash: line 1: " + line + b": restricted\n", KEY)
        assert not is_ready(KEY.encode() + b"\n", KEY)
        assert is_ready(b"welcome\n" + KEY.encode() + b":ready\n", KEY)

    @pytest.mark.parametrize(
        ("seconds", "hundredths"), [(0, 0), (-1, 0), (0.001, 1), (10, 1000), (2.34, 234)]
    )
    def test_the_grace_is_in_hundredths_of_a_second(self, seconds: float, hundredths: int) -> None:
        assert bootstrap(KEY, kill_after=seconds).endswith(f" {hundredths}'")

    def test_a_key_is_never_the_same(self) -> None:
        assert len({make_key() for _ in range(100)}) == 100


@pytest.mark.parametrize("shell", [shell for shell in LOGIN_SHELLS if shell not in {"tcsh", "csh", "fish"}])
def test_every_sh_can_read_the_script(shell: str, tmp_path: Path) -> None:
    done = subprocess.run([called_sh(shell, tmp_path), "-n"], input=script(), capture_output=True, check=True)
    assert b"error" not in done.stderr


class TestTheReport:
    @given(before=st.binary(max_size=200), after=st.binary(max_size=200), left=st.integers(0, 10**9 - 1))
    def test_it_is_found_in_any_noise(self, before: bytes, after: bytes, left: int) -> None:
        said = f"{KEY}:left {left} away 2 blind 1\n".encode()
        assert read_report(before + said + after, KEY) == ScriptReport(left=left, away=2, is_blind=True)

    @given(st.binary(max_size=400))
    def test_noise_is_no_report(self, noise: bytes) -> None:
        assert read_report(noise, KEY) is None
        assert not is_ready(noise, KEY)

    def test_it_counts_when_it_is_whole_and_has_our_key(self) -> None:
        said = f"{KEY}:left 0 away 0 blind 0\n".encode()
        assert read_report(said, KEY) == ScriptReport(left=0, away=0, is_blind=False)
        assert all(read_report(said[:length], KEY) is None for length in range(len(said)))
        assert read_report(said, "f" * 16) is None

    @pytest.mark.parametrize(
        ("left", "away", "is_blind", "channel_closed", "fate"),
        [
            (0, 0, 0, True, Fate.DEAD),
            (0, 0, 0, False, Fate.UNKNOWN),
            (0, 0, 1, True, Fate.UNKNOWN),
            (1, 0, 0, True, Fate.ALIVE),
            (0, 1, 0, True, Fate.ALIVE),
            (1, 0, 1, False, Fate.ALIVE),
        ],
    )
    def test_what_it_means(
        self, left: int, away: int, is_blind: int, *, channel_closed: bool, fate: Fate
    ) -> None:
        report = ScriptReport(left=left, away=away, is_blind=is_blind == 1)
        assert judge(report, channel_closed=channel_closed) is fate


@pytest.mark.parametrize(
    ("remark", "forces"),
    [
        ("/root/.ssh/authorized_keys:1: key options: agent-forwarding port-forwarding pty user-rc", False),
        ("/root/.ssh/authorized_keys:1: key options: agent-forwarding command port-forwarding", True),
        ("/home/command/keys:1: key options: pty", False),
        ("/root/.ssh/environment", None),
        ("command", None),
        ("", None),
    ],
)
def test_a_server_that_forces_a_command_says_so(remark: str, *, forces: bool | None) -> None:
    assert forces_command(remark) is forces
