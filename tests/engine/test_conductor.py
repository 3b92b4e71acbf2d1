"""The conductor by itself: what happens between batches, and what may go wrong there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Self

import pytest

from multirsh.engine.admission import Admission, Start
from multirsh.engine.conductor import Conductor
from multirsh.engine.hooks import RunHooks
from multirsh.engine.rolling import (
    ON_REQUEST,
    Answer,
    Batches,
    Cause,
    GateOutcome,
    MaxFail,
    RollingPlan,
    StopReason,
)
from multirsh.errors import UsageError
from multirsh.model import Host, Status
from tests.virtual_time import idle, in_virtual_time, seconds_of, virtual_loop

PASSED = GateOutcome(passed=True)


async def _at_once() -> None:
    """Nobody has to be waited for."""


class Stage:
    """A conductor, and hosts that end as the test says.

    Attributes:
        log: What happened, in order.
        stop_reasons: Why it stopped.
        conductor: The one.
    """

    def __init__(
        self,
        names: str,
        batches: str,
        *,
        gate: Callable[[int, Sequence[str]], Awaitable[GateOutcome]] | None = None,
        prompt: Callable[[str], Awaitable[Answer]] | None = None,
        delay: float = 0,
        max_fail: str | None = None,
        failing: str = "",
    ) -> None:
        hosts = [Host(name) for name in names.split()]
        self.log: list[str] = []
        self.stop_reasons: list[StopReason] = []
        self._failing = failing.split()
        self._admission = Admission(hosts, fanout=10, allowed=0)
        rolling = RollingPlan(
            batches=Batches.parse(batches),
            max_fail=None if max_fail is None else MaxFail.parse(max_fail),
            delay=delay,
        )
        self.conductor = Conductor(
            self._admission,
            rolling,
            RunHooks(gate=gate, prompt=prompt),
            len(hosts),
            start=self._start,
            give_up=lambda start: self.log.append(f"not {start.host.name}"),
            upcoming=lambda _host: None,
            on_stopped=self.stop_reasons.append,
            read_up=_at_once,
        )

    async def conduct(self) -> None:
        """To the end."""
        async with asyncio.TaskGroup() as group:
            await self.conductor.conduct(group)

    task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self.conduct())  # noqa: TID251 - owned by this very block
        await idle()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.task is not None
        await self.task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def _start(self, start: Start) -> None:
        name = start.host.name
        self.log.append(name)
        await asyncio.sleep(1)
        self._admission.logged_in(start.host, virtual_loop().time())
        self._admission.ended(start.host, virtual_loop().time())
        self.conductor.ended(Status.FAILED if name in self._failing else Status.OK)


def causes(stage: Stage) -> list[Cause]:
    return [stop_reason.cause for stop_reason in stage.stop_reasons]


@in_virtual_time
async def test_batches_come_in_order_with_a_gate_of_their_hosts_between() -> None:
    async def gate(batch: int, hosts: Sequence[str]) -> GateOutcome:
        stage.log.append(f"gate {batch}: {' '.join(hosts)}")
        return PASSED

    stage = Stage("a b c d e f", "1,2", gate=gate)
    await stage.conduct()
    assert stage.log == ["a", "gate 1: a", "b", "c", "gate 2: b c", "d", "e", "gate 3: d e", "f"]
    assert not stage.stop_reasons
    assert stage.conductor.stop_reason is None


@in_virtual_time
async def test_the_gate_comes_before_the_question_and_that_before_the_delay() -> None:
    async def gate(_batch: int, _hosts: Sequence[str]) -> GateOutcome:
        await asyncio.sleep(2)
        stage.log.append("gate")
        return PASSED

    async def ask(question: str) -> Answer:
        stage.log.append(question)
        return Answer.YES

    stage = Stage("a b", "1", gate=gate, prompt=ask, delay=10)
    assert await seconds_of(stage.conduct()) == pytest.approx(1 + 2 + 10 + 1)
    assert stage.log == ["a", "gate", "batch 1 has ended; go on?", "b"]


@pytest.mark.parametrize(
    ("answers", "log", "stop_reason"),
    [
        ([Answer.YES, Answer.YES], ["a", "?", "b", "?", "c"], None),
        ([Answer.ALL], ["a", "?", "b", "c"], None),
        ([Answer.YES, Answer.NO], ["a", "?", "b", "?", "not c"], Cause.REFUSED),
    ],
)
def test_the_run_follows_the_users_answer(
    answers: list[Answer], log: list[str], stop_reason: Cause | None
) -> None:
    left = list(answers)

    async def ask(_question: str) -> Answer:
        stage.log.append("?")
        return left.pop(0)

    @in_virtual_time
    async def conduct() -> None:
        await stage.conduct()

    stage = Stage("a b c", "1", prompt=ask)
    conduct()
    assert stage.log == log
    assert causes(stage) == ([] if stop_reason is None else [stop_reason])


@in_virtual_time
async def test_a_gate_that_does_not_pass_ends_it() -> None:
    async def gate(_batch: int, _hosts: Sequence[str]) -> GateOutcome:
        return GateOutcome(passed=False, reason="exit status 1")

    stage = Stage("a b c", "1", gate=gate)
    await stage.conduct()
    assert stage.log == ["a", "not b", "not c"]
    assert stage.stop_reasons == [
        StopReason(Cause.GATE, "the gate after batch 1 did not pass: exit status 1")
    ]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ZeroDivisionError("of mine"), "ZeroDivisionError: of mine"),
        (TimeoutError(), ""),  # it was once taken for a stop, and the gate run again for ever
        (asyncio.CancelledError(), "it was cancelled"),
        (OSError(7, "Argument list too long"), "[Errno 7] Argument list too long"),
        (UsageError("there is no command to run"), "there is no command to run"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("what", ["gate", "question"])
def test_an_exception_of_a_hook_ends_the_run_in_order(
    what: str, error: BaseException, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def gate(_batch: int, _hosts: Sequence[str]) -> GateOutcome:
        raise error

    async def ask(_question: str) -> Answer:
        raise error

    @in_virtual_time
    async def conduct() -> None:
        await stage.conduct()

    stage = Stage("a b", "1", gate=gate) if what == "gate" else Stage("a b", "1", prompt=ask)
    conduct()
    assert stage.log == ["a", "not b"]
    assert stage.stop_reasons == [StopReason(Cause.ERROR, f"the {what} after batch 1 failed: {words}")]
    is_a_bug = isinstance(error, ZeroDivisionError)
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * is_a_bug


@in_virtual_time
async def test_a_stop_cuts_a_delay_short() -> None:
    async with Stage("a b", "1", delay=1000) as stage:
        await idle(10)
        stage.conductor.stop()
    assert virtual_loop().time() < 20
    assert stage.log == ["a", "not b"]
    assert causes(stage) == [Cause.STOP]


@in_virtual_time
async def test_a_gate_that_cleans_up_is_waited_for_however_often_it_is_stopped() -> None:
    async def gate(_batch: int, _hosts: Sequence[str]) -> GateOutcome:
        try:
            await asyncio.sleep(1000)
        finally:
            stage.log.append("told")
            await asyncio.sleep(5)
            stage.log.append("clean")
        return PASSED

    async with Stage("a b", "1", gate=gate) as stage:
        await idle(10)
        stage.conductor.stop()
        await idle(1)
        stage.conductor.stop(StopReason(Cause.DEADLINE, "too late"))
    assert stage.log == ["a", "told", "clean", "not b"]
    assert stage.stop_reasons == [ON_REQUEST]
    assert virtual_loop().time() == pytest.approx(10 + 5)


@pytest.mark.parametrize("when", ["at once", "later"])
def test_an_abandoned_gate_is_cancelled_a_second_time(when: str) -> None:
    async def gate(_batch: int, _hosts: Sequence[str]) -> GateOutcome:
        try:
            await asyncio.sleep(1000)
        finally:
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                stage.log.append("hurried")
        return PASSED

    @in_virtual_time
    async def conduct() -> None:
        async with stage:
            await idle(10)
            stage.conductor.stop()
            if when == "later":
                await idle(1)
            stage.conductor.abandon()
        assert virtual_loop().time() < 12

    stage = Stage("a b", "1", gate=gate)
    conduct()
    assert stage.log == ["a", "hurried", "not b"]


@in_virtual_time
async def test_the_outcome_of_a_gate_that_ignores_a_stop_is_ignored() -> None:
    async def gate(_batch: int, _hosts: Sequence[str]) -> GateOutcome:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            await asyncio.sleep(3)
        return PASSED

    async with Stage("a b", "1", gate=gate) as stage:
        await idle(10)
        stage.conductor.stop()
    assert stage.log == ["a", "not b"]


@pytest.mark.parametrize("what", ["gate", "question", "delay"])
@pytest.mark.parametrize("first", ["stop", "decision"])
def test_a_stop_at_the_very_moment_of_the_decision(what: str, first: str) -> None:
    """Both are due in the same turn of the loop: the stop holds, and neither is an illegal move."""

    async def gate(_batch: int, _hosts: Sequence[str]) -> GateOutcome:
        await decided
        return PASSED

    async def ask(_question: str) -> Answer:
        await decided
        return Answer.YES

    decided: asyncio.Future[None]

    @in_virtual_time
    async def conduct() -> None:
        nonlocal decided
        decided = virtual_loop().create_future()
        async with stage:
            await idle(1)
            if what == "delay":
                # The delay ends at 1 + 10; the loop runs what is due at one time in order of its making.
                virtual_loop().call_at(11, stage.conductor.stop)
                await idle(10)
            elif first == "stop":
                stage.conductor.stop()
                assert decided.cancelled()
            else:
                decided.set_result(None)
                stage.conductor.stop()

    stage = {
        "gate": lambda: Stage("a b", "1", gate=gate),
        "question": lambda: Stage("a b", "1", prompt=ask),
        "delay": lambda: Stage("a b", "1", delay=10),
    }[what]()
    conduct()
    assert stage.log == ["a", "not b"]
    assert causes(stage) == [Cause.STOP]


@in_virtual_time
async def test_failures_are_counted_over_the_whole_run_and_those_in_flight_end() -> None:
    stage = Stage("a b c d e f", "2", max_fail="2", failing="a c")
    await stage.conduct()
    assert stage.log == ["a", "b", "c", "d", "not e", "not f"]
    assert stage.stop_reasons == [StopReason(Cause.MAX_FAIL, "2 hosts have failed (--max-fail 2)")]
    assert stage.conductor.stop_reason == stage.stop_reasons[0]


@in_virtual_time
async def test_a_stop_before_the_beginning_starts_no_host() -> None:
    stage = Stage("a b", "1")
    stage.conductor.stop()
    await stage.conduct()
    assert stage.log == ["not a", "not b"]


@in_virtual_time
async def test_a_stop_after_the_end_changes_nothing() -> None:
    stage = Stage("a", "1")
    await stage.conduct()
    stage.conductor.stop()
    stage.conductor.abandon()
    assert stage.log == ["a"]
    assert stage.conductor.stop_reason is None


@in_virtual_time
async def test_cancelling_the_conductor_cancels_its_hosts_and_its_gate() -> None:
    async def gate(_batch: int, _hosts: Sequence[str]) -> GateOutcome:
        await asyncio.sleep(1000)
        return PASSED

    for seconds in (0.5, 5):  # a host is in flight; the gate goes on
        stage = Stage("a b", "1", gate=gate)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                await stage.conduct()
        assert asyncio.all_tasks() == {asyncio.current_task()}
