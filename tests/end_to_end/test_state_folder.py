"""A state folder that does not answer, or is not the user's: the run goes on, and one line says so."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from multirsh.journal import Journal
from tests.end_to_end.remotes import Remotes
from tests.program import Program, ended
from tests.waiting import wait_until

ON = ("-R", "local", "-w", "a,b")

NO_ANSWER = '''
"""No open of a file in the state folder returns, as on a hard mount whose server is away (nfs(5))."""

import os
import threading

import multirsh.engine.emitter
import multirsh.journal.state_folder

open_really = os.open


def open_or_wait(path, flags, mode=0o777, *, dir_fd=None):
    if isinstance(path, str | os.PathLike) and "multirsh/runs/" in os.fspath(path):
        open_really(os.environ["HOME"] + "/waits", os.O_CREAT)
        threading.Event().wait()
    return open_really(path, flags, mode, dir_fd=dir_fd)


os.open = open_or_wait
multirsh.journal.state_folder.CALL_TIMEOUT_S = float(os.environ.get("PATIENCE", "1000"))
multirsh.engine.emitter.PATIENCE_S = float(os.environ.get("PATIENCE", "1000"))
'''


@pytest.fixture
def without_answer(multirsh: Program) -> Program:
    """A user whose state folder does not answer."""
    multirsh.write("site/sitecustomize.py", NO_ANSWER)
    multirsh.environ["PYTHONPATH"] = f"{multirsh.home}/site:{multirsh.environ['PYTHONPATH']}"
    return multirsh


def test_the_run_goes_on_without_a_record(without_answer: Program) -> None:
    done = without_answer(*ON, "echo up", env={"PATIENCE": "0.5"})
    assert (done.code, sorted(done.out.splitlines())) == (0, ["a: up", "b: up"])
    assert done.err.count("the run is not recorded any further: ") == 1
    assert "multirsh/runs: no answer within 0.5 s; it goes on" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("args", "number", "code"), [(("--deadline", "1"), None, 3), ((), signal.SIGTERM, 143)]
)
def test_a_deadline_and_the_first_signal_hold(
    without_answer: Program, remotes: Remotes, args: tuple[str, ...], number: int | None, code: int
) -> None:
    process = without_answer.start(*ON, *args, remotes.waiting)
    if number is not None:
        wait_until((without_answer.home / "waits").exists, what="the record that waits")
        process.send_signal(number)
    done = ended(process)
    assert done.code == code
    assert "no answer within 2 s; it goes on" in done.err
    assert not remotes.pids


@pytest.mark.parametrize(
    "args",
    [("runs",), ("runs", "show"), (*ON, "--rerun", "failed"), (*ON, "--resume", "last")],
    ids=["runs", "show", "rerun", "resume"],
)
def test_who_reads_records_is_told_in_time(without_answer: Program, args: tuple[str, ...]) -> None:
    (without_answer.home / ".local/state/multirsh/runs").mkdir(mode=0o700, parents=True)
    done = without_answer(*args, env={"PATIENCE": "0.5"})
    assert (done.code, done.out) == (2, "")
    assert "multirsh/runs cannot be read: no answer within 0.5 s" in done.err
    assert done.err.count("\n") == 1


def test_a_fifo_in_the_place_of_the_index_is_one_line(multirsh: Program) -> None:
    folder = multirsh.home / ".local/state/multirsh/runs"
    folder.mkdir(mode=0o700, parents=True)
    os.mkfifo(folder / "index.ndjson")
    done = multirsh(*ON, "echo up")
    assert (done.code, sorted(done.out.splitlines())) == (0, ["a: up", "b: up"])
    assert done.err.count(f"not used in {folder}: index.ndjson (it is not a regular file)") == 1
    listed = multirsh("runs")
    assert (listed.code, "echo up" in listed.out) == (0, True)
    assert f"not used in {folder}: index.ndjson (it is not a regular file)" in listed.err


@pytest.mark.root
def test_what_another_user_has_left_is_not_used(multirsh: Program) -> None:
    assert multirsh(*ON, "false").code == 5
    folder: Path = multirsh.home / ".local/state/multirsh/runs"
    entry = Journal(folder).find()
    os.chown(folder / f"{entry.run}.ndjson", 4242, -1)
    refused = multirsh(*ON, "--rerun", "failed")
    assert (refused.code, refused.out) == (2, "")
    assert f"the record of {entry.run} cannot be read: it belongs to another user (id 4242)" in refused.err
    os.chown(folder, 4242, -1)
    done = multirsh(*ON, "echo up")
    assert (done.code, len(done.out.splitlines())) == (0, 2)
    assert "it belongs to another user (id 4242); it goes on" in done.err
    assert len(list(folder.glob("*.ndjson"))) == 2
