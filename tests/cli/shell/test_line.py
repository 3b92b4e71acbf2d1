"""The grammar of lines: parsing and completion."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.cli.shell.line import (
    MOST_CANDIDATES,
    DotCommand,
    DotName,
    LocalCommand,
    ParsedLine,
    RemoteCommand,
    SelectionChange,
    SelectionOperator,
    Vocabulary,
    completions,
    parse,
)
from multirsh.errors import UsageError


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("uptime", RemoteCommand("uptime")),
        ("ls -l  |  wc", RemoteCommand("ls -l  |  wc")),
        ("./run.sh now", RemoteCommand("./run.sh now")),
        (". /etc/profile; env", RemoteCommand(". /etc/profile; env")),
        (".venv/bin/python -V", RemoteCommand(".venv/bin/python -V")),
        ("...", RemoteCommand("...")),
        (" .quit", RemoteCommand(".quit")),
        ("\t!x", RemoteCommand("!x")),
        ("quit now", RemoteCommand("quit now")),
        ("?x", RemoteCommand("?x")),
        ("!ls -l", LocalCommand("ls -l")),
        ("! ls", LocalCommand("ls")),
        ("@web[1-3]", SelectionChange(SelectionOperator.SET, "web[1-3]")),
        ("@@web", SelectionChange(SelectionOperator.SET, "@web")),
        ("@", SelectionChange(SelectionOperator.SET, "")),
        (".select web*!web1", SelectionChange(SelectionOperator.SET, "web*!web1")),
        (".all", SelectionChange(SelectionOperator.SET, "")),
        ("+db1", SelectionChange(SelectionOperator.ADD, "db1")),
        ("- db1,db2", SelectionChange(SelectionOperator.REMOVE, "db1,db2")),
        ("?", DotCommand(DotName.HOSTS)),
        ("=", DotCommand(DotName.MODE, "=")),
        ("=diff", DotCommand(DotName.MODE, "diff")),
        (".mode  diff ", DotCommand(DotName.MODE, "diff")),
        (".mode", DotCommand(DotName.MODE)),
        (".status", DotCommand(DotName.STATUS)),
        (".reconnect @web", DotCommand(DotName.RECONNECT, "@web")),
        ("quit", DotCommand(DotName.QUIT)),
        ("exit ", DotCommand(DotName.QUIT)),
        ("", None),
        ("   ", None),
        ("# uptime", None),
    ],
)
def test_parse(text: str, line: ParsedLine | None) -> None:
    assert parse(text) == line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (".statsu", "did you mean .status"),
        (".nothing", ".help lists them"),
        (".status all", "takes no argument"),
        ("!", "no command after the !"),
        ("!echo a\0b", "cannot hold a NUL byte"),
        ("+", "no hosts after the +"),
        ("- ", "no hosts after the -"),
    ],
)
def test_a_line_with_an_error_is_not_run_on_the_hosts(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        parse(text)


@given(st.text(alphabet=st.characters(exclude_characters="\n")))
def test_what_follows_a_blank_is_run_on_the_hosts_unchanged(text: str) -> None:
    line = parse(f" {text}")
    stripped = text.strip()
    assert line == (RemoteCommand(stripped) if stripped and not stripped.startswith("#") else None)


VOCABULARY = Vocabulary(("web1", "web2", "db1"), ("web", "prod"))
HISTORY = ["uptime", "uname -a", " secret", "!ls", "uptime -p", "./x"]


@pytest.mark.parametrize(
    ("before", "part", "found"),
    [
        ("u", "u", "uptime uname"),
        ("uname -", "uname -", ""),
        ("", "", "uptime uname secret"),
        (".st", ".st", ".status"),
        ("@w", "w", "web1 web2"),
        ("@", "", "@web @prod web1 web2 db1"),
        ("@@", "@", "@web @prod"),
        ("@@p", "@p", "@prod"),
        ("+web1,d", "d", "db1"),
        ("-web*!web", "web", "web1 web2"),
        (".select db", "db", "db1"),
        (".reconnect @w", "@w", "@web"),
        ("=g", "g", "gather gather-all"),
        (".mode d", "d", "diff"),
    ],
)
def test_candidates(before: str, part: str, found: str) -> None:
    assert completions(before, VOCABULARY, HISTORY) == (part, found.split())


def test_a_large_fleet_is_not_listed_in_full() -> None:
    many = Vocabulary(tuple(f"n{number}" for number in range(100_000)), ("all",))
    part, found = completions("@", many, [])
    assert (part, found[0], len(found)) == ("", "@all", MOST_CANDIDATES)
