from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from multirsh.journal.journal import DAY_S, DEFAULT_RETENTION, RetentionLimits, records_to_remove
from multirsh.journal.record import RunState, RunSummary

NOW = 1_800_000_000.0


def summary(run: str, began: float, size: int, *, is_running: bool = False) -> RunSummary:
    return RunSummary(
        run=run,
        began=began,
        state=RunState.RUNNING if is_running else RunState.FINISHED,
        command="true",
        hosts=1,
        counts={},
        exit_code=None,
        seconds=None,
        size=size,
        resumes=None,
    )


def record(days_ago: float, *, size: int = 100, is_running: bool = False) -> RunSummary:
    return summary(f"run{days_ago:05}", NOW - days_ago * DAY_S, size, is_running=is_running)


FIVE = [record(days) for days in (3, 1, 5, 2, 4)]


def chosen(
    limits: RetentionLimits, records: list[RunSummary] = FIVE, spared: tuple[str, ...] = ()
) -> list[str]:
    return records_to_remove(records, limits, now=NOW, spared=spared)


def test_without_limits_everything_stays() -> None:
    assert chosen(RetentionLimits()) == []
    assert records_to_remove([], DEFAULT_RETENTION, now=NOW) == []


def test_the_newest_are_kept_and_the_oldest_go_first() -> None:
    assert chosen(RetentionLimits(records=2)) == ["run00005", "run00004", "run00003"]
    assert chosen(RetentionLimits(records=5)) == []
    assert chosen(RetentionLimits(records=0)) == ["run00005", "run00004", "run00003", "run00002", "run00001"]


def test_age_is_counted_from_the_beginning() -> None:
    assert chosen(RetentionLimits(age_s=3 * DAY_S)) == ["run00005", "run00004"]


def test_size_is_that_of_all_together() -> None:
    assert chosen(RetentionLimits(size=300)) == ["run00005", "run00004"]
    assert chosen(RetentionLimits(size=299)) == ["run00005", "run00004", "run00003"]


def test_no_record_goes_while_an_older_one_stays() -> None:
    """A large one in the middle takes those below it along, small as they are."""
    records = [record(1, size=10), record(2, size=1000), record(3, size=10)]
    assert chosen(RetentionLimits(size=500), records) == ["run00003", "run00002"]


def test_whichever_limit_is_the_tightest_holds() -> None:
    assert chosen(RetentionLimits(records=4, age_s=2 * DAY_S, size=400)) == [
        "run00005",
        "run00004",
        "run00003",
    ]


def test_a_run_that_goes_on_stays_however_old_and_takes_its_room() -> None:
    records = [record(1), record(2), record(200, is_running=True)]
    assert chosen(DEFAULT_RETENTION, records) == []
    assert chosen(RetentionLimits(records=2), records) == ["run00002"]


def test_what_is_spared_stays() -> None:
    assert chosen(RetentionLimits(records=0), spared=("run00004",)) == [
        "run00005",
        "run00003",
        "run00002",
        "run00001",
    ]


def test_a_clock_that_was_set_back_makes_nothing_old() -> None:
    assert chosen(DEFAULT_RETENTION, [record(-400), record(1)]) == []


RUNS = st.lists(
    st.builds(
        summary,
        run=st.text("abcdef0123456789", min_size=1, max_size=4),
        began=st.floats(0, NOW * 1.1),
        size=st.integers(0, 1000),
        is_running=st.booleans(),
    ),
    unique_by=lambda one: one.run,
)
MAYBE = st.none() | st.integers(0, 3000)


@given(RUNS, st.builds(RetentionLimits, records=MAYBE, size=MAYBE, age_s=st.none() | st.floats(0, NOW)))
def test_what_is_left_is_within_the_limits_or_may_not_go(
    records: list[RunSummary], limits: RetentionLimits
) -> None:
    gone = set(records_to_remove(records, limits, now=NOW))
    assert not gone & {one.run for one in records if one.state is RunState.RUNNING}
    left = [one for one in records if one.run not in gone]
    free = [one for one in left if one.state is not RunState.RUNNING]
    if free:
        assert limits.records is None or len(left) <= limits.records
        assert limits.size is None or sum(one.size for one in left) <= limits.size
        assert limits.age_s is None or all(NOW - one.began <= limits.age_s for one in free)
    oldest_left = min((one.began for one in free), default=float("inf"))
    assert all(one.began <= oldest_left for one in records if one.run in gone)
    # Nothing is thrown away that could stay: with the newest of those gone, a limit would be broken.
    if gone:
        back = max((one for one in records if one.run in gone), key=lambda one: (one.began, one.run))
        more = [*left, back]
        assert (
            (limits.records is not None and len(more) > limits.records)
            or (limits.size is not None and sum(one.size for one in more) > limits.size)
            or (limits.age_s is not None and NOW - back.began > limits.age_s)
        )
