"""The bytes of the rcmd protocol."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.transports.rsh.rcmd import (
    LONGEST_REFUSAL,
    NameTooLong,
    Reply,
    ReplyKind,
    ReplyParser,
    check_name,
    request_command,
    request_stderr,
)


def parsed(pieces: list[bytes]) -> Reply | None:
    """What the server's bytes come to, and what came after the reply with it."""
    parser = ReplyParser()
    for number, piece in enumerate(pieces):
        reply = parser.feed(piece)
        if reply is not None:
            rest = reply.rest + b"".join(pieces[number + 1 :]) if reply.answer is ReplyKind.ACCEPTED else b""
            return Reply(reply.answer, reply.text, rest)
    return parser.end()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def test_the_request_is_three_names_and_a_port() -> None:
    assert request_stderr(1022) == b"1022\0"
    assert request_stderr(None) == b"\0"
    assert request_command(b"me", b"you", b"date; ls") == b"me\0you\0date; ls\0"


@pytest.mark.parametrize("name", [b"", b"a\0b"])
def test_a_name_that_is_none_is_refused(name: bytes) -> None:
    with pytest.raises(ValueError, match="cannot be empty"):
        check_name(name)


def test_a_name_of_more_than_16_bytes_is_refused() -> None:
    check_name(b"x" * 16)
    with pytest.raises(NameTooLong, match="16 bytes"):
        request_command(b"me", b"x" * 17, b"date")


def test_a_command_with_a_nul_would_end_early_and_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        request_command(b"me", b"you", b"date\0")


@pytest.mark.parametrize(
    ("sent", "reply"),
    [
        (b"\0hello", Reply(ReplyKind.ACCEPTED, rest=b"hello")),
        (b"\1Permission denied.\n", Reply(ReplyKind.REFUSED, b"Permission denied.")),
        (b"\1no line feed", Reply(ReplyKind.REFUSED, b"no line feed")),
        (b"\1\n", Reply(ReplyKind.REFUSED)),
        (b"HTTP/1.1 400 Bad Request\r\n", Reply(ReplyKind.NOT_RSH, b"HTTP/1.1 400 Bad Request\r\n")),
        (b"", None),
    ],
)
def test_replies(sent: bytes, reply: Reply | None) -> None:
    assert parsed([sent]) == reply


def test_ten_megabytes_of_refusal_are_neither_kept_nor_waited_for() -> None:
    parser = ReplyParser()
    assert parser.feed(b"\1") is None
    reply = parser.feed(b"x" * 10_000_000)
    assert reply == Reply(ReplyKind.REFUSED, b"x" * LONGEST_REFUSAL)


@given(
    st.sampled_from([b"\0", b"\1", b"\2", b"H"]),
    st.binary(max_size=40) | st.just(b"x" * (LONGEST_REFUSAL + 9)),
    st.lists(st.integers(0, 5000), max_size=6),
)
def test_pieces_do_not_matter(first: bytes, more: bytes, places: list[int]) -> None:
    whole = parsed([first + more])
    in_pieces = parsed(cut(first + more, places))
    assert whole is not None
    assert in_pieces is not None
    if whole.answer is ReplyKind.NOT_RSH:  # as much as was there when it was clear
        assert in_pieces.answer is ReplyKind.NOT_RSH
        assert whole.text.startswith(in_pieces.text)
    else:
        assert in_pieces == whole
