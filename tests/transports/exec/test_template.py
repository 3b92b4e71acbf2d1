"""``--exec``: parted once, filled in without a shell, refused with words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.errors import UsageError
from multirsh.transports.exec.template import ExecTemplate

VALUES = {"h": "10.0.0.7", "n": "web1", "u": "app", "p": "22", "c": "echo 'it is' \"$HOME\" %h; exit 3"}


def filled(text: str) -> tuple[bytes, ...]:
    return ExecTemplate.parse(text).filled(VALUES)


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("ssh -n %u@%h -p%p %c", ("ssh", "-n", "app@10.0.0.7", "-p22", VALUES["c"])),
        ("kubectl exec -i %n -- sh -c %c", ("kubectl", "exec", "-i", "web1", "--", "sh", "-c", VALUES["c"])),
        ("'/opt/my tool' --host='%h' \"%c\"", ("/opt/my tool", "--host=10.0.0.7", VALUES["c"])),
        ("run --command=%c", ("run", f"--command={VALUES['c']}")),
        ("x 100%% %%c '' $HOME * # %c", ("x", "100%", "%c", "", "$HOME", "*", "#", VALUES["c"])),
    ],
)
def test_words_are_parted_once_and_filled_in(text: str, argv: tuple[str, ...]) -> None:
    assert filled(text) == tuple(word.encode() for word in argv)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no program"),
        ("''", "names no program"),
        ("sh -c 'x %c", "no closing quotation; close the quote"),
        ("ssh %h", "has no %c, so the command would go nowhere; put %c where"),
        ("ssh %h %%c", "has no %c"),
        ("ssh %x %c", "%x stands for nothing; there are %h the host's address, %n its name"),
        ("ssh %c 100%", "% stands for nothing"),
        ("%c", "there is -R local"),
        ("/opt/%c %c", "there is -R local"),
        ("ssh %h \"sh -c '%c'\"", "in \"sh -c '%c'\" a quote in the command would end those around %c"),
        ("ssh %h 'sh -c \"%c\"'", "a quote in the command"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        ExecTemplate.parse(text)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_command_is_one_argument_as_it_is(command: str) -> None:
    (_, before, argument, after) = ExecTemplate.parse("a b %c d").filled({"c": command})
    assert (before, after) == (b"b", b"d")
    assert argument == command.encode("utf-8", "surrogateescape")


@given(st.binary().filter(lambda data: b"\0" not in data))
def test_bytes_that_are_no_text_come_through(data: bytes) -> None:
    assert ExecTemplate.parse("a %c").filled({"c": data.decode("utf-8", "surrogateescape")}) == (b"a", data)


@pytest.mark.parametrize(
    ("text", "program"),
    [("ssh %c", "ssh"), ("./%h/run %c", None), ("100%% %c", "100%")],
)
def test_the_program_is_known_where_it_is_the_same_for_all(text: str, program: str | None) -> None:
    assert ExecTemplate.parse(text).program == program
