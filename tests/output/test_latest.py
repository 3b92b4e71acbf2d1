"""What came last, below the progress line."""

from __future__ import annotations

import re
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from multirsh.output.batch import Stream
from multirsh.output.latest import HOSTS_TOLD, Latest
from multirsh.output.width import columns

from .events import host_finished, output

ONE: Final[tuple[Stream]] = ("stdout",)


def latest(*outputs: tuple[str, bytes]) -> Latest:
    made = Latest(ONE)
    for host, data in outputs:
        made.feed(output(host, data))
    return made


def test_the_last_line_of_a_chunk() -> None:
    assert latest(("a", b"one\ntwo\n")).lines(80) == ["a: two"]
    assert latest(("a", b"one\ntw")).lines(80) == ["a: tw"]
    assert latest(("a", b"one\r\n\r\n")).lines(80) == ["a: one"]
    assert latest(("a", b"one\n"), ("a", b"\n")).lines(80) == ["a: one"]


def test_a_host_has_one_line_and_the_newest_is_last() -> None:
    assert latest(("a", b"1"), ("b", b"2"), ("a", b"3")).lines(80) == ["b: 2", "a: 3"]


def test_few_hosts_are_told() -> None:
    lines = latest(*((f"h{number}", b"x") for number in range(9))).lines(80)
    assert lines == [f"h{number}: x" for number in range(9 - HOSTS_TOLD, 9)]


def test_who_has_ended_is_no_news() -> None:
    made = latest(("a", b"1"))
    made.feed(host_finished("a"))
    assert made.lines(80) == []


def test_what_is_shown_elsewhere_is_not_shown_here() -> None:
    made = Latest(ONE)
    made.feed(output("a", b"x", stream="stderr"))
    assert made.lines(80) == []


@given(st.binary(max_size=3000), st.integers(min_value=0, max_value=100))
def test_it_fits_and_is_harmless_whatever_comes(data: bytes, width: int) -> None:
    for line in latest(("東京", data)).lines(width):
        assert columns(line) <= width
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", line)
