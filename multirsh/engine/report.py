"""What a run tells: events into its record and to its reader, results, and the counts of the exit code."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

from multirsh.engine.record import LAST_S, NO_RECORD, Record, give_up_later
from multirsh.engine.results import HostResult
from multirsh.engine.stream import (
    HIGH_WATER_BYTES,
    HIGH_WATER_PART,
    LEAST_HIGH_WATER_BYTES,
    BoundedStream,
)
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

EVENT_BYTES: Final = 512
"""What an event weighs in memory beside its data: a remote that writes byte by byte is held back, too."""

Item: TypeAlias = Event | HostResult


class Report:
    """One run's.

    Attributes:
        stream: Where it all goes.
        kept: When all events so far are safe in the record; ``None`` if they are.
    """

    def __init__(self, run: str, *, tally: Tally, rule: ExitRule, record: Record = NO_RECORD) -> None:
        """Tell nothing yet.

        Args:
            run: The run's identifier.
            tally: Knows the run's local ports.
            rule: What the exit code is made of.
            record: Keeps the events.
        """
        self.kept: Future[None] | None = None
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
            When that is safe in the record, as ``kept``.
        """
        self._put(HostStarted(run=self._run, t=self._now(), host=host.name, attempt=attempt))
        return self.kept

    def output(self, host: Host, stream: Stream, data: bytes, connection: Connection) -> None:
        """Tell of output, and hold the host back if the reader is behind."""
        event = Output(run=self._run, t=self._now(), host=host.name, stream=stream, data=data)
        self._put(event, weight=len(data) + EVENT_BYTES, source=connection)

    def copied(self, host: Host, copy: FileResult, connection: Connection) -> None:
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
        self._counts[result.status] += 1
        self._largest_status = max(self._largest_status, remote_status(result.status, result.exit_status))
        if result.error is not None and result.error.kind is ErrorKind.INTERNAL:
            self.internal_error()
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

    def hurry(self, seconds: float = LAST_S) -> None:
        """The run is to end: a record that does not answer is soon given up.

        Args:
            seconds: How soon.
        """
        if self.kept is not None and not self.kept.done():
            give_up_later(self.kept, self._record, seconds)

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
        self.kept = self._record.record(event)
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
