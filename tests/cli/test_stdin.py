"""``-I``: what the commands read."""

from __future__ import annotations

from collections.abc import Sequence

import click
import pytest

from multirsh.cli.options import STDIN_OPTION
from multirsh.cli.run import run
from multirsh.cli.stdin import with_its_file
from tests.cli.program import Program

ONE = ("-f", "hosts.yaml", "-w", "h01", "-N")


@pytest.mark.parametrize(
    ("args", "settled"),
    [
        (["-I", "cat"], ["--stdin=-", "cat"]),
        (
            ["-I", "here"],
            ["--stdin=-", "here"],
        ),  # the command, though there is such a file: else there is none
        (["-I", "here", "cat"], ["--stdin=here", "cat"]),
        (["-I", "-", "cat"], ["--stdin=-", "cat"]),
        (["-I", "nowhere", "cat"], ["--stdin=-", "nowhere", "cat"]),
        (["-Inowhere", "cat"], ["-Inowhere", "cat"]),
        (["--stdin", "here", "cat", "-I", "here", "x"], ["--stdin=here", "cat", "-I", "here", "x"]),
        (["--stdin=here", "cat"], ["--stdin=here", "cat"]),
        (["-SI", "here", "cat"], ["-S", "--stdin=here", "cat"]),
        (["-w", "-I", "here", "cat"], ["-w", "-I", "here", "cat"]),
        (["-Nw", "-I", "-I", "cat"], ["-Nw", "-I", "--stdin=-", "cat"]),
        (["-I", "-w", "a", "cat"], ["--stdin=-", "-w", "a", "cat"]),
        (["-I", "--", "here", "cat"], ["--stdin=-", "--", "here", "cat"]),
        (["--", "-I", "here", "cat"], ["--", "-I", "here", "cat"]),
        (["-I"], ["--stdin=-"]),
        ([], []),
    ],
)
def test_whose_word_it_is(
    args: Sequence[str], settled: Sequence[str], multirsh: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    multirsh.write("here", "")
    monkeypatch.chdir(multirsh.home)
    assert isinstance(run, click.Command)
    assert with_its_file(args, run) == settled
    assert STDIN_OPTION is not None


def test_a_pipe_a_file_and_nothing(on_sshd: Program) -> None:
    on_sshd.write("input", "from the file\n")
    assert on_sshd(*ONE, "-I", "cat", stdin=b"piped\0\n").out == "piped\0\n"
    assert on_sshd(*ONE, "-I", "input", "cat", "-n", stdin=b"piped").out == "     1\tfrom the file\n"
    assert on_sshd(*ONE, "cat; echo end", stdin=b"piped").out == "end\n"


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (("-Inowhere", "cat"), "-I nowhere: No such file or directory; give a file that can be read"),
        (("-I.", "cat"), "-I .: it is a folder; give a file that can be read"),
        (
            ("-f", "-", "-I", "cat"),
            (
                "standard input is read by -f - and cannot be sent to the hosts, too; "
                "name a file for one of them"
            ),
        ),
    ],
)
def test_what_cannot_be_read_is_told_before_anything_connects(
    on_sshd: Program, args: Sequence[str], complaint: str
) -> None:
    ended = on_sshd("-f", "hosts.yaml", *args, stdin=b"h21\n")
    assert (ended.code, ended.out, ended.err) == (2, "", f"multirsh: {complaint}\n")
