from __future__ import annotations

import pytest

from multirsh.events import Event, HostFinished, RunFinished, RunStarted
from multirsh.journal.replay import IN_DOUBT, of_hosts, whole
from multirsh.model import Status
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
    assert list(whole(COMPLETE)) == COMPLETE
    assert list(whole([])) == []


@pytest.mark.parametrize("kept", range(1, len(COMPLETE)))
def test_every_host_of_a_run_that_broke_has_one_ending(kept: int) -> None:
    events = list(whole(COMPLETE[:kept]))
    assert events[:kept] == COMPLETE[:kept]
    endings = [event.host for event in events if isinstance(event, HostFinished)]
    assert sorted(endings) == ["h1", "h2", "h3"]


def test_who_may_have_run_is_told_from_who_never_began() -> None:
    ended = {event.host: event for event in whole(COMPLETE[:8]) if isinstance(event, HostFinished)}
    assert (ended["h3"].status, ended["h3"].error, ended["h3"].attempts) == (Status.LOST, IN_DOUBT, 2)
    begun = {event.host: event.status for event in whole(COMPLETE[:2]) if isinstance(event, HostFinished)}
    assert begun == {"h1": Status.LOST, "h2": Status.NOT_RUN, "h3": Status.NOT_RUN}


def test_of_some_hosts_the_run_is_theirs_alone() -> None:
    first, *between, last = of_hosts(COMPLETE, {"h1", "h3"})
    assert isinstance(first, RunStarted)
    assert first.hosts == ("h1", "h3")
    assert between == [COMPLETE[1], *COMPLETE[3:5], *COMPLETE[6:9]]
    assert isinstance(last, RunFinished)
    assert last.counts == {Status.OK: 1, Status.UNREACHABLE: 1}
