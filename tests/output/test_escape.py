"""What a terminal may be shown."""

from __future__ import annotations

import codecs
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.output.escape import escape_lines, escape_text, torn_tail

BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
MARKS = "\u200e\u200f\u061c"


def has_power(char: str) -> bool:
    return (
        unicodedata.category(char) in {"Cc", "Cs"} or unicodedata.bidirectional(char) in BIDI or char in MARKS
    )


def hostile_bytes() -> st.SearchStrategy[bytes]:
    pieces = st.sampled_from(
        [
            b"\x1b]52;c;cm0gLXJm\x07",
            b"\x1b[2J",
            b"\x9b31m",
            "\u009b31m".encode(),
            "\u202e".encode(),
            b"\r",
            b"\r\n",
            b"\n",
            b"\xed\xa0\x80",
            "grün".encode(),
        ]
    )
    return st.lists(st.one_of(pieces, st.binary(max_size=6), st.text(max_size=6).map(str.encode))).map(
        b"".join
    )


@pytest.mark.parametrize(
    ("remote", "shown"),
    [
        (b"plain\tline\n", b"plain\tline\n"),
        (b"\x1b[2J\x1b]52;c;eA==\x07\n", rb"\x1b[2J\x1b]52;c;eA==\x07" + b"\n"),
        (b"dos\r\nline\r\n", b"dos\nline\n"),
        (b"10%\r20%\n", rb"10%\x0d20%" + b"\n"),
        (b"\x9bA \xff \xed\xa0\x80\n", rb"\x9bA \xff \xed\xa0\x80" + b"\n"),
        ("\u009bA \u0085\n".encode(), rb"\u009bA \u0085" + b"\n"),
        ("a\u202eb\u2066c\u200f\u061c\n".encode(), rb"a\u202eb\u2066c\u200f\u061c" + b"\n"),
        (b"\x00\x07\x08\x0b\x0c\x7f\n", rb"\x00\x07\x08\x0b\x0c\x7f" + b"\n"),
        ("größer 日本 👩\u200d💻\n".encode(), "größer 日本 👩\u200d💻\n".encode()),
        (rb"C:\x1b [/bold] \u202e" + b"\n", rb"C:\x1b [/bold] \u202e" + b"\n"),
        (b"", b""),
    ],
)
def test_what_is_shown_of_remote_bytes(remote: bytes, shown: bytes) -> None:
    assert escape_lines(remote) == shown


@given(hostile_bytes())
def test_nothing_with_power_over_a_terminal_is_left(remote: bytes) -> None:
    shown = escape_lines(remote).decode()
    assert not [char for char in shown if has_power(char) and char not in "\t\n"]


@given(hostile_bytes())
def test_lines_stay_lines_and_escaping_again_changes_nothing(remote: bytes) -> None:
    shown = escape_lines(remote)
    assert shown.count(b"\n") == remote.count(b"\n")
    assert escape_lines(shown) == shown


@given(st.text())
def test_clean_text_is_unchanged(text: str) -> None:
    clean = "".join(char for char in text if not has_power(char) or char in "\t\n").encode()
    assert escape_lines(clean) == clean


@given(st.text(st.characters(exclude_categories=()), max_size=20))
def test_text_becomes_one_line_that_can_be_encoded(text: str) -> None:
    shown = escape_text(text)
    shown.encode()
    assert not [char for char in shown if has_power(char) and char != "\t"]


def test_a_byte_smuggled_into_a_name_is_shown_as_that_byte() -> None:
    assert escape_text("db\udcff\ud800\n") == r"db\xff\ud800\x0a"


@pytest.mark.parametrize(
    ("text", "torn"),
    [
        (b"", 0),
        (b"abc", 0),
        ("ö".encode(), 0),
        (b"a\xc3", 1),
        (b"a\xe2\x82", 2),
        (b"a\xf0\x9f\x98", 3),
        ("😀".encode(), 0),
        (b"\xff", 0),
        (b"\x80\x80\x80\x80", 0),
        (b"\xe2\xc0", 0),
        (b"\xf5", 0),  # beyond U+10FFFF
    ],
)
def test_bytes_that_begin_a_character_are_counted(text: bytes, torn: int) -> None:
    assert torn_tail(text) == torn


@given(st.text(), st.integers(min_value=0))
def test_text_cut_anywhere_is_text_before_the_torn_tail(text: str, cut: int) -> None:
    part = text.encode()[: cut % (len(text.encode()) + 1)]
    torn = torn_tail(part)
    part[: len(part) - torn].decode()


@given(st.binary(max_size=8))
def test_agrees_with_the_decoder_of_the_standard_library(text: bytes) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    decoder.decode(text)
    waiting, _ = decoder.getstate()
    assert torn_tail(text) == len(waiting)
