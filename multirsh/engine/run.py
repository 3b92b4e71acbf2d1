"""One run of one command on the hosts.

It is the shell around ``Admission``, the transports and the stream. It
guarantees one ``HostFinished`` for each host, whatever happens to the host,
and that nothing of the run is open when ``RunFinished`` is emitted.
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


STOPPED: Final = Ending(
    status=Status.CANCELLED, failure=Failure(ErrorKind.STOPPED, Phase.RUN, "the run was stopped")
)
"""How hosts in flight end if a run is stopped, each with the phase that it was in."""

_STREAMS: Final[tuple[Stream, ...]] = ("stdout", "stderr")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """The parts of a run that goes on.

    Attributes:
        resources: Its share of this machine's resources.
        connectors: Make its connections.
        attempts: Makes the attempts at its hosts.
        conductor: Starts the hosts.
    """

    resources: RunResources
    connectors: Connectors
    attempts: HostAttempts
    conductor: Conductor


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
        if self._parts is None:
            self._stopped_before = ON_REQUEST
        else:
            self._parts.conductor.stop(ON_REQUEST)

    def stop(self, *, signal: int | None = None) -> None:
        """Start no more hosts, give up those in flight, and close what is open, in order.

        The remote commands are ended: TERM, then KILL. Hosts in flight end as ``cancelled``, those never
        started as ``not_run``; the reader gets all of them, and then the end.

        Args:
            signal: The number of the signal that caused this, for the exit code.
        """
        self.drain(signal=signal)
        self._give_up_all(STOPPED)

    def abandon(self, *, signal: int | None = None) -> None:
        """Stop, and wait neither for remote commands to end nor for remote ends to close.

        Args:
            signal: The number of the signal that caused this, for the exit code.
        """
        self.stop(signal=signal)
        self._emitter.hurry(0.0)
        self._stop.turn_final()
        if self._parts is not None:
            self._parts.conductor.abandon()
            self._parts.connectors.abandon()

    def statistics(self) -> PortStatistics:
        """Return the use of local ports by the run's connections, and which ends closed them."""
        return self._tally.statistics()

    def waits(self) -> Waits:
        """Return what the run waits for now, besides its commands; nothing before it is read."""
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
        """Why no more hosts were started, although some were left; ``None`` if nothing stopped the run."""
        return self._stopped_before if self._parts is None else self._parts.conductor.stop_reason

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
        """Stop the run if it goes on, and wait until everything is closed. It cannot be read any more.

        A cancellation while it waits resets the connections that are still open.
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
                self._barrier.report_skew()
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
        """Claim the run's share of this machine's resources.

        Raises:
            UsageError: There are fewer descriptors than hosts of a barrier.
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
        """Make the parts of the run, which depend on its share of the machine's resources."""
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
        # The start rate limits new connections only.
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
        """Run all hosts, within the deadline of the run."""
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
        """Give up the hosts in flight, and any that would still be started."""
        if self._barrier is not None:
            self._barrier.call_off()
        self._stop.turn_on(ending)
        self._emitter.hurry()

    def _on_stopped(self, stop_reason: StopReason) -> None:
        """Act on the fact that no more hosts are started."""
        if stop_reason.cause is not Cause.STOP:  # the user or program that stopped the run knows
            self._shared.warn(stop_reason.message)
        if stop_reason.cause is Cause.ERROR:
            self._emitter.internal_error()
        if self._barrier is not None and not self._barrier.is_released:
            # The command is for all hosts that can be reached, or for none.
            self._give_up_all(STOPPED)

    def _ended(self, result: HostResult) -> None:
        """Act on a host's result: the barrier, fail-fast and the batch may depend on it."""
        conductor = self._claimed().conductor
        if self._barrier is not None:
            self._barrier.fail(result.host.name)
        if self._options.fail_fast and result.status not in NO_FAILURE:
            conductor.stop(StopReason(Cause.FAIL_FAST, f"{result.host.name} has failed (--fail-fast)"))
            self._give_up_all(STOPPED)
        conductor.ended(result.status)

    def _wake(self) -> None:
        self._claimed().conductor.wake()
