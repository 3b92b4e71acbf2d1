"""Reading records: which there are, which is meant, and those that are damaged."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multirsh.errors import UsageError
from multirsh.journal import Journal, RunState
from multirsh.journal.resuming import standings

from .records import host_started, keep, started, whole

RUNS = ("20261121T154000-abc123", "20261121T154001-abd456", "20261122T090000-0bcdef")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    journal = Journal(tmp_path / "runs")
    for run in RUNS:
        keep(journal, whole(run, "web1", "web2", command=f"echo {run[-1]}"))
    return journal


def test_the_newest_is_first_and_called_last(journal: Journal) -> None:
    assert [entry.run for entry in journal.runs()] == list(reversed(RUNS))
    assert journal.find("last") == journal.find() == journal.runs()[0]


@pytest.mark.parametrize(
    ("text", "run"), [(RUNS[0], RUNS[0]), ("20261122", RUNS[2]), ("abd", RUNS[1]), ("0", RUNS[2])]
)
def test_a_beginning_that_no_other_has_is_enough(journal: Journal, text: str, run: str) -> None:
    assert journal.find(text).run == run


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ab", rf"'ab' may be {RUNS[1]}, {RUNS[0]}; give more of it"),
        ("20261121T154000-abc124", rf"no run is called '20261121T154000-abc124'; near are {RUNS[0]}"),
        ("", rf"no run is called ''; the last is {RUNS[2]}"),
        ("?", rf"no run is called '\?'; the last is {RUNS[2]}"),
    ],
)
def test_what_means_no_run_or_several_is_an_error_that_names_some(
    journal: Journal, text: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        journal.find(text)


def test_where_nothing_is_recorded_there_is_no_last_run(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "none")
    assert journal.runs() == []
    with pytest.raises(UsageError, match="no run is recorded in"):
        journal.find()


@pytest.mark.parametrize("damage", [b"", b'{"run": 3}\n', b"\xff\xfe", b'{"run":"20261121T154000-abc'])
def test_an_index_that_is_lost_or_damaged_is_learnt_anew(journal: Journal, damage: bytes) -> None:
    before = journal.runs()
    index = journal.folder / "index.ndjson"
    index.write_bytes(damage)
    assert journal.runs() == before
    assert len(journal.index.read()) == len(RUNS)
    assert journal.runs() == before


def test_what_the_index_knows_and_nobody_has_is_not_listed(journal: Journal) -> None:
    (journal.folder / f"{RUNS[0]}.ndjson").unlink()
    assert [entry.run for entry in journal.runs()] == [RUNS[2], RUNS[1]]


def test_removed_records_leave_nothing(journal: Journal) -> None:
    journal.remove(RUNS[:2])
    assert sorted(path.name for path in journal.folder.iterdir()) == [f"{RUNS[2]}.ndjson", "index.ndjson"]
    assert list(journal.index.read()) == [RUNS[2]]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(min_value=0, max_value=2000))
def test_a_record_cut_off_anywhere_is_read_up_to_there(tmp_path: Path, cut: int) -> None:
    journal = Journal(tmp_path / "runs")
    path = journal.folder / f"{RUNS[0]}.ndjson"
    told = whole(RUNS[0], "web1", "web2")
    keep(journal, told)
    data = path.read_bytes()
    path.write_bytes(data[:cut])
    (journal.folder / "index.ndjson").unlink(missing_ok=True)
    is_whole = cut >= len(data)
    lines = data[:cut].count(b"\n")
    try:
        if lines < 2:  # never so by our hand: a record gets its name with two rows in it
            assert journal.runs() == []
            return
        (entry,) = journal.runs()
        assert entry.state is (RunState.FINISHED if is_whole else RunState.BROKEN)
        assert list(journal.events(entry)) == told[: lines - 1]
    finally:
        path.unlink(missing_ok=True)


def test_what_is_no_record_is_not_listed_and_nobody_waits_for_it(journal: Journal) -> None:
    before, index = journal.runs(), journal.folder / "index.ndjson"
    (journal.folder / "mine.ndjson").write_bytes((journal.folder / f"{RUNS[0]}.ndjson").read_bytes())
    (journal.folder / "folder.ndjson").mkdir()
    os.mkfifo(journal.folder / "pipe.ndjson")
    rows = index.read_bytes()
    assert journal.runs() == before
    assert journal.find(RUNS[0]) == before[-1]
    assert index.read_bytes() == rows


def test_rows_that_are_garbage_or_of_a_later_version_are_passed_over(journal: Journal) -> None:
    entry = journal.find(RUNS[0])
    before = list(journal.events(entry))
    with (journal.folder / f"{RUNS[0]}.ndjson").open("ab") as file:
        file.write(b'\0\0\0\n[1]\n{"event":"moved"}\n{"event":"stdout"}\n' + b"[" * 100_000 + b"\n")
    assert list(journal.events(entry)) == before


def damaged(row: dict[str, Any], change: dict[str, Any]) -> bytes:
    return json.dumps(row | change).encode() + b"\n"


@pytest.mark.parametrize(
    ("place", "change"),
    [
        (0, {"began": "9999-12-31T23:59:59-23:00"}),
        (0, {"plan": {"hosts": 5}}),
        (0, {"plan": {"before": ["a"]}}),
        (0, {"plan": {"before": {"ok": 5}}}),
        (0, {"plan": {"cwd": 5}}),
        (1, {"hosts": [1, [2]]}),
        (1, {"t": float("nan")}),
        (2, {"event": [1]}),
        (4, {"host": "of nobody's"}),
        (4, {"seconds": {"total": 10**400}}),
        (-1, {"event": {}}),
        (-1, {"seconds": float("inf")}),
    ],
)
def test_one_record_that_is_damaged_is_no_trouble_for_the_others(
    journal: Journal, place: int, change: dict[str, Any]
) -> None:
    path = journal.folder / f"{RUNS[0]}.ndjson"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[place] = damaged(json.loads(lines[place]), change)
    path.write_bytes(b"".join(lines))
    (journal.folder / "index.ndjson").unlink()
    listed = journal.runs()
    assert [entry.run for entry in listed][:2] == [RUNS[2], RUNS[1]]
    for entry in listed:
        with suppress(UsageError):
            standings(journal.plan(entry), journal.outcomes(entry))
        for event in journal.events(entry):
            json.dumps(event.to_dict(), allow_nan=False)
    keep(journal, whole("20261123T090000-aaaaaa", "web1"))
    assert journal.find().run == "20261123T090000-aaaaaa"


@pytest.mark.parametrize(
    "change",
    [
        {"seconds": "x"},
        {"seconds": float("nan")},
        {"bytes": float("inf")},
        {"exit_code": "\x1b"},
        {"began": "0001-01-01T00:00:00+10:00"},
    ],
)
def test_a_row_of_the_index_that_is_damaged_is_learnt_anew(journal: Journal, change: dict[str, Any]) -> None:
    before = journal.runs()
    index = journal.folder / "index.ndjson"
    index.write_bytes(damaged(before[0].to_dict(), change))
    assert journal.runs() == before


def test_a_record_of_another_format_is_refused_in_words(journal: Journal) -> None:
    path = journal.folder / f"{RUNS[0]}.ndjson"
    path.write_bytes(path.read_bytes().replace(b'"format":1', b'"format":2', 1))
    with pytest.raises(UsageError, match="has format 2, but this multirsh reads only 1"):
        list(journal.events(journal.find(RUNS[0])))


def test_a_record_that_is_gone_is_an_error(journal: Journal) -> None:
    entry = journal.find(RUNS[0])
    journal.remove([entry.run])
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        journal.outcomes(entry)


def test_the_plan_is_what_was_given(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "runs")
    keep(journal, [started("r", "web1"), host_started("r", "web1")], plan={"resumes": "q", "cwd": "/"})
    assert journal.plan(journal.find()) == {"resumes": "q", "cwd": "/"}
    assert journal.find().resumes == "q"
