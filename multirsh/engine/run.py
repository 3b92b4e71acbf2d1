"""One run of one command over the hosts: decisions are asked for, then awaited.

The shell around ``Admission``, the transports and the stream. It guarantees
one ``HostFinished`` for each host, whatever happens to it, and that nothing
of the run is open when ``RunFinished`` is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections import Counter
from collections.abc import AsyncGenerator, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from multirsh.engine.admission import Admission, Start
from multirsh.engine.attempt import Ending, Stop, Task, attempt
from multirsh.engine.barrier import Barrier
from multirsh.engine.batches import NO_FAILURE
from multirsh.engine.conductor import Conductor
from multirsh.engine.descriptors import Descriptors
from multirsh.engine.governor import Governor
from multirsh.engine.limits import Limits, Timeouts
from multirsh.engine.machine import Machine
from multirsh.engine.pace import AUTO, Pace
from multirsh.engine.plan import RunPlan
from multirsh.engine.results import HostResult, Results
from multirsh.engine.retry import congestion_of, decide
from multirsh.engine.rolling import Halt
from multirsh.engine.stream import BoundedStream
from multirsh.errors import UsageError
from multirsh.events import Event, HostFinished, HostStarted, Output, PortUse, RunFinished, RunStarted
from multirsh.exit_code import exit_code, remote_status
from multirsh.model import ClosedBy, ErrorKind, Failure, Host, Phase, Seconds, Status, TransportName
from multirsh.ports.allocator import PortAllocator
from multirsh.ports.kernel import read_table
from multirsh.ports.sockets import TcpState
from multirsh.ports.tally import PortStatistics, Tally
from multirsh.transports.base import Connection, Connector, Stream, Transport, Warn
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
        descriptors: Parts the process's descriptors among the runs.
        warn: Takes warnings for people.
        bind_address: The local address to leave from, or ``None``.
    """

    transports: Mapping[TransportName, Transport]
    limits: Limits
    timeouts: Timeouts
    ports: PortAllocator
    descriptors: Descriptors
    warn: Warn
    bind_address: str | None = None


STOPPED: Final = Ending(
    status=Status.CANCELLED, failure=Failure(ErrorKind.STOPPED, Phase.RUN, "the run was stopped")
)
"""How hosts in flight end where a run is stopped; the phase is each one's own."""

EVENT_BYTES: Final = 512
"""What an event weighs in memory beside its data: a remote that writes byte by byte is held back, too."""

_Item: TypeAlias = Event | HostResult


