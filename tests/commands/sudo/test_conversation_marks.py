"""Words are found wherever the stream is cut, and nothing else is lost or held for long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from multirsh.commands.sudo.conversation import MarkScanner

WORDS = (b"aab", b"abab", b"c")


def through(scanner: MarkScanner, chunks: list[bytes]) -> tuple[list[bytes], bytes]:
    """The words that are found, and the text around them."""
    found, text = [], b""
    for chunk in chunks:
        for piece in scanner.pieces(chunk):
            text += piece.text
            if piece.mark is not None:
                found.append(piece.mark)
                text += b"|"
    return found, text + scanner.rest()


@given(st.lists(st.text(alphabet="abcx", max_size=7).map(str.encode)))
def test_cuts_do_not_matter(chunks: list[bytes]) -> None:
    cut = through(MarkScanner(*WORDS), chunks)
    whole = through(MarkScanner(*WORDS), [b"".join(chunks)])

    assert cut == whole
    rebuilt = whole[1].split(b"|")
    assert b"".join(text + word for text, word in zip(rebuilt, [*whole[0], b""], strict=True)) == b"".join(
        chunks
    )
    assert not any(word in text for word in WORDS for text in rebuilt)


@given(st.text(alphabet="abcx", max_size=20).map(str.encode))
def test_only_what_may_be_a_beginning_is_held(data: bytes) -> None:
    scanner = MarkScanner(*WORDS)
    list(scanner.pieces(data))

    held = scanner.rest()

    assert held == b"" or any(word.startswith(held) and word != held for word in WORDS)


def test_words_may_change_on_the_way() -> None:
    scanner = MarkScanner(b"first")
    seen = []
    for piece in scanner.pieces(b"a first b first c second d"):
        seen.append(piece)
        if piece.mark == b"first":
            scanner.look_for(b"second")
    assert seen == [(b"a ", b"first"), (b" b first c ", b"second"), (b" d", None)]


def test_no_words_hold_nothing() -> None:
    scanner = MarkScanner()
    assert [piece.text for piece in scanner.pieces(b"anything")] == [b"anything"]
    assert scanner.rest() == b""
