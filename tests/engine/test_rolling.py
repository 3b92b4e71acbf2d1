"""A rolling run: its table, its steps in order, and every way it stops."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from multirsh.engine.rolling import (
    TRANSITIONS,
    Answer,
    Batches,
    Cause,
    GateOutcome,
    MaxFail,
    Rolling,
    RollingEvent,
    RollingPlan,
    Step,
    StopReason,
)
from multirsh.errors import IllegalTransition, UsageError
from multirsh.model import Status

FULL = RollingPlan(batches=Batches.parse("1,2"), delay=5.0)


def full(total: int) -> Rolling:
    """A run of ``total`` hosts in which everything comes between two batches."""
    return Rolling(FULL, total, has_gate=True, has_prompt=True)


def end(rolling: Rolling, count: int, status: Status = Status.OK) -> None:
    for _ in range(count):
        rolling.ended(status)


@pytest.mark.parametrize(("step", "event"), list(itertools.product(Step, RollingEvent)), ids=str)
def test_every_step_moves_or_refuses_and_changes_nothing(step: Step, event: RollingEvent) -> None:
    rolling = full(9)
    rolling._step = step
    if event in TRANSITIONS[step]:
        rolling._receive(event)
        assert rolling.step is TRANSITIONS[step][event]
    else:
        with pytest.raises(IllegalTransition, match=step.name):
            rolling._receive(event)
        assert rolling.step is step


def test_nothing_starts_again_once_it_drains() -> None:
    reached = {Step.DRAINING}
    while (more := reached | {to for step in reached for to in TRANSITIONS[step].values()}) != reached:
        reached = more
    assert reached == {Step.DRAINING, Step.DONE, Step.STOPPED}


def test_a_gate_or_a_question_that_was_cancelled_decides_nothing() -> None:
    row = dict(TRANSITIONS[Step.CANCELLING])
    assert row.pop(RollingEvent.STOP) is Step.CANCELLING
    assert {*row, RollingEvent.STOP} == {*TRANSITIONS[Step.GATING], *TRANSITIONS[Step.ASKING]}
    assert set(row.values()) == {Step.STOPPED}


def test_every_step_accepts_a_stop() -> None:
    assert all(RollingEvent.STOP in row for row in TRANSITIONS.values())


def test_between_two_batches_come_the_gate_the_question_and_the_delay() -> None:
    rolling = full(4)
    told: list[tuple[Step, int, int]] = []
    while rolling.step is not Step.DONE:
        told.append((rolling.step, rolling.batch, rolling.allowed))
        match rolling.step:
            case Step.RUNNING:
                end(rolling, {1: 1, 3: 2, 4: 1}[rolling.allowed])
            case Step.GATING:
                rolling.gated(GateOutcome(passed=True))
            case Step.ASKING:
                rolling.answered(Answer.YES)
            case _:
                rolling.delay_over()
    between = [Step.GATING, Step.ASKING, Step.PAUSING]
    assert told == [
        (Step.RUNNING, 1, 1),
        *[(step, 1, 1) for step in between],
        (Step.RUNNING, 2, 3),
        *[(step, 2, 3) for step in between],
        (Step.RUNNING, 3, 4),
    ]
    assert rolling.stop_reason is None


def test_steps_that_were_not_requested_are_skipped() -> None:
    rolling = Rolling(RollingPlan(batches=Batches.parse("1")), 3)
    for allowed in (1, 2, 3):
        assert (rolling.step, rolling.allowed) == (Step.RUNNING, allowed)
        end(rolling, 1, Status.FAILED)
    assert rolling.step is Step.DONE
    assert rolling.failures == 3


def test_without_a_plan_all_hosts_are_one_batch() -> None:
    rolling = Rolling(RollingPlan(), 100)
    assert rolling.allowed == 100
    end(rolling, 100)
    assert rolling.step is Step.DONE


def test_a_run_without_hosts_is_done_at_once() -> None:
    assert full(0).step is Step.DONE


def test_after_yes_to_all_no_question_follows() -> None:
    rolling = Rolling(RollingPlan(batches=Batches.parse("1")), 4, has_prompt=True)
    end(rolling, 1)
    rolling.answered(Answer.YES)
    end(rolling, 1)
    rolling.answered(Answer.ALL)
    end(rolling, 2)
    assert rolling.step is Step.DONE


def test_after_too_many_failures_hosts_in_flight_continue_and_no_more_start() -> None:
    plan = RollingPlan(batches=Batches.parse("1,5"), max_fail=MaxFail.parse("3"))
    rolling = Rolling(plan, 20)
    rolling.ended(Status.FAILED)  # of the first batch: it counts in the second
    end(rolling, 2, Status.UNREACHABLE)
    assert rolling.stop_reason is not None
    assert rolling.stop_reason.cause is Cause.MAX_FAIL
    assert rolling.stop_reason.message == "3 hosts have failed (--max-fail 3)"
    end(rolling, 3, Status.FAILED)  # in flight: the batch is over, but not the draining
    steps = [rolling.step]
    rolling.drained()
    assert [*steps, rolling.step] == [Step.DRAINING, Step.STOPPED]
    assert rolling.failures == 6


def test_a_stop_after_the_end_has_no_effect() -> None:
    rolling = Rolling(RollingPlan(max_fail=MaxFail.parse("1")), 2)
    end(rolling, 1, Status.FAILED)
    end(rolling, 1)
    assert rolling.step is Step.DONE
    assert rolling.stop_reason is None
    rolling.stop()
    assert rolling.step is Step.DONE
    assert rolling.stop_reason is None


def test_a_gate_that_does_not_pass_stops_and_says_why() -> None:
    rolling = full(9)
    end(rolling, 1)
    rolling.gated(GateOutcome(passed=False, reason="exit status 1"))
    assert rolling.step is Step.STOPPED
    assert rolling.stop_reason is not None
    assert rolling.stop_reason.cause is Cause.GATE
    assert rolling.stop_reason.message == "the gate after batch 1 did not pass: exit status 1"


@pytest.mark.parametrize(("passed", "what"), [(0, "gate"), (1, "question")])
def test_an_error_between_batches_stops_the_run_and_says_so(passed: int, what: str) -> None:
    rolling = full(3)
    end(rolling, 1)
    if passed > 0:
        rolling.gated(GateOutcome(passed=True))
    rolling.broke("it was torn")
    assert rolling.step is Step.STOPPED
    assert rolling.stop_reason == StopReason(Cause.ERROR, f"the {what} after batch 1 failed: it was torn")


def test_a_stop_may_have_a_reason() -> None:
    rolling = full(3)
    rolling.stop(StopReason(Cause.DEADLINE, "too late"))
    rolling.stop()
    assert rolling.stop_reason == StopReason(Cause.DEADLINE, "too late")


def test_a_no_stops() -> None:
    rolling = full(9)
    end(rolling, 1)
    rolling.gated(GateOutcome(passed=True))
    rolling.answered(Answer.NO)
    assert rolling.step is Step.STOPPED
    assert rolling.stop_reason is not None
    assert rolling.stop_reason.cause is Cause.REFUSED


def test_the_first_reason_to_stop_is_the_one_that_is_reported() -> None:
    rolling = Rolling(RollingPlan(max_fail=MaxFail.parse("1")), 9)
    rolling.ended(Status.LOST)
    rolling.stop()
    assert rolling.stop_reason is not None
    assert rolling.stop_reason.cause is Cause.MAX_FAIL
    assert rolling.stop_reason.message == "1 host has failed (--max-fail 1)"


def test_more_endings_than_hosts_are_a_bug() -> None:
    rolling = full(9)
    end(rolling, 1)
    with pytest.raises(IllegalTransition, match="beyond its batch"):
        rolling.ended(Status.OK)


@pytest.mark.parametrize("delay", [-1.0, float("nan"), float("inf")])
def test_an_invalid_delay_is_refused(delay: float) -> None:
    with pytest.raises(UsageError, match="batch delay"):
        RollingPlan(delay=delay)


@given(
    st.lists(st.integers(1, 5).map(str), min_size=1, max_size=4),
    st.lists(st.booleans(), min_size=1, max_size=40),
    st.integers(1, 10),
)
def test_no_host_starts_after_too_many_failures(sizes: list[str], oks: list[bool], limit: int) -> None:
    plan = RollingPlan(batches=Batches.parse(",".join(sizes)), max_fail=MaxFail.parse(str(limit)))
    rolling = Rolling(plan, len(oks))
    ended = 0
    while rolling.step is Step.RUNNING:
        rolling.ended(Status.OK if oks[ended] else Status.FAILED)
        ended += 1
    assert rolling.failures == oks[:ended].count(False)
    assert (rolling.failures < limit) or rolling.failures == limit
    assert rolling.step is (Step.DONE if ended == len(oks) else Step.DRAINING)


STOPPING = {Step.DRAINING, Step.CANCELLING, Step.STOPPED}


class RollingMachine(RuleBasedStateMachine):
    """Any order of what may happen: it ends, and the hosts that may start only grow while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.rolling = Rolling(
            RollingPlan(batches=Batches.parse("1,25%"), max_fail=MaxFail.parse("4"), delay=1),
            20,
            has_gate=True,
            has_prompt=True,
        )
        self.in_flight = 0
        self.ended = 0
        self.allowed = 0

    def may_start(self) -> bool:
        return self.rolling.step is Step.RUNNING and self.ended + self.in_flight < self.rolling.allowed

    @precondition(may_start)
    @rule()
    def start(self) -> None:
        self.in_flight += 1

    @precondition(lambda self: self.in_flight)
    @rule(status=st.sampled_from([Status.OK, Status.OK, Status.FAILED, Status.CANCELLED]))
    def end(self, status: Status) -> None:
        self.rolling.ended(status)
        self.in_flight -= 1
        self.ended += 1

    @precondition(lambda self: self.rolling.step is Step.GATING)
    @rule(passed=st.sampled_from([True, True, True, False]))
    def gate(self, passed: bool) -> None:  # noqa: FBT001 - drawn
        self.rolling.gated(GateOutcome(passed=passed))

    @precondition(lambda self: self.rolling.step is Step.ASKING)
    @rule(answer=st.sampled_from(Answer))
    def answer(self, answer: Answer) -> None:
        self.rolling.answered(answer)

    @precondition(lambda self: self.rolling.step is Step.PAUSING)
    @rule()
    def wait(self) -> None:
        self.rolling.delay_over()

    @precondition(lambda self: self.rolling.step is Step.DRAINING and not self.in_flight)
    @rule()
    def drain(self) -> None:
        self.rolling.drained()

    @precondition(lambda self: self.rolling.step is Step.CANCELLING)
    @rule(passed=st.booleans())
    def end_cancelled_gate(self, passed: bool) -> None:  # noqa: FBT001 - drawn
        self.rolling.gated(GateOutcome(passed=passed))
        assert self.rolling.step is Step.STOPPED

    @rule(sure=st.integers(0, 19))
    def stop(self, sure: int) -> None:
        if not sure:
            self.rolling.stop()

    @invariant()
    def it_is_consistent(self) -> None:
        rolling = self.rolling
        assert rolling.allowed >= self.allowed
        if self.in_flight:
            assert rolling.step in {Step.RUNNING, Step.DRAINING}
        if rolling.step is Step.DONE:
            assert self.ended == 20
        assert (rolling.stop_reason is not None) == (rolling.step in STOPPING)
        self.allowed = rolling.allowed


TestRollingMachine = RollingMachine.TestCase
