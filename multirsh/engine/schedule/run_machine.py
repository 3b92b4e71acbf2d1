"""The state machine of a run: events in, commands out. Pure.

``RunMachine.receive(event, now)`` is given one thing that has happened, and
returns what is to be done about it, in order. It awaits nothing and reads no
clock, so a run of thousands of hosts and hours is a test of a second. The shell
around it (``engine.run``) performs the commands and feeds the events::

    RunBegun ─▶ Start ─▶ HopPassed, LoggedIn ─▶ AttemptEnded ─▶ ReportResult ─▶ SocketClosed ─▶ FinishHost

Two tables hold every move there is: the steps of the run in
``engine.schedule.rolling`` (batches, gate, question, delay, draining), and the states of
a host here. What counts is asked of parts that count: ``Admission`` (which
host may start), ``retry.decide`` (which one is tried again), ``Rolling`` (how
many have failed), ``Barrier`` (how many are ready).
"""

from __future__ import annotations

import enum
import random
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias, assert_never

from multirsh.engine.options import AUTO, RunOptions
from multirsh.engine.schedule.admission import Admission, Start
from multirsh.engine.schedule.barrier import Barrier
from multirsh.engine.schedule.governor import Governor, Pace
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
from multirsh.engine.schedule.retry import decide
from multirsh.engine.schedule.rolling import (
    NO_FAILURE,
    ON_REQUEST,
    Cause,
    Rolling,
    Step,
    StopReason,
)
from multirsh.errors import IllegalTransition
from multirsh.model import ErrorKind, Failure, Host, Phase, Status
from multirsh.transports.base import congestion_of
from multirsh.waits import Awaited, Wait

PREFETCH_HOSTS: Final = 128
"""The number of hosts whose names are looked up before their turn."""

STOPPED: Final = Failure(ErrorKind.STOPPED, Phase.RUN, "the run was stopped")
"""Why hosts in flight end when the run is stopped; the phase is each host's own."""


# The states of a host.


class HostState(enum.Enum):
    """Where a host is."""

    __hash__ = object.__hash__  # Enum's own is a call in Python, of which there would be eight a host

    WAITING = "waiting"
    """It was not started. No record is kept of such hosts."""
    CONNECTING = "connecting"
    """It is being connected to and logged in to."""
    RUNNING = "running"
    """It is logged in."""
    HELD = "held"
    """It is logged in, and waits at the barrier."""
    RETRY_DRAINING = "retry, draining"
    """It will be tried again; the socket of its last attempt drains."""
    RETRY_WAITING = "retry"
    """It will be tried again."""
    DRAINING = "draining"
    """It has its result; its socket drains."""
    FINISHED = "finished"
    """Nothing more comes of it. Its record is gone."""


class HostMove(enum.Enum):
    """What moves a host."""

    __hash__ = object.__hash__  # as of HostState

    STARTED = "started"
    HOP_PASSED = "hop passed"
    LOGGED_IN = "logged in"
    HELD = "held"
    RELEASED = "released"
    RETRIED = "attempt ended, another will follow"
    ENDED = "attempt ended, and is the last"
    CLOSED = "socket closed"
    GIVEN_UP = "given up"
    """The start that it waits for will not come."""


HostCommand: TypeAlias = type[ReportResult] | type[FinishHost] | type[ReportNotRun]

_ENDS: Final[Mapping[HostMove, tuple[HostState, tuple[HostCommand, ...]]]] = {
    HostMove.RETRIED: (HostState.RETRY_DRAINING, ()),
    HostMove.ENDED: (HostState.DRAINING, (ReportResult,)),
}

HOST_TRANSITIONS: Final[Mapping[HostState, Mapping[HostMove, tuple[HostState, tuple[HostCommand, ...]]]]] = (
    MappingProxyType(
        {
            HostState.WAITING: {
                HostMove.STARTED: (HostState.CONNECTING, ()),
                HostMove.GIVEN_UP: (HostState.FINISHED, (ReportNotRun,)),
            },
            HostState.CONNECTING: {
                HostMove.HOP_PASSED: (HostState.CONNECTING, ()),
                HostMove.LOGGED_IN: (HostState.RUNNING, ()),
                **_ENDS,
            },
            HostState.RUNNING: {HostMove.HELD: (HostState.HELD, ()), **_ENDS},
            HostState.HELD: {HostMove.RELEASED: (HostState.RUNNING, ()), **_ENDS},
            HostState.RETRY_DRAINING: {
                HostMove.STARTED: (HostState.CONNECTING, ()),
                HostMove.CLOSED: (HostState.RETRY_WAITING, ()),
                HostMove.GIVEN_UP: (HostState.DRAINING, (ReportResult,)),
            },
            HostState.RETRY_WAITING: {
                HostMove.STARTED: (HostState.CONNECTING, ()),
                HostMove.GIVEN_UP: (HostState.FINISHED, (ReportResult, FinishHost)),
            },
            HostState.DRAINING: {HostMove.CLOSED: (HostState.FINISHED, (FinishHost,))},
            HostState.FINISHED: {},
        }
    )
)
"""Every move of a host, and the commands that it gives."""

