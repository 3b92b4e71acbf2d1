from __future__ import annotations

from pathlib import Path

from multirsh.journal import Journal, Outcome
from multirsh.journal.survey import Survey, status_of, survey
from multirsh.model import Status
from tests.journal import records


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
    assert status_of(Outcome()) is Status.NOT_RUN
    assert status_of(Outcome(is_started=True)) is Status.LOST
    assert status_of(Outcome(Status.AUTH)) is Status.AUTH


def test_of_no_rows_nothing_is_known() -> None:
    assert survey([]) == Survey()
