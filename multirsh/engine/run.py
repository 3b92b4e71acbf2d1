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
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from multirsh.engine.admission import Admission
from multirsh.engine.attempt import Ending, Stop
from multirsh.engine.barrier import Barrier
from multirsh.engine.conductor import Conductor
from multirsh.engine.emitter import EventEmitter, Item, durable
from multirsh.engine.governor import Governor
from multirsh.engine.hooks import RunHooks, RunWork
from multirsh.engine.host_attempts import HostAttempts
from multirsh.engine.options import RunOptions
from multirsh.engine.pace import AUTO, Pace
from multirsh.engine.pool import ConnectionPool, Connectors, PooledConnectors
from multirsh.engine.resources import Descriptors, RunResources
from multirsh.engine.results import HostResult, Results
from multirsh.engine.rolling import NO_FAILURE, ON_REQUEST, Cause, StopReason
from multirsh.errors import UsageError
from multirsh.events import Event, HostStarted, Output
from multirsh.model import Assignment, ErrorKind, Failure, Host, Phase, Status
from multirsh.ports.allocator import PortAllocator
from multirsh.ports.tally import PortStatistics, Tally
from multirsh.transports.base import Stream, Transport, Warn
from multirsh.transports.dialling import Dialler
from multirsh.waits import NO_WAITS, Awaited, Wait, Waits


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetResources:
    """What the runs of a fleet share.

    Attributes:
        transports: Prepared, by name.
        ports: Leases the local ports.
        descriptors: Parts the process's descriptors among the runs.
        warn: Takes warnings for people.
        bind_address: The local address to leave from, or ``None``.
        pool: Where connections stay from one run to the next; ``None`` to close them.
    """

    transports: Mapping[str, Transport]
    ports: PortAllocator
    descriptors: Descriptors
    warn: Warn
    bind_address: str | None = None
    pool: ConnectionPool | None = None


STOPPED: Final = Ending(
    status=Status.CANCELLED, failure=Failure(ErrorKind.STOPPED, Phase.RUN, "the run was stopped")
)
"""How hosts in flight end where a run is stopped; the phase is each one's own."""

