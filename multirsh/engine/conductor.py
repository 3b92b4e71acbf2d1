"""Who starts when, awaited: the shell around ``Admission`` and ``Rolling``.

It starts hosts as there are places, moves from batch to batch, and comes back
when every host has ended or will not be started.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Final

from multirsh.engine.admission import Admission, Start
from multirsh.engine.plan import RunPlan
from multirsh.engine.rolling import Cause, Halt, Rolling, Step
from multirsh.model import Host, Status

AHEAD: Final = 128
"""So many hosts are announced before their turn, to have their names looked up."""


class Conductor:
    """Conducts one run."""

    def __init__(
        self,
        admission: Admission,
        plan: RunPlan,
        total: int,
        *,
        start: Callable[[Start], Coroutine[Any, Any, None]],
        give_up: Callable[[Start], None],
        coming: Callable[[Host], None],
        say: Callable[[str], None],
    ) -> None:
        """Begin nothing yet.

        Args:
            admission: Says who may start.
            plan: What the run is to do.
            total: Hosts of the run.
            start: One attempt at a host.
            give_up: Told of each start that will not be.
            coming: Told of each host some time before its turn.
            say: Takes a line for people: why the run stops before its end.
        """
        self._admission = admission
        self._plan = plan
        self._rolling = Rolling(plan.rolling, total)
        self._admission.allow(self._rolling.allowed)
        self._start = start
        self._give_up = give_up
        self._coming = coming
        self._say = say
        self._wake = asyncio.Event()
        self._is_stopped = False
        self._interlude: asyncio.Timeout | None = None
        self._batch_began = 0
        self._hosts_of_batch: list[str] = []

    @property
    def halt(self) -> Halt | None:
        """Why the run stopped before its end; ``None`` if it did not."""
        return self._rolling.halt

    @property
    def batch(self) -> int:
        """Which batch is the last that was begun, from 1."""
        return self._rolling.batch

    def wake(self) -> None:
        """Something has changed: look who may start now."""
        self._wake.set()

    def ended(self, status: Status) -> None:
        """A host that was started has its result."""
        self._rolling.ended(status)
        self._wake.set()

    def stop(self) -> None:
        """Start no further host."""
        self._rolling.stop()
        if self._interlude is not None:
            self._interlude.reschedule(0)
        self._wake.set()

    async def conduct(self, group: asyncio.TaskGroup) -> None:
        """Start hosts in ``group``, until all have ended or will not be started."""
        while True:
            self._wake.clear()
            match self._rolling.step:
                case Step.RUNNING:
                    self._admit(group)
                case Step.DRAINING:
                    self._stop_starting()
                    if not self._admission.in_flight:
                        self._rolling.drained()
                        continue
                case Step.DONE | Step.STOPPED:
                    self._stop_starting()
                    return
                case _:
                    await self._between_batches()
                    continue
            await self._until_woken()

    def _admit(self, group: asyncio.TaskGroup) -> None:
        for start in self._admission.admit(_now()):
            if start.attempt == 1:
                self._hosts_of_batch.append(start.host.name)
            group.create_task(self._start(start), name=f"multirsh {start.host.name}")
        for host in self._admission.coming(AHEAD):
            self._coming(host)

    async def _until_woken(self) -> None:
        at = self._admission.next_at(_now()) if self._rolling.step is Step.RUNNING else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(at):
                await self._wake.wait()

    def _stop_starting(self) -> None:
        if not self._is_stopped:
            self._is_stopped = True
            halt = self._rolling.halt
            if halt is not None and halt.cause is not Cause.STOP:
                self._say(halt.message)
            for start in self._admission.stop():
                self._give_up(start)

    async def _between_batches(self) -> None:
        """Do what the step says; a stop cuts it short."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None) as self._interlude:
                await self._interval()
        self._interlude = None

    async def _interval(self) -> None:
        plan, rolling = self._plan, self._rolling
        allowed = rolling.allowed
        match rolling.step:
            case Step.GATING if plan.gate is not None:
                rolling.gated(await plan.gate(rolling.batch, tuple(self._hosts_of_batch)))
            case Step.ASKING if plan.ask is not None:
                rolling.answered(await plan.ask(f"batch {rolling.batch} has ended; go on?"))
            case Step.PAUSING:
                await asyncio.sleep(plan.rolling.delay)
                rolling.delay_over()
            case step:
                raise AssertionError(f"nobody to do it: {step.name}")
        if rolling.allowed > allowed:
            self._hosts_of_batch.clear()
            self._admission.allow(rolling.allowed - allowed)


def _now() -> float:
    return asyncio.get_running_loop().time()
