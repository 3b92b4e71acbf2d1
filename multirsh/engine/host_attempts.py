"""The attempts at each host of a run, one after the other, up to the host's one ending."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from multirsh.engine.admission import Admission, Start
from multirsh.engine.attempt import Ending, Stop, Task, attempt
from multirsh.engine.barrier import Barrier
from multirsh.engine.emitter import EventEmitter, Record, durable
from multirsh.engine.hooks import RunWork
from multirsh.engine.options import RunOptions
from multirsh.engine.pool import Connectors
from multirsh.engine.results import HostResult
from multirsh.engine.retry import decide
from multirsh.model import Assignment, ClosedBy, Host, Phase, Seconds, Status
from multirsh.shortage import has_room, no_memory, relieve
from multirsh.transports.base import Connection, Stream, congestion_of

if TYPE_CHECKING:
    from multirsh.files.results import FileResult

HOST_BYTES: Final = 2 * 1024 * 1024
"""Bytes of memory that a connected host may need for its connection and the output that waits for the reader.
If so much is not available, the host is not started, so that those in flight can continue."""


@dataclass(slots=True, eq=False)
class _Attempt:
    """One attempt; its socket may drain after its ending.

    Attributes:
        result: How it ended.
        sink: The counts of its output.
        closed_in: Seconds from its ending to the end of its connection; ``None`` while that drains.
        is_last: Whether its ending is that of the host.
    """

    result: HostResult
    sink: _Sink
    is_last: bool
    closed_in: float | None = None


@dataclass(slots=True)
class _Steps:
    """The steps that an attempt has taken, in case memory runs out between them.

    Attributes:
        has_left: Whether its place in the fanout is free.
        is_reported: Whether its result is reported, or the host is tried again.
        is_closed: Whether its connection is closed.
        is_finished: Whether the host's ending is reported, or the host is tried again.
    """

    has_left: bool = False
    is_reported: bool = False
    is_closed: bool = False
    is_finished: bool = False


class HostAttempts:
    """Makes the attempts at the hosts of one run."""

    def __init__(
        self,
        work: RunWork,
        options: RunOptions,
        record: Record,
        assignments: Mapping[str, Assignment],
        *,
        stop: Stop,
        emitter: EventEmitter,
        admission: Admission,
        barrier: Barrier | None,
        connectors: Connectors,
        ended: Callable[[HostResult], None],
        wake: Callable[[], None],
    ) -> None:
        """Prepare the attempts; none is made yet.

        Args:
            work: What is done on each host.
            options: The options of the run: how often a host is tried, and for how long.
            record: Stores the events.
            assignments: The assignment of each host, by name.
            stop: Gives up the attempts that go on.
            emitter: Emits the events of the attempts.
            admission: Receives each login, ending and close.
            barrier: Holds hosts that are logged in; ``None`` for no barrier.
            connectors: Make the connections.
            ended: Called with each result but those of hosts that were never started.
            wake: Called when ``admission`` may let another host start.
        """
        self._work = work
        self._options = options
        self._record = record
        self._assignments = assignments
        self._stop = stop
        self._emitter = emitter
        self._admission = admission
        self._barrier = barrier
        self._connectors = connectors
        self._ended = ended
        self._wake = wake
        self._rng = random.Random()  # noqa: S311 - it only spreads load
        self._awaiting_retry: dict[str, _Attempt] = {}
        self._came_stale: set[str] = set()

    async def run(self, start: Start) -> None:
        """Make one attempt at a host; if there is not enough memory for it, the host ends as ``local``."""
        steps = _Steps()
        try:
            await self._run(start, steps)
        except MemoryError:
            relieve()
            self._give_up_for_memory(start, steps)

    async def _run(self, start: Start, steps: _Steps) -> None:
        host = start.host
        if not has_room(HOST_BYTES):
            raise MemoryError
        connection = self._connectors.connector_for(host).connection(host)
        sink = _Sink(self._emitter, host, connection)
        began = _now()
        comes_again = False
        try:
            recorded = self._emitter.host_started(host, start.attempt)
            ending = await attempt(
                connection,
                self._task(host, recorded, sink),
                sink,
                timeouts=self._options.timeouts,
                stop=self._stop,
            )
            comes_again = self._leave_flight(start, ending, connection)
            steps.has_left = True
        finally:
            connection.close()
            self._emitter.stream.forget(connection)
            self._wake()
        closing: asyncio.Future[ClosedBy | None] = asyncio.get_running_loop().create_future()
        result = _result(start, ending, connection, began=began, closing=closing)
        made = _Attempt(result, sink, is_last=not comes_again)
        if comes_again:
            self._awaiting_retry[host.name] = made
            steps.is_reported = steps.is_finished = True
        else:
            self._report(result)
            steps.is_reported = True
        ended = _now()
        try:
            closing.set_result(await connection.closed())
        finally:
            closing.cancel()  # does nothing to a result
            self._admission.closed()
            steps.is_closed = True
            self._wake()
        made.closed_in = _now() - ended
        if made.is_last:
            self._finish(made)
            steps.is_finished = True

    def _give_up_for_memory(self, start: Start, steps: _Steps) -> None:
        """Take the remaining steps of an attempt that ran out of memory, after ``relieve``."""
        if not steps.has_left:
            self._admission.ended(start.host, _now())
        result = HostResult(
            host=start.host, status=Status.LOCAL, error=no_memory(Phase.RUN), attempts=start.attempt
        )
        if not steps.is_reported:
            self._report(result)
        if not steps.is_closed:
            self._admission.closed()
        if not steps.is_finished:
            self._emitter.host_finished(result)
        self._wake()

    @property
    def again(self) -> frozenset[str]:
        """The names of hosts that are between two attempts."""
        return frozenset(self._awaiting_retry)

    def give_up(self, start: Start) -> None:
        """Report the ending of a host that will not be started any more.

        Args:
            start: The start that will not take place. If the host waited to be tried again, it ends as its
                last attempt did.
        """
        made = self._awaiting_retry.pop(start.host.name, None)
        if made is None:
            never = HostResult(host=start.host, status=Status.NOT_RUN, attempts=0)
            self._emitter.result(never)
            self._emitter.host_finished(never)
            return
        made.is_last = True
        self._report(made.result)
        if made.closed_in is not None:
            self._finish(made)

    def _task(self, host: Host, recorded: Future[None] | None, sink: _Sink) -> Task:
        async def entered() -> None:
            self._admission.logged_in(host, _now())
            self._wake()
            # Before the command is sent, so that the record names every host that may have run it.
            await durable(recorded, self._record)
            if self._barrier is not None:
                await self._barrier.arrive(host.name)

        def passed() -> None:
            self._admission.passed(host, _now())
            self._wake()

        return Task(
            work=self._work.work_for(self._assignments[host.name]),
            passed=passed,
            is_short=lambda: sink.is_short,
            entered=entered,
            sudo_password=self._work.sudo_password,
        )

    def _leave_flight(self, start: Start, ending: Ending, connection: Connection) -> bool:
        """Free the host's place in the fanout; return whether another attempt will be made."""
        now, name = _now(), start.host.name
        self._awaiting_retry.pop(name, None)
        pause = congestion = None
        if not self._stop.is_on:
            congestion = congestion_of(ending.status, ending.failure)
            if self._connectors.is_stale(connection):
                # The host itself was not tried yet, only the remains of a connection to it.
                self._came_stale.add(name)
                pause = 0.0
            else:
                tried = start.attempt - start.drops - (name in self._came_stale)
                pause = decide(self._options.retry, ending.status, ending.failure, tried=tried, rng=self._rng)
        again_at = None if pause is None else now + pause
        return self._admission.ended(start.host, now, congestion=congestion, again_at=again_at)

    def _report(self, result: HostResult) -> None:
        self._emitter.result(result)
        self._ended(result)

    def _finish(self, made: _Attempt) -> None:
        self._emitter.host_finished(
            made.result,
            stdout_bytes=made.sink.stdout_bytes,
            stderr_bytes=made.sink.stderr_bytes,
            close_seconds=made.closed_in,
        )


