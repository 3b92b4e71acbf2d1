"""One run of one work over the hosts: the shell around ``RunMachine``.

It performs the machine's commands and feeds it the events: one loop for the
time, and one task for each attempt. It guarantees one ``HostFinished`` for
each host, whatever happens to it, and that nothing of the run is open when
``RunFinished`` is emitted.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias, assert_never

from multirsh.arguments import check_fields
from multirsh.engine.attempt import Ending, HostAttempt, StopSwitch, Work, no_password
from multirsh.engine.emitter import NO_RECORD, EventEmitter, Item, Record, durable
from multirsh.engine.options import RunOptions
from multirsh.engine.pool import ConnectionPool, Connectors, PooledConnectors
from multirsh.engine.resources import Descriptors, RunResources
from multirsh.engine.results import HostResult, Results
from multirsh.engine.schedule.admission import Start
from multirsh.engine.schedule.interface import (
    AbandonAttempts,
    AbandonRequested,
    Answered,
    AskUser,
    AttemptEnded,
    BarrierLeft,
    BarrierReached,
    CancelInterlude,
    DrainRequested,
    FinishHost,
    GateEnded,
    HopPassed,
    InterludeFailed,
    LoggedIn,
    MachineCommand,
    MachineEvent,
    NoteInternalError,
    Prefetch,
    ReleaseBarrier,
    ReportNotRun,
    ReportResult,
    RunBegun,
    RunGate,
    ShowMessage,
    SocketClosed,
    StopAttempts,
    StopRequested,
    Tick,
)
from multirsh.engine.schedule.rolling import Answer, GateOutcome, Step, StopReason
from multirsh.engine.schedule.run_machine import RunMachine
from multirsh.errors import MultirshError, UsageError
from multirsh.events import Event, HostStarted, Output
from multirsh.model import Assignment, Host, Phase, Status
from multirsh.ports.allocator import PortAllocator
from multirsh.ports.tally import PortStatistics, Tally
from multirsh.shortage import check_room, no_memory, relieve, with_reserve
from multirsh.transports.base import Connection, Stream, Transport, Warn
from multirsh.transports.dialling import Dialler
from multirsh.transports.passwords import Password
from multirsh.waits import NO_WAITS, Awaited, Wait, Waits

logger = logging.getLogger(__name__)

READER_PATIENCE_S: Final = 1.0
"""Seconds for which a gate or a question waits for a slow reader."""

HOST_BYTES: Final = 2 * 1024 * 1024
"""The memory that a host may take while it is connected: its connection, and the output that waits for the
reader. Where there is less, the host is not begun, so that those in flight go on."""

_STREAMS: Final[tuple[Stream, ...]] = ("stdout", "stderr")


Gate: TypeAlias = Callable[[int, Sequence[str]], Awaitable[GateOutcome]]
"""Decides whether the next batch may start, given the number of the last batch and the names of its hosts."""

Prompt: TypeAlias = Callable[[str], Awaitable[Answer]]
"""Asks the user a question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHooks:
    """The user's functions that a run calls.

    Attributes:
        gate: Called after each batch but the last; ``None`` for no gate.
        prompt: Called after each batch but the last, when the gate has passed; ``None`` for no question.
        journal: Keeps the run's events, such as a ``multirsh.journal.Recorder`` made for this run.
    """

    gate: Gate | None = None
    prompt: Prompt | None = None
    journal: Record = NO_RECORD

    def __post_init__(self) -> None:
        check_fields(self)


NO_HOOKS: Final = RunHooks()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWork:
    """What a run does on each host.

    Attributes:
        title: What events and the journal show; of a command, the text that ssh would be given.
        work_for: Returns a host's work; called once for each attempt.
        sudo_password: Returns the password that ends commands which run by sudo; called each time.
    """

    title: str
    work_for: Callable[[Assignment], Work]
    sudo_password: Callable[[], Password | None] = no_password


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetResources:
    """The resources that the runs of a fleet share.

    Attributes:
        transports: The prepared transports by name.
        ports: Leases the local ports.
        descriptors: Divides the process's descriptors among the runs.
        warn: Called with each warning, a line for people.
        bind_address: The local address of all connections; ``None`` for each route's own.
        pool: Keeps connections open from one run to the next; ``None`` to close them after each run.
    """

    transports: Mapping[str, Transport]
    ports: PortAllocator
    descriptors: Descriptors
    warn: Warn
    bind_address: str | None = None
    pool: ConnectionPool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claims:
    """What a run holds from its first reading to its end.

    Attributes:
        resources: Its part of this machine.
        connectors: Its way to each host.
    """

    resources: RunResources
    connectors: Connectors


