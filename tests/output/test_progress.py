"""What the progress line says."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from multirsh.model import Status
from multirsh.output.progress import RunProgress
from multirsh.waits import Awaited, Wait, Waits

from .events import host_finished, host_started, run_started


def progress(*, total: int, started: int, ended: dict[Status, int], began: float = 100.0) -> RunProgress:
    hosts = [f"web{number}" for number in range(total)]
    state = RunProgress(began=began)
    state.feed(run_started(*hosts))
    for host in hosts[:started]:
        state.feed(host_started(host))
    statuses = [status for status, count in ended.items() for _ in range(count)]
    for host, status in zip(hosts, statuses, strict=False):
        state.feed(host_finished(host, status))
    return state


MIDWAY = {"total": 500, "started": 312 + 64}
ENDED = {Status.OK: 305, Status.FAILED: 4, Status.TIMEOUT: 3}


def test_midway() -> None:
    line = progress(**MIDWAY, ended=ENDED).render(100, 107.8)
    assert line == "[=======>    ]  312/500  305 ok  4 failed  3 timeout  64 in flight  0:05 left  40/s"


def test_what_matters_least_goes_first_as_the_window_narrows() -> None:
    state = progress(**MIDWAY, ended=ENDED)
    lines = {width: state.render(width, 107.8) for width in (79, 60, 40, 32, 27, 10, 5)}
    assert lines == {
        79: "312/500  305 ok  4 failed  3 timeout  64 in flight  0:05 left  40/s",
        60: "312/500  305 ok  4 failed  3 timeout  0:05 left  40/s",
        40: "312/500  305 ok  4 failed  3 timeout",
        32: "312/500  4 failed  3 timeout",
        27: "312/500  305 ok  7 not ok",
        10: "312/500",
        5: "",
    }


def test_with_nothing_left_to_start_it_names_the_host_that_it_waits_for() -> None:
    state = progress(total=4, started=4, ended={Status.OK: 2})
    assert state.render(79, 142.0) == "2/4  2 ok  waiting for web2 and 1 more  0:42"


def test_the_name_waited_for_is_worth_more_than_the_kinds_of_trouble() -> None:
    ended = {Status.OK: 264, Status.FAILED: 16, Status.TIMEOUT: 5, Status.UNREACHABLE: 13}
    state = progress(total=300, started=300, ended=ended)
    assert state.render(60, 108.0) == "298/300  264 ok  34 not ok  waiting for web298 and 1 more"
    assert "16 failed  5 timeout  13 unreachable  waiting for web298" in state.render(79, 108.0)


def test_the_last_host() -> None:
    state = progress(total=4, started=4, ended={Status.OK: 3})
    assert "waiting for web3  " in state.render(79, 142.0)


def test_a_bar_that_is_full() -> None:
    assert (
        progress(total=4, started=4, ended={Status.OK: 4})
        .render(120, 142.0)
        .startswith("[============]  4/4")
    )


def test_before_any_host_is_done_there_is_no_estimate() -> None:
    state = progress(total=500, started=64, ended={})
    assert state.render(79, 103.0) == "0/500  64 in flight  0:03"


def test_the_rate_of_slow_runs_is_by_the_minute() -> None:
    state = progress(total=500, started=65, ended={Status.OK: 1})
    assert state.render(79, 130.0).endswith("4:09:30 left  2/min")


def test_a_retry_keeps_its_place_and_is_one_host() -> None:
    state = RunProgress(began=0)
    state.feed(run_started("a", "b"))
    for event in (host_started("a"), host_started("b"), host_started("a", attempt=2)):
        state.feed(event)
    assert "waiting for a and 1 more" in state.render(79, 1.0)


def test_a_host_that_was_never_started_can_finish() -> None:
    state = RunProgress(began=0)
    state.feed(run_started("a"))
    state.feed(host_finished("a", Status.NOT_RUN))
    assert state.render(79, 0.0) == "1/1  1 not run  0 in flight  0:00"


def test_color_does_not_count_as_width() -> None:
    state = progress(**MIDWAY, ended=ENDED)
    colored = state.render(79, 107.8, color=True)
    assert "\x1b[32m305 ok\x1b[0m" in colored
    assert re.sub(r"\x1b\[\d*m", "", colored) == state.render(79, 107.8)


def test_a_hostile_name_is_escaped() -> None:
    state = RunProgress(began=0)
    state.feed(run_started("\x1b[2J"))
    state.feed(host_started("\x1b[2J"))
    assert r"waiting for \x1b[2J" in state.render(79, 0.0)


@given(
    width=st.integers(min_value=0, max_value=200),
    total=st.integers(min_value=0, max_value=30),
    ended=st.dictionaries(st.sampled_from(list(Status)), st.integers(min_value=0, max_value=5)),
    in_flight=st.integers(min_value=0, max_value=10),
    now=st.floats(min_value=0, max_value=1e7),
)
def test_it_never_exceeds_the_width(
    width: int, total: int, ended: dict[Status, int], in_flight: int, now: float
) -> None:
    done = sum(ended.values())
    state = progress(total=total, started=done + in_flight, ended=ended)
    assert len(state.render(width, now)) <= width


def test_wide_characters_count_twice() -> None:
    state = RunProgress(began=0)
    state.feed(run_started("東京"))
    state.feed(host_started("東京"))
    full = "0/1  waiting for 東京"
    assert state.render(len(full) + 2, 0.0) == full
    assert state.render(len(full) + 1, 0.0) == "0/1  0:00"


def test_the_status_names_those_that_have_been_in_flight_longest() -> None:
    state = RunProgress(began=0.0)
    names = [f"h{number}" for number in range(1, 11)]
    state.feed(run_started(*names))
    for second, name in enumerate(names[:8]):
        state.feed(host_started(name, t=second))
    state.feed(host_finished("h1"))
    state.feed(host_started("h2", attempt=2, t=8))  # it keeps its place
    assert state.status(60.0) == [
        "1/10, 1 ok, 7 in flight, 2 to start, 1:00",
        "longest in flight: h2 0:59, h3 0:58, h4 0:57, h5 0:56, h6 0:55",
    ]
    assert state.status(60.0, starts_more=False)[0] == "1/10, 1 ok, 7 in flight, no more to start, 1:00"


class TestDetails:
    def test_who_has_been_in_flight_for_long_and_who_was_the_last_not_to_end_well(self) -> None:
        state = RunProgress(began=0.0)
        state.feed(run_started(*"abcdefgh"))
        state.feed(host_started("a", t=0.0))
        state.feed(host_started("b", t=3.0))
        state.feed(host_started("c", t=9.0))
        assert state.details(80, 4.0) == []
        assert state.details(80, 8.0) == ["longest: a 0:08, b 0:05"]
        state.feed(host_finished("a", Status.FAILED, exit_status=3))
        state.feed(host_finished("b", Status.SIGNALLED, signal="KILL"))
        state.feed(host_finished("d", Status.OK, exit_status=0))
        state.feed(host_finished("e", Status.NOT_RUN))
        assert state.details(80, 9.0) == ["not ok: b KILL, a exit 3"]

    def test_only_whole_names_that_fit(self) -> None:
        state = RunProgress(began=0.0)
        state.feed(run_started("abc", "x"))
        state.feed(host_started("abc", t=0.0))
        state.feed(host_started("x", t=0.0))
        assert state.details(23, 5.0) == ["longest: abc 0:05"]
        assert state.details(12, 5.0) == []

    def test_the_last_few_only(self) -> None:
        state = RunProgress(began=0.0)
        for number in range(9):
            state.feed(host_finished(f"h{number}", Status.TIMEOUT))
        assert state.details(80, 0.0) == ["not ok: " + ", ".join(f"h{n} timeout" for n in (8, 7, 6, 5, 4))]


class TestWaits:
    WAITS = Waits(
        waits=(
            Wait(Awaited.GATE),
            Wait(Awaited.PORT, 12, 142.0),
            Wait(Awaited.RETRY, 1, 103.2),
            Wait(Awaited.START_RATE, until=100.5),
        ),
        again=frozenset({"web1"}),
    )
    LINE = (
        "waiting for: the gate, a local port (12, the first in 0:42), the next attempt (1, in 0:03), "
        "the start rate"
    )

    def test_they_stand_below_the_line_or_in_it(self) -> None:
        state = progress(total=9, started=3, ended={Status.OK: 1})
        state.waits = self.WAITS
        assert state.details(120, 100.0)[0] == self.LINE
        assert state.details(40, 100.0)[0] == "waiting for: the gate"
        assert "waiting" not in state.render(200, 100.0)
        assert "waiting for the gate, a local port (12, " in state.render(200, 100.0, alone=True)

    def test_who_is_between_two_attempts_is_not_in_flight(self) -> None:
        state = progress(total=9, started=3, ended={Status.OK: 1})
        state.waits = self.WAITS
        counts, longest, awaited = state.status(100.0)
        assert counts == "1/9, 1 ok, 1 in flight, 6 to start, 0:00"
        assert longest == "longest in flight: web2 0:00"
        assert awaited == self.LINE.replace(":", "", 1)
        assert "1 in flight" in state.render(100, 100.0)

    def test_they_are_over(self) -> None:
        state = progress(total=9, started=3, ended={})
        state.waits = self.WAITS
        state.waits = Waits()
        assert state.details(120, 100.0) == []
