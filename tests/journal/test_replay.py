from __future__ import annotations

from pathlib import Path

import pytest

from multirsh.events import Event, HostFinished, RunFinished, RunStarted
from multirsh.journal import HostOutcome, Journal
from multirsh.journal.replay import IN_DOUBT, RecordSurvey, completed, only_hosts, status_of, survey
from multirsh.model import Status
from tests.journal import records
from tests.output.events import host_finished, host_started, output, run_finished, run_started

COMPLETE: list[Event] = [
    run_started("h1", "h2", "h3"),
    host_started("h1"),
    host_started("h2"),
    output("h1", b"a\n"),
    host_finished("h1", exit_status=0),
    host_finished("h2", Status.FAILED, exit_status=3),
    host_started("h3"),
    host_started("h3", attempt=2),
    host_finished("h3", Status.UNREACHABLE),
    run_finished({Status.OK: 1, Status.FAILED: 1, Status.UNREACHABLE: 1}),
]


def test_a_record_that_is_complete_is_left_alone() -> None:
    assert list(completed(COMPLETE)) == COMPLETE
    assert list(completed([])) == []


@pytest.mark.parametrize("kept", range(1, len(COMPLETE)))
def test_every_host_of_a_run_that_broke_has_one_ending(kept: int) -> None:
    events = list(completed(COMPLETE[:kept]))
    assert events[:kept] == COMPLETE[:kept]
    endings = [event.host for event in events if isinstance(event, HostFinished)]
    assert sorted(endings) == ["h1", "h2", "h3"]


def test_who_may_have_run_is_told_from_who_never_began() -> None:
    ended = {event.host: event for event in completed(COMPLETE[:8]) if isinstance(event, HostFinished)}
    assert (ended["h3"].status, ended["h3"].error, ended["h3"].attempts) == (Status.LOST, IN_DOUBT, 2)
    begun = {event.host: event.status for event in completed(COMPLETE[:2]) if isinstance(event, HostFinished)}
    assert begun == {"h1": Status.LOST, "h2": Status.NOT_RUN, "h3": Status.NOT_RUN}


def test_of_some_hosts_the_run_is_theirs_alone() -> None:
    first, *between, last = only_hosts(COMPLETE, {"h1", "h3"})
    assert isinstance(first, RunStarted)
    assert first.hosts == ("h1", "h3")
    assert between == [COMPLETE[1], *COMPLETE[3:5], *COMPLETE[6:9]]
    assert isinstance(last, RunFinished)
    assert last.counts == {Status.OK: 1, Status.UNREACHABLE: 1}


def test_a_record_is_looked_at_without_its_output(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    events = records.whole("r1", "h1", "h2", "h3")
    records.keep(journal, events[:-3], output_bytes=100)
    found = survey(journal.rows(journal.find("r1"), with_output=False))
    assert found.started == events[0]
    assert {host: status_of(outcome) for host, outcome in found.outcomes.items()} == {
        "h1": Status.OK,
        "h2": Status.OK,
        "h3": Status.LOST,
    }
    assert found.cut_off == {"h2"}


def test_who_never_began_was_not_run() -> None:
    assert status_of(HostOutcome()) is Status.NOT_RUN
    assert status_of(HostOutcome(is_started=True)) is Status.LOST
    assert status_of(HostOutcome(Status.AUTH)) is Status.AUTH


def test_of_no_rows_nothing_is_known() -> None:
    assert survey([]) == RecordSurvey()