class Run:
    """One run of a fleet. It is read once: as results, as all results together, or as events.

    The run starts when it is read, and holds no resources before. A reader
    that leaves early stops it: no more hosts start, and what is open is closed
    in order. A cancelled reader waits for that; after a ``break``, leaving the
    fleet waits for it.
    """

    def __init__(
        self,
        shared: FleetResources,
        hosts: Sequence[Host],
        work: RunWork,
        options: RunOptions,
        hooks: RunHooks,
    ) -> None:
        self.id = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
        self._shared = shared
        self._hosts = tuple(hosts)
        self._work = work
        self._options = options
        self._hooks = hooks
        self._tally = Tally()
        self._emitter = EventEmitter(self.id, tally=self._tally, rule=options.exit_rule, record=hooks.journal)
        self._machine = RunMachine(
            self._hosts, options, has_gate=hooks.gate is not None, has_prompt=hooks.prompt is not None
        )
        self._stop = StopSwitch()
        self._stop_signal: int | None = None
        self._claims: _Claims | None = None
        self._is_refused = False
        self._driver: asyncio.Task[None] | None = None
        # While it goes on.
        self._commands: deque[MachineCommand] = deque()
        self._is_performing = False
        self._wake = asyncio.Event()
        self._wakes_at: float | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._context: contextvars.Context | None = None
        self._places: dict[str, int] = {}
        self._ended: dict[str, HostAttempt] = {}
        self._released = asyncio.Event()
        self._interlude: asyncio.Task[Any] | None = None

    # Reading.

    async def __aiter__(self) -> AsyncGenerator[HostResult, None]:
        """Yield the result of each host as soon as it is known."""
        async with contextlib.aclosing(self._items()) as items:
            written: dict[tuple[str, Stream], list[bytes]] = {}
            async for batch in items:
                for item in batch:
                    if isinstance(item, HostStarted):
                        for stream in _STREAMS:  # drop the output of an earlier attempt
                            written.pop((item.host, stream), None)
                    elif isinstance(item, Output):
                        written.setdefault((item.host, item.stream), []).append(item.data)
                    elif isinstance(item, HostResult):
                        name = item.host.name
                        yield replace(
                            item,
                            stdout=b"".join(written.pop((name, "stdout"), ())),
                            stderr=b"".join(written.pop((name, "stderr"), ())),
                        )

    async def gather(self) -> Results:
        """Return all results when every host has ended and every connection is closed."""
        return Results({result.host.name: result async for result in self})

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yield each event as it happens."""
        async with contextlib.aclosing(self.event_batches()) as batches:
            async for batch in batches:
                for event in batch:
                    yield event

    async def event_batches(self) -> AsyncGenerator[list[Event], None]:
        """Yield the events in lists of those that wait together, for a reader that writes them out."""
        async with contextlib.aclosing(self._items()) as items:
            async for batch in items:
                yield [item for item in batch if not isinstance(item, HostResult)]

    def drain(self, *, signal: int | None = None) -> None:
        """Start no more hosts; those in flight continue to their ends. The others end as ``not_run``.

        Args:
            signal: The number of the signal that caused this, for the exit code.
        """
        self._stop_signal = self._stop_signal or signal
        self._feed(DrainRequested())

    def stop(self, *, signal: int | None = None) -> None:
        """Start no more hosts, give up those in flight, and close what is open, in order.

        The remote commands are ended: TERM, then KILL. Hosts in flight end as ``cancelled``, those never
        started as ``not_run``; the reader gets all of them, and then the end.

        Args:
            signal: As of ``drain``.
        """
        self._stop_signal = self._stop_signal or signal
        self._feed(StopRequested())

    def abandon(self, *, signal: int | None = None) -> None:
        """Stop, and wait neither for remote commands to end nor for remote ends to close.

        Args:
            signal: As of ``drain``.
        """
        self._stop_signal = self._stop_signal or signal
        self._feed(AbandonRequested())

    def statistics(self) -> PortStatistics:
        """Return the use of local ports by the run's connections, and which ends closed them."""
        return self._tally.statistics()

    def waits(self) -> Waits:
        """Return what the run waits for now, besides its commands; nothing before it is read."""
        if self._claims is None:
            return NO_WAITS
        now = asyncio.get_running_loop().time()
        waits = self._machine.waits(now)
        ports = self._tally.statistics()
        if ports.waiting:
            waits.append(Wait(Awaited.PORT, ports.waiting, ports.next_free))
        names = self._claims.resources.resolver.slow(now)
        if names:
            waits.append(Wait(Awaited.NAME, names))
        order = list(Awaited)
        waits.sort(key=lambda wait: order.index(wait.what))
        return Waits(waits=tuple(waits), again=self._machine.between_attempts())

    @property
    def stop_reason(self) -> StopReason | None:
        """Why no more hosts were started, although some were left; ``None`` if nothing stopped the run."""
        return self._machine.stop_reason

    @property
    def is_over(self) -> bool:
        """Whether the run was read and nothing of it is open any more."""
        return self._driver is not None and self._driver.done()

    @property
    def waiting_bytes(self) -> int:
        """The number of bytes of output that the reader has not taken; it is bounded."""
        return self._emitter.stream.waiting_bytes

    def claim(self) -> None:
        """Claim the run's share of this machine's resources, as reading the run does.

        Raises:
            UsageError: There are fewer descriptors than hosts of a barrier.
        """
        self._claimed()

    def _claimed(self) -> _Claims:
        if self._claims is None:
            resources = self._claim_resources()
            try:
                self._claims = _Claims(resources=resources, connectors=self._make_connectors(resources))
            except BaseException:
                resources.release()
                raise
        return self._claims

    def _claim_resources(self) -> RunResources:
        is_barrier = self._options.barrier
        resources = RunResources(
            self._shared.descriptors,
            hosts=len(self._hosts),
            fanout=max(1, len(self._hosts)) if is_barrier else self._options.limits.fanout,
            per_host=max((each.descriptors_per_host for each in self._shared.transports.values()), default=1),
            warn=self._shared.warn,
        )
        if is_barrier and resources.fanout < len(self._hosts):
            resources.release()
            raise UsageError(
                f"a barrier holds all {len(self._hosts)} hosts at once, and there are file descriptors for"
                f" {resources.fanout}",
                hint="raise 'ulimit -n', or take fewer hosts",
            )
        return resources

    def _make_connectors(self, resources: RunResources) -> Connectors:
        shared, pool = self._shared, self._shared.pool
        dialler = Dialler(
            ports=shared.ports,
            tally=self._tally if pool is None else pool.tally,
            close_timeout=self._options.timeouts.close,
            bind_address=shared.bind_address,
            warn=shared.warn,
            resolver=resources.resolver,
            spare=resources.spare,
            on_address=resources.note,
        )
        if pool is None:
            return Connectors(shared.transports, dialler, self._tally)
        return PooledConnectors(pool, shared.transports, dialler, self._tally)

    # From the first reading to the end.

    async def _items(self) -> AsyncGenerator[list[Item], None]:
        if self._driver is not None:
            raise RuntimeError("a run is read once; start another with fleet.run()")
        if self._is_refused:
            raise RuntimeError("the run's fleet was left before the run was read")
        self._driver = asyncio.create_task(self._drive(self._claimed()))  # noqa: TID251 - owned by this generator, and awaited below
        try:
            async for batch in self._emitter.stream.batches():
                await durable(self._emitter.recorded, self._hooks.journal)
                yield batch
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Stop the run if it goes on, and wait until everything is closed. It cannot be read any more.

        A cancellation while it waits resets the connections that are still open.
        """
        driver = self._driver
        if driver is None:
            self._is_refused = True
            if self._claims is not None:
                self._claims.resources.release()
        if driver is None or driver.done():
            return
        self._emitter.stream.close()
        self.stop()
        try:
            await asyncio.shield(driver)
        except asyncio.CancelledError:
            self.abandon()
            await driver
            raise

    async def _drive(self, claims: _Claims) -> None:
        failure: Exception | None = None
        try:
            self._emitter.begin(
                command=self._work.title,
                hosts=tuple(host.name for host in self._hosts),
                fanout=claims.resources.fanout,
            )
            try:
                await self._perform_run(claims)
            finally:
                await claims.connectors.settle()
            self._emitter.run_finished(signal=self._stop_signal)
        except Exception as error:  # noqa: BLE001 - it is not lost: the reader gets it
            failure = error
        finally:
            claims.resources.release()
            try:
                await durable(self._hooks.journal.close(), self._hooks.journal)
            finally:
                self._emitter.stream.close(failure)

    async def _perform_run(self, claims: _Claims) -> None:
        """Feed the machine until the run is over."""
        resources, connectors = claims.resources, claims.connectors
        is_connected = connectors.are_open(self._hosts)
        connectors.begin(self._hosts)
        resources.check(connectors.connector_for(host).destination(host) for host in self._hosts)
        self._places = {host.name: place for place, host in enumerate(self._hosts)}
        self._context = contextvars.copy_context()
        begun = RunBegun(
            fanout=resources.fanout,
            open_at_most=resources.open_at_most,
            is_connected=is_connected,
            hop_of=lambda host: connectors.connector_for(host).hop(host),
        )
        async with asyncio.TaskGroup() as self._tasks:
            self._feed(begun)
            while True:
                self._wake.clear()
                if self._machine.is_over:
                    break
                self._wakes_at = self._machine.tick_at
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(self._wakes_at):
                        await self._wake.wait()
                self._feed(Tick())

    def _feed(self, event: MachineEvent) -> None:
        """Feed the machine an event, and perform what it commands."""
        self._commands.extend(self._machine.receive(event, _now()))
        if self._is_performing:
            return  # a command that is being performed has led to this event: its others come first
        self._is_performing = True
        try:
            while self._commands:
                command = self._commands.popleft()
                try:
                    self._perform(command)
                except MemoryError:
                    relieve()
                    self._perform(command)
        finally:
            self._is_performing = False
        at = self._machine.tick_at
        is_sooner = at is not None and (self._wakes_at is None or at < self._wakes_at)
        if is_sooner or self._machine.is_over:
            self._wake.set()

    def _perform(self, command: MachineCommand) -> None:  # noqa: C901, PLR0912 - one case for each command
        match command:
            case Start():
                self._start_task(self._attempt(command), name=command.host.name)
            case ReportResult(host):
                self._emitter.result(self._ended[host.name].result)
            case FinishHost(host):
                ended = self._ended[host.name]
                self._emitter.host_finished(
                    ended.result,
                    closed_by=ended.closed_by,
                    stdout_bytes=ended.stdout_bytes,
                    stderr_bytes=ended.stderr_bytes,
                    close_seconds=ended.close_seconds,
                )
                del self._ended[host.name]
            case Prefetch(hosts):
                for host in hosts:
                    self._claimed().connectors.prefetch(host)
            case ReportNotRun(host):
                never = HostResult(host=host, status=Status.NOT_RUN, attempts=0)
                self._emitter.result(never)
                self._emitter.host_finished(never)
            case ReleaseBarrier():
                self._released.set()
            case RunGate() | AskUser():
                self._start_task(self._decide(command), name="between batches")
            case CancelInterlude():
                self._cancel_interlude()
            case StopAttempts(status, failure):
                self._stop.turn_on(Ending(status=status, failure=failure))
                self._emitter.hurry()
            case AbandonAttempts():
                self._emitter.hurry(0.0)
                self._stop.turn_final()
                if self._claims is not None:
                    self._claims.connectors.abandon()
            case ShowMessage(text):
                self._shared.warn(text)
            case NoteInternalError():
                self._emitter.internal_error()
            case _:
                assert_never(command)

    def _start_task(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Start a task of the run; what the task sets in its context, no other task sees."""
        if self._tasks is None or self._context is None:
            raise AssertionError("the run has not begun")
        return self._tasks.create_task(coroutine, name=f"multirsh {name}", context=self._context.copy())

    async def _attempt(self, start: Start) -> None:
        """Make one attempt at a host: open, run, close. Each step is an event for the machine."""
        host = start.host
        attempt = HostAttempt(host, start.attempt, self._emitter)
        connectors = self._claimed().connectors
        connection: Connection | None = None
        try:
            check_room(HOST_BYTES)
            connection = connectors.connector_for(host).connection(host)
            recorded = self._emitter.host_started(host, start.attempt)
            ending = await attempt.run(
                connection,
                self._work.work_for(Assignment(host, self._places[host.name], self.id)),
                timeouts=self._options.timeouts,
                stop=self._stop,
                hop_passed=lambda: self._feed(HopPassed(host)),
                logged_in=lambda: self._logged_in(host, recorded),
                sudo_password=self._work.sudo_password,
            )
        except MemoryError:
            relieve()
            ending = Ending(status=Status.LOCAL, failure=no_memory(Phase.RUN))
        finally:
            if connection is not None:
                with_reserve(connection.close)
                self._emitter.stream.forget(connection)
        with_reserve(attempt.end, ending)
        self._ended[host.name] = attempt
        is_stale = (
            connection is not None and not self._machine.is_stopping and connectors.is_stale(connection)
        )
        self._feed(AttemptEnded(host, ending.status, ending.failure, is_stale))
        await attempt.closed()
        self._feed(SocketClosed(host, start.attempt))

    async def _logged_in(self, host: Host, recorded: Future[None] | None) -> None:
        """A login is done: hold the host until its command may be sent."""
        self._feed(LoggedIn(host))
        # No record forgets a host that may have run its command.
        await durable(recorded, self._hooks.journal)
        if self._machine.is_barrier_closed:
            self._feed(BarrierReached(host))
            await self._released.wait()
            self._feed(BarrierLeft(host))

    async def _decide(self, command: RunGate | AskUser) -> None:
        """Have the gate, or the user, decide whether the run goes on."""
        event: MachineEvent = InterludeFailed("it was cancelled")
        self._interlude = task = asyncio.current_task()
        try:
            if self._machine.step is not Step.CANCELLING:
                event = await self._decision(command)
        except asyncio.CancelledError:
            is_cancelled = task is not None and task.cancelling() > 0
            if is_cancelled and self._machine.step is not Step.CANCELLING:
                raise  # the whole run is cancelled
        except (MultirshError, OSError) as error:
            event = InterludeFailed(str(error))
        except Exception as error:
            logger.exception("between batches: %s", type(command).__name__)
            event = InterludeFailed(f"{type(error).__name__}: {error}")
        self._interlude = None
        self._feed(event)

    def _cancel_interlude(self) -> None:
        """Cancel the gate or the question, once more if it was cancelled before."""
        interlude = self._interlude
        if interlude is None:
            return
        if interlude.cancelling():
            # Later, since a task that is cancelled twice at once notices it once.
            asyncio.get_running_loop().call_soon(interlude.cancel)
        else:
            interlude.cancel()

    async def _decision(self, command: RunGate | AskUser) -> GateEnded | Answered:
        # What a batch has written stands above the question whether the next may start.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READER_PATIENCE_S):
                await self._emitter.stream.read_up()
        gate, prompt = self._hooks.gate, self._hooks.prompt
        match command:
            case RunGate(batch, hosts) if gate is not None:
                return GateEnded(await gate(batch, hosts))
            case AskUser(question) if prompt is not None:
                return Answered(await prompt(question))
            case _:
                raise AssertionError(f"there is nothing to perform {command} with")


def _now() -> float:
    return asyncio.get_running_loop().time()
