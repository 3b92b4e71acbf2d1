"""What a run awaits between batches, in virtual time: the gate, the question, and what may go wrong there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Self

import pytest

from multirsh.engine.fleet import Fleet
from multirsh.engine.options import Timeouts
from multirsh.engine.rolling import (
    ON_REQUEST,
    Answer,
    Batches,
    Cause,
    GateOutcome,
    RollingPlan,
    StopReason,
)
from multirsh.errors import UsageError
from multirsh.events import HostFinished, HostStarted
from multirsh.model import Exited, Host, Outcome, Status, TransportName
from multirsh.testing import FakeConnection, FakeTransport
from multirsh.transports.base import Sink, Stdin
from tests.virtual_time import idle, in_virtual_time, seconds_of, virtual_loop

PASSED = GateOutcome(passed=True)


class _OneSecond(FakeConnection):
    """A host whose command takes a second."""

    async def run(
        self, command: str, sink: Sink, stdin: Stdin | None = None, *, tty: bool = False
    ) -> Outcome:
        await asyncio.sleep(1)
        return Exited(0)


class _Transport(FakeTransport):
    def connection(self, host: Host) -> FakeConnection:
        connection = super().connection(host)
        return _OneSecond(host, connection.behaviour)


class Stage:
    """A run of hosts whose commands take a second.

    Attributes:
        log: What happened, in order.
        said: The messages for people.
        stop_reason: Why the run stopped; ``None`` if it did not.
    """

    def __init__(
        self,
        names: str,
        batches: str,
        *,
        gate: Callable[[int, Sequence[str]], Awaitable[GateOutcome]] | None = None,
        prompt: Callable[[str], Awaitable[Answer]] | None = None,
        delay: float = 0,
        deadline: float | None = None,
    ) -> None:
        self.log: list[str] = []
        self.said: list[str] = []
        self.stop_reason: StopReason | None = None
        self._fleet = Fleet(
            [Host(name) for name in names.split()],
            transports={TransportName.SSH: _Transport()},
            warn=self.said.append,
            timeouts=Timeouts(run=deadline),
            rolling=RollingPlan(batches=Batches.parse(batches), delay=delay),
        )
        self._gate = gate
        self._prompt = prompt
        self._task: asyncio.Task[None] | None = None

    async def conduct(self) -> None:
        """Run to the end."""
        async with self._fleet:
            self.run = self._fleet.run("true", gate=self._gate, prompt=self._prompt)
            async for event in self.run.events():
                if isinstance(event, HostStarted):
                    self.log.append(event.host)
                elif isinstance(event, HostFinished) and event.status is Status.NOT_RUN:
                    self.log.append(f"not {event.host}")
            self.stop_reason = self.run.stop_reason

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.conduct())  # noqa: TID251 - owned by this very block
        await idle()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        await self._task
        assert asyncio.all_tasks() == {asyncio.current_task()}


@in_virtual_time
async def test_the_gate_the_question_and_the_delay_are_awaited_in_this_order() -> None:
    async def gate(batch: int, hosts: Sequence[str]) -> GateOutcome:
        await asyncio.sleep(2)
        stage.log.append(f"gate {batch}: {' '.join(hosts)}")
        return PASSED

    async def ask(question: str) -> Answer:
        stage.log.append(question)
        return Answer.YES

    stage = Stage("a b", "1", gate=gate, prompt=ask, delay=10)
    assert await seconds_of(stage.conduct()) == pytest.approx(1 + 2 + 10 + 1)
    assert stage.log == ["a", "gate 1: a", "batch 1 has ended; go on?", "b"]
    assert stage.stop_reason is None


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
def test_an_exception_ends_the_run_in_order(
    what: str, error: BaseException, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def gate(_batch: int, _hosts: Sequence[str]) -> GateOutcome:
        raise error

    async def ask(_question: str) -> Answer:
        raise error

    @in_virtual_time
    async def conduct() -> None:
        stage = Stage("a b", "1", gate=gate) if what == "gate" else Stage("a b", "1", prompt=ask)
        await stage.conduct()
        assert stage.log == ["a", "not b"]
        message = f"the {what} after batch 1 failed: {words}"
        assert stage.stop_reason == StopReason(Cause.ERROR, message)
        assert stage.said == [message]

    conduct()
    is_a_bug = isinstance(error, ZeroDivisionError)
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * is_a_bug


@in_virtual_time
async def test_a_stop_cuts_a_delay_short() -> None:
    async with Stage("a b", "1", delay=1000) as stage:
        await idle(10)
        stage.run.drain()
    assert virtual_loop().time() < 20
    assert stage.log == ["a", "not b"]
    assert stage.stop_reason == ON_REQUEST


@in_virtual_time
async def test_a_gate_that_cleans_up_is_waited_for_however_often_it_is_stopped() -> None:
    async def gate(_batch: int, _hosts: Sequence[str]) -> GateOutcome:
        try:
            await asyncio.sleep(1000)
        finally:
            stage.log.append("cancelled")
            await asyncio.sleep(5)
            stage.log.append("clean")
        return PASSED

    async with Stage("a b", "1", gate=gate, deadline=11) as stage:
        await idle(10)
        stage.run.drain()
        await idle(2)
        stage.run.stop()
    assert stage.log == ["a", "cancelled", "clean", "not b"]
    assert stage.stop_reason == ON_REQUEST
    assert not stage.said
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
                stages[0].log.append("hurried")
        return PASSED

    @in_virtual_time
    async def conduct() -> None:
        async with Stage("a b", "1", gate=gate) as stage:
            stages.append(stage)
            await idle(10)
            if when == "later":
                stage.run.drain()
                await idle(1)
            stage.run.abandon()
        assert virtual_loop().time() < 12

    stages: list[Stage] = []
    conduct()
    assert stages[0].log == ["a", "hurried", "not b"]


@in_virtual_time
async def test_a_gate_that_ignores_its_cancellation_decides_nothing() -> None:
    async def gate(_batch: int, _hosts: Sequence[str]) -> GateOutcome:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            await asyncio.sleep(3)
        return PASSED

    async with Stage("a b", "1", gate=gate) as stage:
        await idle(10)
        stage.run.drain()
    assert stage.log == ["a", "not b"]


@in_virtual_time
async def test_a_gate_that_is_cancelled_before_it_has_begun_does_not_begin() -> None:
    async def gate(_batch: int, _hosts: Sequence[str]) -> GateOutcome:
        raise AssertionError("it was stopped before")

    stage = Stage("a b", "1", gate=gate)
    async with stage._fleet as fleet:
        run = fleet.run("true", gate=gate)
        async for result in run:
            if result.host.name == "a":
                run.drain()
        assert run.stop_reason == ON_REQUEST
    assert not stage.said


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
        stage = {
            "gate": lambda: Stage("a b", "1", gate=gate),
            "question": lambda: Stage("a b", "1", prompt=ask),
            "delay": lambda: Stage("a b", "1", delay=10),
        }[what]()
        async with stage:
            await idle(1)
            if what == "delay":
                # The delay ends at 1 + 10; the loop runs what is due at one time in order of its making.
                virtual_loop().call_at(11, stage.run.drain)
                await idle(10)
            elif first == "stop":
                stage.run.drain()
                assert decided.cancelled()
            else:
                decided.set_result(None)
                stage.run.drain()
        assert stage.stop_reason == ON_REQUEST
        assert stage.log == ["a", "not b"]

    conduct()


@in_virtual_time
async def test_a_run_that_is_cancelled_as_a_whole_takes_its_hosts_and_its_gate_along() -> None:
    async def gate(_batch: int, _hosts: Sequence[str]) -> GateOutcome:
        await asyncio.sleep(1000)
        return PASSED

    for seconds in (0.5, 5):  # a host is in flight; the gate goes on
        stage = Stage("a b", "1", gate=gate)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                await stage.conduct()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not stage.said