_STREAMS: Final[tuple[Stream, ...]] = ("stdout", "stderr")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What a run consists of while it goes on.

    Attributes:
        resources: What it has claimed of this resources.
        connectors: Its connectors.
        attempts: Its hosts' attempts.
        conductor: Starts the hosts.
    """

    resources: RunResources
    connectors: Connectors
    attempts: HostAttempts
    conductor: Conductor


class Run:
    """A run under way. Read it once: as results, all together, or as events.

    It starts when it is read, and holds nothing before. Leaving early stops it:
    no further host starts, and what is open is closed in order. A cancelled
    reader goes on only after that; after a ``break`` it is leaving the fleet
    that waits for it.
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
        self._barrier = Barrier([host.name for host in self._hosts], shared.warn) if options.barrier else None
        self._stop = Stop()
        self._emitter = EventEmitter(self.id, tally=self._tally, rule=options.exit_rule, record=hooks.journal)
        self._parts: _Parts | None = None
        self._stopped_before: StopReason | None = None
        self._is_refused = False
        self._driver: asyncio.Task[None] | None = None
        self._stop_signal: int | None = None

    # Reading.

    async def __aiter__(self) -> AsyncGenerator[HostResult, None]:
        """One result a host, each as soon as it is known."""
        async with contextlib.aclosing(self._items()) as items:
            written: dict[tuple[str, Stream], list[bytes]] = {}
            async for batch in items:
                for item in batch:
                    if isinstance(item, HostStarted):
                        for stream in _STREAMS:  # of an attempt before this one
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
        if self._parts is None:
            self._stopped_before = ON_REQUEST
        else:
            self._parts.conductor.stop(ON_REQUEST)

    def stop(self, *, signal: int | None = None) -> None:
        """Start no further host, give up on those in flight, and close what is open, in order.

        The remote commands are ended: TERM, then KILL. Hosts in flight end as ``cancelled``, those never
        started as ``not_run``; the reader gets all of them, then the end.

        Args:
            signal: The number of the signal that asked for it, for the exit code.
        """
        self.drain(signal=signal)
        self._give_up_all(STOPPED)

    def abandon(self, *, signal: int | None = None) -> None:
        """Stop, and wait for nothing: neither for remote commands to end nor for remotes to close.

        Args:
            signal: As of ``stop``.
        """
        self.stop(signal=signal)
        self._emitter.hurry(0.0)
        self._stop.turn_final()
        if self._parts is not None:
            self._parts.conductor.abandon()
            self._parts.connectors.abandon()

    def statistics(self) -> PortStatistics:
        """The local ports that the run's connections hold, have held and wait for, and who closed them."""
        return self._tally.statistics()

    def waits(self) -> Waits:
        """What the run waits for now, besides its commands; nothing before it is read."""
        if self._parts is None:
            return NO_WAITS
        now = asyncio.get_running_loop().time()
        ports = self._tally.statistics()
        names = self._parts.resources.resolver.slow(now)
        waits = self._parts.conductor.waits(now)
        if ports.waiting:
            waits.append(Wait(Awaited.PORT, ports.waiting, ports.next_free))
        if names:
            waits.append(Wait(Awaited.NAME, names))
        if self._barrier is not None and self._barrier.waiting:
            waits.append(Wait(Awaited.BARRIER, self._barrier.waiting))
        order = list(Awaited)
        waits.sort(key=lambda wait: order.index(wait.what))
        return Waits(waits=tuple(waits), again=self._parts.attempts.again)

    @property
    def stop_reason(self) -> StopReason | None:
        """Why no more hosts were started, where not all were; ``None`` if nothing stopped the run."""
        return self._stopped_before if self._parts is None else self._parts.conductor.stop_reason

    @property
    def is_over(self) -> bool:
        """Whether it was read and nothing of it is open any more."""
        return self._driver is not None and self._driver.done()

    @property
    def waiting_bytes(self) -> int:
        """Output that has come and that the reader has not taken; bounded."""
        return self._emitter.stream.waiting_bytes

    def claim(self) -> None:
        """Claim what the run needs of this resources. The first reading of it does that, too.

        Raises:
            UsageError: It is too little for a barrier.
        """
        if self._parts is not None:
            return
        resources = self._claim_resources()
        try:
            self._parts = self._make_parts(resources)
        except BaseException:
            resources.release()
            raise
        if self._stopped_before is not None:
            self._parts.conductor.stop(self._stopped_before)

    # Driving.

    async def _items(self) -> AsyncGenerator[list[Item], None]:
        if self._driver is not None:
            raise RuntimeError("a run is read once; start another with fleet.run()")
        if self._is_refused:
            raise RuntimeError("the run's fleet was left before the run was read")
        self.claim()
        self._driver = asyncio.create_task(self._drive(self._claimed()))  # noqa: TID251 - owned by this generator, and awaited below
        try:
            async for batch in self._emitter.stream.batches():
                await durable(self._emitter.recorded, self._hooks.journal)
                yield batch
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Stop the run if it goes on, and wait until everything of it is closed. It cannot be read any more.

        A second cancellation meanwhile resets what is still open.
        """
        driver = self._driver
        if driver is None:
            self._is_refused = True
            if self._parts is not None:
                self._parts.resources.release()
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

    async def _drive(self, parts: _Parts) -> None:
        failure: Exception | None = None
        resources, connectors = parts.resources, parts.connectors
        try:
            self._emitter.begin(
                command=self._work.title,
                hosts=tuple(host.name for host in self._hosts),
                fanout=resources.fanout,
            )
            try:
                connectors.begin(self._hosts)
                resources.check(connectors.connector_for(host).destination(host) for host in self._hosts)
                await self._run_hosts(parts.conductor)
            finally:
                await connectors.settle()
            if self._barrier is not None:
                self._barrier.tell_skew()
            self._emitter.run_finished(signal=self._stop_signal)
        except Exception as error:  # noqa: BLE001 - it is not lost: the reader gets it
            failure = error
        finally:
            resources.release()
            try:
                await durable(self._hooks.journal.close(), self._hooks.journal)
            finally:
                self._emitter.stream.close(failure)

    def _claimed(self) -> _Parts:
        if self._parts is None:
            raise AssertionError("a run that goes on has claimed its parts")
        return self._parts

    def _claim_resources(self) -> RunResources:
        """Claim what the run needs of this resources.

        Raises:
            UsageError: It is too little for a barrier.
        """
        is_barred = self._options.barrier
        resources = RunResources(
            self._shared.descriptors,
            hosts=len(self._hosts),
            fanout=max(1, len(self._hosts)) if is_barred else self._options.limits.fanout,
            per_host=max((each.descriptors_per_host for each in self._shared.transports.values()), default=1),
            warn=self._shared.warn,
        )
        if is_barred and resources.fanout < len(self._hosts):
            resources.release()
            raise UsageError(
                f"a barrier holds all {len(self._hosts)} hosts at once, and there are file descriptors for"
                f" {resources.fanout}",
                hint="raise 'ulimit -n', or take fewer hosts",
            )
        return resources

    def _make_parts(self, resources: RunResources) -> _Parts:
        """Make the parts of the run, now that it is known how much of the machine is its own."""
        shared, pool, options = self._shared, self._shared.pool, self._options
        dialler = Dialler(
            ports=shared.ports,
            tally=self._tally if pool is None else pool.tally,
            close_timeout=options.timeouts.close,
            bind_address=shared.bind_address,
            warn=shared.warn,
            resolver=resources.resolver,
            spare=resources.spare,
            on_address=resources.note,
        )
        connectors = (
            Connectors(shared.transports, dialler, self._tally)
            if pool is None
            else PooledConnectors(pool, shared.transports, dialler, self._tally)
        )
        admission = self._queue(resources, connectors)
        attempts = HostAttempts(
            self._work,
            options,
            self._hooks.journal,
            {host.name: Assignment(host, place, self.id) for place, host in enumerate(self._hosts)},
            stop=self._stop,
            emitter=self._emitter,
            admission=admission,
            barrier=self._barrier,
            connectors=connectors,
            ended=self._ended,
            wake=self._wake,
        )
        conductor = Conductor(
            admission,
            options.rolling,
            self._hooks,
            len(self._hosts),
            start=attempts.run,
            give_up=attempts.give_up,
            upcoming=connectors.prefetch,
            on_stopped=self._on_stopped,
            read_up=self._emitter.stream.read_up,
        )
        return _Parts(resources=resources, connectors=connectors, attempts=attempts, conductor=conductor)

    def _queue(self, resources: RunResources, connectors: Connectors) -> Admission:
        limits = self._options.limits
        # What is open already is no new connection.
        rate = None if connectors.are_open(self._hosts) else limits.start_rate.per_second
        return Admission(
            self._hosts,
            fanout=resources.fanout,
            handshakes=limits.handshakes,
            pace=None if rate is None else Pace(rate),
            governor=Governor() if limits.start_rate == AUTO else None,
            hop_of=lambda host: connectors.connector_for(host).hop(host),
            allowed=0,
            open_at_most=resources.open_at_most,
        )

    async def _run_hosts(self, conductor: Conductor) -> None:
        """Conduct the run, within its deadline."""
        loop = asyncio.get_running_loop()
        deadline = self._options.timeouts.run
        timer = None if deadline is None else loop.call_later(deadline, self._deadline_passed)
        try:
            async with asyncio.TaskGroup() as group:
                await conductor.conduct(group)
        finally:
            if timer is not None:
                timer.cancel()

    def _deadline_passed(self) -> None:
        words = f"the run's deadline of {self._options.timeouts.run:g} s has passed"
        self._claimed().conductor.stop(StopReason(Cause.DEADLINE, words))
        self._give_up_all(Ending(status=Status.TIMEOUT, failure=Failure(ErrorKind.TIMEOUT, Phase.RUN, words)))

    def _give_up_all(self, ending: Ending) -> None:
        """Give up those in flight, and whoever would be."""
        if self._barrier is not None:
            self._barrier.call_off()
        self._stop.turn_on(ending)
        self._emitter.hurry()

    def _on_stopped(self, stop_reason: StopReason) -> None:
        """No more hosts are started, though there may be some."""
        if stop_reason.cause is not Cause.STOP:  # whoever asked for it knows
            self._shared.warn(stop_reason.message)
        if stop_reason.cause is Cause.ERROR:
            self._emitter.internal_error()
        if self._barrier is not None and not self._barrier.is_released:
            # The command is for all who can be reached, or for nobody.
            self._give_up_all(STOPPED)

    def _ended(self, result: HostResult) -> None:
        """A host has its result: let the run's course follow from it."""
        conductor = self._claimed().conductor
        if self._barrier is not None:
            self._barrier.fail(result.host.name)
        if self._options.fail_fast and result.status not in NO_FAILURE:
            conductor.stop(StopReason(Cause.FAIL_FAST, f"{result.host.name} has failed (--fail-fast)"))
            self._give_up_all(STOPPED)
        conductor.ended(result.status)

    def _wake(self) -> None:
        self._claimed().conductor.wake()
