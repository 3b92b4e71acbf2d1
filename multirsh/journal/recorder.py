"""Writes one run's record, in a thread of its own: the run never waits for a disk unless it wants to.

Events are taken as they come and written together. Whoever has to know that
one is safe holds its ticket, which is done when the event, and all before it,
are in the file; and on the disk (fdatasync(2)), unless they are only output.

::

    run        HostStarted ... ticket      Output  Output      HostFinished  ticket
                  |              ^           |       |              |          ^
    thread        write, fsync --'           write --'              write, fsync

A record that cannot be kept, since the disk is full or the folder read-only,
is one warning; then every ticket is done at once, and the run goes on. What was
written says so, for who resumes the run: any host may have begun since then.

A folder that does not answer, as on a file server that is away, keeps the
thread waiting and nothing else: whoever holds a ticket for too long gives the
record up, which is the same from then on. The thread does not keep the process
from ending.
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
from multirsh.journal.state_folder import make_private, open_owned
from multirsh.linux import sync_data
from multirsh.shortage import NO_MEMORY, relieve


class RecordFile:
    """A record that is being written.

    It holds a lock (flock(2)) on the file, which ends with the process however that ends: a record without
    ``run_finished`` that nobody locks is of a run that broke.
    """

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self.path = path
        self.size = 0

    @classmethod
    def create(
        cls, folder: Path, run: str, first: bytes, *, is_wanted: Callable[[], bool] = lambda: True
    ) -> RecordFile:
        """Make the record of ``run``: it gets its name when it is locked and ``first`` is on disk.

        Args:
            folder: Where; it is made if it is not there.
            run: The run's identifier.
            first: The first rows.
            is_wanted: Asked before the record gets its name: the run may have gone on without it.

        Raises:
            OSError: It cannot be made, or is not wanted any more; nothing of it is left then.
        """
        make_private(folder)
        path = folder / f"{run}{SUFFIX}"
        unborn = folder / f".{run}{UNFINISHED}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        file = cls(open_owned(unborn, flags), path)
        try:
            with contextlib.suppress(OSError):  # a file system without locks: until it ends it looks broken
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
        """Write ``data`` at the end; if it cannot be written in full, none of it is.

        Raises:
            OSError: The disk is full, or gone.
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
        """Wait until all that was written is on disk.

        Raises:
            OSError: It is not.
        """
        sync_data(self._descriptor)

    def overwrite(self, place: int, byte: bytes) -> None:
        """Put another byte in the place of one: that needs no room on the disk.

        Raises:
            OSError: It cannot be written.
        """
        # Through the other descriptor it would be appended (pwrite(2), O_APPEND).
        descriptor = open_owned(self.path, os.O_WRONLY)
        try:
            os.pwrite(descriptor, byte, place)
            sync_data(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Write no more; the lock is free."""
        os.close(self._descriptor)


def _check(is_wanted: Callable[[], bool]) -> None:
    if not is_wanted():
        raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))


def _sync_folder(folder: Path) -> None:
    """Have a new name survive a power failure, too (fsync(2))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


logger = logging.getLogger(__name__)

DEFAULT_OUTPUT_BYTES: Final = 256 * 1024 * 1024
"""Of a run's output, so much of its record."""

_NO_GAPS: Final = b'"gaps":0'
"""In the record's first row; the digit is overwritten when something could not be kept."""

Ticket: TypeAlias = Future[None]
"""Done when what it was given for is safe. It never fails and cannot be cancelled: several may hold it."""


BETWEEN_TRIES_S: Final = 0.05
"""Seconds until there may be memory again."""

PIECE_BYTES: Final = 256 * 1024
"""Written at once, unless one event is more."""


class Recorder:
    """Of one run. It takes the run's events, ``RunStarted`` first, from one thread."""

    def __init__(
        self,
        journal: Journal,
        *,
        plan: Mapping[str, Any] | None = None,
        limits: RetentionLimits = DEFAULT_RETENTION,
        output_bytes: int = DEFAULT_OUTPUT_BYTES,
        warn: Callable[[str], object] | None = None,
    ) -> None:
        """Touch nothing yet: the record is made when the run begins.

        Args:
            journal: Where.
            plan: What the run is to do, for whoever resumes it; JSON. No secret may be in it.
            limits: What may be kept of older records; those beyond are deleted when the run begins.
            output_bytes: How much of the record may be output; what comes after that is left out, and the
                record says whose.
            warn: Takes lines for people, from another thread: that the record cannot be kept, once, and which
                files of the folder are not used; by default they are logged.
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
        """Take an event; it never waits.

        Returns:
            When it is safe; ``None`` if there is nothing to wait for, since no record is kept.
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
        """Start the thread; where none can be had, what is recorded is written at once."""
        self._thread = threading.Thread(target=self._work, name="multirsh-journal", daemon=True)
        try:
            self._thread.start()
        except (RuntimeError, MemoryError):
            relieve()
            self._has_no_thread = True

    def close(self) -> Ticket | None:
        """Take no more.

        Returns:
            When all is written and the record is nobody's any more; ``None`` if it is already.
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
        """Wait no longer for what was given to the record: all tickets are done, and nothing more is kept.

        Args:
            reason: Why, for the warning.
        """
        with self._news:
            if self._is_given_up:
                return
            was_said, self._has_failed, self._is_given_up = self._has_failed, True, True
            for ticket in (self._taken_ticket, self._ticket):
                if not ticket.done():
                    ticket.set_result(None)
        if was_said:  # the disk has failed, and now the thread waits in saying so there
            return
        self._tell_failure(reason)
        # The thread may wait for ever; if the folder answers after all, the record says that it has gaps.
        with contextlib.suppress(RuntimeError, MemoryError):  # no thread can be started
            threading.Thread(target=self._mark_gaps, name="multirsh-journal-gaps", daemon=True).start()

    # In the thread, if there is one.

    def _work(self) -> None:
        is_over = False
        while not is_over:
            try:
                with self._news:
                    self._news.wait_for(lambda: self._waiting or self._is_closing)
                is_over = self._work_once()
            except MemoryError:  # nothing was taken yet, and the run waits for what is to be written
                relieve()
                time.sleep(BETWEEN_TRIES_S)

    def _work_once(self) -> bool:
        """Write what waits; whether that was all, for good."""
        with self._news:
            waiting: list[Event] = []
            following = _new_ticket()  # both before anything is taken: there may be no memory for them
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
        """Append some events.

        Raises:
            OSError: They cannot be kept.
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
        """Make room, and the record.

        Raises:
            OSError: It cannot be made.
        """
        if not isinstance(begun, RunStarted):
            raise TypeError(f"a record begins with RunStarted, not with {begun.name}")
        resumed = self._plan.get("resumes")
        with contextlib.suppress(
            UsageError
        ):  # if there is no room to be made, there may be room all the same
            self._journal.prune(self._limits, spared=() if resumed is None else (resumed,))
            left_out = self._journal.unused_files_message()
            if left_out is not None and not self._is_given_up:
                self._warn(left_out)
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
        """Write events, a piece at a time: as text they are several times larger than the output in them."""
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
        """An event's line; none where it is output that is left out."""
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
        # And nothing of it from here on: its output would have a hole.
        self._left_out.add(event.host)
        return line_of(_left_out(event))

    def _fail(self, reason: str) -> None:
        with self._news:
            if self._has_failed:  # it was given up, and that was said
                return
            self._has_failed = True
        self._tell_failure(reason)
        self._mark_gaps()

    def _mark_gaps(self) -> None:
        """Say in the record, if there is one, that something is missing from it."""
        file = self._file
        if file is not None:
            with contextlib.suppress(OSError):  # then it looks like the record of a run that was killed
                file.overwrite(self._gaps_at, b"1")

    def _tell_failure(self, reason: str) -> None:
        self._warn(f"the run is not recorded any further: {self._journal.folder}: {reason}; it goes on")


def _new_ticket() -> Ticket:
    ticket: Ticket = Future()
    ticket.set_running_or_notify_cancel()
    return ticket


def _left_out(event: Output) -> JsonObject:
    return {"event": "left_out", "run": event.run, "t": round(event.t, 6), "host": event.host}
