"""The machine of a run: its tables, whole runs in simulated time, and what holds in every run."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.engine.options import (
    AUTO,
    Batches,
    Limits,
    MaxFail,
    RetryPolicy,
    RollingPlan,
    RunOptions,
    StartRate,
    Timeouts,
)
from multirsh.engine.schedule.admission import Start
from multirsh.engine.schedule.interface import (
    AbandonRequested,
    Answered,
    AttemptEnded,
    BarrierLeft,
    BarrierReached,
    DrainRequested,
    FinishHost,
    GateEnded,
    HopPassed,
    InterludeFailed,
    LoggedIn,
    MachineEvent,
    ReportNotRun,
    ReportResult,
    RunBegun,
    SocketClosed,
    StopAttempts,
    StopRequested,
    Tick,
)
from multirsh.engine.schedule.rolling import ON_REQUEST, Answer, Cause, GateOutcome, Step, StopReason
from multirsh.engine.schedule.run_machine import HOST_TRANSITIONS, HostMove, HostState, RunMachine
from multirsh.errors import IllegalTransition
from multirsh.model import ErrorKind, Failure, Host, Phase, Status
from multirsh.waits import Awaited, Wait
from tests.engine.schedule.simulated_run import REFUSED, Course, SimulatedRun

PASSED = GateOutcome(passed=True)
A = Host("a")

DECISIONS: list[MachineEvent] = [GateEnded(PASSED), Answered(Answer.YES), InterludeFailed("torn")]
REQUESTS: list[MachineEvent] = [DrainRequested(), StopRequested(), AbandonRequested()]


def rolling(batches: str, *, max_fail: str | None = None, delay: float = 0) -> RunOptions:
    """The options of a run in batches."""
    limit = None if max_fail is None else MaxFail.parse(max_fail)
    return RunOptions(rolling=RollingPlan(batches=Batches.parse(batches), max_fail=limit, delay=delay))


class TestTables:
    @pytest.mark.parametrize(("state", "move"), list(itertools.product(HostState, HostMove)), ids=str)
    def test_every_host_moves_or_the_move_is_refused_and_changes_nothing(
        self, state: HostState, move: HostMove
    ) -> None:
        machine = RunMachine([A, Host("b")], RunOptions())
        machine.receive(RunBegun(fanout=1), 0.0)
        if state in {HostState.WAITING, HostState.FINISHED}:
            del machine._records["a"]
        else:
            machine._records["a"].state = state
        if state is HostState.FINISHED:
            assert not HOST_TRANSITIONS[state]
            return
        if move in HOST_TRANSITIONS[state]:
            machine._move(A, move)
            reached, commands = HOST_TRANSITIONS[state][move]
            assert [type(command) for command in machine._commands] == list(commands)
            record = machine._records.get("a")
            if state is not HostState.WAITING:
                assert (record is None) == (reached is HostState.FINISHED)
                assert record is None or record.state is reached
        else:
            with pytest.raises(IllegalTransition, match=f"a: {move.name} in {state.name}"):
                machine._move(A, move)
            assert machine._commands == []
            record = machine._records.get("a")
            assert record is None or record.state is state

    def test_every_way_through_the_table_gives_one_result_and_then_one_end(self) -> None:
        """Walk every path, each move at most twice."""

        def walk(state: HostState, path: tuple[HostMove, ...], given: tuple[type, ...]) -> None:
            if state is HostState.FINISHED:
                assert given in {(ReportNotRun,), (ReportResult, FinishHost)}, path
            for move, (reached, commands) in HOST_TRANSITIONS[state].items():
                if path.count(move) < 2:
                    walk(reached, (*path, move), (*given, *commands))

        walk(HostState.WAITING, (), ())

    @pytest.mark.parametrize("step", Step)
    @pytest.mark.parametrize(
        "event", [GateEnded(PASSED), Answered(Answer.YES), InterludeFailed("torn")], ids=str
    )
    def test_what_comes_between_batches_is_refused_elsewhere(self, step: Step, event: MachineEvent) -> None:
        machine = machine_in(step)
        fits = {
            GateEnded: {Step.GATING, Step.CANCELLING},
            Answered: {Step.ASKING, Step.CANCELLING},
            InterludeFailed: {Step.GATING, Step.ASKING, Step.CANCELLING},
        }
        if step in fits[type(event)]:
            machine.receive(event, 100.0)
        else:
            with pytest.raises(IllegalTransition, match=step.name):
                machine.receive(event, 100.0)
            assert machine.step is step

    @pytest.mark.parametrize("step", Step)
    @pytest.mark.parametrize(
        "event", [DrainRequested(), StopRequested(), AbandonRequested(), Tick()], ids=str
    )
    def test_requests_are_heard_in_every_step(self, step: Step, event: MachineEvent) -> None:
        machine = machine_in(step)
        commands = machine.receive(event, 100.0)
        assert not any(isinstance(command, Start) for command in commands) or step is Step.RUNNING
        if not isinstance(event, Tick):
            assert machine.step in {Step.DRAINING, Step.CANCELLING, Step.DONE, Step.STOPPED}
        stops = [command for command in commands if isinstance(command, StopAttempts)]
        assert len(stops) == isinstance(event, StopRequested | AbandonRequested)

    @pytest.mark.parametrize(
        "event",
        [
            HopPassed(A),
            LoggedIn(A),
            BarrierReached(A),
            BarrierLeft(A),
            AttemptEnded(A, Status.OK),
            SocketClosed(A, 1),
        ],
        ids=str,
    )
    def test_events_of_a_host_that_was_not_started_are_refused(self, event: MachineEvent) -> None:
        machine = RunMachine([Host("b"), A], RunOptions(barrier=True))
        with pytest.raises(IllegalTransition):
            machine.receive(event, 0.0)
        machine.receive(RunBegun(fanout=1), 0.0)
        with pytest.raises(IllegalTransition, match="a: "):
            machine.receive(event, 0.0)

    def test_it_begins_once(self) -> None:
        machine = RunMachine([A], RunOptions())
        machine.receive(RunBegun(fanout=1), 0.0)
        with pytest.raises(IllegalTransition, match="begun already"):
            machine.receive(RunBegun(fanout=1), 0.0)


def machine_in(step: Step) -> RunMachine:
    """A machine of four hosts, two a batch, that is in ``step``."""
    options = rolling("2", delay=1000)
    hosts = [Host(name) for name in "abcd"]
    machine = RunMachine(hosts, options, has_gate=True, has_prompt=True)
    machine.receive(RunBegun(fanout=10), 0.0)

    def end(*ended: Host) -> None:
        for host in ended:
            machine.receive(LoggedIn(host), 1.0)
            machine.receive(AttemptEnded(host, Status.OK), 1.0)

    events: dict[Step, list[MachineEvent]] = {
        Step.RUNNING: [],
        Step.DRAINING: [DrainRequested()],
        Step.GATING: [],
        Step.ASKING: [GateEnded(PASSED)],
        Step.PAUSING: [GateEnded(PASSED), Answered(Answer.YES)],
        Step.CANCELLING: [DrainRequested()],
        Step.STOPPED: [GateEnded(GateOutcome(passed=False))],
        Step.DONE: [GateEnded(PASSED), Answered(Answer.YES), Tick()],
    }
    if step not in {Step.RUNNING, Step.DRAINING}:
        end(*hosts[:2])
    for event in events[step]:
        machine.receive(event, 2.0 if not isinstance(event, Tick) else 1002.0)
    if step is Step.DONE:
        end(*hosts[2:])
    assert machine.step is step
    return machine


class TestBatches:
    def test_they_come_in_order_with_a_gate_of_their_hosts_between(self) -> None:
        run = SimulatedRun("abcdef", rolling("1,2"), gate=lambda _batch: (1.0, PASSED))
        run.run()
        assert run.log == ["a", "gate 1: a", "b", "c", "gate 2: b c", "d", "e", "gate 3: d e", "f"]
        assert run.machine.stop_reason is None
        assert not run.shown

    def test_the_gate_comes_before_the_question_and_that_before_the_delay(self) -> None:
        run = SimulatedRun(
            "ab",
            rolling("1", delay=10),
            gate=lambda _batch: (2.0, PASSED),
            prompt=lambda _question: (3.0, Answer.YES),
            course=lambda _name, _attempt: Course(login=0.0, command=1.0, close=0.0),
        )
        run.run()
        assert run.log == ["a", "gate 1: a", "batch 1 has ended; go on?", "b"]
        assert run.now == pytest.approx(1 + 2 + 3 + 10 + 1)

    def test_a_gate_that_does_not_pass_ends_it(self) -> None:
        outcome = GateOutcome(passed=False, reason="exit status 1")
        run = SimulatedRun("abc", rolling("1"), gate=lambda _batch: (1.0, outcome))
        run.run()
        assert run.log == ["a", "gate 1: a", "not b", "not c"]
        assert run.shown == ["the gate after batch 1 did not pass: exit status 1"]
        assert run.machine.stop_reason == StopReason(Cause.GATE, run.shown[0])
        assert not run.internal_errors

    @pytest.mark.parametrize("what", ["gate", "question"])
    def test_what_fails_by_itself_ends_it_as_an_internal_error(self, what: str) -> None:
        run = SimulatedRun(
            "ab",
            rolling("1"),
            gate=(lambda _batch: (1.0, "it was torn")) if what == "gate" else None,
            prompt=(lambda _question: (1.0, "it was torn")) if what == "question" else None,
        )
        run.run()
        assert run.log[-1] == "not b"
        assert run.shown == [f"the {what} after batch 1 failed: it was torn"]
        assert run.internal_errors == 1

    @pytest.mark.parametrize(
        ("answers", "started", "cause"),
        [
            ([Answer.YES, Answer.YES], "abc", None),
            ([Answer.ALL], "abc", None),
            ([Answer.YES, Answer.NO], "ab", Cause.REFUSED),
        ],
    )
    def test_an_answer_holds(self, answers: list[Answer], started: str, cause: Cause | None) -> None:
        left = list(answers)
        run = SimulatedRun("abc", rolling("1"), prompt=lambda _question: (1.0, left.pop(0)))
        run.run()
        assert not left
        assert "".join(run.attempts) == started
        reason = run.machine.stop_reason
        assert (reason and reason.cause) == cause

    def test_a_stop_cuts_a_delay_short(self) -> None:
        run = SimulatedRun("ab", rolling("1", delay=1000))
        run.feed_at(10.0, DrainRequested())
        run.run()
        assert run.now < 20
        assert run.log == ["a", "not b"]

    def test_a_gate_that_cleans_up_is_waited_for_however_often_it_is_stopped(self) -> None:
        run = SimulatedRun("ab", rolling("1"), gate=lambda _batch: (1000.0, PASSED), cleans_up=5.0)
        run.feed_at(10.0, DrainRequested())
        run.feed_at(11.0, StopRequested())
        run.run()
        assert run.log == ["a", "gate 1: a", "not b"]
        assert run.now == pytest.approx(10 + 5)
        assert run.machine.stop_reason == ON_REQUEST
        assert not run.shown

    def test_failures_are_counted_over_the_whole_run_and_those_in_flight_end(self) -> None:
        run = SimulatedRun(
            "abcdef",
            rolling("2", max_fail="2"),
            course=lambda name, _attempt: Course(status=Status.FAILED if name in "ac" else Status.OK),
        )
        run.run()
        assert run.log == ["a", "b", "c", "d", "not e", "not f"]
        assert run.statuses["d"] is Status.OK
        assert run.shown == ["2 hosts have failed (--max-fail 2)"]

    def test_what_was_not_configured_is_passed(self) -> None:
        run = SimulatedRun("abc", rolling("1"))
        run.run()
        assert run.log == ["a", "b", "c"]


class TestStopping:
    def test_before_the_beginning_no_host_is_started(self) -> None:
        for event in REQUESTS:
            run = SimulatedRun("ab")
            run.feed(event)
            assert run.machine.stop_reason == ON_REQUEST
            run.run()
            assert run.log == ["not a", "not b"]

    def test_after_the_end_it_changes_nothing(self) -> None:
        run = SimulatedRun("a")
        run.run()
        commands = run.machine.receive(StopRequested(), run.now)
        assert [type(command) for command in commands] == [StopAttempts]
        assert run.machine.stop_reason is None
        assert run.machine.is_over

    def test_without_hosts_it_is_over_at_once(self) -> None:
        run = SimulatedRun(0)
        run.run()
        assert run.now == 0

    def test_a_drained_run_lets_hosts_in_flight_end(self) -> None:
        run = SimulatedRun("abc", RunOptions(limits=Limits(fanout=2)))
        run.feed_at(0.5, DrainRequested())
        run.run()
        assert run.statuses == {"a": Status.OK, "b": Status.OK, "c": Status.NOT_RUN}

    def test_fail_fast_stops_hosts_in_flight(self) -> None:
        run = SimulatedRun(
            "abc",
            RunOptions(limits=Limits(fanout=2), fail_fast=True),
            course=lambda name, _attempt: Course(
                status=Status.FAILED, command=1.0 if name == "a" else 1000.0
            ),
        )
        run.run()
        assert run.statuses == {"a": Status.FAILED, "b": Status.CANCELLED, "c": Status.NOT_RUN}
        assert run.shown == ["a has failed (--fail-fast)"]

    def test_the_last_hosts_failure_stops_nothing(self) -> None:
        course = Course(status=Status.FAILED)
        run = SimulatedRun("a", RunOptions(fail_fast=True), course=lambda _name, _attempt: course)
        run.run()
        assert not run.shown
        assert run.machine.stop_reason is None

    def test_the_deadline_stops_hosts_in_flight_as_timeouts(self) -> None:
        run = SimulatedRun(
            "abcd",
            RunOptions(limits=Limits(fanout=2), timeouts=Timeouts(run=10)),
            course=lambda name, _attempt: Course(command=1.0 if name == "a" else 1000.0),
        )
        run.run()
        assert [run.statuses[name].value for name in "abcd"] == ["ok", "timeout", "timeout", "not_run"]
        assert run.shown == ["the run's deadline of 10 s has passed"]
        assert run.now < 12

    def test_a_host_that_waits_to_be_tried_again_ends_as_it_last_did(self) -> None:
        options = RunOptions(limits=Limits(fanout=1), retry=RetryPolicy(retries=5, delay=100_000))
        run = SimulatedRun(
            "abc",
            options,
            course=lambda name, _attempt: Course(failure=REFUSED if name == "a" else None, close=20),
        )
        run.feed_at(0.15, DrainRequested())
        run.run()
        assert run.statuses == {"a": Status.UNREACHABLE, "b": Status.OK, "c": Status.NOT_RUN}
        assert run.attempts["a"] == 1

    def test_given_up_while_its_last_socket_drains_it_finishes_when_that_is_closed(self) -> None:
        machine = RunMachine([A], RunOptions(retry=RetryPolicy(retries=1, delay=100_000)))
        machine.receive(RunBegun(fanout=1), 0.0)
        assert machine.receive(AttemptEnded(A, Status.UNREACHABLE, REFUSED), 1.0) == []
        assert machine.between_attempts() == {"a"}
        assert machine.receive(StopRequested(), 2.0)[-1] == ReportResult(A)
        assert not machine.is_over
        assert machine.receive(SocketClosed(A, 1), 3.0) == [FinishHost(A)]
        assert machine.is_over

    def test_the_socket_of_an_attempt_that_was_followed_by_another_reports_nothing(self) -> None:
        machine = RunMachine([A], RunOptions(retry=RetryPolicy(retries=1, delay=0)))
        machine.receive(RunBegun(fanout=1), 0.0)
        assert machine.receive(AttemptEnded(A, Status.UNREACHABLE, REFUSED), 1.0) == [Start(A, 2, 0)]
        machine.receive(LoggedIn(A), 2.0)
        assert machine.receive(AttemptEnded(A, Status.OK), 3.0) == [ReportResult(A)]
        assert machine.receive(SocketClosed(A, 1), 4.0) == []
        assert machine.receive(SocketClosed(A, 2), 5.0) == [FinishHost(A)]


class TestRetries:
    def test_so_many_and_no_more(self) -> None:
        course = Course(failure=REFUSED)
        options = RunOptions(retry=RetryPolicy(retries=2, delay=1))
        run = SimulatedRun("a", options, course=lambda _name, _attempt: course)
        run.run()
        assert run.attempts["a"] == 3

    def test_a_stale_connection_costs_no_retry(self) -> None:
        lost = Course(status=Status.LOST, is_stale=True)
        run = SimulatedRun("a", course=lambda _name, attempt: lost if attempt == 1 else Course())
        run.run()
        assert (run.attempts["a"], run.statuses["a"]) == (2, Status.OK)

    def test_neither_does_a_busy_server(self) -> None:
        busy = Course(failure=Failure(ErrorKind.BUSY, Phase.HANDSHAKE, "too many"))
        run = SimulatedRun(
            "ab",
            course=lambda _name, attempt: busy if attempt < 3 else Course(),
            hop_of=lambda _host: "bastion",
        )
        run.run()
        assert run.attempts == {"a": 3, "b": 3}
        assert set(run.statuses.values()) == {Status.OK}

    def test_while_it_is_stopped_no_host_is_tried_again(self) -> None:
        options = RunOptions(retry=RetryPolicy(retries=9, delay=0))
        run = SimulatedRun("ab", options, course=lambda _name, _attempt: Course(failure=REFUSED, login=1.0))
        run.feed_at(1.5, StopRequested())
        run.run()
        assert run.attempts == {"a": 2, "b": 2}


class TestBarrier:
    def test_the_command_is_released_when_all_hosts_are_ready_or_have_failed(self) -> None:
        run = SimulatedRun(
            "abcd",
            RunOptions(barrier=True),
            course=lambda name, _attempt: Course(
                login=50.0 if name == "c" else 0.1, failure=REFUSED if name == "d" else None
            ),
        )
        run.run()
        assert run.shown == [
            "barrier: 3 of 4 hosts are ready; missing: d",
            "barrier: the command was sent to all within 0.0 ms",
        ]
        assert run.now > 50

    @pytest.mark.parametrize("event", REQUESTS, ids=str)
    def test_a_run_that_stops_before_sends_nothing(self, event: MachineEvent) -> None:
        run = SimulatedRun(
            "abc",
            RunOptions(barrier=True),
            course=lambda name, _attempt: Course(login=9.0 if name == "c" else 0.1),
        )
        run.feed_at(5.0, event)
        run.run()
        assert run.shown == ["barrier: called off; 2 of 3 hosts were ready"]
        assert set(run.statuses.values()) == {Status.CANCELLED}

    def test_a_host_that_is_tried_again_after_the_release_is_not_held(self) -> None:
        lost = Course(status=Status.LOST)
        run = SimulatedRun(
            "ab",
            RunOptions(barrier=True, retry=RetryPolicy(retries=1, delay=1, repeat_command=True)),
            course=lambda name, attempt: lost if (name, attempt) == ("a", 1) else Course(),
        )
        run.run()
        assert run.shown[0] == "barrier: 2 of 2 hosts are ready"
        assert run.attempts == {"a": 2, "b": 1}

    def test_its_waits_are_shown(self) -> None:
        machine = RunMachine([A, Host("b")], RunOptions(barrier=True))
        assert machine.waits(0.0) == []
        machine.receive(RunBegun(fanout=2), 0.0)
        machine.receive(LoggedIn(A), 1.0)
        machine.receive(BarrierReached(A), 1.0)
        assert machine.waits(1.0) == [Wait(Awaited.BARRIER, 1)]


class TestWholeRuns:
    def test_thousands_of_hosts(self) -> None:
        def course(name: str, attempt: int) -> Course:
            number = int(name[1:])
            if number % 7 == 0 and attempt == 1:
                return Course(failure=REFUSED, login=0.5)
            status = Status.FAILED if number % 100 == 1 else Status.OK
            return Course(login=0.2, command=number % 10, status=status, close=number % 4, hops=number % 3)

        options = RunOptions(limits=Limits(fanout=200), retry=RetryPolicy(retries=1, delay=5))
        run = SimulatedRun(5_000, options, course=course, hop_of=lambda host: int(host.name[1:]) % 50)
        run.run()
        assert run.peak == 200
        assert list(run.statuses.values()).count(Status.OK) == 4_950
        assert 5_000 * 4.7 / 200 < run.now < 1.5 * 5_000 * 4.7 / 200

    def test_a_deadline_that_comes_when_all_is_over_stops_nothing(self) -> None:
        options = RunOptions(limits=Limits(fanout=1), timeouts=Timeouts(run=1.0))
        run = SimulatedRun(
            1, options, course=lambda _name, _attempt: Course(login=0.0, command=0.0, close=1.0)
        )
        run.run()
        assert run.statuses == {"h0": Status.OK}
        assert run.machine.stop_reason is None

    def test_few_descriptors_bound_sockets_that_drain_too(self) -> None:
        run = SimulatedRun(50, fanout=5, open_at_most=8, course=lambda _name, _attempt: Course(close=10.0))
        run.run()
        assert run.peak == 5

    @given(
        st.integers(1, 30),
        st.lists(
            st.builds(
                Course,
                login=st.sampled_from([0.0, 0.5, 2.0]),
                failure=st.sampled_from(
                    [None, None, None, REFUSED, Failure(ErrorKind.BUSY, Phase.HANDSHAKE, "too many")]
                ),
                command=st.sampled_from([0.0, 1.0, 5.0]),
                status=st.sampled_from([Status.OK, Status.OK, Status.FAILED, Status.LOST, Status.TIMEOUT]),
                close=st.sampled_from([0.0, 1.0, 9.0]),
                hops=st.integers(0, 2),
                is_stale=st.sampled_from([False, False, False, True]),
            ),
            min_size=1,
            max_size=9,
        ),
        st.builds(
            RunOptions,
            limits=st.builds(
                Limits,
                fanout=st.integers(1, 6),
                handshakes=st.sampled_from([None, 1, 3]),
                start_rate=st.sampled_from([AUTO, AUTO, StartRate(2.0)]),
            ),
            timeouts=st.builds(Timeouts, run=st.sampled_from([None, None, 1.0, 6.0])),
            retry=st.builds(
                RetryPolicy,
                retries=st.integers(0, 2),
                delay=st.sampled_from([0.0, 1.0, 30.0]),
                repeat_command=st.booleans(),
            ),
            rolling=st.builds(
                RollingPlan,
                batches=st.sampled_from(["100%", "1", "3", "1,50%"]).map(Batches.parse),
                max_fail=st.sampled_from([None, "1", "20%"]).map(
                    lambda text: None if text is None else MaxFail.parse(text)
                ),
                delay=st.sampled_from([0.0, 4.0]),
            ),
            fail_fast=st.booleans(),
        )
        | st.builds(
            RunOptions,
            retry=st.builds(RetryPolicy, retries=st.integers(0, 2), delay=st.sampled_from([0.0, 1.0])),
            fail_fast=st.booleans(),
            barrier=st.just(True),
        ),
        st.lists(
            st.tuples(
                st.sampled_from([0.0, 0.5, 1.0, 3.0, 8.0]),
                st.sampled_from(REQUESTS),
            ),
            max_size=3,
        ),
        st.sampled_from([None, None, (1.0, PASSED), (2.0, GateOutcome(passed=False)), (1.0, "it was torn")]),
        st.integers(0, 3),
    )
    def test_whatever_happens_every_host_ends_once_and_nothing_starts_after_a_stop(
        self,
        hosts: int,
        courses: list[Course],
        options: RunOptions,
        requests: list[tuple[float, MachineEvent]],
        gate: tuple[float, GateOutcome | str] | None,
        seed: int,
    ) -> None:
        """``SimulatedRun`` counts: the fanout, the sockets, one result and one end a host, in this order."""

        def course(name: str, attempt: int) -> Course:
            own = courses[(int(name[1:]) + attempt) % len(courses)]
            return own if attempt == 1 else replace(own, is_stale=False)  # the second connection is new

        run = SimulatedRun(
            hosts,
            options,
            course=course,
            gate=None if gate is None else lambda _batch: gate,
            hop_of=lambda host: int(host.name[1:]) % 2,
            seed=seed,
        )
        for when, event in requests:
            run.at(when, requested(run, event))
        run.run()


def requested(run: SimulatedRun, event: MachineEvent) -> Callable[[], None]:
    """Have the run stopped; from then on, no host may be started."""

    def request() -> None:
        if not run.machine.is_over:
            run.stop_starting()
            run.feed(event)

    return request
