"""``--report``: a page of the run, whatever becomes of it."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from multirsh.cli.report_file import ReportFile
from multirsh.errors import UsageError
from multirsh.events import Event
from multirsh.journal import Journal
from multirsh.model import Status
from tests.end_to_end.test_json import events_of
from tests.journal import records
from tests.journal.records import keep, started
from tests.output.events import host_finished, host_started, run_finished, run_started
from tests.program import Ended, Program, ended
from tests.waiting import wait_until

LOCAL = ("-w", "web[1-3]", "-R", "local", "--report", "report.html")

EVENTS: tuple[Event, ...] = (
    run_started("a"),
    host_started("a"),
    host_finished("a"),
    run_finished({Status.OK: 1}),
)


def page_in(folder: Path) -> str:
    (file,) = [path for path in folder.iterdir() if "report" in path.name]  # nothing half-done beside it
    return file.read_text(encoding="utf-8")


def steady(page: str) -> str:
    """The page without times: a record has microseconds, and the clock is read anew for each of the two."""
    without = re.sub(r"\d\d UTC|\d+(\.\d)? m?s\b", "", page)
    return re.sub(r"(?<=[\[,:])\d+\.\d+(e-\d+)?", "N", without)


def saved(path: Path) -> str | None:
    report = ReportFile(path)
    for event in EVENTS:
        report.feed(event)
    return report.save()


def test_the_page_is_of_the_run(multirsh: Program) -> None:
    ended = multirsh(*LOCAL, "--json", "echo '<b>hello</b>'; exit 3")
    (last,) = [row for row in events_of(ended.out) if row["event"] == "run_finished"]
    page = page_in(multirsh.home)
    assert (ended.code, last["counts"]) == (5, {"failed": 3})
    assert "<title>0 of 3 ok: echo &#x27;&lt;b&gt;hello&lt;/b&gt;&#x27;; exit 3</title>" in page
    assert "\n&lt;b&gt;hello&lt;/b&gt;\n</pre>" in page
    assert re.search(r"<li>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC</li>", page)


def test_of_a_record_without_the_runs_beginning_there_is_no_page(multirsh: Program) -> None:
    folder = multirsh.home / ".local" / "state" / "multirsh" / "runs"
    keep(Journal(folder), [started("20261121T163000-c0ffee", "a")])
    (record,) = folder.glob("2*.ndjson")
    record.write_bytes(record.read_bytes().splitlines(keepends=True)[0])
    refused = multirsh("runs", "report", "c0ffee", "report.html")
    assert (refused.code, refused.out) == (2, "")
    assert "c0ffee: the beginning of the run is not in its record" in refused.err
    assert not (multirsh.home / "report.html").exists()


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("nowhere/report.html", "the report cannot be written to nowhere/report.html: No such file"),
        (".", "the report cannot be written to .: that is no regular file"),
        ("-", "a report is a file of its own, and - is stdout"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is_run(
    multirsh: Program, path: str, why: str
) -> None:
    ended = multirsh(*LOCAL[:-1], path, "touch", multirsh.home / "has-run")
    assert ended.code == 2
    assert ended.err.startswith(f"multirsh: {why}")
    assert "such as report.html" in ended.err
    assert not (multirsh.home / "has-run").exists()


def test_what_cannot_be_written_in_the_end_is_1(multirsh: Program) -> None:
    (multirsh.home / "out").mkdir()
    ended = multirsh(*LOCAL[:-1], "out/report.html", "rm", "-rf", multirsh.home / "out")
    assert ended.code == 1
    assert ended.err.splitlines()[-1].endswith("/out/report.html: No such file or directory")
    assert "3 hosts: 3 ok" in ended.err


def test_of_a_run_that_is_stopped_there_is_a_page(multirsh: Program) -> None:
    running = multirsh.home / "running"
    process = multirsh.start(*LOCAL, f"echo x >>{running}; exec sleep 60")
    wait_until(lambda: running.exists() and running.read_text() == "x\n" * 3, what="three commands")
    process.send_signal(signal.SIGTERM)
    assert ended(process).code == 128 + signal.SIGTERM
    assert "<b>3</b> cancelled" in page_in(multirsh.home)


def test_without_a_run_there_is_no_page(multirsh: Program) -> None:
    ended = multirsh("-w", "web1", "-R", "nonsense", "--report", "report.html", "true")
    assert ended.code == 2
    assert not (multirsh.home / "report.html").exists()


def test_a_recorded_run_has_the_page_that_it_would_have_had(multirsh: Program) -> None:
    assert multirsh(*LOCAL, "echo hello; exit 3").code == 5
    during = page_in(multirsh.home)

    assert multirsh("runs", "report", "last", "report.html") == Ended(0, "", "")

    again = page_in(multirsh.home)
    assert steady(again) == steady(during)


def test_of_a_record_that_broke_off_there_is_a_page(multirsh: Program) -> None:
    journal = Journal(multirsh.home / ".local" / "state" / "multirsh" / "runs")
    name = "20261121T163000-c0ffee"
    keep(
        journal,
        [started(name, "a", "b"), records.host_started(name, "a"), records.output(name, "a", b"half\n")],
    )

    assert multirsh("runs", "report", "c0ffee", "report.html").code == 0

    page = page_in(multirsh.home)
    assert "No end of this run is recorded" in page
    assert "<b>1</b> lost" in page
    assert "half" in page
    refused = multirsh("runs", "report", "c0ffee", "nowhere/report.html")
    assert (refused.code, "nowhere/report.html: No such file" in refused.err) == (2, True)


def test_a_page_of_an_earlier_run_is_replaced_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    real, link = tmp_path / "report.html", tmp_path / "link"
    real.write_text("earlier")
    real.chmod(0o604)
    link.symlink_to(real)
    opened = real.open(encoding="utf-8")

    assert saved(link) is None

    assert link.is_symlink()
    assert "1 of 1 ok" in real.read_text(encoding="utf-8")
    assert real.stat().st_mode & 0o777 == 0o604
    with opened:
        assert opened.read() == "earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "report.html"]


@pytest.mark.root
def test_a_link_that_another_user_has_left_is_not_followed(tmp_path: Path) -> None:
    folder, ours = tmp_path / "shared", tmp_path / "ours"
    folder.mkdir()
    ours.write_text("of ours")
    (folder / "report.html").symlink_to(ours)
    (folder / "by-ours").symlink_to("report.html")
    os.chown(folder / "report.html", 4242, -1, follow_symlinks=False)
    for name in ("report.html", "by-ours"):
        with pytest.raises(UsageError, match="another user has left it there"):
            saved(folder / name)
    assert ours.read_text() == "of ours"


@pytest.mark.root
def test_the_mode_of_a_file_that_another_user_has_left_is_not_taken_over(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.touch()
    page.chmod(0o666)
    os.chown(page, 4242, -1)
    assert saved(page) is None
    assert (page.stat().st_mode & 0o777, page.stat().st_uid) == (0o666 & ~umask(), os.geteuid())


def test_links_that_lead_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(UsageError, match="Too many levels of symbolic links"):
        saved(tmp_path / "a")


def umask() -> int:
    before = os.umask(0o022)
    os.umask(before)
    return before


def test_a_new_page_has_the_mode_of_the_users_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        assert saved(tmp_path / "report.html") is None
    finally:
        os.umask(before)
    assert (tmp_path / "report.html").stat().st_mode & 0o777 == 0o640


def test_an_earlier_page_stays_where_the_new_one_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("earlier")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert saved(path) == f"multirsh: the report cannot be written to {path}: No space left on device"
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text() == "earlier"


def test_a_pipe_is_no_place_for_a_page(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="no regular file"):
        ReportFile(tmp_path / "pipe")
