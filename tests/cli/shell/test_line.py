"""What a line means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.cli.shell.line import Change, Choice, Command, Here, Line, Order, Word, parse
from multirsh.errors import UsageError


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("uptime", Command("uptime")),
        ("ls -l  |  wc", Command("ls -l  |  wc")),
        ("./run.sh now", Command("./run.sh now")),
        (". /etc/profile; env", Command(". /etc/profile; env")),
        (".venv/bin/python -V", Command(".venv/bin/python -V")),
        ("...", Command("...")),
        (" .quit", Command(".quit")),
        ("\t!x", Command("!x")),
        ("quit now", Command("quit now")),
        ("?x", Command("?x")),
        ("!ls -l", Here("ls -l")),
        ("! ls", Here("ls")),
        ("@web[1-3]", Choice(Change.SET, "web[1-3]")),
        ("@@web", Choice(Change.SET, "@web")),
        ("@", Choice(Change.SET, "")),
        (".select web*!web1", Choice(Change.SET, "web*!web1")),
        (".all", Choice(Change.SET, "")),
        ("+db1", Choice(Change.ADD, "db1")),
        ("- db1,db2", Choice(Change.DROP, "db1,db2")),
        ("?", Order(Word.HOSTS)),
        ("=", Order(Word.MODE, "=")),
        ("=diff", Order(Word.MODE, "diff")),
        (".mode  diff ", Order(Word.MODE, "diff")),
        (".mode", Order(Word.MODE)),
        (".status", Order(Word.STATUS)),
        (".reconnect @web", Order(Word.RECONNECT, "@web")),
        ("quit", Order(Word.QUIT)),
        ("exit ", Order(Word.QUIT)),
        ("", None),
        ("   ", None),
        ("# uptime", None),
    ],
)
def test_lines(text: str, line: Line | None) -> None:
    assert parse(text) == line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (".statsu", "did you mean status"),
        (".nothing", ".help lists them"),
        (".status all", "stands alone"),
        ("!", "no command after the !"),
        ("!echo a\0b", "cannot hold a NUL byte"),
        ("+", "no hosts after the +"),
        ("- ", "no hosts after the -"),
    ],
)
def test_what_cannot_be_meant_is_said_and_nothing_goes_to_the_hosts(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("+", r"\+")):
        parse(text)


@given(st.text(alphabet=st.characters(exclude_characters="\n")))
def test_what_follows_a_blank_goes_to_the_hosts_as_it_is(text: str) -> None:
    line = parse(f" {text}")
    stripped = text.strip()
    assert line == (Command(stripped) if stripped and not stripped.startswith("#") else None)
