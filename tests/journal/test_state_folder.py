"""What is not the user's own in the state folder, and a folder that does not answer."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from multirsh.errors import UsageError
from multirsh.journal import Journal, Recorder, RunState
from multirsh.journal import state_folder as files
from multirsh.journal.recorder import RecordFile
from multirsh.journal.resuming import lock_for_resuming
from multirsh.journal.state_folder import call_with_timeout, make_private, open_owned, read_owned
from tests.waiting import HANG_GUARD_S

from .records import finished, host_finished, host_started, keep, started, whole

FIRST, SECOND = "20261121T154000-abc123", "20261121T154001-abd456"
STRANGER = 4242
"""A user id that no user of this machine needs to have."""


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    journal = Journal(tmp_path / "runs")
    keep(journal, whole(FIRST, "a"))
    return journal


@pytest.fixture
def never() -> Iterator[Callable[[], None]]:
    """A call that returns when the test is over, as on a file server that is away until then."""
    over = threading.Event()

    def wait() -> None:
        over.wait()

    yield wait
    over.set()


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))


def of_another_user(path: Path) -> None:
    path.write_bytes(b"")
    os.chown(path, STRANGER, -1)


ODD = [
    pytest.param(fifo, "it is not a regular file", id="fifo"),
    pytest.param(Path.mkdir, "it is not a regular file|Is a directory", id="folder"),
    pytest.param(link, "it is a symbolic link", id="link"),
    pytest.param(
        of_another_user, f"it belongs to another user .id {STRANGER}.", id="another", marks=pytest.mark.root
    ),
]


@pytest.mark.parametrize(("make", "why"), ODD)
def test_only_a_regular_file_of_the_user_is_opened_and_none_is_waited_for(
    make: Callable[[Path], None], why: str, tmp_path: Path
) -> None:
    make(tmp_path / "file")
    for flags in (os.O_RDONLY, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_CREAT):
        with pytest.raises(OSError, match=why):
            open_owned(tmp_path / "file", flags)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(("make", "why"), ODD)
def test_a_strange_index_is_named_and_runs_are_recorded_and_listed_without_it(
    make: Callable[[Path], None], why: str, journal: Journal
) -> None:
    (journal.folder / "index.ndjson").unlink()
    make(journal.folder / "index.ndjson")
    warnings: list[str] = []
    keep(journal, whole(SECOND, "a"), warn=warnings.append)
    (words,) = warnings
    assert words.startswith(f"not used in {journal.folder}: index.ndjson (")
    assert [(entry.run, entry.state) for entry in journal.runs()] == [
        (SECOND, RunState.FINISHED),
        (FIRST, RunState.FINISHED),
    ]
    assert list(journal.unused_files) == ["index.ndjson"]


@pytest.mark.parametrize(("make", "why"), ODD)
def test_a_strange_record_is_named_and_not_used(
    make: Callable[[Path], None], why: str, journal: Journal
) -> None:
    make(journal.folder / f"{SECOND}.ndjson")
    assert [entry.run for entry in journal.runs()] == [FIRST]
    assert list(journal.unused_files) == [f"{SECOND}.ndjson"]
    why = f"{why}|it is not a regular file"
    with pytest.raises(UsageError, match=f"the record of {SECOND} is not used: ({why}); check the files in "):
        journal.find(SECOND)


@pytest.mark.root
def test_a_record_that_another_user_has_put_in_the_place_of_ours_is_not_read(journal: Journal) -> None:
    entry = journal.find(FIRST)
    os.chown(journal.folder / f"{FIRST}.ndjson", STRANGER, -1)
    with pytest.raises(UsageError, match=f"{FIRST} cannot be read: it belongs to another user"):
        journal.plan(entry)
    of_another_user(journal.folder / f".{FIRST}.claim")
    with pytest.raises(UsageError, match=r"cannot be recorded in .*: it belongs to another user"):
        lock_for_resuming(journal.folder, FIRST)


@pytest.mark.root
@pytest.mark.parametrize("place", ["multirsh", "multirsh/runs"])
def test_a_folder_of_another_user_is_neither_written_nor_read(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    journal = Journal()
    journal.folder.mkdir(parents=True)
    os.chown(tmp_path / place, STRANGER, -1)
    warnings: list[str] = []
    keep(journal, whole(FIRST, "a"), warn=warnings.append)
    (words,) = warnings
    assert f"it belongs to another user (id {STRANGER}); it goes on" in words
    assert list(journal.folder.iterdir()) == []
    with pytest.raises(UsageError, match="cannot be read: it belongs to another user"):
        journal.runs()


@pytest.mark.parametrize(
    "put",
    [os.mkfifo, Path.touch, lambda path: path.symlink_to("nowhere")],
    ids=["a FIFO", "a file", "a link to nothing"],
)
def test_what_stands_in_the_place_of_the_folder_is_called_no_folder(
    put: Callable[[Path], object], tmp_path: Path
) -> None:
    put(tmp_path / "runs")
    with pytest.raises(NotADirectoryError, match="Not a directory"):
        make_private(tmp_path / "runs")


def test_a_call_that_does_not_return_is_an_error_in_time_and_others_are_as_they_are(
    never: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as hurried:
        hurried.setattr(files, "CALL_TIMEOUT_S", 0)
        with pytest.raises(TimeoutError, match="no answer within 0 s") as refused:
            call_with_timeout(never)
    assert refused.value.errno == errno.ETIMEDOUT
    assert call_with_timeout(lambda: 3) == 3

    def own_timeout() -> None:
        raise TimeoutError(errno.ETIMEDOUT, "of the call's own")

    with pytest.raises(TimeoutError, match="of the call's own"):
        call_with_timeout(own_timeout)


def test_where_no_thread_can_be_started_a_record_cannot_be_read(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(UsageError, match="cannot be read: can't start new thread"):
        journal.runs()


def test_a_folder_that_does_not_answer_is_an_error_of_whoever_reads_it(
    journal: Journal, never: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CALL_TIMEOUT_S", 0.0)
    for name in ("scandir", "open"):
        with monkeypatch.context() as hanging:
            hanging.setattr(os, name, lambda *_, **__: never())
            with pytest.raises(UsageError, match=r"cannot be read: no answer within 0 s; .*XDG_STATE_HOME"):
                journal.find()


def test_a_record_whose_bytes_do_not_come_is_an_error_of_whoever_reads_it(
    journal: Journal, never: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with read_owned(journal.folder / f"{FIRST}.ndjson") as file:
        monkeypatch.setattr(files, "CALL_TIMEOUT_S", 0.0)
        monkeypatch.setattr(os, "read", lambda *_: never())
        with pytest.raises(TimeoutError, match="no answer within 0 s"):
            file.readline()


_HOLDS = """
import fcntl, sys
from tests.waiting import HANG_GUARD_S

