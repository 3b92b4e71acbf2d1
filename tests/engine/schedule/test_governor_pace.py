"""The start rate: what it reads, and that no window of time sees more than it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.engine.options import AUTO, StartRate
from multirsh.engine.schedule.governor import Pace
from multirsh.errors import UsageError


@pytest.mark.parametrize(("text", "rate"), [("20", 20.0), ("0.5", 0.5), ("auto", None), ("100000", 1e5)])
def test_rates_are_parsed(text: str, rate: float | None) -> None:
    assert StartRate.parse(text).per_second == rate


@pytest.mark.parametrize("text", ["", "0", "0.0", "-1", "1e3", "nan", "inf", "fast", "1/s", ".", "5.x", "٣"])
def test_an_invalid_rate_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError, match="give connections a second"):
        StartRate.parse(text)
    assert StartRate() == AUTO


def test_slow_starts_are_evenly_apart() -> None:
    pace = Pace(2.0)
    began: list[float] = []
    now = 10.0
    for _ in range(4):
        now = max(now, pace.next_at())
        pace.took(now)
        began.append(now)
    assert began == [10.0, 10.5, 11.0, 11.5]


def test_unused_starts_are_not_saved_up() -> None:
    pace = Pace(100.0)
    pace.took(0.0)
    at_once = 0
    while pace.next_at() <= 50.0:
        pace.took(50.0)
        at_once += 1
    assert at_once == pytest.approx(pace.burst, abs=1) == 10


@given(st.floats(0.1, 10_000), st.lists(st.floats(0, 1), max_size=200))
def test_no_window_of_time_sees_more_starts_than_the_rate_and_one_burst(
    rate: float, naps: list[float]
) -> None:
    pace = Pace(rate)
    began: list[float] = []
    now = 0.0
    for nap in naps:
        now += nap / rate
        if pace.next_at() <= now:
            pace.took(now)
            began.append(now)
    for first, start in enumerate(began):
        for last in range(first, len(began)):
            assert last - first + 1 <= rate * (began[last] - start) + pace.burst + 1e-6


@given(st.floats(0.1, 10_000), st.integers(1, 300))
def test_asking_again_at_the_returned_time_gets_the_whole_rate(rate: float, count: int) -> None:
    pace = Pace(rate)
    now = 0.0
    for _ in range(count):
        now = max(now, pace.next_at())
        pace.took(now)
    assert now <= count / rate


def test_a_pace_that_never_moves_is_refused() -> None:
    with pytest.raises(ValueError, match="rate"):
        Pace(0.0)
