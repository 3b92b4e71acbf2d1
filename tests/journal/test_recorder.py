"""A run's record: what is in the file, and when it is safe."""

from __future__ import annotations

import json
import os
import resource
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multirsh.events import Event, HostFinished
from multirsh.journal import Journal, Recorder, RetentionLimits, RunState
from multirsh.journal.record import line_of
from multirsh.journal.replay import completed, survey
from multirsh.journal.resuming import Standing, standings
from multirsh.model import Status
from tests.waiting import HANG_GUARD_S

from .records import finished, host_finished, host_started, keep, output, started, whole

RUN = "20261121T154000-abc123"


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state" / "runs")


def test_a_record_is_its_own_row_and_then_the_events_as_they_are_told(journal: Journal) -> None:
    told = whole(RUN, "web1", "web2")
    keep(journal, told, plan={"cwd": "/tmp"})
    lines = (journal.folder / f"{RUN}.ndjson").read_text(encoding="ascii").splitlines()
    first, *others = [json.loads(line) for line in lines]
    assert first.pop("began").endswith("Z")
    assert first == {"event": "record", "gaps": 0, "run": RUN, "t": 0, "format": 1, "plan": {"cwd": "/tmp"}}
    assert others == [event.to_dict() for event in told]


def test_nobody_else_may_read_it(journal: Journal) -> None:
    before = os.umask(0)
    try:
        keep(journal, whole(RUN, "web1"))
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in journal.folder.parent.rglob("*")}
    assert modes == {"runs": 0o700, f"{RUN}.ndjson": 0o600, "index.ndjson": 0o600}
    assert stat.S_IMODE(journal.folder.parent.stat().st_mode) == 0o700


def test_an_event_is_in_the_file_when_its_ticket_is_done(journal: Journal) -> None:
    recorder = Recorder(journal)
    for event in (started(RUN, "web1"), host_started(RUN, "web1")):
        ticket = recorder.record(event)
        assert ticket is not None
        ticket.result(timeout=HANG_GUARD_S)
        last = (journal.folder / f"{RUN}.ndjson").read_bytes().splitlines()[-1]
        assert json.loads(last) == event.to_dict()
    (entry,) = journal.runs()
    assert (entry.state, entry.hosts) == (RunState.RUNNING, 1)
    closed = recorder.close()
    assert closed is not None
    closed.result(timeout=HANG_GUARD_S)
    (entry,) = journal.runs()
    assert entry.state is RunState.BROKEN
    assert recorder.close() is None


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=40), max_size=6))
def test_output_is_read_back_exactly_and_a_record_is_ascii(tmp_path: Path, chunks: list[bytes]) -> None:
    journal = Journal(tmp_path / "runs")
    journal.remove([RUN])
    told: list[Event] = [started(RUN, "web1"), *(output(RUN, "web1", data) for data in chunks)]
    keep(journal, told)
    assert list(journal.events(journal.find(RUN))) == told
    assert (journal.folder / f"{RUN}.ndjson").read_bytes().isascii()


def test_output_beyond_the_bound_is_left_out_without_a_hole_and_the_record_says_so(journal: Journal) -> None:
    keep(
        journal,
        [
            started(RUN, "web1", "web2"),
            output(RUN, "web1", b"a" * 100),
            output(RUN, "web1", b"b" * 1000),
            output(RUN, "web1", b"c"),
            output(RUN, "web2", b"d"),
            host_finished(RUN, "web1"),
        ],
        output_bytes=500,
    )
    entry = journal.find(RUN)
    told = [(row["event"], row.get("host"), row.get("data")) for row in journal.rows(entry)]
    assert told[2:] == [
        ("stdout", "web1", "a" * 100),
        ("left_out", "web1", None),
        ("left_out", "web2", None),
        ("host_finished", "web1", None),
    ]
    assert [event.name for event in journal.events(entry)] == ["run_started", "stdout", "host_finished"]


def test_old_records_make_room_when_a_run_begins(journal: Journal) -> None:
    for number in range(4):
        keep(journal, whole(f"r{number}", "web1"))
    keep(journal, whole("r4", "web1"), limits=RetentionLimits(records=2), plan={"resumes": "r0"})
    assert {entry.run for entry in journal.runs()} == {"r0", "r3", "r4"}


def test_a_disk_that_is_full_is_one_warning_and_what_was_written_stays(journal: Journal) -> None:
    warnings: list[str] = []
    recorder = Recorder(journal, warn=warnings.append)
    begun = recorder.record(started(RUN, "web1"))
    assert begun is not None
    begun.result(timeout=HANG_GUARD_S)
    path = journal.folder / f"{RUN}.ndjson"
    before = path.read_bytes()
    with a_file_may_have(len(before) + 20):
        ticket = recorder.record(host_started(RUN, "web1"))
        assert ticket is not None
        ticket.result(timeout=HANG_GUARD_S)
    assert recorder.record(host_finished(RUN, "web1")) is None
    closed = recorder.close()
    assert closed is None or closed.result(timeout=HANG_GUARD_S) is None
    assert path.read_bytes() == before.replace(b'"gaps":0', b'"gaps":1', 1)
    assert warnings == [f"the run is not recorded any further: {journal.folder}: File too large; it goes on"]


