from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from rich.cells import cell_len

from multirsh.events import Event, RunStarted
from multirsh.journal import RunState, RunSummary
from multirsh.model import Status
from multirsh.output.runs_list import (
    Layout,
    facts,
    format_began,
    format_hosts,
    listing,
    listing_json,
    titles,
    with_copy_errors,
)
from tests.output.events import copied, host_finished, output, run_started

NOW = datetime(2026, 11, 21, 18, 0, tzinfo=UTC).timestamp()


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as here:
        here.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def entry(
    run: str = "20261121T163000-c0ffee",
    *,
    began: float = NOW - 5400,
    state: RunState = RunState.FINISHED,
    command: str = "uptime",
    hosts: int = 500,
    counts: dict[Status, int] | None = None,
    exit_code: int | None = 0,
    seconds: float | None = 3.21,
    resumes: str | None = None,
) -> RunSummary:
    return RunSummary(
        run=run,
        began=began,
        state=state,
        command=command,
        hosts=hosts,
        counts={Status.OK: 500} if counts is None else counts,
        exit_code=exit_code,
        seconds=seconds,
        size=1000,
        resumes=resumes,
    )


MIXED = entry(
    "20261121T161200-7f3a21",
    began=NOW - 6480,
    counts={Status.LOST: 2, Status.OK: 495, Status.FAILED: 3},
    exit_code=3,
    seconds=245.0,
    command="systemctl restart nginx && systemctl is-active nginx",
)
BROKEN = entry(
    "20251121T161200-bad123",
    began=NOW - 365 * 86400,
    state=RunState.BROKEN,
    counts={Status.OK: 120},
    exit_code=None,
    seconds=None,
    command="apt-get -y upgrade",
)
RUNNING = entry(state=RunState.RUNNING, began=NOW - 61, counts={}, exit_code=None, seconds=None)


def test_in_a_pipe_nothing_is_cut_off() -> None:
    assert listing([entry(), MIXED, BROKEN], Layout(width=None, color=False, now=NOW)) == (
        "run     began         took        hosts                     exit    command\n"
        "c0ffee  Nov 21 16:30  3.2 s       500 ok                    0       uptime\n"
        "7f3a21  Nov 21 16:12  4 min 05 s  495 ok, 3 failed, 2 lost  3       "
        "systemctl restart nginx && systemctl is-active nginx\n"
        "bad123  Nov 21  2025              120 ok of 500             broken  apt-get -y upgrade\n"
    )


def test_a_run_that_goes_on_tells_its_time_so_far() -> None:
    (_, line) = listing([RUNNING], Layout(width=None, color=False, now=NOW)).splitlines()
    assert line == "c0ffee  Nov 21 17:58  1 min 01 s  none of 500  running  uptime"


@pytest.mark.parametrize("width", [80, 100, 200])
def test_on_a_terminal_every_run_is_one_line_of_it(width: int) -> None:
    lines = listing([entry(), MIXED, BROKEN], Layout(width=width, color=True, now=NOW)).splitlines()
    plain = [re.sub(r"\x1b\[\d*m", "", line) for line in lines]
    assert len(plain) == 4
    assert max(map(len, plain)) < width + 1
    starts = [line.index(text) for line, text in zip(plain, ("comm", "upt", "sys", "apt"), strict=True)]
    assert len(set(starts)) == 1
    assert ("495 ok, 5 not" in plain[2]) is (width == 80)
    assert plain[2].endswith("…" if width < 130 else "nginx")


def test_a_narrow_terminal_does_without_times() -> None:
    lines = listing([entry(), MIXED, BROKEN], Layout(width=48, color=False, now=NOW)).splitlines()
    assert lines[0].split() == ["run", "hosts", "exit", "command"]
    assert max(map(len, lines)) < 48
    assert len(lines) == 4


def test_wide_letters_count_twice() -> None:
    (_, line) = listing([entry(command="\u6771" * 60)], Layout(width=80, color=False, now=NOW)).splitlines()
    assert 70 < cell_len(line) < 80
    assert re.search("\u6771 ?…$", line)


