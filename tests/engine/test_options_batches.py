"""Batches and tolerated failures: what is read, how hosts are divided, when it is too much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.engine.options import ALL_AT_ONCE, Batches, MaxFail
from multirsh.engine.schedule.rolling import NO_FAILURE
from multirsh.errors import UsageError
from multirsh.model import Status


@pytest.mark.parametrize(
    ("text", "total", "sizes"),
    [
        ("1,10%,100%", 50, [1, 5, 44]),
        ("1,10%,100%", 1, [1]),
        ("1,10%", 25, [1, *[2] * 12]),
        ("1, 2 ,3", 12, [1, 2, 3, 3, 3]),
        ("100%", 7, [7]),
        ("10%", 3, [1, 1, 1]),
        ("29%", 100, [29, 29, 29, 13]),
        ("0.5%", 1000, [5] * 200),
        ("33.4%", 1000, [334, 334, 332]),
        ("500", 7, [7]),
        ("1", 0, []),
    ],
)
def test_hosts_are_divided(text: str, total: int, sizes: list[int]) -> None:
    assert Batches.parse(text).split(total) == sizes


def test_without_batches_all_hosts_are_one_batch() -> None:
    assert ALL_AT_ONCE.split(30) == [30]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "''"),
        ("1,,2", "''"),
        ("a", "'a'"),
        ("-1", "'-1'"),
        ("1.5", "'1.5'"),
        ("10 %", "'10 %'"),
        ("10%%", "'10%%'"),
        ("1e3", "'1e3'"),
        ("٣", "'٣'"),
        ("1;2", "'1;2'"),
        ("9999999999", "'9999999999'"),
        ("0", "of 0 is none at all"),
        ("1,0%", "of 0% is none at all"),
        ("101%", "of 101% is more than all hosts"),
    ],
)
def test_an_invalid_batch_is_refused_with_a_hint(text: str, word: str) -> None:
    with pytest.raises(UsageError, match="give numbers and shares") as refused:
        Batches.parse(text)
    assert word in str(refused.value)


quantities = st.one_of(
    st.integers(1, 999_999_999).map(str),
    st.integers(1, 100).map(lambda percent: f"{percent}%"),
    st.integers(1, 9999).map(lambda hundredths: f"{hundredths // 100}.{hundredths % 100:02}%"),
)


@given(st.lists(quantities, min_size=1, max_size=6), st.integers(0, 3000))
def test_every_host_is_in_one_batch_and_no_batch_is_empty(sizes: list[str], total: int) -> None:
    split = Batches.parse(",".join(sizes)).split(total)
    assert sum(split) == total
    assert all(size >= 1 for size in split)


@given(st.text("0123456789.%, -x", max_size=12))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        batches = Batches.parse(text)
    except UsageError:
        return
    assert ",".join(map(str, batches.sizes))
    assert sum(batches.split(100)) == 100


@pytest.mark.parametrize(
    ("text", "total", "last_tolerated"),
    [("1", 100, 0), ("3", 100, 2), ("10%", 200, 19), ("10%", 5, 0), ("100%", 5, 4), ("2.5%", 1000, 24)],
)
def test_the_run_continues_until_the_limit_of_failures(text: str, total: int, last_tolerated: int) -> None:
    max_fail = MaxFail.parse(text)
    assert max_fail.tolerates(last_tolerated, total)
    assert not max_fail.tolerates(last_tolerated + 1, total)


def test_fail_fast_is_one() -> None:
    assert MaxFail.parse("1") == MaxFail.parse("1")
    assert MaxFail.parse("1").tolerates(0, 10)
    assert not MaxFail.parse("1").tolerates(1, 10)


@pytest.mark.parametrize("text", ["0", "0%", "none", "", "-1", "120%", "1,2"])
def test_an_invalid_number_of_failures_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError, match="give a number of hosts"):
        MaxFail.parse(text)


def test_only_hosts_that_the_run_cancelled_or_did_not_start_are_no_failures() -> None:
    assert set(Status) - NO_FAILURE == {
        Status.FAILED,
        Status.SIGNALLED,
        Status.TIMEOUT,
        Status.UNREACHABLE,
        Status.AUTH,
        Status.HOSTKEY,
        Status.LOST,
        Status.LOCAL,
    }