def test_after_a_gap_any_host_without_an_ending_may_have_run(journal: Journal) -> None:
    recorder = Recorder(journal, warn=lambda _: None)
    recorder.record(started(RUN, "web1", "web2"))
    recorder.record(host_started(RUN, "web1"))
    ticket = recorder.record(host_finished(RUN, "web1"))
    assert ticket is not None
    ticket.result(timeout=HANG_GUARD_S)
    with a_file_may_have((journal.folder / f"{RUN}.ndjson").stat().st_size + 20):
        for event in whole(RUN, "web2")[1:]:
            recorder.record(event)
        closed = recorder.close()
        assert closed is None or closed.result(timeout=HANG_GUARD_S) is None
    entry = journal.find(RUN)
    found = standings(journal.plan(entry), journal.outcomes(entry))
    assert found == {"web1": Standing.OK, "web2": Standing.UNKNOWN}
    assert survey(journal.rows(entry)).has_gaps
    endings = [
        one for one in completed(journal.events(entry), has_gaps=True) if isinstance(one, HostFinished)
    ]
    assert [one.status for one in endings] == [Status.OK, Status.LOST]


def test_a_folder_that_cannot_be_made_is_one_warning(journal: Journal) -> None:
    journal.folder.parent.mkdir()
    journal.folder.write_text("in its place")
    warnings: list[str] = []
    keep(journal, whole(RUN, "web1"), warn=warnings.append)
    (words,) = warnings
    assert words.startswith(f"the run is not recorded any further: {journal.folder}: ")


@contextmanager
def a_file_may_have(size: int) -> Iterator[None]:
    """So many bytes, as on a disk that is full then: a write goes in part, and the next is an error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_broken_run_says_who_was_started_and_who_never(journal: Journal) -> None:
    keep(
        journal,
        [
            started(RUN, "web1", "web2", "web3", "web4"),
            host_started(RUN, "web1"),
            host_started(RUN, "web2"),
            host_finished(RUN, "web1", Status.FAILED),
            host_finished(RUN, "web4", Status.NOT_RUN),
        ],
    )
    entry = journal.find(RUN)
    assert entry.state is RunState.BROKEN
    assert entry.counts == {Status.FAILED: 1, Status.NOT_RUN: 1}
    outcomes = journal.outcomes(entry)
    assert {host: outcome.word for host, outcome in outcomes.items()} == {
        "web1": "failed",
        "web2": "started",
        "web3": "never",
        "web4": "not_run",
    }
    assert outcomes["web1"].exit_status == 1


def test_a_finished_run_is_at_a_glance_what_its_end_said(journal: Journal) -> None:
    keep(journal, [*whole(RUN, "web1")[:-1], finished(RUN, {Status.OK: 1}, exit_code=0)])
    entry = journal.find()
    size = (journal.folder / f"{RUN}.ndjson").stat().st_size
    assert (entry.state, entry.counts, entry.exit_code, entry.seconds) == (
        RunState.FINISHED,
        {Status.OK: 1},
        0,
        2.0,
    )
    assert entry.size == size


def test_where_no_thread_can_be_had_the_record_is_complete_all_the_same(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    told = whole(RUN, "web1", "web2")
    recorder = Recorder(journal)
    for event in told:
        ticket = recorder.record(event)
        assert ticket is not None
        assert ticket.done(), "it is safe at once"
    assert recorder.close() is None
    lines = (journal.folder / f"{RUN}.ndjson").read_text(encoding="ascii").splitlines()
    assert [json.loads(line) for line in lines][1:] == [event.to_dict() for event in told]


def test_output_that_there_is_no_memory_to_write_down_is_left_out_and_named(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(row: Mapping[str, object]) -> bytes:
        if row["event"] == "stdout" and row["host"] == "web1":
            raise MemoryError
        return line_of(dict(row))

    monkeypatch.setattr("multirsh.journal.recorder.line_of", short)
    said: list[str] = []
    keep(journal, whole(RUN, "web1", "web2"), warn=said.append)
    rows = [json.loads(line) for line in (journal.folder / f"{RUN}.ndjson").read_text("ascii").splitlines()]
    assert [(row["event"], row["host"]) for row in rows if "host" in row] == [
        ("host_started", "web1"),
        ("left_out", "web1"),
        ("host_finished", "web1"),
        ("host_started", "web2"),
        ("stdout", "web2"),
        ("host_finished", "web2"),
    ]
    assert not said