def test_endings_have_colours() -> None:
    text = listing([entry(), MIXED, BROKEN, RUNNING], Layout(width=None, color=True, now=NOW))
    for painted in (r"\x1b\[32m0 *\x1b\[0m", r"\x1b\[31m3 *\x1b\[0m", r"\x1b\[31mbroken *\x1b\[0m"):
        assert re.search(painted, text)
    assert "\x1b" not in listing([MIXED], Layout(width=80, color=False, now=NOW))


def test_a_command_cannot_break_its_line() -> None:
    text = listing([entry(command="a\nb\x1b[2J")], Layout(width=None, color=False, now=NOW))
    assert text.splitlines()[1].endswith("a\\x0ab\\x1b[2J")


def test_nothing_is_listed_where_nothing_is() -> None:
    assert listing([], Layout(width=80, color=True, now=NOW)) == ""
    assert listing_json([]) == ""


def test_for_programs_an_object_a_run() -> None:
    (line,) = listing_json([MIXED]).splitlines()
    assert json.loads(line) == {
        "run": "20261121T161200-7f3a21",
        "began": "2026-11-21T16:12:00.000Z",
        "state": "finished",
        "command": "systemctl restart nginx && systemctl is-active nginx",
        "hosts": 500,
        "counts": {"ok": 495, "failed": 3, "lost": 2},
        "exit_code": 3,
        "seconds": 245.0,
        "bytes": 1000,
        "resumes": None,
    }


def test_hosts_are_counted_by_status_or_in_brief() -> None:
    assert format_hosts(MIXED) == "495 ok, 3 failed, 2 lost"
    assert format_hosts(MIXED, in_full=False) == "495 ok, 5 not"
    assert format_hosts(entry(counts={Status.AUTH: 500}), in_full=False) == "500 not"
    assert format_hosts(BROKEN, in_full=False) == "120 ok of 500"


def test_a_time_is_written_as_by_ls() -> None:
    assert format_began(NOW, NOW) == "Nov 21 18:00"
    assert format_began(NOW - 200 * 86400, NOW) == "May  5  2026"
    assert format_began(NOW + 60, NOW) == "Nov 21  2026"


STARTED = RunStarted(run="r", t=0.0, command="uptime", hosts=("h1", "h2"), fanout=64, version="0.1.0")


def test_what_is_said_of_a_run() -> None:
    assert facts(MIXED, STARTED) == [
        "run 20261121T161200-7f3a21: began 2026-11-21 16:12:00, took 4 min 05 s, exit 3",
        "command: systemctl restart nginx && systemctl is-active nginx",
        "2 hosts, 64 at once, by multirsh 0.1.0",
    ]


def test_what_is_said_of_a_run_that_broke_and_that_went_on_with_another() -> None:
    told = facts(BROKEN, None, cut_off={"h2", "h1"})
    assert told[2:] == [
        "the record breaks off: 120 ok of 500; --resume bad123 continues it",
        "the output of these hosts was too long to be kept in full: h[1-2]",
    ]
    assert "it resumes run r1: 3 hosts done before" in facts(entry(resumes="r1"), None, done_before=3)
    assert facts(RUNNING, None)[-1] == "it is still running: none of 500 so far"


def test_two_runs_are_named_as_files_are() -> None:
    assert titles((MIXED, entry(command="a\nb"))) == [
        b"--- 7f3a21 2026-11-21 16:12:00 systemctl restart nginx && systemctl is-active nginx\n",
        b"+++ c0ffee 2026-11-21 16:30:00 a\\x0ab\n",
    ]


def test_only_failed_copies_become_output() -> None:
    well: list[Event] = [run_started("h1"), copied("h1"), copied("h1", skipped="unchanged")]
    assert list(with_copy_errors([*well, host_finished("h1")])) == [*well, host_finished("h1")]
    failed, left_out = copied("h1", "/srv/a", error="no room"), copied("h1", "/srv/b", skipped="a socket")
    assert list(with_copy_errors([failed, left_out])) == [
        failed,
        output("h1", b"/srv/a: no room\n", stream="stderr"),
        left_out,
        output("h1", b"/srv/b: left out: a socket\n", stream="stderr"),
    ]
