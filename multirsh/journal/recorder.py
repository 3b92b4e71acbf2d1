"""Writing the record of one run, in a thread of its own, so that the run need not wait for the disk.

Events are queued as they come and written together. Each has a ticket, a
future that is done when the event, and all events before it, are in the file,
and on the disk (fdatasync(2)) unless they are only output.

::

    run        HostStarted ... ticket      Output  Output      HostFinished  ticket
                  |              ^           |       |              |          ^
    thread        write, fsync --'           write --'              write, fsync

If recording fails, because the disk is full or the folder is read-only, one
warning is given; from then on every ticket is done at once, and the run goes
on. The record is marked as having gaps, for a later ``--resume``: any host may
have been started since.

A folder that does not answer, as on a file server that is away, blocks only the
thread. A caller that has waited too long for a ticket calls ``give_up``, which
has the same effect as a failure. The thread does not keep the process alive.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, TypeAlias

from multirsh.errors import UsageError
from multirsh.events import Copied, Event, JsonObject, Output, RunFinished, RunStarted
from multirsh.journal.journal import DEFAULT_RETENTION, Journal, RetentionLimits
from multirsh.journal.record import FORMAT, SUFFIX, UNFINISHED, RunSummary, format_time, line_of
from multirsh.journal.state_folder import AbandonableThread, make_private, open_owned
from multirsh.linux import sync_data
from multirsh.shortage import NO_MEMORY, relieve


class RecordFile:
    """The file of a record that is being written.

    It is locked (flock(2)), and the lock ends with the process however that ends. So a record without
    ``run_finished`` and without a lock is that of a broken run.
    """

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self.path = path
        self.size = 0

    @classmethod
    def create(
        cls, folder: Path, run: str, first: bytes, *, is_wanted: Callable[[], bool] = lambda: True
    ) -> RecordFile:
        """Create the record of a run; it is given its name once it is locked and its first rows are on disk.

        Args:
            folder: The folder, which is made if it does not exist.
            run: The run's identifier.
            first: The first rows.
            is_wanted: Called before the record is given its name, since the run may have gone on without it.

        Raises:
            OSError: The record cannot be created, or is no longer wanted; nothing of it is left.
        """
        make_private(folder)
        path = folder / f"{run}{SUFFIX}"
        unborn = folder / f".{run}{UNFINISHED}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        file = cls(open_owned(unborn, flags), path)
        try:
            with contextlib.suppress(OSError):  # without locks the record looks broken until it ends
                fcntl.flock(file._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.append(first)
            file.sync()
            _check(is_wanted)
            unborn.rename(path)
            _sync_folder(folder)
        except BaseException:
            file.close()
            unborn.unlink(missing_ok=True)
            raise
        return file

    def append(self, data: bytes) -> None:
        """Append data, all of it or nothing.

        Raises:
            OSError: It cannot be written.
        """
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(data)

    def sync(self) -> None:
        """Wait until everything written is on disk.

        Raises:
            OSError: The disk has failed.
        """
        sync_data(self._descriptor)

    def overwrite(self, place: int, byte: bytes) -> None:
        """Overwrite one byte, which needs no space on the disk.

        Args:
            place: The offset of the byte.
            byte: The new byte.

        Raises:
            OSError: It cannot be written.
        """
        # The descriptor of the file itself appends, whatever the offset (pwrite(2), O_APPEND).
        descriptor = open_owned(self.path, os.O_WRONLY)
        try:
            os.pwrite(descriptor, byte, place)
            sync_data(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Close the file, which releases the lock."""
        os.close(self._descriptor)


def _check(is_wanted: Callable[[], bool]) -> None:
    if not is_wanted():
        raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))


