"""When the line is drawn, and that it tears nothing."""

from __future__ import annotations

import dataclasses
import re
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from multirsh.model import Status
from multirsh.output.batch import Batch, Stream, Write
from multirsh.output.formatting import columns
from multirsh.output.options import Drawing, OutputOptions, Stdio
from multirsh.output.progress import RunProgress
from multirsh.output.statusline import DELAY_S, LATEST_HOSTS, LINES_S, REFRESH_S, LatestLines, StatusLine

from .events import host_finished, host_started, output, run_started

WATCHED = OutputOptions(
    drawing=Drawing.REDRAWN, stdio=Stdio(stdout_is_terminal=True, stderr_is_terminal=True, width=lambda: 40)
)
CLEAR = b"\r \x1b[J\r"
NOTHING = Batch()
TEXT = Batch((Write("stdout", b"web1: up\n"),))


def status_line(options: OutputOptions) -> StatusLine:
    progress = RunProgress(began=0.0)
    progress.feed(run_started("a", "b"))
    progress.feed(host_started("a"))
    return StatusLine(options, progress)


def drawn(seconds: int) -> bytes:
    return b"0/2  1 in flight  0:%02d\r" % seconds


def test_a_short_run_has_no_line() -> None:
    assert status_line(WATCHED).below(TEXT, DELAY_S / 2) == TEXT


def test_text_goes_between_clearing_and_drawing() -> None:
    line = status_line(WATCHED)
    assert line.below(NOTHING, 1.0) == Batch((Write("stderr", drawn(1)),))
    assert line.below(TEXT, 2.0) == Batch(
        (Write("stderr", CLEAR), Write("stdout", b"web1: up\n"), Write("stderr", drawn(2)))
    )


def test_text_between_two_wordings_brings_the_line_back_as_it_was() -> None:
    line = status_line(WATCHED)
    line.below(NOTHING, 1.0)
    assert line.below(TEXT, 1.0 + REFRESH_S / 2).stderr == CLEAR + drawn(1)


def test_without_text_it_is_drawn_only_when_due_and_different() -> None:
    line = status_line(WATCHED)
    line.below(NOTHING, 1.0)
    assert not line.below(NOTHING, 1.0 + REFRESH_S / 2).writes
    assert not line.below(NOTHING, 1.0 + REFRESH_S).writes  # due, but it says the same
    assert line.below(NOTHING, 2.0).stderr == CLEAR + drawn(2)


def test_at_most_eight_updates_a_second() -> None:
    line = status_line(WATCHED)
    batches = [line.below(NOTHING, 1.0 + tick / 1000) for tick in range(10_000)]
    assert sum(bool(batch.writes) for batch in batches) <= 10 * 8


def test_the_last_text_comes_after_the_line_is_gone_for_good() -> None:
    line = status_line(WATCHED)
    line.below(NOTHING, 1.0)
    assert line.last(TEXT) == Batch((Write("stderr", CLEAR), Write("stdout", b"web1: up\n")))
    assert line.last(TEXT) == TEXT


def test_it_is_not_drawn_into_a_line_that_goes_on() -> None:
    line = status_line(WATCHED)
    line.below(NOTHING, 1.0)
    begun = Batch((Write("stdout", b"web1: so far"),))
    assert line.below(begun, 2.0) == Batch((Write("stderr", CLEAR), *begun.writes))
    assert line.below(TEXT, 3.0) == Batch((*TEXT.writes, Write("stderr", drawn(3))))
    # What is not on the screen does not matter.
    piped = dataclasses.replace(WATCHED, stdio=Stdio(stderr_is_terminal=True, width=lambda: 40))
    assert status_line(piped).below(begun, 2.0).stderr == drawn(2)
    own_lines = OutputOptions(drawing=Drawing.LINES)
    into_stderr = Batch((Write("stderr", b"web1: so far"),))
    assert status_line(own_lines).below(into_stderr, LINES_S + 1) == into_stderr


def test_text_for_a_file_does_not_disturb_the_line() -> None:
    options = OutputOptions(drawing=Drawing.REDRAWN, stdio=Stdio(stderr_is_terminal=True))
    line = status_line(options)
    line.below(NOTHING, 1.0)
    assert line.below(TEXT, 1.0 + REFRESH_S / 2) == TEXT
    warning = Batch((Write("stderr", b"warning\n"),))
    assert line.below(warning, 1.0 + REFRESH_S / 2).stderr == CLEAR + b"warning\n" + drawn(1)


