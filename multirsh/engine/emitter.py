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
"""Seconds that a record may take until something is safe: a busy disk takes a few, a dead server for ever."""

LAST_S: Final = 2.0
"""The same, for a run that is being stopped or is past its deadline."""


class Record(Protocol):
    """Keeps the events of one run."""

    def record(self, event: Event) -> Future[None] | None:
        """Take an event, without waiting.

        Returns:
            Done when it is safe; it never fails, and takes no cancellation. ``None`` if there is nothing to
            wait for.
        """

    def close(self) -> Future[None] | None:
        """No event follows.

        Returns:
            Done when the record is complete; as ``record``.
        """

    def give_up(self, reason: str) -> None:
        """Keep no more, and have all that was given done, since nothing of it is waited for any longer.

        Args:
            reason: Why, for people.
        """


class _NoRecord:
    def record(self, event: Event) -> None:
        """Keep nothing."""

    def close(self) -> None:
        """Nothing was kept."""

    def give_up(self, reason: str) -> None:
        """Nothing was kept, and nothing is waited for."""


NO_RECORD: Final[Record] = _NoRecord()


async def durable(ticket: Future[None] | None, record: Record) -> None:
    """Wait for what a record has given, and give the record up if that takes too long."""
    if ticket is None or ticket.done():
        return
    timer = give_up_later(ticket, record, PATIENCE_S)
    try:
        await asyncio.wrap_future(ticket)
    finally:
        timer.cancel()


def give_up_later(ticket: Future[None], record: Record, seconds: float) -> asyncio.TimerHandle:
    """Give a record up if what it has given is not done in time.

    Args:
        ticket: What was given.
        record: By which record.
        seconds: From now.
    """

    def look() -> None:
        if not ticket.done():
            record.give_up(f"no answer within {seconds:g} s")

    return asyncio.get_running_loop().call_later(seconds, look)


HIGH_WATER_BYTES: Final = 8 * 1024 * 1024
"""Output that may wait for the reader; a reader holds as much again in the batch it took."""

LOW_WATER_BYTES: Final = HIGH_WATER_BYTES // 2

LEAST_HIGH_WATER_BYTES: Final = 64 * 1024

HIGH_WATER_PART: Final = 32
"""Where this process may have little memory, one part in so many of it: what waits is held several times."""

BATCH_ITEMS: Final = 1024
"""Given to the reader at once, at the most: nothing else of the loop may come in between."""

Element = TypeVar("Element")


class Source(Protocol):
    """What can be held back: a connection."""

    def pause_output(self) -> None:
        """Hand on nothing until told so."""

    def resume_output(self) -> None:
        """Hand on again, first what was kept."""


class BoundedStream(Generic[Element]):
    """Items from many writers to one reader, in order.

    Writers never wait, so that no host's timers are bent by a slow reader:
    above the high-water mark each source that writes is paused, and all are
    resumed below the low one. Only output has weight; the few events of a
    host that are not output are always taken.
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
        """Output that the reader has not taken."""
        return self._waiting_bytes

    def put(self, item: Element, *, weight: int = 0, source: Source | None = None) -> None:
        """Append ``item``.

        Args:
            item: Dropped if the stream is closed: its reader has left.
            weight: Bytes it holds.
            source: Whom to hold back if it is too much.
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
        """``source`` has ended: never resume it."""
        self._held.discard(source)

    def close(self, failure: BaseException | None = None) -> None:
        """End the stream: the reader gets what waits, then the end, or ``failure``."""
        self._closed = True
        self._failure = failure
        self._news.set()
        self._all_read.set()

    async def read_up(self) -> None:
        """Wait until the reader is done with all that was put, and wants more; or has left."""
        await self._all_read.wait()

    async def batches(self) -> AsyncIterator[list[Element]]:
        """Everything that waits, again and again until the stream is closed; in parts where it is much."""
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
"""What an event weighs in memory beside its data: a remote that writes byte by byte is held back, too."""

Item: TypeAlias = Event | HostResult


class EventEmitter:
    """One run's.

    Attributes:
        stream: Where it all goes.
        recorded: When all events so far are safe in the record; ``None`` if they are.
    """

    def __init__(self, run: str, *, tally: Tally, rule: ExitRule, record: Record = NO_RECORD) -> None:
        """Tell nothing yet.

        Args:
            run: The run's identifier.
            tally: Knows the run's local ports.
            rule: What the exit code is made of.
            record: Keeps the events.
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
        """The run begins now."""
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
        """An attempt begins.

        Returns:
            When that is safe in the record, as ``recorded``.
        """
        self._put(HostStarted(run=self._run, t=self._now(), host=host.name, attempt=attempt))
        return self.recorded

    def output(self, host: Host, stream: Stream, data: bytes, connection: Connection | None) -> None:
        """Tell of output, and hold the host back if the reader is behind."""
        event = Output(run=self._run, t=self._now(), host=host.name, stream=stream, data=data)
        self._put(event, weight=len(data) + EVENT_BYTES, source=connection)

    def copied(self, host: Host, copy: FileResult, connection: Connection | None) -> None:
        """Tell of a file, and hold the host back if the reader is behind."""
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
        """Hand on how a host ended."""
        self.stream.put(result)

    def host_finished(
        self,
        result: HostResult,
        *,
        stdout_bytes: int = 0,
        stderr_bytes: int = 0,
        close_seconds: float | None = None,
    ) -> None:
        """A host's connection is closed, or it never had one.

        Args:
            result: Handed on before.
            stdout_bytes: Of its last attempt.
            stderr_bytes: Of its last attempt.
            close_seconds: From the result to the end of the connection.
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
        """The run is to end: a record that does not answer is soon given up.

        Args:
            seconds: How soon.
        """
        if self.recorded is not None and not self.recorded.done():
            give_up_later(self.recorded, self._record, seconds)

    def internal_error(self) -> None:
        """Something of ours, or of the caller's, has failed: the exit code is to say so."""
        self._is_internal_error = True

    def run_finished(self, *, signal: int | None) -> None:
        """Nothing of the run is open any more.

        Args:
            signal: The number of the signal that ended it, or ``None``.
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
        """How many of the run's sockets the kernel keeps in TIME_WAIT at our end."""
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
