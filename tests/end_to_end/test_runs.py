"""``multirsh runs``, from the outside: on records that are there, at a terminal, in a pipe."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from multirsh.events import Copied, Event
from multirsh.journal import Journal, Recorder
from multirsh.journal.record import format_time
from multirsh.model import Status
from tests.journal.records import finished, host_finished, host_started, keep, output, started
from tests.program import ROOT, Program
from tests.servers.ports import free_port
from tests.terminal import Terminal
from tests.waiting import HANG_GUARD_S

HOSTS = [f"web{number:02}" for number in range(1, 13)]
FIRST, SECOND, BROKEN = "20261120T163000-7f3a21", "20261121T163000-c0ffee", "20261121T170000-bad123"


def run(
    name: str, release: int, *, failed: tuple[str, ...] = (), breaks_in: str | None = None
) -> list[Event]:
    """A run of ``cat /etc/release``; where it breaks, that host has begun."""
    events: list[Event] = [started(name, *HOSTS, command="cat /etc/release")]
    for host in HOSTS:
        events += [host_started(name, host), output(name, host, b"release %d\n" % release)]
        if host == breaks_in:
            return events
        if host in failed:
            events.append(replace(output(name, host, b"disk full\n"), stream="stderr"))
        events.append(host_finished(name, host, Status.FAILED if host in failed else Status.OK))
    counts = {Status.OK: len(HOSTS) - len(failed), Status.FAILED: len(failed)}
    return [*events, finished(name, counts, exit_code=5 if failed else 0)]


def folder_of(multirsh: Program) -> Path:
    return multirsh.home / ".local" / "state" / "multirsh" / "runs"


@pytest.fixture
def journal(multirsh: Program) -> Journal:
    """Three runs: all is well; another release, and web03 failed; one that broke."""
    journal = Journal(folder_of(multirsh))
    keep(journal, run(FIRST, 41))
    keep(journal, run(SECOND, 42, failed=("web03",)))
    keep(journal, run(BROKEN, 42, breaks_in="web05"))
    _begin_a_minute_apart(journal)
    return journal


def _begin_a_minute_apart(journal: Journal) -> None:
    """By the clock they began within milliseconds; their order is to be certain."""
    for minutes_ago, name in enumerate((BROKEN, SECOND, FIRST), 1):
        path = journal.folder / f"{name}.ndjson"
        began = format_time(time.time() - 60 * minutes_ago)
        path.write_text(re.sub(r'"began":"[^"]*"', f'"began":"{began}"', path.read_text(), count=1))
    (journal.folder / "index.ndjson").unlink()


# ---------------------------------------------------------------- the list


def test_where_nothing_is_recorded_nothing_is_listed(multirsh: Program) -> None:
    ended = multirsh("runs")
    assert (ended.code, ended.out, ended.err) == (0, "", "no run is recorded yet\n")
    assert not folder_of(multirsh).exists()


def test_a_folder_that_cannot_be_read_is_not_taken_for_an_empty_one(multirsh: Program) -> None:
    multirsh.write(".local/state/multirsh/runs", "no folder")
    ended = multirsh("runs")
    assert (ended.code, ended.out) == (2, "")
    assert "multirsh/runs cannot be read: Not a directory" in ended.err


def test_runs_are_listed_newest_first(multirsh: Program, journal: Journal) -> None:
    ended = multirsh("runs")
    assert (ended.code, ended.err) == (0, "")
    head, *lines = ended.out.splitlines()
    assert head.split() == ["run", "began", "took", "hosts", "exit", "command"]
    assert [line[:6] for line in lines] == ["bad123", "c0ffee", "7f3a21"]
    assert lines[1].endswith("2.0 s  11 ok, 1 failed  5       cat /etc/release")
    assert [json.loads(line)["run"] for line in multirsh("runs", "--json", "-n2").out.splitlines()] == [
        BROKEN,
        SECOND,
    ]


def test_at_a_terminal_the_list_is_no_longer_than_it(multirsh: Program) -> None:
    journal = Journal(folder_of(multirsh))
    for number in range(40):
        keep(journal, run(f"20261121T163000-{number:06}", 41))
    with Terminal(multirsh) as terminal:
        terminal.run("multirsh runs")
        shown = terminal.expect(r"and 20 older runs; -n 0 lists all")
        assert shown.count("cat /etc/release") == 20
        terminal.run("multirsh runs -n 0 | wc -l")
        terminal.expect(r"^41\b")


def test_a_reader_that_has_enough_is_no_error(multirsh: Program, journal: Journal) -> None:
    ended = multirsh.shell("multirsh runs | head -n 1; echo ${PIPESTATUS[0]}")
    assert ended.err == ""
    assert ended.out.splitlines()[0].startswith("run ")
    shown = multirsh.shell("multirsh runs show last --json >/dev/full; echo $?")
    assert shown.out == "1\n"
    assert "standard output: No space left on device" in shown.err


# ---------------------------------------------------------------- one run


def test_the_last_run_is_told_once_more(multirsh: Program, journal: Journal) -> None:
    ended = multirsh("runs", "show", "c0ffee")
    assert ended.code == 0
    assert ended.out == (
        "---- web[01-02,04-12] (11)\nrelease 42\n---- web03 (1, exit 1)\nrelease 42\ndisk full\n"
    )
    assert ended.err.splitlines()[1:] == [
        "command: cat /etc/release",
        "12 hosts, 64 at once, by multirsh 0.1.0",
        "12 hosts: 11 ok, 1 failed in 2.0 s",
        "failed (exit 1): web03",
        "local ports: 1 at once, 12 closed by the remote, in TIME_WAIT 0",
    ]


def test_hosts_are_chosen_by_name_and_by_status(multirsh: Program, journal: Journal) -> None:
    failed = multirsh("runs", "show", "--status", "failed", "c0ffee")
    assert failed.out == "---- web03 (1, exit 1)\nrelease 42\ndisk full\n"
    assert "1 host: 1 failed in 2.0 s" in failed.err
    some = multirsh("runs", "show", "-L", "-q", "c0ffee", "web[02-03]", "web12")
    assert some.out == (
        "---- web02\nrelease 42\n---- web03 (exit 1)\nrelease 42\ndisk full\n---- web12\nrelease 42\n"
    )
    assert some.err == "failed (exit 1): web03\n"
    none = multirsh("runs", "show", "--status", "not-ok", "7f3a21")
    assert (none.code, none.out) == (2, "")
    assert "no host of the run has such a status" in none.err
    unknown = multirsh("runs", "show", "c0ffee", "wb03")
    assert (unknown.code, unknown.out) == (2, "")
    assert "did you mean web03?" in unknown.err


def test_a_run_that_broke_tells_who_is_in_doubt(multirsh: Program, journal: Journal) -> None:
    ended = multirsh("runs", "show")
    assert ended.out == "---- web[01-04] (4)\nrelease 42\n---- web05 (1, lost)\nrelease 42\n"
    assert ended.err.splitlines()[3:] == [
        "the record breaks off: 4 ok of 12; --resume bad123 continues it",
        "lost (stopped): web05",
        "  the record ends before it did; its command may have run",
        "not run: web[06-12]",
    ]
    assert multirsh("runs", "show", "--status=lost,not-run", "-q").out == "---- web05 (1, lost)\nrelease 42\n"


def test_a_run_that_goes_on_is_told_as_far_as_it_is(multirsh: Program) -> None:
    journal = Journal(folder_of(multirsh))
    recorder = Recorder(journal)
    *before, last = run(FIRST, 41)[:8]
    for event in before:
        recorder.record(event)
    ticket = recorder.record(last)
    assert ticket is not None
    ticket.result(timeout=HANG_GUARD_S)
    ended = multirsh("runs", "show")
    assert ended.out == "---- web[01-02] (2)\nrelease 41\n"
    assert "it is still running: 2 ok of 12 so far" in ended.err
    assert "running" in multirsh("runs").out
    assert multirsh("runs", "prune", "--keep", "0").err == "0 records deleted, 0 B; 1 left\n"
    closing = recorder.close()
    assert closing is not None
    closing.result(timeout=HANG_GUARD_S)


def test_as_json_it_is_the_record(multirsh: Program, journal: Journal) -> None:
    lines = multirsh("runs", "show", "--json", "c0ffee").out.splitlines()
    assert [json.loads(line) for line in lines] == [
        event.to_dict() for event in run(SECOND, 42, failed=("web03",))
    ]
    one = [
        json.loads(line) for line in multirsh("runs", "show", "--json", "bad123", "web05").out.splitlines()
    ]
    assert [row["event"] for row in one] == ["run_started", "host_started", "stdout"]


def test_output_that_was_too_much_is_told(multirsh: Program) -> None:
    keep(Journal(folder_of(multirsh)), run(FIRST, 41), output_bytes=100)
    assert (
        "the output of these hosts was too long to be kept in full: web[02-12]"
        in multirsh("runs", "show").err
    )
    assert "too much" not in multirsh("runs", "show", "last", "web01").err


def test_a_run_that_went_on_with_another_names_it(multirsh: Program) -> None:
    broken = [event for event in run(FIRST, 41, breaks_in="web05") if event.name != "stdout"]
    journal = Journal(folder_of(multirsh))
    keep(journal, broken, plan={"kind": "run", "command": "true", "hosts": HOSTS})
    done = {"resumes": FIRST, "before": {"ok": HOSTS[:4]}, "hosts": HOSTS}
    keep(journal, run(SECOND, 42), plan=done)
    assert f"it resumes run {FIRST}: 4 hosts done before" in multirsh("runs", "show", "c0ffee").err
    compared = multirsh("runs", "diff", "7f3a21", "c0ffee").err
    assert compared == f"multirsh: {SECOND} resumes {FIRST}; hosts that were done there are not compared\n"


def test_files_that_were_not_copied_are_told(multirsh: Program) -> None:
    failed = Copied(run=FIRST, t=0.1, host="db1", path="/srv/a", size=0, via="sftp", error="no room")
    went = replace(failed, run=SECOND, error=None)
    for name, event, status in ((FIRST, failed, Status.FAILED), (SECOND, went, Status.OK)):
        begun = started(name, "db1", command="push a to /srv"), host_started(name, "db1")
        ended = host_finished(name, "db1", status), finished(name, {status: 1})
        keep(Journal(folder_of(multirsh)), [*begun, event, *ended])
    assert multirsh("runs", "show", "7f3a21").out == "---- db1 (1, exit 1)\n/srv/a: no room\n"
    changed = multirsh("runs", "diff", "7f3a21", "c0ffee").out
    assert changed.splitlines()[2:] == [
        "---- db1 (1, was exit 1, now ok)",
        "stderr:",
        "@@ -1 +0,0 @@",
        "-/srv/a: no room",
        "0 hosts did the same, 1 changed",
    ]


def test_a_real_run_is_there_when_it_is_over(multirsh: Program) -> None:
    command = "echo of $MULTIRSH_LAB_HOST; test $MULTIRSH_LAB_HOST != db2"
    lived = multirsh("lab", "--lab-port", str(free_port(None)), "-B", command)
    told = multirsh("runs", "show")
    assert told.out == lived.out
    assert told.err.splitlines()[3:] == lived.err.splitlines()
    listed = multirsh("runs", "--json").out
    assert (json.loads(listed)["command"], json.loads(listed)["exit_code"]) == (command, 5)


# ---------------------------------------------------------------- two runs


def test_what_changed_is_folded_and_told_by_the_exit_code(multirsh: Program, journal: Journal) -> None:
    ended = multirsh("runs", "diff", "7f3a21", "c0ffee")
    assert (ended.code, ended.err) == (5, "")
    first, second, *rest = ended.out.splitlines()
    assert re.fullmatch(r"--- 7f3a21 \S+ \S+ cat /etc/release", first)
    assert re.fullmatch(r"\+\+\+ c0ffee \S+ \S+ cat /etc/release", second)
    assert rest == [
        "---- web[01-02,04-12] (11)",
        "@@ -1 +1 @@",
        "-release 41",
        "+release 42",
        "---- web03 (1, was ok, now exit 1)",
        "@@ -1 +1 @@",
        "-release 41",
        "+release 42",
        "stderr:",
        "@@ -0,0 +1 @@",
        "+disk full",
        "0 hosts did the same, 12 changed",
    ]
    same = multirsh("runs", "diff", "--normalize", r"/\d+/", "7f3a21", "c0ffee", "web0[1-2]")
    assert (same.code, same.out.splitlines()[2:]) == (0, ["2 hosts did the same, 0 changed"])


def test_the_last_run_is_what_an_earlier_one_is_compared_with(multirsh: Program, journal: Journal) -> None:
    ended = multirsh("runs", "diff", "--json", "c0ffee")
    rows = [json.loads(line) for line in ended.out.splitlines()]
    assert ended.code == 5
    assert rows[0] == {"kind": "runs", "before": SECOND, "after": BROKEN}
    assert [(row["kind"], row["hosts"]) for row in rows[1:]] == [
        ("changed", HOSTS[5:]),
        ("changed", ["web03"]),
        ("changed", ["web05"]),
        ("same", ["web01", "web02", "web04"]),
    ]
    assert rows[1]["after"]["status"] == "not_run"


def test_differences_are_coloured(multirsh: Program, journal: Journal) -> None:
    text = multirsh("runs", "diff", "--color", "always", "7f3a21", "c0ffee").out
    assert "\x1b[31m-release 41\x1b[0m\n\x1b[32m+release 42\x1b[0m\n" in text


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["show", "nosuch"], "no run is called 'nosuch'"),
        (
            ["diff", "last", "bad123"],
            "last and bad123 are the same run; name another one; see 'multirsh runs'",
        ),
        (["diff"], "missing argument 'RUN'; see multirsh runs diff --help"),
        (["show", "--status", "faild"], "--status: 'faild' is not a status; did you mean failed?"),
        (["show", "--json", "--diff"], "--diff and --json exclude each other; use one of them"),
        (["-n", "5", "show"], "--newest is an option of the list of runs; options of show follow its name"),
        (["prune", "--older-than", "x"], "--older-than: 'x' is not a number of days"),
        (["shw"], "no such command 'shw'"),
    ],
)
def test_what_cannot_be_meant_is_told_on_one_line(
    multirsh: Program, journal: Journal, words: list[str], complaint: str
) -> None:
    ended = multirsh("runs", *words)
    assert (ended.code, ended.out) == (2, "")
    assert complaint in ended.err
    assert len(ended.err.splitlines()) == 1


# ---------------------------------------------------------------- records that go


def test_records_are_deleted_and_listed(multirsh: Program, journal: Journal) -> None:
    trial = multirsh("runs", "prune", "--keep", "1", "--dry-run")
    assert [line[:6] for line in trial.out.splitlines()[1:]] == ["c0ffee", "7f3a21"]
    assert re.fullmatch(r"2 records would be deleted, 1\d kB; 1 left\n", trial.err)
    assert len(multirsh("runs", "--json").out.splitlines()) == 3

    done = multirsh("runs", "prune", "--keep", "1")
    assert done.out == trial.out
    assert done.err == trial.err.replace("would be deleted", "deleted")
    assert [json.loads(line)["run"] for line in multirsh("runs", "--json").out.splitlines()] == [BROKEN]
    assert {path.name for path in journal.folder.iterdir()} == {f"{BROKEN}.ndjson", "index.ndjson"}


def test_without_limits_the_usual_ones_hold(multirsh: Program, journal: Journal) -> None:
    ended = multirsh("runs", "prune")
    assert (ended.code, ended.out, ended.err) == (0, "", "0 records deleted, 0 B; 3 left\n")
    small = multirsh("runs", "prune", "--dry-run", env={"MULTIRSH_JOURNAL_SIZE": "3K"})
    assert small.err.endswith("; 1 left\n")
    assert multirsh("runs", "prune", "--older-than", "0").err.endswith("; 0 left\n")


def test_what_config_toml_says_holds_for_the_subcommands_too(multirsh: Program, journal: Journal) -> None:
    multirsh.write(".config/multirsh/config.toml", 'color = "always"\nquiet = true\ngather = true\n')
    assert "\x1b[36m---- " in multirsh("runs", "show", "c0ffee").out
    assert multirsh("runs", "show", "c0ffee").err == "\x1b[31mfailed (exit 1)\x1b[0m: web03\n"


def test_what_the_page_shows_is_what_is_printed(multirsh: Program, journal: Journal) -> None:
    """Times may differ."""
    page = (ROOT / "docs" / "runs.md").read_text()
    examples = re.findall(r"^\$ (multirsh runs.*)\n((?:[^$`].*\n)*)```", page, re.MULTILINE)
    assert len([shown for _, shown in examples if shown]) == 3
    for typed, shown in examples:
        printed = multirsh.shell(f"{typed} 2>&1").out
        if shown:
            assert sorted(map(_steady, printed.splitlines())) == sorted(map(_steady, shown.splitlines()))


def _steady(line: str) -> str:
    line = re.sub(r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d", "TIME", line)
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", line)