BETWEEN_ATTEMPTS: Final = frozenset({HostState.RETRY_DRAINING, HostState.RETRY_WAITING})


class _HostRecord:
    """A host that was started and has not finished.

    Attributes:
        state: Where it is.
        start: Its last start.
        stale: How many of its attempts met a dead connection of the pool, and are no retries.
        status: How its last attempt ended.
    """

    __slots__ = ("stale", "start", "state", "status")

    def __init__(self, start: Start) -> None:
        self.state = HostState.WAITING
        self.start = start
        self.stale = 0
        self.status = Status.NOT_RUN


class RunMachine:
    """One run. The shell feeds it every event, in order, with a time that never goes backwards.

    Attributes:
        tick_at: When to feed a ``Tick`` if nothing else happens; ``None`` for never.
        is_over: Whether every host has finished and every socket is closed.
        is_stopping: Whether attempts that go on are being ended, so that none is made again.
    """

    def __init__(
        self,
        hosts: Sequence[Host],
        options: RunOptions,
        *,
        has_gate: bool = False,
        has_prompt: bool = False,
        rng: random.Random | None = None,
    ) -> None:
        """Begin nothing yet.

        Args:
            hosts: In the order to start them; each name once.
            options: The options of the run.
            has_gate: Whether a gate must pass after each batch but the last.
            has_prompt: Whether the user is asked after each batch but the last.
            rng: Draws the pauses before retries and of the governor.
        """
        self.tick_at: float | None = None
        self.is_over = False
        self.is_stopping = False
        self._hosts = hosts
        self._options = options
        self._rng = rng or random.Random()  # noqa: S311 - it only spreads load
        self._rolling = Rolling(options.rolling, len(hosts), has_gate=has_gate, has_prompt=has_prompt)
        self._barrier = Barrier(host.name for host in hosts) if options.barrier else None
        self._admission: Admission | None = None
        self._records: dict[str, _HostRecord] = {}
        self._commands: list[MachineCommand] = []
        self._deadline: float | None = None
        self._delay_ends: float | None = None
        self._entered: Step | None = None
        self._allowed = 0
        self._batch_hosts: list[str] = []
        self._gave_up_waiting = False

    @property
    def step(self) -> Step:
        """Where the run is."""
        return self._rolling.step

    @property
    def stop_reason(self) -> StopReason | None:
        """Why not all hosts were started; ``None`` if nothing stopped the run."""
        return self._rolling.stop_reason

    @property
    def is_barrier_closed(self) -> bool:
        """Whether a host that is logged in has to wait for the others before its command is sent."""
        return self._barrier is not None and not self._barrier.is_released

    def waits(self, now: float) -> list[Wait]:
        """What keeps hosts from being started, or their commands from being sent."""
        waits: list[Wait] = []
        if self._admission is None:
            return waits
        match self._rolling.step:
            case Step.RUNNING:
                waits = self._admission.waits(now)
            case Step.GATING:
                waits.append(Wait(Awaited.GATE))
            case Step.ASKING:
                waits.append(Wait(Awaited.ANSWER))
            case Step.PAUSING:
                waits.append(Wait(Awaited.BATCH_DELAY, until=self._delay_ends))
            case _:
                pass
        if self._barrier is not None and self._barrier.waiting:
            waits.append(Wait(Awaited.BARRIER, self._barrier.waiting))
        return waits

    def between_attempts(self) -> frozenset[str]:
        """The names of the hosts that will be tried again."""
        return frozenset(name for name, record in self._records.items() if record.state in BETWEEN_ATTEMPTS)

    def receive(self, event: MachineEvent, now: float) -> list[MachineCommand]:  # noqa: C901, PLR0912 - a case each
        """Take note of an event.

        Args:
            event: What has happened.
            now: Monotonic time in seconds; never earlier than in the last call.

        Returns:
            What to do, in this order.

        Raises:
            IllegalTransition: The event cannot happen now; a bug in the shell.
        """
        match event:
            case LoggedIn(host):
                self._move(host, HostMove.LOGGED_IN)
                self._begun().logged_in(host, now)
            case AttemptEnded():
                self._attempt_ended(event, now)
            case SocketClosed(host, attempt):
                self._socket_closed(host, attempt)
            case HopPassed(host):
                self._move(host, HostMove.HOP_PASSED)
                self._begun().passed(host, now)
            case Tick():
                self._tick(now)
            case RunBegun():
                self._begin(event, now)
            case BarrierReached(host):
                self._barrier_reached(host)
            case BarrierLeft(host):
                self._barrier_left(host, now)
            case GateEnded(outcome):
                self._rolling.gated(outcome)
            case Answered(answer):
                self._rolling.answered(answer)
            case InterludeFailed(reason):
                self._rolling.broke(reason)
            case DrainRequested():
                self._rolling.stop(ON_REQUEST)
            case StopRequested() | AbandonRequested():
                self._rolling.stop(ON_REQUEST)
                self._stop_attempts(Status.CANCELLED, STOPPED)
            case _:
                assert_never(event)
        if self._admission is not None:
            self._settle(self._admission, now)
        if isinstance(event, AbandonRequested):
            self._commands.append(AbandonAttempts())
            if self._rolling.step is Step.CANCELLING:
                self._commands.append(CancelInterlude())
        commands, self._commands = self._commands, []
        return commands

    # Events.

    def _begin(self, event: RunBegun, now: float) -> None:
        if self._admission is not None:
            raise IllegalTransition("run: it has begun already")
        limits, timeouts = self._options.limits, self._options.timeouts
        rate = None if event.is_connected else limits.start_rate.per_second
        self._admission = Admission(
            self._hosts,
            fanout=event.fanout,
            handshakes=limits.handshakes,
            pace=None if rate is None else Pace(rate),
            governor=Governor() if limits.start_rate == AUTO else None,
            hop_of=event.hop_of,
            rng=self._rng,
            allowed=0,
            open_at_most=event.open_at_most,
        )
        self._deadline = None if timeouts.run is None else now + timeouts.run

    def _tick(self, now: float) -> None:
        if self._deadline is not None and now >= self._deadline and not self.is_over:
            self._deadline = None
            text = f"the run's deadline of {self._options.timeouts.run:g} s has passed"
            self._rolling.stop(StopReason(Cause.DEADLINE, text))
            self._stop_attempts(Status.TIMEOUT, Failure(ErrorKind.TIMEOUT, Phase.RUN, text))
        if self._rolling.step is Step.PAUSING and self._delay_ends is not None and now >= self._delay_ends:
            self._rolling.delay_over()

    def _attempt_ended(self, event: AttemptEnded, now: float) -> None:
        host = event.host
        record = self._records.get(host.name)
        if record is None or HostMove.ENDED not in HOST_TRANSITIONS[record.state]:
            raise IllegalTransition(f"{host.name}: an attempt ended, and none is under way")
        record.status = event.status
        congestion = again_at = None
        if event.failure is not None and not self.is_stopping:
            congestion = congestion_of(event.status, event.failure)
            again_at = self._retry_at(record, event, event.failure, now)
        comes_again = self._begun().ended(host, now, congestion=congestion, again_at=again_at)
        self._move(host, HostMove.RETRIED if comes_again else HostMove.ENDED)

    def _retry_at(
        self, record: _HostRecord, event: AttemptEnded, failure: Failure, now: float
    ) -> float | None:
        """When to try a host again at the earliest; ``None`` for never."""
        if event.is_stale:  # that was no attempt at the host, but at what was left of a connection
            record.stale += 1
            return now
        counted = record.start.attempt - record.start.drops - record.stale
        pause = decide(self._options.retry, event.status, failure, tried=counted, rng=self._rng)
        return None if pause is None else now + pause

    def _socket_closed(self, host: Host, attempt: int) -> None:
        admission = self._begun()
        if not admission.draining:
            raise IllegalTransition(f"{host.name}: a socket is closed, and none drains")
        admission.closed()
        record = self._records.get(host.name)
        # An attempt that was followed by another had nothing to report.
        if record is not None and record.start.attempt == attempt:
            self._move(host, HostMove.CLOSED)

    def _barrier_reached(self, host: Host) -> None:
        if self._barrier is None:
            raise IllegalTransition(f"{host.name}: the run has no barrier")
        self._move(host, HostMove.HELD)
        self._release_if(self._barrier.reached(host.name))

    def _barrier_left(self, host: Host, now: float) -> None:
        self._move(host, HostMove.RELEASED)
        if self._barrier is not None:
            self._barrier.left(now)

    # What follows.

    def _settle(self, admission: Admission, now: float) -> None:
        """Do what the run's step says, until only an event can change it."""
        rolling = self._rolling
        at: float | None = None
        while True:
            step = rolling.step
            if step is Step.RUNNING:
                at = self._admit(admission, now)
                break
            if step is Step.DRAINING or step is Step.DONE or step is Step.STOPPED:
                self._give_up_waiting(admission)
                if rolling.step is not step:
                    continue  # hosts that waited to be tried again were the last
                if step is not Step.DRAINING:
                    self.is_over = not (self._records or admission.draining)
                elif not admission.in_flight:
                    rolling.drained()
                    continue
            if step is not self._entered:
                self._enter(step, now)
            if step is Step.PAUSING:
                at = self._delay_ends
            break
        self._entered = step
        self.tick_at = (
            at if self._deadline is None or (at is not None and at < self._deadline) else self._deadline
        )

    def _enter(self, step: Step, now: float) -> None:
        batch = self._rolling.batch
        match step:
            case Step.GATING:
                self._commands.append(RunGate(batch, tuple(self._batch_hosts)))
            case Step.ASKING:
                self._commands.append(AskUser(f"batch {batch} has ended; go on?"))
            case Step.PAUSING:
                self._delay_ends = now + self._options.rolling.delay
            case Step.CANCELLING:
                self._commands.append(CancelInterlude())
            case Step.DONE | Step.STOPPED if self._barrier is not None and self._barrier.skew is not None:
                milliseconds = self._barrier.skew * 1000
                self._show(f"barrier: the command was sent to all within {milliseconds:.1f} ms")
            case _:
                pass

    def _admit(self, admission: Admission, now: float) -> float | None:
        """Start the hosts that may start; return when to try again."""
        if self._rolling.allowed > self._allowed:  # another batch has begun
            self._batch_hosts.clear()
            admission.allow(self._rolling.allowed - self._allowed)
            self._allowed = self._rolling.allowed
        if not admission.has_place():
            return None
        starts = admission.admit(now)
        for start in starts:
            record = self._records.get(start.host.name)
            if record is None:
                self._batch_hosts.append(start.host.name)
                record = self._records[start.host.name] = _HostRecord(start)
            record.start = start
            self._move(start.host, HostMove.STARTED)
            self._commands.append(start)
        if starts or self._entered is not Step.RUNNING:
            upcoming = admission.upcoming(PREFETCH_HOSTS)
            if upcoming:
                self._commands.append(Prefetch(upcoming))
        return admission.next_at(now)

    def _give_up_waiting(self, admission: Admission) -> None:
        """No more hosts are started: give up those that wait."""
        if self._gave_up_waiting:
            return
        self._gave_up_waiting = True
        given_up = admission.stop()
        reason = self._rolling.stop_reason
        if reason is not None:
            if reason.cause is not Cause.STOP:  # whoever requested it knows
                self._show(reason.message)
            if reason.cause is Cause.ERROR:
                self._commands.append(NoteInternalError())
            if self.is_barrier_closed:
                # The command is for all hosts that can be reached, or for none.
                self._stop_attempts(Status.CANCELLED, STOPPED)
        for start in given_up:
            self._move(start.host, HostMove.GIVEN_UP)

    def _move(self, host: Host, move: HostMove) -> None:
        """Move a host by the table, and give the commands that the table names.

        Raises:
            IllegalTransition: The table has no such row.
        """
        record = self._records.get(host.name)
        state = HostState.WAITING if record is None else record.state
        row = HOST_TRANSITIONS[state]
        if move not in row:
            raise IllegalTransition(f"{host.name}: {move.name} in {state.name}")
        state, commands = row[move]
        if record is not None:
            record.state = state
            if state is HostState.FINISHED:
                del self._records[host.name]
        for command in commands:
            self._commands.append(command(host))
            if command is ReportResult and record is not None:
                self._result_known(host, record.status)

    def _result_known(self, host: Host, status: Status) -> None:
        """A host that was started has its result: let the run follow from it."""
        if self._barrier is not None:
            self._release_if(self._barrier.ended(host.name))
        if self._options.fail_fast and status not in NO_FAILURE:
            self._rolling.stop(StopReason(Cause.FAIL_FAST, f"{host.name} has failed (--fail-fast)"))
            self._stop_attempts(Status.CANCELLED, STOPPED)
        self._rolling.ended(status)

    def _release_if(self, message: str | None) -> None:
        """Release the barrier, if there is a message that it is complete."""
        if message is not None:
            self._show(message)
            self._commands.append(ReleaseBarrier())

    def _stop_attempts(self, status: Status, failure: Failure) -> None:
        """Give up the hosts in flight; the first reason holds."""
        if self._barrier is not None:
            message = self._barrier.call_off()
            if message is not None:
                self._show(message)
        self.is_stopping = True
        self._commands.append(StopAttempts(status, failure))

    def _show(self, text: str) -> None:
        self._commands.append(ShowMessage(text))

    def _begun(self) -> Admission:
        if self._admission is None:
            raise IllegalTransition("run: it has not begun")
        return self._admission
