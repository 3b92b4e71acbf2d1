"""Where bytes may be cut."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.output.utf8 import torn_tail


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
def test_examples(text: bytes, torn: int) -> None:
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
