"""Chunks in, whole lines out."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from multirsh.output.lines import LONGEST_LINE, LineAssembler


def assemble(*chunks: bytes, longest: int = LONGEST_LINE) -> bytes:
    assembler = LineAssembler(longest=longest)
    return b"".join([*(assembler.feed(chunk) for chunk in chunks), assembler.finish()])


def test_a_line_waits_for_its_end() -> None:
    assembler = LineAssembler()
    assert assembler.feed(b"on") == b""
    assert assembler.feed(b"e\ntwo\nth") == b"one\ntwo\n"
    assert assembler.feed(b"ree") == b""
    assert assembler.finish() == b"three\n"
    assert assembler.finish() == b""


def test_a_character_split_between_chunks_is_whole_again() -> None:
    assert assemble(b"gr\xc3", b"\xbcn\n") == "grün\n".encode()


def test_an_overlong_line_is_given_out_in_pieces_while_it_grows() -> None:
    assembler = LineAssembler(longest=4)
    assert assembler.feed(b"abcd") == b""
    assert assembler.feed(b"efghi") == b"abcd\nefgh\n"
    assert assembler.feed(b"\n") == b"i\n"


def test_a_line_of_just_the_longest_length_is_whole() -> None:
    assert assemble(b"abcd\nefgh\n", longest=4) == b"abcd\nefgh\n"


def test_a_piece_does_not_tear_a_character() -> None:
    assert assemble("abcö\n".encode(), longest=4) == "abc\nö\n".encode()


def test_what_is_held_is_bounded() -> None:
    assembler = LineAssembler()
    given_out = sum(len(assembler.feed(b"x" * 65536)) for _ in range(64))
    assert 64 * 65536 - given_out <= LONGEST_LINE


@given(st.binary(), st.lists(st.integers(min_value=0, max_value=64)), st.integers(min_value=4, max_value=12))
def test_how_the_stream_was_cut_makes_no_difference(stream: bytes, cuts: list[int], longest: int) -> None:
    places = sorted({0, *(cut % (len(stream) + 1) for cut in cuts), len(stream)})
    chunks = [stream[start:end] for start, end in pairwise(places)]
    assert assemble(*chunks, longest=longest) == assemble(stream, longest=longest)


@given(st.lists(st.binary(max_size=20)))
def test_short_lines_are_exact_but_for_a_missing_last_line_feed(chunks: list[bytes]) -> None:
    stream = b"".join(chunks)
    missing = b"" if not stream or stream.endswith(b"\n") else b"\n"
    assert assemble(*chunks) == stream + missing


@given(st.binary(), st.integers(min_value=4, max_value=12))
def test_pieces_only_add_line_feeds(stream: bytes, longest: int) -> None:
    lines = assemble(stream, longest=longest)
    assert lines.replace(b"\n", b"") == stream.replace(b"\n", b"")
    assert all(len(line) <= longest for line in lines.split(b"\n"))
