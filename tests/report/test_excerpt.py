from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.output.gather.store import Store
from multirsh.report.excerpt import HEAD, TAIL, Excerpt


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store()
    yield made
    made.close()


@given(st.lists(st.integers(0, 20_000), max_size=40))
def test_what_is_short_is_whole_and_of_what_is_long_the_middle_is_gone(sizes: list[int]) -> None:
    store = Store()
    excerpt = Excerpt(store)
    text = b"".join(b"%07d\n" % number for number in range(sum(sizes) // 8 + 1))[: sum(sizes)]
    at = 0
    for size in sizes:
        excerpt.append(text[at : at + size])
        at += size
    head, tail = excerpt.parts()
    assert excerpt.size == len(text)
    assert text.startswith(head)
    assert text.endswith(tail)
    if len(text) <= HEAD + TAIL:
        assert head == text
    elif head != text:
        assert tail
        assert head.endswith(b"\n")
        assert len(head) + len(tail) < len(text)
        assert store.memory <= HEAD + 2 * TAIL


def test_lines_are_not_cut(store: Store) -> None:
    excerpt = Excerpt(store)
    for number in range(100_000):
        excerpt.append(b"line %d\n" % number)
    head, tail = excerpt.parts()
    assert head.splitlines()[-1].startswith(b"line ")
    assert tail.splitlines()[0].startswith(b"line ")
    assert tail.splitlines()[-1] == b"line 99999"
    assert HEAD - 20 < len(head) <= HEAD
    assert TAIL - 20 < len(tail) <= TAIL


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_that_fills_all_of_it_is_cut(store: Store, end: bytes) -> None:
    excerpt = Excerpt(store)
    excerpt.append(b"x" * 1_000_000 + end)
    head, tail = excerpt.parts()
    assert (head, tail) == (b"x" * HEAD, b"x" * (TAIL - len(end)) + end)


def test_what_is_dropped_holds_nothing(store: Store) -> None:
    excerpt = Excerpt(store)
    excerpt.append(b"x" * 1_000_000)
    excerpt.drop()
    assert store.memory == 0