def _sync_folder(folder: Path) -> None:
    """Write a folder to disk, so that a new name in it survives a power failure (fsync(2))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


logger = logging.getLogger(__name__)

DEFAULT_OUTPUT_BYTES: Final = 256 * 1024 * 1024
"""Bytes of a record that output may take."""

_NO_GAPS: Final = b'"gaps":0'
"""Part of the first row; the digit is overwritten once something cannot be recorded."""

Ticket: TypeAlias = Future[None]
"""Done when the events that it was given for are durable. It never fails, and cannot be cancelled, since
several callers share it."""

MEMORY_RETRY_S: Final = 0.05
"""Seconds to wait for memory before trying again."""

PIECE_BYTES: Final = 256 * 1024
"""Bytes of one write, unless a single event is larger."""


class Recorder:
    """Records one run. ``record`` is called from one thread, with ``RunStarted`` first."""

    def __init__(
        self,
        journal: Journal,
        *,
        plan: Mapping[str, Any] | None = None,
        limits: RetentionLimits = DEFAULT_RETENTION,
        output_bytes: int = DEFAULT_OUTPUT_BYTES,
        warn: Callable[[str], object] | None = None,
    ) -> None:
        """Write nothing yet: the record is created when the run begins.

        Args:
            journal: The journal to which the record belongs.
            plan: The plan of the run, for a later ``--resume``, as JSON values. It must hold no secret.
            limits: How many older records are kept; the others are deleted when the run begins.
            output_bytes: Bytes of the record that output may take. Later output is left out, and the record
                names the hosts that it came from.
            warn: Called with messages for the user, from another thread: once if recording fails, and about
                files of the folder that are not used. By default they are logged.
        """
        self._journal = journal
        self._plan = dict(plan or {})
        self._limits = limits
        self._output_bytes = output_bytes
        self._warn = warn or logger.warning
        self._news = threading.Condition()
        self._waiting: list[Event] = []
        self._ticket = _new_ticket()
        self._taken_ticket = self._ticket
        self._thread: threading.Thread | None = None
        self._is_closing = False
        self._has_no_thread = False
        self._has_failed = False
        self._is_given_up = False
        self._file: RecordFile | None = None
        self._entry: RunSummary | None = None
        self._gaps_at = 0
        self._left_out: set[str] = set()

    def record(self, event: Event) -> Ticket | None:
        """Queue an event, without waiting.

        Returns:
            A future that is done when the event is durable; ``None`` if nothing is recorded any more.
        """
        if self._has_failed or self._is_closing:
            return None
        with self._news:
            self._waiting.append(event)
            self._news.notify()
            ticket = self._ticket
        if self._thread is None and not self._has_no_thread:
            self._start()
        if self._has_no_thread:
            self._work_once()
        return ticket

    def _start(self) -> None:
        """Start the thread; if that is impossible, ``record`` itself writes from now on."""
        self._thread = AbandonableThread(self._work, "multirsh-journal")
        try:
            self._thread.start()
        except (RuntimeError, MemoryError):
            relieve()
            self._has_no_thread = True

    def close(self) -> Ticket | None:
        """End the record: no event follows.

        Returns:
            A future that is done when the record is complete and unlocked; ``None`` if it already is.
        """
        with self._news:
            self._is_closing = True
            self._news.notify()
            if self._is_given_up:
                return None
        if self._has_no_thread:
            self._work_once()
            return None
        with self._news:
            return None if self._thread is None or not self._thread.is_alive() else self._ticket

    def give_up(self, reason: str) -> None:
        """Stop recording: all tickets are done at once, and no more events are recorded.

        Args:
            reason: The reason, for the warning.
        """
        with self._news:
            if self._is_given_up:
                return
            was_said, self._has_failed, self._is_given_up = self._has_failed, True, True
            for ticket in (self._taken_ticket, self._ticket):
                if not ticket.done():
                    ticket.set_result(None)
        if was_said:  # recording has failed before, and the thread blocks while it marks the gap
            return
        self._warn_of_failure(reason)
        # The writing thread may be blocked for ever; should the folder answer after all, the mark is written.
        with contextlib.suppress(RuntimeError, MemoryError):  # no thread can be started
            AbandonableThread(self._mark_gaps, "multirsh-journal-gaps").start()

    # In the thread, if there is one.

    def _work(self) -> None:
        is_over = False
        while not is_over:
            try:
                with self._news:
                    self._news.wait_for(lambda: self._waiting or self._is_closing)
                is_over = self._work_once()
            except MemoryError:  # nothing was dequeued yet, and the run waits for it to be written
                relieve()
                time.sleep(MEMORY_RETRY_S)

    def _work_once(self) -> bool:
        """Write the queued events; return whether the record is complete."""
        with self._news:
            waiting: list[Event] = []
            following = _new_ticket()  # both before anything is dequeued: there may be no memory for them
            taken, self._waiting = self._waiting, waiting
            ticket, is_over = self._ticket, self._is_closing
            self._taken_ticket = ticket
            if not is_over:
                self._ticket = following
        try:
            if taken and not self._has_failed:
                self._write(taken)
        except OSError as error:
            self._fail(error.strerror or str(error))
        except MemoryError:
            relieve()
            self._fail(NO_MEMORY)
        except Exception as error:
            logger.exception("internal error")
            self._fail(f"internal error: {error!r}")
        finally:
            if self._is_given_up:
                self._mark_gaps()
            if is_over and self._file is not None:
                self._file.close()
                self._file = None
            with self._news:
                if not ticket.done():
                    ticket.set_result(None)
        return is_over

    def _write(self, taken: list[Event]) -> None:
        """Append events to the record, which is created for the first one.

        Raises:
            OSError: They cannot be recorded.
        """
        if self._file is None:
            begun, *taken = taken
            self._begin(begun)
        if not taken or self._file is None:
            return
        self._append(taken)
        if not all(isinstance(event, Output | Copied) for event in taken):
            self._file.sync()
        if isinstance(taken[-1], RunFinished) and self._entry is not None:
            self._journal.index.add([self._entry.ended(taken[-1], self._file.size)])

    def _begin(self, begun: Event) -> None:
        """Delete old records, and create this one.

        Raises:
            OSError: The record cannot be created.
        """
        if not isinstance(begun, RunStarted):
            raise TypeError(f"a record begins with RunStarted, not with {begun.name}")
        resumed = self._plan.get("resumes")
        with contextlib.suppress(UsageError):  # there may be space even if old records cannot be deleted
            self._journal.prune(self._limits, spared=() if resumed is None else (resumed,))
            unused = self._journal.unused_files_message()
            if unused is not None and not self._is_given_up:
                self._warn(unused)
        self._journal.check_folder()
        first = {
            "event": "record",
            "gaps": 0,
            "run": begun.run,
            "t": 0,
            "format": FORMAT,
            "began": format_time(time.time()),
            "plan": self._plan,
        }
        started = begun.to_dict()
        rows = line_of(first) + line_of(started)
        self._gaps_at = rows.index(_NO_GAPS) + len(_NO_GAPS) - 1
        self._file = RecordFile.create(
            self._journal.folder, begun.run, rows, is_wanted=lambda: not self._is_given_up
        )
        self._entry = RunSummary.begun(first, started)
        self._journal.index.add([self._entry])

    def _append(self, taken: list[Event]) -> None:
        """Append events in pieces: as text they are several times larger than the output in them."""
        piece = bytearray()
        for event in taken:
            line = self._line(event)
            if len(piece) + len(line) > PIECE_BYTES:
                self._put(piece)
                piece = bytearray()
            piece += line
        self._put(piece)

    def _put(self, piece: bytearray) -> None:
        if piece and self._file is not None:
            self._file.append(bytes(piece))

    def _line(self, event: Event) -> bytes:
        """Encode an event as a line; empty for output that is left out."""
        if not isinstance(event, Output):
            return line_of(event.to_dict())
        if event.host in self._left_out:
            return b""
        try:
            line = line_of(event.to_dict())
            self._output_bytes -= len(line)
        except MemoryError:
            relieve()
            line = b""
        if line and self._output_bytes >= 0:
            return line
        # From here on, all output of this host is left out: it would have a hole otherwise.
        self._left_out.add(event.host)
        return line_of(_left_out(event))

    def _fail(self, reason: str) -> None:
        with self._news:
            if self._has_failed:  # it was given up, and the warning has been given
                return
            self._has_failed = True
        self._warn_of_failure(reason)
        self._mark_gaps()

    def _mark_gaps(self) -> None:
        """Mark the record, if it exists, as having gaps."""
        file = self._file
        if file is not None:
            with contextlib.suppress(OSError):  # then it looks like the record of a killed run
                file.overwrite(self._gaps_at, b"1")

    def _warn_of_failure(self, reason: str) -> None:
        self._warn(f"the run is not recorded any further: {self._journal.folder}: {reason}; it goes on")


def _new_ticket() -> Ticket:
    ticket: Ticket = Future()
    ticket.set_running_or_notify_cancel()
    return ticket


def _left_out(event: Output) -> JsonObject:
    return {"event": "left_out", "run": event.run, "t": round(event.t, 6), "host": event.host}