with open(sys.argv[1]) as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


def test_an_index_that_another_process_holds_locked_is_not_waited_for(journal: Journal) -> None:
    index = journal.folder / "index.ndjson"
    before = index.read_bytes()
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDS, index], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        keep(journal, whole(SECOND, "a"))
        assert index.read_bytes() == before
    assert [entry.run for entry in journal.runs()] == [SECOND, FIRST]
    assert index.read_bytes() != before


class Disk:
    """One that answers when it is told to.

    Attributes:
        is_asked: Set when a sync waits for it.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_asked = threading.Event()
        self._answers = threading.Event()
        sync = RecordFile.sync

        def wait(file: RecordFile) -> None:
            self.is_asked.set()
            self._answers.wait()
            sync(file)

        monkeypatch.setattr(RecordFile, "sync", wait)

    def answer(self) -> None:
        """From now on, at once."""
        self._answers.set()


def test_a_record_that_is_given_up_holds_nobody_and_says_later_that_it_has_gaps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, warnings = Journal(tmp_path / "runs"), list[str]()
    recorder = Recorder(journal, warn=warnings.append)
    begun = recorder.record(started(FIRST, "a", "b"))
    assert begun is not None
    begun.result(timeout=HANG_GUARD_S)
    disk = Disk(monkeypatch)
    held = [recorder.record(host_started(FIRST, "a"))]
    assert disk.is_asked.wait(10)
    held.append(recorder.record(host_finished(FIRST, "a")))

    recorder.give_up("no answer within 10 s")

    assert all(ticket is not None and ticket.done() for ticket in held)
    assert warnings == [
        f"the run is not recorded any further: {journal.folder}: no answer within 10 s; it goes on"
    ]
    assert recorder.record(finished(FIRST, {})) is None
    assert recorder.close() is None
    recorder.give_up("again")
    assert len(warnings) == 1
    disk.answer()
    assert recorder._thread is not None
    recorder._thread.join(timeout=HANG_GUARD_S)
    assert b'"gaps":1' in (journal.folder / f"{FIRST}.ndjson").read_bytes()
    assert journal.find(FIRST).state is RunState.BROKEN


def test_a_record_that_is_given_up_before_it_has_its_name_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its name it would say that no host had begun, and a run that resumes it would begin them again."""
    journal, warnings, disk = Journal(tmp_path / "runs"), list[str](), Disk(monkeypatch)
    recorder = Recorder(journal, warn=warnings.append)
    begun = recorder.record(started(FIRST, "a"))
    assert disk.is_asked.wait(10)
    recorder.give_up("no answer within 10 s")
    assert begun is not None
    assert begun.done()
    assert recorder.close() is None
    disk.answer()
    assert recorder._thread is not None
    recorder._thread.join(timeout=HANG_GUARD_S)
    assert list(journal.folder.iterdir()) == []
    assert len(warnings) == 1


def test_a_disk_that_fails_and_then_does_not_answer_holds_nobody_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, never: Callable[[], None]
) -> None:
    journal, warnings = Journal(tmp_path / "runs"), list[str]()
    recorder = Recorder(journal, warn=warnings.append)
    begun = recorder.record(started(FIRST, "a"))
    assert begun is not None
    begun.result(timeout=HANG_GUARD_S)
    is_asked = threading.Event()

    def fail(_file: RecordFile, _data: bytes) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def wait(*_: object) -> None:
        is_asked.set()
        never()

    monkeypatch.setattr(RecordFile, "append", fail)
    monkeypatch.setattr(RecordFile, "overwrite", wait)
    ticket = recorder.record(host_started(FIRST, "a"))
    assert is_asked.wait(10)
    recorder.give_up("no answer within 10 s")
    assert ticket is not None
    assert ticket.done()
    assert recorder.close() is None
    (words,) = warnings
    assert words.endswith("Input/output error; it goes on")