class Run:
    """A run under way. Read it once: as results, all together, or as events.

    It starts when it is read. Leaving early stops it: no further host starts,
    and what is open is closed in order. A cancelled reader goes on only after
    that; after a ``break`` it is leaving the fleet that waits for it.
    """

    def __init__(self, means: Means, hosts: Sequence[Host], plan: RunPlan) -> None:
        self.id = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
        self._means = means
        self._hosts = tuple(hosts)
        self._plan = plan
        self._tally = Tally()
        self._machine = Machine(
            means.descriptors,
            hosts=len(self._hosts),
            fanout=len(self._hosts) if plan.barrier else means.limits.fanout,
            per_host=max((each.descriptors_per_host for each in means.transports.values()), default=1),
            warn=means.warn,
        )
        self._dialler = Dialler(
            ports=means.ports,
            tally=self._tally,
            close_timeout=means.timeouts.close,
            bind_address=means.bind_address,
            warn=means.warn,
            resolver=self._machine.resolver,
            spare=self._machine.spare,
            on_address=self._machine.note,
        )
        self._connectors = {
            name: transport.connector(self._dialler) for name, transport in means.transports.items()
        }
        if plan.barrier and self._machine.fanout < len(self._hosts):
            self._machine.release()
            raise UsageError(
                f"a barrier holds all {len(self._hosts)} hosts at once, and there are file descriptors for"
                f" {self._machine.fanout}",
                hint="raise 'ulimit -n', or take fewer hosts",
            )
        self._barrier = Barrier([host.name for host in self._hosts], means.warn) if plan.barrier else None
        self._admission = self._queue()
        self._conductor = Conductor(
            self._admission,
            plan,
            len(self._hosts),
            start=self._run_host,
            give_up=self._give_up,
            coming=self._look_ahead,
            say=means.warn,
        )
        self._waiting_again: dict[str, HostResult] = {}
        self._rng = random.Random()  # noqa: S311 - it only spreads load
        self._stream: BoundedStream[_Item] = BoundedStream()
        self._counts: Counter[Status] = Counter()
        self._largest_status = 0
        self._stop = Stop()
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

    def drain(self, *, signal: int | None = None) -> None:
        """Start no further host; those in flight go on to their ends. The others end as ``not_run``.

        Args:
            signal: The number of the signal that asked for it, for the exit code.
        """
        self._stop_signal = self._stop_signal or signal
        self._conductor.stop()

    def stop(self, *, signal: int | None = None) -> None:
        """Start no further host, give up on those in flight, and close what is open, in order.

        The remote commands are ended: TERM, then KILL. Hosts in flight end as ``cancelled``, those never
        started as ``not_run``; the reader gets all of them, then the end.

        Args:
            signal: The number of the signal that asked for it, for the exit code.
        """
        self.drain(signal=signal)
        self._stop.turn_on(STOPPED)

    def abandon(self, *, signal: int | None = None) -> None:
        """Stop, and wait for nothing: neither for remote commands to end nor for remotes to close.

        Args:
            signal: As of ``stop``.
        """
        self.stop(signal=signal)
        self._stop.turn_final()
        self._dialler.abandon()

    def statistics(self) -> PortStatistics:
        """The local ports that the run's connections hold, have held and wait for, and who closed them."""
        return self._tally.statistics()

    @property
    def halt(self) -> Halt | None:
        """Why no more hosts were started, where not all were; ``None`` if nothing stopped the run."""
        return self._conductor.halt

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
                    command=self._plan.command,
                    hosts=tuple(host.name for host in self._hosts),
                    fanout=self._machine.fanout,
                    version=__version__,
                )
            )
            self._machine.check(self._connector(host).destination(host) for host in self._hosts)
            try:
                await self._run_hosts()
            finally:
                await self._settle()
            self._put(self._run_finished())
        except Exception as error:  # noqa: BLE001 - it is not lost: the reader gets it
            failure = error
        finally:
            self._machine.release()
            self._stream.close(failure)

    def _connector(self, host: Host) -> Connector:
        return self._connectors[host.settings.transport or TransportName.SSH]

    def _queue(self) -> Admission:
        limits = self._means.limits
        rate = limits.start_rate.per_second
        return Admission(
            self._hosts,
            fanout=self._machine.fanout,
            handshakes=limits.handshakes,
            pace=None if rate is None else Pace(rate),
            governor=Governor() if limits.start_rate == AUTO else None,
            hop_of=self._hop_of,
            allowed=0,
            open_at_most=self._machine.open_at_most,
        )

    def _hop_of(self, host: Host) -> Hashable | None:
        return self._connector(host).destination(host)

    async def _run_hosts(self) -> None:
        """Conduct the run, within its deadline."""
        loop = asyncio.get_running_loop()
        deadline = self._means.timeouts.run
        timer = None if deadline is None else loop.call_later(deadline, self._deadline_passed)
        try:
            async with asyncio.TaskGroup() as group:
                await self._conductor.conduct(group)
        finally:
            if timer is not None:
                timer.cancel()

    def _deadline_passed(self) -> None:
        words = f"the run's deadline of {self._means.timeouts.run:g} s has passed"
        self._conductor.stop()
        self._stop.turn_on(
            Ending(status=Status.TIMEOUT, failure=Failure(ErrorKind.TIMEOUT, Phase.RUN, words))
        )

    def _look_ahead(self, host: Host) -> None:
        """Have the name of a host that comes soon looked up: that needs no place in the fanout."""
        destination = self._connector(host).destination(host)
        if destination is not None:
            self._dialler.look_ahead(destination.address, destination.family)

    async def _settle(self) -> None:
        """See to it that nothing of the run is open any more."""
        for connector in self._connectors.values():
            await connector.release()
        await self._dialler.drained()

    async def _run_host(self, start: Start) -> None:
        """One attempt at a host: to its one ending, unless it is made again."""
        host = start.host
        connection = self._connector(host).connection(host)
        sink = _HostSink(self, host, connection)
        started = self._loop_time()
        self._put(HostStarted(run=self.id, t=self._now(), host=host.name, attempt=start.attempt))
        closing: asyncio.Future[ClosedBy | None] = asyncio.get_running_loop().create_future()
        comes_again = False
        try:
            ending = await attempt(
                connection, self._task(host), sink, timeouts=self._means.timeouts, stop=self._stop
            )
            comes_again = self._leave_flight(start, ending)
        finally:
            connection.close()
            self._stream.forget(connection)
            self._conductor.wake()
        ended = self._loop_time()
        result = HostResult(
            host=host,
            status=ending.status,
            exit_status=ending.exit_status,
            signal=ending.signal,
            error=ending.failure,
            attempts=start.attempt,
            local_port=connection.local_port,
            seconds=_spent(connection, started, ended),
            closing=closing,
        )
        if comes_again:
            self._waiting_again[host.name] = result
        else:
            self._tell(result)
        try:
            closing.set_result(await connection.closed())
        finally:
            closing.cancel()  # does nothing to a result
            self._admission.closed()
            self._conductor.wake()
        if not comes_again:
            self._finish(result, sink, self._loop_time() - ended)

    def _task(self, host: Host) -> Task:
        async def entered() -> None:
            self._admission.logged_in(host, self._loop_time())
            self._conductor.wake()
            if self._barrier is not None:
                await self._barrier.arrive(host.name)

        return Task(command=self._plan.command, stdin=self._plan.stdin, entered=entered)

    def _leave_flight(self, start: Start, ending: Ending) -> bool:
        """Give the host's place free; whether another attempt will be made."""
        now = self._loop_time()
        self._waiting_again.pop(start.host.name, None)
        again = congestion = None
        if not self._stop.is_on:
            congestion = congestion_of(ending.status, ending.failure)
            tried = start.attempt - start.drops
            again = decide(self._plan.retry, ending.status, ending.failure, tried=tried, rng=self._rng)
        return self._admission.ended(
            start.host,
            now,
            congestion=congestion,
            again_at=None if again is None else now + again,
        )

    def _give_up(self, start: Start) -> None:
        """A start that will not be: of a host that was never tried, or of one that was to be tried again."""
        result = self._waiting_again.pop(start.host.name, None)
        if result is None:
            self._finish(HostResult(host=start.host, status=Status.NOT_RUN, attempts=0), None, None)
            return
        self._tell(result)
        self._finish(result, None, result.seconds.close)

    # Telling.

    def _put(self, item: _Item) -> None:
        self._stream.put(item)

    def _tell(self, result: HostResult) -> None:
        """Hand on a host's result, and let the run's course follow from it."""
        self._put(result)
        if self._barrier is not None:
            self._barrier.fail(result.host.name)
        if self._plan.fail_fast and result.status not in NO_FAILURE:
            self.stop()
        self._conductor.ended(result.status)

    def write(self, host: Host, stream: Stream, data: bytes, connection: Connection) -> None:
        """Tell of output, and hold the host back if the reader is behind."""
        event = Output(run=self.id, t=self._now(), host=host.name, stream=stream, data=data)
        self._stream.put(event, weight=len(data) + EVENT_BYTES, source=connection)

    def _finish(self, result: HostResult, sink: _HostSink | None, close_seconds: float | None) -> None:
        self._counts[result.status] += 1
        self._is_internal_error |= result.error is not None and result.error.kind is ErrorKind.INTERNAL
        self._largest_status = max(self._largest_status, remote_status(result.status, result.exit_status))
        if not result.attempts:  # never started, so its result was not told either
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
        rule = self._plan.exit_rule
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
