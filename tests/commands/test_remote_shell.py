"""The line that every login shell reads alike: run by each of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from multirsh.commands import prepare, remote_shell
from multirsh.commands.command import Command
from multirsh.errors import UsageError
from multirsh.model import Host
from multirsh.sh_text import LONGEST_ARGUMENT, quoted
from tests.commands.shells import LOGIN_SHELLS, at

ANY_TEXT = st.binary(max_size=3000).map(
    lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape")
)


def told_by(shell: str, script: str, folder: Path) -> bytes:
    done = subprocess.run(
        [at(shell, folder), "-c", remote_shell.portable_line(script)], capture_output=True, check=True
    )
    assert done.stderr == b""
    return done.stdout


@pytest.mark.parametrize("shell", LOGIN_SHELLS)
def test_every_byte_comes_through_every_login_shell(shell: str, tmp_path: Path) -> None:
    everything = bytes(range(1, 256)).decode("utf-8", "surrogateescape")
    told = told_by(shell, f"printf %s {quoted(everything * 20)}", tmp_path)
    assert told == bytes(range(1, 256)) * 20


@pytest.mark.parametrize("shell", LOGIN_SHELLS)
def test_it_has_no_parameters_and_a_plain_name(shell: str, tmp_path: Path) -> None:
    assert told_by(shell, 'echo "$#,$0,$*"', tmp_path) == b"0,sh,\n"


@pytest.mark.parametrize("shell", LOGIN_SHELLS)
def test_the_longest_line_is_no_trouble(shell: str, tmp_path: Path) -> None:
    script = "printf %s " + quoted("x" * 130_000)
    assert told_by(shell, script, tmp_path) == b"x" * 130_000


@given(ANY_TEXT)
@example("\n\n\n")
@example("\\")
@example("!'\\'" * 400)
@settings(deadline=None)
def test_any_text_comes_back(text: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", remote_shell.portable_line(f"printf %s {quoted(text)}\n\n")],
        capture_output=True,
        check=True,
    )
    assert done.stdout == text.encode("utf-8", "surrogateescape")


@given(ANY_TEXT)
def test_it_has_nothing_that_shells_read_differently(text: str) -> None:
    line = remote_shell.portable_line(text)
    assert line.isascii()
    assert line.isprintable()
    assert "!" not in line
    assert line.count("\\") == line.count("\\0")
    assert max(map(len, line.split("'"))) <= remote_shell.LONGEST_WORD


def test_what_is_too_long_is_said_before_it_is_sent() -> None:
    with pytest.raises(UsageError, match=r"too long: 13\d,\d{3} bytes") as caught:
        remote_shell.portable_line("x" * 131_000)
    assert "script" in (caught.value.hint or "")


def test_a_plain_command_is_measured_too() -> None:
    hosts = [Host("a")]
    prepare.check(Command("x" * LONGEST_ARGUMENT), hosts)
    with pytest.raises(UsageError, match="too long: 131,072 bytes"):
        prepare.check(Command("x" * (LONGEST_ARGUMENT + 1)), hosts)
    with pytest.raises(UsageError, match="too long"):
        prepare.check(Command("ü" * 70_000), hosts)


def test_a_nul_byte_has_no_place() -> None:
    with pytest.raises(UsageError, match="NUL"):
        remote_shell.portable_line("a\0b")
