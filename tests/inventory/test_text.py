from __future__ import annotations

import pytest

from multirsh.errors import InventoryError
from multirsh.inventory.text import decode
from tests.inventory.reading import place


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"a\r\nb\rc\n", "a\nb\nc\n"), (b"\xef\xbb\xbfa", "a"), ("\u00e9\t\u20ac".encode(), "\u00e9\t\u20ac")],
)
def test_bytes_become_text(data: bytes, text: str) -> None:
    assert decode(data, "h") == text


@pytest.mark.parametrize(
    ("data", "where", "message"),
    [
        (b"a\nb\x00c", (2, 2), "NUL"),
        (b"a\r\nb\r\nc\x1b[31m", (3, 2), "U+001B"),
        (b"a\n\xc2\x85", (2, 1), "U+0085"),
        ("a\u2028b".encode(), (1, 2), "U+2028"),
        ("a\n\ufeffb".encode(), (2, 1), "U+FEFF"),
        (b"a\nb\xe9c", (2, 2), "byte 0xe9 is not UTF-8"),
        ("\u00e9\n\u00e9".encode() + b"\xff", (2, 2), "byte 0xff is not UTF-8"),
        ("hosts: [a]".encode("utf-16"), (1, 1), "UTF-16"),
    ],
)
def test_other_bytes_are_refused_with_their_place(data: bytes, where: tuple[int, int], message: str) -> None:
    with pytest.raises(InventoryError) as caught:
        decode(data, "h")
    assert message in caught.value.message
    assert place(caught.value) == where


def test_latin_1_after_50_000_lines_is_named_by_its_line() -> None:
    with pytest.raises(InventoryError) as caught:
        decode(b"host\r\n" * 50_000 + b"caf\xe9\r\n", "h")
    assert place(caught.value) == (50_001, 4)
