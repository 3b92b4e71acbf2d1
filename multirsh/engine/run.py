"""One run of one command over the hosts: decisions are asked for, then awaited.

The shell around ``Admission``, the transports and the stream. It guarantees
one ``HostFinished`` for each host, whatever happens to it, and that nothing
of the run is open when ``RunFinished`` is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from multirsh.engine.admission import Admission
from multirsh.engine.attempt import Stop, attempt
from multirsh.engine.limits import Limits, Timeouts
from multirsh.engine.results import HostResult, Results
from multirsh.engine.stream import BoundedStream
from multirsh.events import Event, HostFinished, HostStarted, Output, PortUse, RunFinished, RunStarted
from multirsh.exit_code import ExitRule, exit_code, remote_status
from multirsh.model import ClosedBy, ErrorKind, Host, Seconds, Status, TransportName
from multirsh.ports.allocator import PortAllocator
from multirsh.ports.kernel import read_table
from multirsh.ports.sockets import TcpState
from multirsh.ports.tally import PortStatistics, Tally
from multirsh.transports.base import Connection, Stdin, Stream, Transport, Warn
from multirsh.transports.dialler import Dialler
from multirsh.version import __version__


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What the runs of a fleet share.

    Attributes:
        transports: Prepared, by name.
        limits: How much at once.
        timeouts: For how long.
        ports: Leases the local ports.
        warn: Takes warnings for people.
        bind_address: The local address to leave from, or ``None``.
    """

    transports: Mapping[TransportName, Transport]
    limits: Limits
    timeouts: Timeouts
    ports: PortAllocator
    warn: Warn
    bind_address: str | None = None


EVENT_BYTES: Final = 512
"""What an event weighs in memory beside its data: a remote that writes byte by byte is held back, too."""

_Item: TypeAlias = Event | HostResult


