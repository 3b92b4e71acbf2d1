"""A run without a loop: a machine's commands are performed in simulated time, and counted."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from multirsh.engine.options import RunOptions
from multirsh.engine.schedule.admission import Start
from multirsh.engine.schedule.interface import (
    AbandonAttempts,
    Answered,
    AskUser,
    AttemptEnded,
    BarrierLeft,
    BarrierReached,
    CancelInterlude,
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
    Tick,
)
from multirsh.engine.schedule.rolling import Answer, GateOutcome
from multirsh.engine.schedule.run_machine import RunMachine
from multirsh.model import ErrorKind, Failure, Host, Phase, Status

REFUSED = Failure(ErrorKind.REFUSED, Phase.CONNECT, "connection refused")
LOST = Failure(ErrorKind.RESET, Phase.RUN, "connection reset")


@dataclass(frozen=True, slots=True)
class Course:
    """How one attempt goes.

    Attributes:
        login: Seconds until the login is done, or has failed.
        failure: Why the login fails; ``None`` if it does not.
        command: Seconds for which the command runs.
        status: How the command ends.
        close: Seconds until the socket is closed.
        hops: How many jump hosts are passed on the way.
        is_stale: Whether the connection had died before the command was sent.
    """

    login: float = 0.1
    failure: Failure | None = None
    command: float = 1.0
    status: Status = Status.OK
    close: float = 0.1
    hops: int = 0
    is_stale: bool = False


class _Attempt:
    def __init__(self, start: Start, course: Course) -> None:
        self.start = start
        self.course = course
        self.is_held = False
        self.has_ended = False


class SimulatedRun:
    """The shell of a machine, in simulated time.

    Attributes:
        machine: The machine.
        now: Seconds since the run began.
        log: What the machine commanded: names of hosts as they are started, ``not NAME`` for those that are
            not, ``gate N: NAMES``, and questions.
        shown: The messages for people.
        statuses: Each host's status, as far as it is known.
        attempts: How often each host was started.
        peak: The largest number of hosts that were in flight.
        internal_errors: How often the exit code was to show one.
    """

    def __init__(
        self,
        hosts: int | Sequence[str],
        options: RunOptions | None = None,
        *,
        course: Callable[[str, int], Course] = lambda _name, _attempt: Course(),
        gate: Callable[[int], tuple[float, GateOutcome | str]] | None = None,
        prompt: Callable[[str], tuple[float, Answer | str]] | None = None,
        fanout: int | None = None,
        open_at_most: int | None = None,
        cleans_up: float = 0.0,
        hop_of: Callable[[Host], Hashable | None] = lambda _host: None,
        seed: int = 0,
    ) -> None:
        """Begin nothing yet.

        Args:
            hosts: Their names, or how many.
            options: The options of the run.
            course: How an attempt goes, by the host's name and the attempt's number.
            gate: How long it takes after a batch, and what it decides; text is an error.
            prompt: As ``gate``, by the question.
            fanout: The fanout that there are resources for; ``None`` for that of the options.
            open_at_most: As of ``RunBegun``.
            cleans_up: Seconds that a cancelled gate takes.
            hop_of: As of ``RunBegun``.
            seed: Of the machine's dice.
        """
        names = [f"h{number}" for number in range(hosts)] if isinstance(hosts, int) else list(hosts)
        self._names = names
        self._options = options or RunOptions()
        self._course = course
        self._gate = gate
        self._prompt = prompt
        self._cleans_up = cleans_up
        self._fanout = len(names) or 1 if self._options.barrier else fanout or self._options.limits.fanout
        self._open_at_most = open_at_most
        self._hop_of = hop_of
        self.machine = RunMachine(
            [Host(name) for name in names],
            self._options,
            has_gate=gate is not None,
            has_prompt=prompt is not None,
            rng=random.Random(seed),
        )
        self.now = 0.0
        self.log: list[str] = []
        self.shown: list[str] = []
        self.statuses: dict[str, Status] = {}
        self.attempts: Counter[str] = Counter()
        self.peak = 0
        self.internal_errors = 0
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._in_flight: dict[str, _Attempt] = {}
        self._draining = 0
        self._finished: set[str] = set()
        self._last: dict[str, Status] = {}
        self._announced: list[str] = []
        self._stopped: Status | None = None
        self._is_stopped = False
        self._is_released = False
        self._interlude = 0

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Have something done at a time."""
        heapq.heappush(self._agenda, (when, next(self._order), action))

    def feed(self, event: MachineEvent) -> list[MachineCommand]:
        """Feed the machine, and perform what it commands."""
        commands = self.machine.receive(event, self.now)
        for command in commands:
            self._perform(command)
        return commands

    def feed_at(self, when: float, event: MachineEvent) -> None:
        """Feed it at a time; a request to stop is known to the shell, too."""
        self.at(when, lambda: None if self.machine.is_over else self._feed_only(event))

    def stop_starting(self) -> None:
        """No host may be started any more."""
        self._is_stopped = True

    def run(self) -> None:
        """Run to the end, and check what is true of every run."""
        begun = RunBegun(fanout=self._fanout, open_at_most=self._open_at_most, hop_of=self._hop_of)
        self.feed(begun)
        while not self.machine.is_over:
            self.step()
        self.check()

    def step(self) -> None:
        """Go on to what comes next: something of the agenda, or the machine's own time."""
        tick_at = self.machine.tick_at
        if self._agenda and (tick_at is None or self._agenda[0][0] <= tick_at):
            self.now, _, action = heapq.heappop(self._agenda)
            action()
        else:
            assert tick_at is not None, "nothing will happen, and the run is not over"
            self.now = max(self.now, tick_at)
            self.feed(Tick())

    def check(self) -> None:
        """Every host has one result and one end, and nothing is left."""
        assert set(self.statuses) == self._finished == set(self._names)
        assert not self._in_flight
        assert not self._draining
        assert not self.machine.between_attempts()
        for name in self._names:
            assert (self.statuses[name] is Status.NOT_RUN) == (not self.attempts[name])
        late = self.machine.receive(Tick(), self.now + 1e6)
        assert all(isinstance(command, StopAttempts) for command in late), "at most the deadline passes"

    # What the shell does.

    def _feed_only(self, event: MachineEvent) -> None:
        self.feed(event)

    def _perform(self, command: MachineCommand) -> None:  # noqa: C901, PLR0912 - one case for each command
        match command:
            case Start():
                self._start(command)
            case ReportResult(host):
                assert host.name not in self.statuses, "a host has one result"
                assert host.name not in self._in_flight
                self.statuses[host.name] = self._last[host.name]
            case ReportNotRun(host):
                assert not self.attempts[host.name]
                assert host.name not in self.statuses
                self.statuses[host.name] = Status.NOT_RUN
                self._finished.add(host.name)
                self.log.append(f"not {host.name}")
            case FinishHost(host):
                assert host.name in self.statuses, "the result comes first"
                assert host.name not in self._finished, "a host ends once"
                self._finished.add(host.name)
            case Prefetch(hosts):
                self._announced += [host.name for host in hosts]
                assert len(set(self._announced)) == len(self._announced)
            case ReleaseBarrier():
                self._is_released = True
                for attempt in list(self._in_flight.values()):
                    if attempt.is_held:
                        self.at(self.now, lambda attempt=attempt: self._leave_barrier(attempt))  # type: ignore[misc]  # bound now
            case RunGate(batch, hosts):
                assert self._gate is not None
                self.log.append(f"gate {batch}: {' '.join(hosts)}")
                self._decide(*self._gate(batch))
            case AskUser(question):
                assert self._prompt is not None
                self.log.append(question)
                self._decide(*self._prompt(question))
            case CancelInterlude():
                self._interlude += 1
                self._decide(self._cleans_up, "it was cancelled")
            case StopAttempts(status):
                self._is_stopped = True
                self._stopped = self._stopped or status
                for attempt in list(self._in_flight.values()):
                    self.at(self.now + 0.5, lambda attempt=attempt: self._end(attempt, self._stopped))  # type: ignore[misc]  # bound now
            case AbandonAttempts():
                for attempt in list(self._in_flight.values()):
                    self.at(self.now, lambda attempt=attempt: self._end(attempt, self._stopped))  # type: ignore[misc]  # bound now
            case ShowMessage(text):
                self.shown.append(text)
            case NoteInternalError():
                self.internal_errors += 1

    def _decide(self, seconds: float, decision: GateOutcome | Answer | str) -> None:
        self._interlude += 1
        number = self._interlude
        event: MachineEvent
        match decision:
            case GateOutcome():
                event = GateEnded(decision)
            case Answer():
                event = Answered(decision)
            case str():
                event = InterludeFailed(decision)
        self.at(self.now + seconds, lambda: None if number != self._interlude else self._feed_only(event))

    def _start(self, start: Start) -> None:
        name = start.host.name
        assert not self._is_stopped, "nothing starts after a stop"
        assert name not in self._in_flight
        assert name not in self.statuses
        self.attempts[name] += 1
        assert start.attempt == self.attempts[name]
        attempt = self._in_flight[name] = _Attempt(start, self._course(name, start.attempt))
        self.peak = max(self.peak, len(self._in_flight))
        assert len(self._in_flight) <= self._fanout
        if self._open_at_most is not None:
            assert len(self._in_flight) + self._draining <= self._open_at_most
        self.log.append(name)
        course = attempt.course
        for hop in range(course.hops):
            self.at(self.now + course.login * hop / course.hops, lambda: self._pass_hop(attempt))
        if course.failure is None:
            self.at(self.now + course.login, lambda: self._log_in(attempt))
        else:
            self.at(self.now + course.login, lambda: self._end(attempt, Status.UNREACHABLE, course.failure))

    def _pass_hop(self, attempt: _Attempt) -> None:
        if not attempt.has_ended:
            self.feed(HopPassed(attempt.start.host))

    def _log_in(self, attempt: _Attempt) -> None:
        if attempt.has_ended:
            return
        self.feed(LoggedIn(attempt.start.host))
        if attempt.has_ended:
            return
        if self.machine.is_barrier_closed:
            attempt.is_held = True
            self.feed(BarrierReached(attempt.start.host))
        else:
            self._command(attempt)

    def _leave_barrier(self, attempt: _Attempt) -> None:
        if not attempt.has_ended:
            self.feed(BarrierLeft(attempt.start.host))
            self._command(attempt)

    def _command(self, attempt: _Attempt) -> None:
        course = attempt.course
        if self._options.barrier:
            assert self._is_released, "no command is sent before the barrier is released"
        failure = None if course.status in {Status.OK, Status.FAILED} else LOST
        self.at(
            self.now + course.command,
            lambda: self._end(attempt, course.status, failure, is_stale=course.is_stale),
        )

    def _end(
        self,
        attempt: _Attempt,
        status: Status | None,
        failure: Failure | None = None,
        *,
        is_stale: bool = False,
    ) -> None:
        if attempt.has_ended:
            return
        assert status is not None
        attempt.has_ended = True
        host, number = attempt.start.host, attempt.start.attempt
        del self._in_flight[host.name]
        self._last[host.name] = status
        self._draining += 1
        self.at(self.now + attempt.course.close, lambda: self._close(host, number))
        self.feed(AttemptEnded(host, status, failure, is_stale))

    def _close(self, host: Host, attempt: int) -> None:
        self._draining -= 1
        self.feed(SocketClosed(host, attempt))
