"""The first word that is not an option decides which subcommand is meant; options before it are its own."""

from __future__ import annotations

from collections.abc import Sequence

import click
import pytest

from multirsh.cli.main import group
from multirsh.cli.syntax import SUBCOMMANDS, with_subcommand_first
from multirsh.errors import UsageError, is_one_edit_away
from tests.program import Program


def load(name: str) -> click.Command:
    assert isinstance(group, click.Group)
    command = group.get_command(click.Context(group), name)
    assert command is not None
    return command


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("uptime", "run uptime"),
        ("push a /tmp", "push a /tmp"),
        ("-f f uptime -s push", "run -f f uptime -s push"),
        ("-f f push a /tmp", "push -f f a /tmp"),
        ("-f f push -r a /tmp", "push -f f -r a /tmp"),
        ("-f f -r push a /tmp", "push -f f -r a /tmp"),
        ("-qf f --links keep push a /tmp", "push -qf f --links keep a /tmp"),
        ("-ff script FILE -x", "script -ff FILE -x"),
        ("--file=f script FILE", "script --file=f FILE"),
        ("--shell sh -f f script FILE", "script --shell sh -f f FILE"),
        ("-f f lab", "lab -f f"),
        ("--json hosts", "hosts --json"),
        ("--json runs show last", "runs --json show last"),
        ("--watch ports 80", "ports --watch=2 80"),
        ("--watch 5 ports", "ports --watch 5"),
        ("-f f run push a /tmp", "run -f f push a /tmp"),
        ("-f f run -l root push", "run -f f -l root push"),
        ("-f f -- push a /tmp", "run -f f -- push a /tmp"),
        ("-- push", "run -- push"),
        ("run hosts", "run hosts"),
        ("-w push uptime", "run -w push uptime"),
        ("-w a,push push a b", "push -w a,push a b"),
        ("-f f echo push", "run -f f echo push"),
        ("-f", "run -f"),
        ("-f push", "run -f push"),
        ("--bogus push a", "push --bogus a"),
        ("-p 22 -w a uptime", "run -p 22 -w a uptime"),
        ("- push", "run - push"),
        ("-w a -p -r push a b", "push -w a -p -r a b"),
        ("-f f --sudo script x", "script -f f --sudo x"),
        ("--sudo=root -f f script x", "script --sudo=root -f f x"),
        ("--sudo uptime", "run --sudo uptime"),
        ("--rerun failed last push a b", "push --rerun failed last a b"),
        ("--rerun=failed 20261121 push a b", "push --rerun=failed 20261121 a b"),
        ("--rerun failed push a b", "push --rerun failed a b"),
    ],
)
def test_how_words_are_read(line: str, read: str) -> None:
    assert with_subcommand_first(line.split(), load) == read.split()


@pytest.mark.parametrize("line", ["-p 22 push a /tmp", "-p push a /tmp", "-n 5 runs", "-n runs"])
def test_two_readings_are_an_error(line: str) -> None:
    """``-p`` is a port of run and a switch of push; ``-n`` a switch of run and a number of runs."""
    with pytest.raises(UsageError, match=r"it is not clear whether (push|runs) is the subcommand"):
        with_subcommand_first(line.split(), load)


@pytest.mark.parametrize("name", [name for name in SUBCOMMANDS if name != "run"])
@pytest.mark.parametrize("before", [("-w", "a"), ("-f", "hosts", "-q"), ("--file=hosts",)])
def test_each_subcommand_may_stand_after_its_options(name: str, before: Sequence[str]) -> None:
    assert with_subcommand_first([*before, name, "x"], load) == [name, *before, "x"]
    for marked in (["run", *before, name], [*before, "run", name], [*before, "--", name]):
        assert with_subcommand_first(marked, load)[0] == "run"


def test_a_push_after_its_options_is_a_push(multirsh: Program) -> None:
    """It ran ``push x /tmp`` on every host."""
    multirsh.write("hosts", "a\nb\n")
    multirsh.write("x", "content")
    there = multirsh.home / "there"
    assert multirsh("-f", "hosts", "-R", "local", "-w", "a", "push", "x", there).code == 0
    assert there.read_text() == "content"


def test_a_script_after_its_options_leaves_its_file_alone(multirsh: Program) -> None:
    """It ran script(1) on every host, which writes its typescript over FILE."""
    script = multirsh.write("job", "echo ran\n")
    multirsh.write("hosts", "a\n")
    ended = multirsh("-f", "hosts", "-R", "local", "-qN", "script", "job")
    assert (ended.out, ended.err, ended.code) == ("ran\n", "", 0)
    assert script.read_text() == "echo ran\n"


def test_an_option_that_the_subcommand_does_not_take_is_an_error(multirsh: Program) -> None:
    ended = multirsh("-f", "hosts", "-b", "push", "x", "/tmp")
    assert (ended.code, ended.err) == (2, "multirsh: there is no option -b; see multirsh push --help\n")


@pytest.mark.parametrize("word", ["psuh", "pus", "pushh", "pust", "ush"])
def test_a_subcommand_that_is_mistyped_is_named_where_no_hosts_are(multirsh: Program, word: str) -> None:
    for args in ((word, "x", "/tmp"), ("-q", word, "x", "/tmp")):
        ended = multirsh(*args)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err == (
            "multirsh: no hosts are named; did you mean multirsh push? For a remote command, "
            "give a hosts file (-f hosts.yaml) or names (-w web1,web2)\n"
        )


@pytest.mark.parametrize(
    ("word", "is_near"),
    [
        ("push", False),
        ("psuh", True),
        ("upsh", True),
        ("pus", True),
        ("push1", True),
        ("xpush", True),
        ("posh", True),
        ("pu", False),
        ("hsup", False),
        ("pull", False),
        ("pashx", False),
        ("", False),
    ],
)
def test_one_edit(word: str, *, is_near: bool) -> None:
    assert is_one_edit_away(word, "push") is is_near
    assert is_one_edit_away("push", word) is is_near
