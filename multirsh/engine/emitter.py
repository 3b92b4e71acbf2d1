"""What a run reports: events into its record and to its reader, results, and the counts for the exit code.

Two things wait until an event is durable, that is, stored by the record. A
command is only sent once its host's ``HostStarted`` is durable: so the record
of a run that is killed at any moment names every host whose command may have
begun. And a reader is only given durable events: so whatever acts on one finds
it in the record. Neither waits for ever. A record that does not answer in
time, as on a file server that is down, is given up, and the run continues
without it.

From many hosts to one reader leads a bounded stream, which holds hosts back
instead of growing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeAlias, TypeVar

from multirsh.engine.results import HostResult
from multirsh.events import Copied, Event, HostFinished, HostStarted, Output, PortUse, RunFinished, RunStarted
from multirsh.exit_code import ExitRule, exit_code, remote_status
from multirsh.model import ClosedBy, ErrorKind, Host, Status
from multirsh.ports.socket_table import read_table
from multirsh.ports.sockets import TcpState
from multirsh.ports.tally import Tally
from multirsh.shortage import part_of_room, relieve
from multirsh.transports.base import Connection, Stream
from multirsh.version import __version__

if TYPE_CHECKING:
    from multirsh.files.results import FileResult

PATIENCE_S: Final = 10.0
"""Seconds that a record may take to store an event: a busy disk takes a few, a dead file server for ever."""

LAST_S: Final = 2.0
"""The same in a run that is being stopped or is past its deadline, in seconds."""


class Record(Protocol):
    """Stores the events of one run."""

    def record(self, event: Event) -> Future[None] | None:
        """Take an event, without waiting.

        Returns:
            A future that is done when the event is durable; it never fails and cannot be cancelled. ``None``
            if there is nothing to wait for.
        """

    def close(self) -> Future[None] | None:
        """End the record: no event follows.

        Returns:
            A future that is done when the record is complete, as that of ``record``.
        """

    def give_up(self, reason: str) -> None:
        """Store no more events, and complete all futures, since the run no longer waits for them.

        Args:
            reason: The reason, for people.
        """


class _NoRecord:
    def record(self, event: Event) -> None:
        """Store nothing."""

    def close(self) -> None:
        """Do nothing."""

    def give_up(self, reason: str) -> None:
        """Do nothing."""


NO_RECORD: Final[Record] = _NoRecord()


async def durable(ticket: Future[None] | None, record: Record) -> None:
    """Wait until ``ticket``, a future of the record, is done; give the record up if that takes too long."""
    if ticket is None or ticket.done():
        return
    timer = give_up_later(ticket, record, PATIENCE_S)
    try:
        await asyncio.wrap_future(ticket)
    finally:
        timer.cancel()


def give_up_later(ticket: Future[None], record: Record, seconds: float) -> asyncio.TimerHandle:
    """Give a record up unless its future is done in time.

    Args:
        ticket: The future.
        record: The record that returned it.
        seconds: How long to wait from now.
    """

    def look() -> None:
        if not ticket.done():
            record.give_up(f"no answer within {seconds:g} s")

    return asyncio.get_running_loop().call_later(seconds, look)


HIGH_WATER_BYTES: Final = 8 * 1024 * 1024
"""Bytes of output that may wait for the reader, which holds as many again in the batch that it has taken."""

LOW_WATER_BYTES: Final = HIGH_WATER_BYTES // 2

LEAST_HIGH_WATER_BYTES: Final = 64 * 1024

HIGH_WATER_PART: Final = 32
"""If the memory of this process is limited, one part in so many of it may wait: there are several copies."""

BATCH_ITEMS: Final = 1024
"""The largest number of items that the reader gets at once: the loop does nothing else meanwhile."""

Element = TypeVar("Element")


class Source(Protocol):
    """A source of output that can be held back: a connection."""

    def pause_output(self) -> None:
        """Pass on no output until ``resume_output`` is called."""

    def resume_output(self) -> None:
        """Pass on output again, beginning with what was held back."""


class BoundedStream(Generic[Element]):
    """Items from many writers to one reader, in order.

    Writers never wait, so that a slow reader does not delay any host's timers:
    above the high-water mark each source that writes is paused, and below the
    low-water mark all are resumed. Only output has weight; the few other
    events of a host are always accepted.
    """

    def __init__(
        self, *, high_water_bytes: int = HIGH_WATER_BYTES, low_water_bytes: int = LOW_WATER_BYTES
    ) -> None:
        self._high_water = high_water_bytes
        self._low_water = low_water_bytes
        self._items: list[Element] = []
        self._waiting_bytes = 0
        self._held: set[Source] = set()
        self._closed = False
        self._failure: BaseException | None = None
        self._news = asyncio.Event()
        self._all_read = asyncio.Event()

    @property
    def waiting_bytes(self) -> int:
        """The number of bytes of output that the reader has not taken."""
        return self._waiting_bytes

    def put(self, item: Element, *, weight: int = 0, source: Source | None = None) -> None:
        """Append ``item``.

        Args:
            item: The item; it is dropped if the stream is closed, since its reader has left.
            weight: The bytes of output that it holds.
            source: The source to hold back if too much waits.
        """
        if self._closed:
            return
        self._items.append(item)
        self._all_read.clear()
        self._waiting_bytes += weight
        self._news.set()
        if source is not None and self._waiting_bytes > self._high_water and source not in self._held:
            self._held.add(source)
            source.pause_output()

    def forget(self, source: Source) -> None:
        """Note that ``source`` has ended, so that it is never resumed."""
        self._held.discard(source)

    def close(self, failure: BaseException | None = None) -> None:
        """End the stream: the reader gets what waits, and then the end or ``failure``."""
        self._closed = True
        self._failure = failure
        self._news.set()
        self._all_read.set()

    async def read_up(self) -> None:
        """Wait until the reader has processed every item and wants more, or has left."""
        await self._all_read.wait()

    async def batches(self) -> AsyncIterator[list[Element]]:
        """Yield all items that wait, in batches of limited size, until the stream is closed."""
        while True:
            if not self._items:
                self._all_read.set()
            await self._news.wait()
            self._news.clear()
            items, self._items = self._items, []
            self._waiting_bytes = 0
            self._let_go()
            for start in range(0, len(items), BATCH_ITEMS):
                if start:
                    await asyncio.sleep(0)  # timers and signals are not to wait for the reader
                yield items[start : start + BATCH_ITEMS]
            if self._closed and not self._items:
                if self._failure is not None:
                    raise self._failure
                return

    def _let_go(self) -> None:
        held, self._held = self._held, set()
        for source in held:
            if self._waiting_bytes > self._low_water:
                self._held.add(
                    source
                )  # those before it have filled the stream again: it goes first next time
            else:
                source.resume_output()


EVENT_BYTES: Final = 512
"""Bytes of memory that an event takes besides its data; it holds back a remote that writes byte by byte."""

Item: TypeAlias = Event | HostResult


class EventEmitter:
    """Emits one run's events, into its record and to its reader.

    Attributes:
        stream: The stream to the reader.
        recorded: A future that is done when all events so far are durable; ``None`` if they are.
    """

    def __init__(self, run: str, *, tally: Tally, rule: ExitRule, record: Record = NO_RECORD) -> None:
        """Prepare to emit; nothing is emitted yet.

        Args:
            run: The run's identifier.
            tally: Counts the run's local ports.
            rule: How the exit code is chosen.
            record: Stores the events.
        """
        self.recorded: Future[None] | None = None
        self._record = record
        high_water = part_of_room(HIGH_WATER_BYTES, HIGH_WATER_PART, least=LEAST_HIGH_WATER_BYTES)
        self.stream: BoundedStream[Item] = BoundedStream(
            high_water_bytes=high_water, low_water_bytes=high_water // 2
        )
        self._run = run
        self._tally = tally
        self._rule = rule
        self._began = 0.0
        self._counts: Counter[Status] = Counter()
        self._largest_status = 0
        self._is_internal_error = False

    def begin(self, *, command: str, hosts: tuple[str, ...], fanout: int) -> None:
        """Emit that the run begins; event times count from now."""
        self._began = asyncio.get_running_loop().time()
        self._put(
            RunStarted(
                run=self._run,
                t=self._now(),
                command=command,
                hosts=hosts,
                fanout=fanout,
                version=__version__,
            )
        )

    def host_started(self, host: Host, attempt: int) -> Future[None] | None:
        """Emit that an attempt begins.

        Returns:
            A future that is done when the event is durable, as ``recorded``.
        """
        self._put(HostStarted(run=self._run, t=self._now(), host=host.name, attempt=attempt))
        return self.recorded

    def output(self, host: Host, stream: Stream, data: bytes, connection: Connection | None) -> None:
        """Emit output, and hold the host back if the reader is behind."""
        event = Output(run=self._run, t=self._now(), host=host.name, stream=stream, data=data)
        self._put(event, weight=len(data) + EVENT_BYTES, source=connection)

    def copied(self, host: Host, copy: FileResult, connection: Connection | None) -> None:
        """Emit that a file was copied, and hold the host back if the reader is behind."""
        event = Copied(
            run=self._run,
            t=self._now(),
            host=host.name,
            path=copy.text,
            size=copy.size,
            via=copy.via,
            skipped=copy.skipped,
            error=copy.error,
            note=copy.note,
        )
        self._put(event, weight=EVENT_BYTES, source=connection)

    def result(self, result: HostResult) -> None:
        """Pass a host's result to the reader."""
        self.stream.put(result)

    def host_finished(
        self,
        result: HostResult,
        *,
        stdout_bytes: int = 0,
        stderr_bytes: int = 0,
        close_seconds: float | None = None,
    ) -> None:
        """Emit that a host has finished: its connection is closed, or it never had one.

        Args:
            result: The host's result, which ``result`` has passed on before.
            stdout_bytes: The bytes of standard output of its last attempt.
            stderr_bytes: The bytes of standard error of its last attempt.
            close_seconds: Seconds from the result to the end of the connection.
        """
        self._put(
            HostFinished(
                run=self._run,
                t=self._now(),
                host=result.host.name,
                status=result.status,
                exit_status=result.exit_status,
                signal=result.signal,
                error=result.error,
                attempts=result.attempts,
                closed_by=result.closed_by,
                local_port=result.local_port,
                stdout_bytes=stdout_bytes,
                stderr_bytes=stderr_bytes,
                seconds=replace(result.seconds, close=close_seconds if result.closed_by else None),
            )
        )
        self._counts[result.status] += 1  # last: without memory for the event, it is emitted once more
        self._largest_status = max(self._largest_status, remote_status(result.status, result.exit_status))
        if result.error is not None and result.error.kind is ErrorKind.INTERNAL:
            self.internal_error()

    def hurry(self, seconds: float = LAST_S) -> None:
        """Give a record that does not answer up soon, because the run is to end.

        Args:
            seconds: How long to wait for it.
        """
        if self.recorded is not None and not self.recorded.done():
            give_up_later(self.recorded, self._record, seconds)

    def internal_error(self) -> None:
        """Let the exit code say that multirsh itself, or a function of the caller, has failed."""
        self._is_internal_error = True

    def run_finished(self, *, signal: int | None) -> None:
        """Emit that the run has finished: nothing of it is open any more.

        Args:
            signal: The number of the signal that ended the run, or ``None``.
        """
        use = self._tally.statistics()
        not_remote = sum(use.closed_by.values()) - use.closed_by.get(ClosedBy.REMOTE, 0)
        code = exit_code(
            self._counts + Counter(self._rule.earlier),
            signal=signal,
            internal_error=self._is_internal_error,
            close_failed=self._rule.require_remote_close and bool(not_remote),
            largest_remote_status=self._largest_status if self._rule.largest_status else None,
        )
        ports = PortUse(
            peak=use.peak,
            closed_by=use.closed_by,
            time_wait_left=self._time_wait_left(),
            waited=use.waited,
            longest_wait=use.longest_wait,
        )
        now = self._now()
        self._put(
            RunFinished(
                run=self._run, t=now, counts=dict(self._counts), exit_code=code, seconds=now, ports=ports
            )
        )

    def _put(self, event: Event, *, weight: int = 0, source: Connection | None = None) -> None:
        self.recorded = self._record.record(event)
        self.stream.put(event, weight=weight, source=source)

    def _time_wait_left(self) -> int | None:
        """Count the run's sockets that the kernel keeps in TIME_WAIT on this machine."""
        try:
            table = read_table(states=[TcpState.TIME_WAIT])
        except MemoryError:
            relieve()
            return None
        if table is None:
            return None
        ours = self._tally.recent(asyncio.get_running_loop().time())
        return sum((row.local, row.remote) in ours for row in table)

    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self._began