class _Sink:
    """Counts the output of one attempt and passes it on.

    If there is no memory for some output, it is dropped and the attempt is cancelled, so that transports need
    not handle that.

    Attributes:
        is_short: Whether memory was short and the attempt was cancelled.
        stdout_bytes: The bytes of standard output so far.
        stderr_bytes: The bytes of standard error so far.
    """

    __slots__ = ("_attempt", "_connection", "_emitter", "_host", "is_short", "stderr_bytes", "stdout_bytes")

    def __init__(self, emitter: EventEmitter, host: Host, connection: Connection) -> None:
        self._emitter = emitter
        self._host = host
        self._connection = connection
        self._attempt = asyncio.current_task()
        self.is_short = False
        self.stdout_bytes = 0
        self.stderr_bytes = 0

    def write(self, stream: Stream, data: bytes) -> None:
        """Count output of the command and pass it on."""
        if stream == "stdout":
            self.stdout_bytes += len(data)
        else:
            self.stderr_bytes += len(data)
        try:
            self._emitter.output(self._host, stream, data, self._connection)
        except MemoryError:
            self._give_up()

    def copied(self, copy: FileResult) -> None:
        """Report a file that was copied."""
        try:
            self._emitter.copied(self._host, copy, self._connection)
        except MemoryError:
            self._give_up()

    def _give_up(self) -> None:
        relieve()
        if not self.is_short and self._attempt is not None:
            self.is_short = True
            self._attempt.cancel()


def _result(
    start: Start,
    ending: Ending,
    connection: Connection,
    *,
    began: float,
    closing: asyncio.Future[ClosedBy | None],
) -> HostResult:
    return HostResult(
        host=start.host,
        status=ending.status,
        exit_status=ending.exit_status,
        signal=ending.signal,
        error=ending.failure,
        attempts=start.attempt,
        local_port=connection.local_port,
        seconds=_spent(connection, began, _now()),
        closing=closing,
    )


def _spent(connection: Connection, began: float, ended: float) -> Seconds:
    connected, authenticated = connection.connected_at, connection.authenticated_at
    return Seconds(
        connect=None if connected is None else connected - began,
        auth=None if authenticated is None or connected is None else authenticated - connected,
        run=None if authenticated is None else ended - authenticated,
        total=ended - began,
    )


def _now() -> float:
    return asyncio.get_running_loop().time()
