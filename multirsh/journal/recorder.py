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
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Final, TypeAlias

from multirsh.errors import UsageError
from multirsh.events import Copied, Event, JsonObject, Output, RunFinished, RunStarted
from multirsh.journal.entry import Entry, stamp_of
from multirsh.journal.journal import Journal, begin_of, ended
from multirsh.journal.pruning import USUAL, Limits
from multirsh.journal.record_file import RecordFile
from multirsh.journal.rows import FORMAT, line_of
from multirsh.shortage import NO_MEMORY, relieve

logger = logging.getLogger(__name__)

USUAL_OUTPUT_BYTES: Final = 256 * 1024 * 1024
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
        limits: Limits = USUAL,
        output_bytes: int = USUAL_OUTPUT_BYTES,
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
        self._entry: Entry | None = None
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
            self._journal.index.add([ended(self._entry, taken[-1], self._file.size)])

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
            left_out = self._journal.left_out_words()
            if left_out is not None and not self._is_given_up:
                self._warn(left_out)
        self._journal.check_folder()
        first = {
            "event": "record",
            "gaps": 0,
            "run": begun.run,
            "t": 0,
            "format": FORMAT,
            "began": stamp_of(time.time()),
            "plan": self._plan,
        }
        started = begun.to_dict()
        rows = line_of(first) + line_of(started)
        self._gaps_at = rows.index(_NO_GAPS) + len(_NO_GAPS) - 1
        self._file = RecordFile.create(
            self._journal.folder, begun.run, rows, is_wanted=lambda: not self._is_given_up
        )
        self._entry = begin_of(first, started)
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
