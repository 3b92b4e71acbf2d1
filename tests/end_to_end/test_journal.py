"""The journal of the command line: what is kept, what never is, and runs that take up an earlier one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import click
import pytest

from multirsh.cli.main import main
from multirsh.cli.run import run
from multirsh.cli.syntax import KINDS, rerun, with_values_attached
from multirsh.journal import Journal, RunState, RunSummary
from multirsh.journal.resuming import Standing
from multirsh.model import Status
from tests.journal.records import keep, whole
from tests.program import MULTIRSH, Program
from tests.servers.mounts import own_mounts
from tests.waiting import HANG_GUARD_S, wait_until

Here: TypeAlias = Callable[..., tuple[object, str, str]]

CANARY = "canary-9d41"
WORKS = 'echo "$MULTIRSH_HOST" >> begun; [ "$MULTIRSH_HOST" != b ]'
ON = ("-R", "local", "-w", "a,b,c")


@pytest.fixture
def user(multirsh: Program) -> Program:
    """Somebody whose state is in the usual place, and whose hosts are all this machine."""
    (multirsh.home / "begun").touch()
    return multirsh


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Somebody whose one run failed on b, and was ok on a and c."""
    user = Program(tmp_path_factory.mktemp("recorded"))
    assert user(*ON, WORKS).code == 5
    return user