def test_the_last_column_stays_free_and_a_new_width_counts_at_once() -> None:
    width = len(drawn(1))  # the text and one column, for the carriage return takes none
    options = OutputOptions(
        drawing=Drawing.REDRAWN, stdio=Stdio(stderr_is_terminal=True, width=lambda: width)
    )
    line = status_line(options)
    assert line.below(NOTHING, 1.0).stderr == drawn(1)
    width -= 1
    assert line.below(NOTHING, 2.0).stderr == CLEAR + b"0/2  0:02\r"


def test_lines_of_their_own_come_seldom_and_with_nothing_to_clear() -> None:
    line = status_line(OutputOptions(drawing=Drawing.LINES))
    assert line.below(TEXT, LINES_S - 1) == TEXT
    assert line.below(TEXT, LINES_S) == Batch(
        (Write("stdout", b"web1: up\n"), Write("stderr", b"0/2  1 in flight  0:10\n"))
    )
    assert not line.below(NOTHING, LINES_S + 1).writes
    assert line.below(NOTHING, LINES_S * 2).writes
    assert line.last(TEXT) == TEXT


def test_how_often_it_wants_to_be_drawn() -> None:
    assert status_line(WATCHED).interval_s == REFRESH_S
    assert status_line(OutputOptions(drawing=Drawing.LINES)).interval_s == LINES_S
    assert status_line(OutputOptions()).interval_s is None


def with_details(options: OutputOptions) -> StatusLine:
    """Of one host that has been in flight since 0.0, and one that has failed."""
    progress = RunProgress(began=0.0)
    progress.feed(run_started("a", "b"))
    progress.feed(host_started("a"))
    progress.feed(host_finished("b", Status.FAILED, exit_status=3))
    return StatusLine(options, progress)


def test_details_stand_below_and_the_cursor_goes_back_up() -> None:
    (write,) = with_details(WATCHED).below(NOTHING, 7.0).writes
    first, *details = write.data.split(b"\n")
    assert first.startswith(b"1/2  1 failed")
    assert details == [b"longest: a 0:07", b"not ok: b exit 3\x1b[2A\r"]


def test_a_low_terminal_has_the_one_line_only() -> None:
    low = dataclasses.replace(WATCHED, stdio=dataclasses.replace(WATCHED.stdio, height=lambda: 9))
    assert b"\n" not in with_details(low).below(NOTHING, 7.0).stderr


def test_lines_of_their_own_have_no_details() -> None:
    options = OutputOptions(drawing=Drawing.LINES)
    assert with_details(options).below(NOTHING, LINES_S).stderr.count(b"\n") == 1


def test_while_a_person_types_nothing_is_drawn_over_it() -> None:
    line = status_line(WATCHED)
    line.below(NOTHING, 1.0)
    line.is_held = True
    assert line.below(TEXT, 2.0) == Batch((Write("stderr", CLEAR), *TEXT.writes))
    assert line.below(TEXT, 3.0) == TEXT
    line.is_held = False
    assert line.below(NOTHING, 4.0).stderr == drawn(4)


def test_on_a_terminal_that_is_another_jobs_nothing_is_drawn() -> None:
    ours = [True, False, True]
    stdio = dataclasses.replace(WATCHED.stdio, is_ours=lambda: ours.pop(0))
    line = status_line(dataclasses.replace(WATCHED, stdio=stdio))
    assert [line.below(NOTHING, seconds).stderr for seconds in (1.0, 2.0, 3.0)] == [drawn(1), CLEAR, drawn(3)]


ONE: Final[tuple[Stream]] = ("stdout",)


def latest(*outputs: tuple[str, bytes]) -> LatestLines:
    made = LatestLines(ONE)
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


def test_few_hosts_are_shown() -> None:
    lines = latest(*((f"h{number}", b"x") for number in range(9))).lines(80)
    assert lines == [f"h{number}: x" for number in range(9 - LATEST_HOSTS, 9)]


def test_a_host_that_has_ended_is_not_shown() -> None:
    made = latest(("a", b"1"))
    made.feed(host_finished("a"))
    assert made.lines(80) == []


def test_what_is_shown_elsewhere_is_not_shown_here() -> None:
    made = LatestLines(ONE)
    made.feed(output("a", b"x", stream="stderr"))
    assert made.lines(80) == []


@given(st.binary(max_size=3000), st.integers(min_value=0, max_value=100))
def test_it_fits_and_is_harmless_whatever_comes(data: bytes, width: int) -> None:
    for line in latest(("東京", data)).lines(width):
        assert columns(line) <= width
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", line)
