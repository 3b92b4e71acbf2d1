from __future__ import annotations

from multirsh.model import ClosedBy, ErrorKind, Phase, Status
from multirsh.report.record import FILES_NAMED, NO_END, ReportData
from tests.output.events import copied, failure, host_finished, host_started, run_finished, run_started

REFUSED = failure(ErrorKind.REFUSED, Phase.CONNECT, "connection refused")


def test_troubles_are_grouped_as_in_the_summary() -> None:
    record = ReportData()
    record.feed(run_started("a", "b", "c", "d"))
    for host in "abcd":
        record.feed(host_started(host))
    record.feed(host_finished("a", Status.UNREACHABLE, error=REFUSED))
    record.feed(host_finished("b", Status.FAILED, exit_status=3))
    record.feed(host_finished("c", Status.UNREACHABLE, error=REFUSED))
    record.feed(host_finished("d"))
    groups = [(each.status, each.reason, each.hosts, each.message) for each in record.failures()]
    assert groups == [
        ("failed", "exit 3", ["b"], ""),
        ("unreachable", "connect refused", ["a", "c"], "connection refused"),
    ]
    assert record.counts() == {"ok": 1, "failed": 1, "unreachable": 2}


def test_of_a_run_that_broke_off_it_shows_which_hosts_had_begun() -> None:
    record = ReportData()
    record.feed(run_started("a", "b", "c"))
    record.feed(host_started("a", t=0.5))
    record.feed(host_finished("a", t=1.0))
    record.feed(host_started("b", t=1.5))
    assert record.counts() == {Status.OK: 1, Status.LOST: 1, Status.NOT_RUN: 1}
    assert [(each.reason, each.hosts) for each in record.failures()] == [(NO_END, ["b"]), ("", ["c"])]
    assert record.closed_by() == {ClosedBy.REMOTE: 1}
    assert record.finished is None
    assert record.last == 1.5


def test_a_host_that_a_damaged_record_does_not_name_is_one_of_the_run() -> None:
    record = ReportData()
    record.feed(run_started("a"))
    record.feed(host_started("z"))
    record.feed(host_finished("z"))
    assert record.counts() == {Status.OK: 1, Status.NOT_RUN: 1}


def test_times_name_the_slowest() -> None:
    record = ReportData()
    hosts = [f"h{number}" for number in range(100)]
    record.feed(run_started(*hosts))
    for host in hosts:
        record.feed(host_started(host))
        record.feed(host_finished(host))
    times = {each.name: each for each in record.times()}
    assert list(times) == ["connect", "login", "run", "close", "in all"]
    assert (times["login"].hosts, times["login"].median, times["login"].longest) == (100, 0.01, 0.01)


def test_a_host_that_was_never_tried_has_no_times() -> None:
    record = ReportData()
    record.feed(run_started("a"))
    record.feed(host_finished("a", Status.NOT_RUN))
    record.feed(run_finished({Status.NOT_RUN: 1}))
    assert record.times() == []


def test_files_that_failed_are_named_up_to_a_bound() -> None:
    record = ReportData()
    record.feed(run_started("a"))
    record.feed(copied("a", size=5))
    record.feed(copied("a", skipped="unchanged"))
    for number in range(FILES_NAMED + 1):
        record.feed(copied("a", f"/srv/{number}", error="permission denied"))
    assert record.copies == {"copied": 1, "unchanged": 1, "failed": FILES_NAMED + 1}
    assert len(record.failed_files) == FILES_NAMED
    assert record.copied_bytes == 5
