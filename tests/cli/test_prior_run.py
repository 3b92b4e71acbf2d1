"""Which run may be gone on with."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from multirsh.cli.options import JournalOptions
from multirsh.cli.prior_run import PriorRun
from multirsh.cli.syntax import Rerun
from multirsh.errors import UsageError
from multirsh.journal import Journal
from tests.journal.records import keep, whole

FIRST, SECOND = "20261121T154000-abc123", "20261121T154001-abd456"


def asked(
    *, resume: str | None = None, rerun: Rerun | None = None, no_journal: bool = False
) -> JournalOptions:
    return JournalOptions(
        no_journal=no_journal, journal_output=1, journal_size=1, journal_days=1, resume=resume, rerun=rerun
    )


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return Journal()


def test_a_run_is_gone_on_with_once_and_then_the_one_that_did_so(journal: Journal) -> None:
    keep(journal, whole(FIRST, "a")[:2])
    keep(journal, whole(SECOND, "a"), plan={"resumes": FIRST, "hosts": ["a"]})
    with pytest.raises(UsageError, match=f"{FIRST} was already resumed by {SECOND}.*--resume {SECOND}"):
        PriorRun.find(asked(resume=FIRST))
    assert PriorRun.find(asked(resume=SECOND)) is not None
    assert PriorRun.find(asked(rerun=Rerun("unknown", FIRST))) is not None


def test_one_at_a_time_goes_on_with_a_run(journal: Journal) -> None:
    keep(journal, whole(FIRST, "a")[:2])
    first = PriorRun.find(asked(resume=FIRST))
    assert first is not None
    with pytest.raises(UsageError, match=f"another process is resuming {FIRST} now"):
        PriorRun.find(asked(resume=FIRST))
    del first
    assert PriorRun.find(asked(resume=FIRST)) is not None
    assert [entry.run for entry in journal.runs()] == [FIRST]


def test_what_is_not_recorded_is_not_gone_on_with(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(journal, whole(FIRST, "a")[:2])
    with pytest.raises(UsageError, match="--resume and --no-journal exclude each other"):
        PriorRun.find(asked(resume=FIRST, no_journal=True))

    def refused(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("multirsh.journal.resuming.fcntl.flock", refused)
    with pytest.raises(UsageError, match=r"cannot be recorded in .*: Read-only file system"):
        PriorRun.find(asked(resume=FIRST))