@pytest.fixture
def here(recorded: Program, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Here:
    """The program of ``recorded`` in this process: for what ends before anything is run."""
    for name in [name for name in os.environ if name.startswith("XDG_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(recorded.home))
    monkeypatch.chdir(recorded.home)

    def program(*args: str) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as end:
            main(args)
        return (end.value.code, *capfd.readouterr())

    return program


def journal_of(user: Program) -> Journal:
    return Journal(user.home / ".local/state/multirsh/runs")


def last(user: Program) -> RunSummary:
    return journal_of(user).find()


def begun(user: Program) -> list[str]:
    return sorted((user.home / "begun").read_text().split())


def test_a_run_leaves_the_events_that_json_shows(user: Program) -> None:
    ended = user(*ON, "--json", WORKS)
    assert ended.code == 5
    entry = last(user)
    assert (entry.state, entry.exit_code, entry.command, entry.hosts) == (RunState.FINISHED, 5, WORKS, 3)
    assert entry.counts == {Status.OK: 2, Status.FAILED: 1}
    shown = [json.loads(line) for line in ended.out.splitlines()]
    first, *rows = journal_of(user).rows(entry)
    assert first["event"] == "record"
    assert rows == shown


def test_no_journal_leaves_nothing(user: Program) -> None:
    assert user(*ON, "--no-journal", "true").code == 0
    assert user(*ON, "true", env={"MULTIRSH_NO_JOURNAL": "1"}).code == 0
    assert not (user.home / ".local").exists()


def test_without_a_home_it_says_so_once_and_runs(user: Program) -> None:
    ended = user(*ON, "true", env={"HOME": "", "XDG_STATE_HOME": "relative"})
    assert ended.code == 0
    assert ended.err.count("the run is not recorded: there is no home folder") == 1


def test_no_value_of_env_and_no_password_is_in_a_record(user: Program) -> None:
    user.write("secret", f"{CANARY}\n", mode=0o600)
    given = ("--env", f"TOKEN={CANARY}", "--password-file", "secret", "--sudo")
    user(*ON, *given, "true")
    user("-w", "nowhere.invalid", *given, "true")
    assert len(journal_of(user).runs()) == 2
    kept = [path for path in (user.home / ".local").rglob("*") if path.is_file()]
    assert kept
    assert all(CANARY.encode() not in path.read_bytes() for path in kept)
    assert journal_of(user).plan(last(user))["env"] == ["TOKEN"]


def test_limits_of_output_and_of_records(user: Program) -> None:
    for _ in range(2):
        ended = user("-R", "local", "-w", "a", "--journal-output", "1K", "-q", "seq 100; seq 2000")
        assert (ended.code, len(ended.out.splitlines())) == (0, 2100)
    (row,) = [row for row in journal_of(user).rows(last(user)) if row["event"] == "left_out"]
    assert row["host"] == "a"
    before = {entry.run for entry in journal_of(user).runs()}
    assert user("-R", "local", "-w", "a", "--journal-size", "1", "-q", "true").code == 0
    assert before.isdisjoint(entry.run for entry in journal_of(user).runs())


# Where no record can be kept.


def in_a_state_folder(user: Program, mount: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run it where the state folder is mounted so, for it alone."""
    state = user.home / "state"
    state.mkdir()
    setup = f'mount -t tmpfs {mount} tmpfs "$0" && exec "$@"'
    return subprocess.run(
        [*own_mounts(), "sh", "-c", setup, str(state), *MULTIRSH, *args],
        capture_output=True,
        text=True,
        cwd=user.home,
        env={**user.environ, "XDG_STATE_HOME": str(state)},
        timeout=HANG_GUARD_S,
        check=False,
    )


@pytest.mark.root
@pytest.mark.parametrize(
    ("mount", "words"),
    [("-o ro", "Read-only file system"), ("-o size=16k", "No space left on device")],
)
def test_a_state_folder_that_cannot_be_written_is_one_warning_and_the_run_goes_on(
    user: Program, mount: str, words: str
) -> None:
    ended = in_a_state_folder(user, mount, *ON, f"{WORKS}; seq 8000; exit 0")
    assert ended.returncode == 0
    assert len(ended.stdout.splitlines()) == 3 * 8000
    assert begun(user) == ["a", "b", "c"]
    (warning,) = [line for line in ended.stderr.splitlines() if "recorded" in line]
    assert re.fullmatch(rf"multirsh: the run is not recorded any further: \S+: {words}; it goes on", warning)


# PriorRun.


@pytest.mark.parametrize(
    ("line", "settled"),
    [
        ("--rerun failed uptime", "--rerun=failed uptime"),
        ("--rerun failed 20261121 uptime", "--rerun=failed+20261121 uptime"),
        ("--rerun ok 20261121T154000-abc123", "--rerun=ok+20261121T154000-abc123"),
        ("-q --rerun=ok 20261121T15 df", "-q --rerun=ok+20261121T15 df"),
        ("--rerun failed last", "--rerun=failed+last"),
        ("--rerun failed -- last", "--rerun=failed -- last"),
        ("--rerun failed df -h", "--rerun=failed df -h"),
        ("--rerun failed facade x", "--rerun=failed facade x"),
        ("--rerun failed abc123 x", "--rerun=failed+abc123 x"),
        ("--rerun", "--rerun"),
        ("uptime --rerun failed 20261121", "uptime --rerun failed 20261121"),
    ],
)
def test_the_word_after_which_is_the_run_if_it_looks_like_one_or_is_one(
    line: str, settled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    keep(Journal(), whole("20261121T154000-abc123", "web1"))
    assert with_values_attached(line.split(), run) == [word.replace("+", " ") for word in settled.split()]


@pytest.mark.parametrize("word", ["xyzzy", "unreachble", ""])
def test_which_is_one_of_five(word: str) -> None:
    with pytest.raises(click.BadParameter, match="unreachable"):
        rerun(word)
    assert set(KINDS) == {which.value for which in Standing}


def test_rerun_takes_the_command_and_the_hosts_that_ended_so(user: Program) -> None:
    user(*ON, WORKS)
    ended = user("-R", "local", "--rerun", "failed")
    assert ended.code == 5
    assert begun(user) == ["a", "b", "b", "c"]
    assert "1 host of " in ended.err
    first = journal_of(user).runs()[-1].run
    user("-R", "local", "--rerun", "ok", first, "echo again >> begun")
    assert begun(user).count("again") == 2
    assert journal_of(user).plan(last(user))["reruns"] == first


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--rerun", "unreachable"), "no host of .* was unreachable; failed 1, ok 2"),
        (("-w", "a", "--rerun", "failed"), "no selected host of .* was failed; failed 1, ok 2"),
        (("--rerun", "ok", "20200101"), "no run is called '20200101'; the last is "),
        (("--rerun", "ok", "--resume", "last"), "use one of them"),
        (
            ("-w", "a,b,c,d", "--resume", "last", WORKS),
            "d is not in the run .*; for hosts that",
        ),
        (("--resume", "last", "true"), "the command: echo .* before, true now"),
        (
            ("--stdin-file", "begun", "--resume", "last"),
            r"standard input: none before, sha256 [0-9a-f]{64} now",
        ),
    ],
)
def test_what_cannot_be_taken_up_is_2_and_says_why(
    recorded: Program, here: Here, args: tuple[str, ...], words: str
) -> None:
    code, out, err = here("-R", "local", *args)
    assert (code, out) == (2, "")
    assert re.search(words, err), err
    assert len(begun(recorded)) == 3


def test_nothing_left_to_do_ends_as_what_was_done(recorded: Program, here: Here) -> None:
    code, _, err = here("-R", "local", "--resume", "last")
    assert code == 5
    assert re.search("nothing remains of .*: failed 1, ok 2", err)
    assert len(begun(recorded)) == 3


def test_a_run_that_was_stopped_is_gone_on_with_and_counts_what_was_done(user: Program) -> None:
    user.write("hosts", "a\nb\nc\nd\n")
    loops = "touch waits; while [ ! -e go ]; do sleep 0.05; done; exit"
    waits = f'if [ "$MULTIRSH_HOST" = b ] && [ ! -e go ]; then {loops}; fi; {WORKS}'
    process = user.start("-R", "local", "-f", "hosts", "-w", "b,a,c", "-j", "1", "--json", waits)
    wait_until((user.home / "waits").exists, what="the command on b")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (user.home / "go").touch()

    refused = user("-R", "local", "-f", "hosts", "--resume", "last")
    assert refused.code == 2
    assert "the command may have begun on 1 host, with an unknown result: b" in refused.err
    resumed = user("-R", "local", "-f", "hosts", "--resume", "last", "--retry-command")
    assert resumed.code == 5
    assert re.search("resuming .*: notrun 1, unknown 1, ok 1; now 2 hosts", resumed.err)
    assert begun(user) == ["a", "b", "c"]
    assert journal_of(user).plan(last(user))["hosts"] == ["a", "b", "c"]
    assert last(user).resumes == journal_of(user).runs()[-1].run


def said_until_started(process: subprocess.Popen[bytes], host: str) -> None:
    """Read its events until a host is started."""
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "host_started" and event["host"] == host:
            return


def test_a_run_that_goes_on_is_not_gone_on_with(user: Program) -> None:
    process = user.start("-R", "local", "-w", "a", "--json", "sleep 60")
    said_until_started(process, "a")
    ended = user("-R", "local", "--resume", "last")
    assert ended.code == 2
    assert "is still running; wait until it has ended" in ended.err
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert last(user).exit_code == 143


def test_a_script_and_its_input_are_known_by_their_content(user: Program) -> None:
    script = user.write("job.sh", "cat >> begun; exit 3\n")
    data = user.write("data", "x\n")
    assert user("script", *ON, "--stdin-file=data", "-j", "1", "-k", "job.sh").code in {5, 6}
    ended = user("script", "-R", "local", "--stdin-file=data", "--resume", "last", "job.sh")
    assert "resuming" in ended.err
    script.write_text("cat; exit 0\n")
    data.write_text("y\n")
    ended = user("script", "-R", "local", "--stdin-file=data", "--resume", "last", "job.sh")
    assert ended.code == 2
    assert "the script's content has changed; standard input: sha256" in ended.err
    ended = user("-R", "local", "--resume", "last")
    assert "did not run a command: job.sh" in ended.err