class Run:
    """A run under way. Read it once: as results, all together, or as events.

    It starts when it is read. Leaving early stops it: no further host starts,
    and what is open is closed in order. A cancelled reader goes on only after
    that; after a ``break`` it is leaving the fleet that waits for it.
    """

    def __init__(
        self,
        means: Means,
        hosts: Sequence[Host],
        command: str,
        exit_rule: ExitRule,
        stdin: Stdin | None = None,
    ) -> None:
        self.id = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
        self._means = means
        self._hosts = tuple(hosts)
        self._command = command
        self._exit_rule = exit_rule
        self._stdin = stdin
        self._tally = Tally()
        self._dialler = Dialler(
            ports=means.ports,
            tally=self._tally,
            close_timeout=means.timeouts.close,
            bind_address=means.bind_address,
            warn=means.warn,
        )
        self._connectors = {
            name: transport.connector(self._dialler) for name, transport in means.transports.items()
        }
        self._admission = Admission(self._hosts, fanout=means.limits.fanout)
        self._stream: BoundedStream[_Item] = BoundedStream()
        self._counts: Counter[Status] = Counter()
        self._largest_status = 0
        self._stop = Stop()
        self._wake = asyncio.Event()
        self._driver: asyncio.Task[None] | None = None
        self._began = 0.0
        self._is_internal_error = False
        self._stop_signal: int | None = None

    # Reading.

    async def __aiter__(self) -> AsyncGenerator[HostResult, None]:
        """One result a host, each as soon as it is known."""
        async with contextlib.aclosing(self._items()) as items:
            written: dict[tuple[str, Stream], list[bytes]] = {}
            async for batch in items:
                for item in batch:
                    if isinstance(item, Output):
                        written.setdefault((item.host, item.stream), []).append(item.data)
                    elif isinstance(item, HostResult):
                        name = item.host.name
                        yield replace(
                            item,
                            stdout=b"".join(written.pop((name, "stdout"), ())),
                            stderr=b"".join(written.pop((name, "stderr"), ())),
                        )

    async def gather(self) -> Results:
        """Every host's result, when all have ended and every connection is closed."""
        return Results({result.host.name: result async for result in self})

    async def events(self) -> AsyncGenerator[Event, None]:
        """Everything that happens, as it happens."""
        async with contextlib.aclosing(self.event_batches()) as batches:
            async for batch in batches:
                for event in batch:
                    yield event

    async def event_batches(self) -> AsyncGenerator[list[Event], None]:
        """The same events, those that wait together given together: for a reader that writes them out."""
        async with contextlib.aclosing(self._items()) as items:
            async for batch in items:
                yield [item for item in batch if not isinstance(item, HostResult)]

    def stop(self, *, signal: int | None = None) -> None:
        """Start no further host, give up on those in flight, and close what is open, in order.

        Hosts in flight end as ``cancelled``, those never started as ``not_run``; the reader gets all of
        them, then the end. The remote commands are not killed by this.

        Args:
            signal: The number of the signal that asked for it, for the exit code.
        """
        if self._stop.is_on:
            return
        self._stop_signal = signal
        self._stop.turn_on()
        self._wake.set()

    def abandon(self) -> None:
        """Stop, and reset what is open instead of waiting for the remotes."""
        self.stop()
        self._dialler.abandon()

    def statistics(self) -> PortStatistics:
        """The local ports that the run's connections hold, have held and wait for, and who closed them."""
        return self._tally.statistics()

    @property
    def is_over(self) -> bool:
        """Whether it was read and nothing of it is open any more."""
        return self._driver is not None and self._driver.done()

    @property
    def waiting_bytes(self) -> int:
        """Output that has come and that the reader has not taken; bounded."""
        return self._stream.waiting_bytes

    # Driving.

    async def _items(self) -> AsyncGenerator[list[_Item], None]:
        if self._driver is not None:
            raise RuntimeError("a run is read once; start another with fleet.run()")
        self._began = asyncio.get_running_loop().time()
        self._driver = asyncio.create_task(self._drive())  # noqa: TID251 - owned by this generator, and awaited below
        try:
            async for batch in self._stream.batches():
                yield batch
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Stop the run if it goes on, and wait until everything of it is closed.

        A second cancellation meanwhile resets what is still open.
        """
        driver = self._driver
        if driver is None or driver.done():
            return
        self._stream.close()
        self.stop()
        try:
            await asyncio.shield(driver)
        except asyncio.CancelledError:
            self.abandon()
            await driver
            raise

    async def _drive(self) -> None:
        failure: Exception | None = None
        try:
            self._put(
                RunStarted(
                    run=self.id,
                    t=self._now(),
                    command=self._command,
                    hosts=tuple(host.name for host in self._hosts),
                    fanout=self._means.limits.fanout,
                    version=__version__,
                )
            )
            try:
                await self._run_hosts()
            finally:
                await self._settle()
            self._put(self._run_finished())
        except Exception as error:  # noqa: BLE001 - it is not lost: the reader gets it
            failure = error
        finally:
            self._stream.close(failure)

    async def _run_hosts(self) -> None:
        """Start hosts as there are places, until all have ended or the run is stopped."""
        async with asyncio.TaskGroup() as group:
            while not self._admission.is_over:
                self._wake.clear()
                if self._stop.is_on:
                    for host in self._admission.stop():
                        self._finish(HostResult(host=host, status=Status.NOT_RUN, attempts=0), None, None)
                for host in self._admission.admit():
                    group.create_task(self._run_host(host), name=f"multirsh {host.name}")
                if not self._admission.is_over:
                    await self._wake.wait()

    async def _settle(self) -> None:
        """See to it that nothing of the run is open any more."""
        for connector in self._connectors.values():
            await connector.release()
        await self._dialler.drained()

    async def _run_host(self, host: Host) -> None:
        """One host from its start to its one ending."""
        connection = self._connectors[host.settings.transport or TransportName.SSH].connection(host)
        sink = _HostSink(self, host, connection)
        started = self._loop_time()
        self._put(HostStarted(run=self.id, t=self._now(), host=host.name, attempt=1))
        closing: asyncio.Future[ClosedBy | None] = asyncio.get_running_loop().create_future()
        try:
            ending = await attempt(
                connection,
                self._command,
                sink,
                stdin=self._stdin,
                timeouts=self._means.timeouts,
                stop=self._stop,
            )
        finally:
            connection.close()
            self._stream.forget(connection)
            self._admission.ended()
            self._wake.set()
        ended = self._loop_time()
        result = HostResult(
            host=host,
            status=ending.status,
            exit_status=ending.exit_status,
            signal=ending.signal,
            error=ending.failure,
            local_port=connection.local_port,
            seconds=_spent(connection, started, ended),
            closing=closing,
        )
        self._put(result)
        try:
            closing.set_result(await connection.closed())
        finally:
            closing.cancel()  # does nothing to a result
        self._finish(result, sink, self._loop_time() - ended)

    # Telling.

    def _put(self, item: _Item) -> None:
        self._stream.put(item)

    def write(self, host: Host, stream: Stream, data: bytes, connection: Connection) -> None:
        """Tell of output, and hold the host back if the reader is behind."""
        event = Output(run=self.id, t=self._now(), host=host.name, stream=stream, data=data)
        self._stream.put(event, weight=len(data) + EVENT_BYTES, source=connection)

    def _finish(self, result: HostResult, sink: _HostSink | None, close_seconds: float | None) -> None:
        self._counts[result.status] += 1
        self._is_internal_error |= result.error is not None and result.error.kind is ErrorKind.INTERNAL
        self._largest_status = max(self._largest_status, remote_status(result.status, result.exit_status))
        if sink is None:  # never started, so its result was not told either
            self._put(result)
        self._put(
            HostFinished(
                run=self.id,
                t=self._now(),
                host=result.host.name,
                status=result.status,
                exit_status=result.exit_status,
                signal=result.signal,
                error=result.error,
                attempts=result.attempts,
                closed_by=result.closed_by,
                local_port=result.local_port,
                stdout_bytes=sink.stdout_bytes if sink else 0,
                stderr_bytes=sink.stderr_bytes if sink else 0,
                seconds=replace(result.seconds, close=close_seconds if result.closed_by else None),
            )
        )

    def _run_finished(self) -> RunFinished:
        use = self._tally.statistics()
        rule = self._exit_rule
        not_remote = sum(use.closed_by.values()) - use.closed_by.get(ClosedBy.REMOTE, 0)
        return RunFinished(
            run=self.id,
            t=self._now(),
            counts=dict(self._counts),
            exit_code=exit_code(
                self._counts,
                signal=self._stop_signal,
                internal_error=self._is_internal_error,
                close_failed=rule.require_remote_close and bool(not_remote),
                largest_remote_status=self._largest_status if rule.largest_status else None,
            ),
            seconds=self._now(),
            ports=PortUse(
                peak=use.peak,
                closed_by=use.closed_by,
                time_wait_left=self._time_wait_left(),
                waited=use.waited,
                longest_wait=use.longest_wait,
            ),
        )

    def _time_wait_left(self) -> int | None:
        """How many of the run's sockets the kernel keeps in TIME_WAIT at our end."""
        table = read_table(states=[TcpState.TIME_WAIT])
        if table is None:
            return None
        ours = self._tally.recent(self._loop_time())
        return sum((row.local, row.remote) in ours for row in table)

    def _loop_time(self) -> float:
        return asyncio.get_running_loop().time()

    def _now(self) -> float:
        return self._loop_time() - self._began


class _HostSink:
    """Counts one host's output and passes it to the run."""

    __slots__ = ("_connection", "_host", "_run", "stderr_bytes", "stdout_bytes")

    def __init__(self, run: Run, host: Host, connection: Connection) -> None:
        self._run = run
        self._host = host
        self._connection = connection
        self.stdout_bytes = 0
        self.stderr_bytes = 0

    def write(self, stream: Stream, data: bytes) -> None:
        """Take output of the command."""
        if stream == "stdout":
            self.stdout_bytes += len(data)
        else:
            self.stderr_bytes += len(data)
        self._run.write(self._host, stream, data, self._connection)


def _spent(connection: Connection, started: float, ended: float) -> Seconds:
    connected, authenticated = connection.connected_at, connection.authenticated_at
    return Seconds(
        connect=None if connected is None else connected - started,
        auth=None if authenticated is None or connected is None else authenticated - connected,
        run=None if authenticated is None else ended - authenticated,
        total=ended - started,
    )
