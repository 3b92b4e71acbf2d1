"""The start of hosts: the asynchronous shell around ``Admission`` and ``Rolling``.

It starts hosts as soon as they may start, moves from batch to batch, and
returns when every host has ended or will not be started.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from multirsh.engine.admission import Admission, Start
from multirsh.engine.hooks import RunHooks
from multirsh.engine.rolling import ON_REQUEST, Rolling, RollingPlan, Step, StopReason
from multirsh.errors import MultirshError
from multirsh.model import Host, Status
from multirsh.waits import Awaited, Wait

logger = logging.getLogger(__name__)

READER_PATIENCE_S: Final = 1.0
"""How long a gate or a question waits for a slow reader, in seconds."""

AHEAD: Final = 128
"""The number of hosts whose names are looked up before their turn."""


class Conductor:
    """Starts the hosts of one run."""

    def __init__(
        self,
        admission: Admission,
        plan: RollingPlan,
        hooks: RunHooks,
        total: int,
        *,
        start: Callable[[Start], Coroutine[Any, Any, None]],
        give_up: Callable[[Start], None],
        upcoming: Callable[[Host], None],
        on_stopped: Callable[[StopReason], None],
        read_up: Callable[[], Awaitable[None]],
    ) -> None:
        """Prepare to start hosts; ``conduct`` begins.

        Args:
            admission: Says which hosts may start.
            plan: The run's batches, and how many failures stop it.
            hooks: The gate and the prompt.
            total: The number of hosts of the run.
            start: Makes one attempt at a host.
            give_up: Called with each start that will not take place.
            upcoming: Called with each host some time before its turn.
            on_stopped: Called once when no more hosts are started, with the reason, before they are given up.
            read_up: Waits until the run's reader has processed every event so far.
        """
        self._admission = admission
        self._hooks = hooks
        self._delay = plan.delay
        self._rolling = Rolling(
            plan, total, has_gate=hooks.gate is not None, has_prompt=hooks.prompt is not None
        )
        self._start = start
        self._give_up = give_up
        self._upcoming = upcoming
        self._on_stopped = on_stopped
        self._read_up = read_up
        self._wake = asyncio.Event()
        self._is_stopped = False
        self._interlude: asyncio.Task[None] | None = None
        self._pause_ends: float | None = None
        self._allowed = 0
        self._hosts_of_batch: list[str] = []

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the run stopped before its end; ``None`` if it did not."""
        return self._rolling.stop_reason

    def waits(self, now: float) -> list[Wait]:
        """Return what the start of hosts waits for."""
        match self._rolling.step:
            case Step.RUNNING:
                return self._admission.waits(now)
            case Step.GATING:
                return [Wait(Awaited.GATE)]
            case Step.ASKING:
                return [Wait(Awaited.ANSWER)]
            case Step.PAUSING:
                return [Wait(Awaited.BATCH_DELAY, until=self._pause_ends)]
            case _:
                return []

    def wake(self) -> None:
        """Look again which hosts may start, since something has changed."""
        self._wake.set()

    def ended(self, status: Status) -> None:
        """Note that a host which was started has its result."""
        self._rolling.ended(status)
        self._wake.set()

    def stop(self, stop_reason: StopReason = ON_REQUEST) -> None:
        """Start no more hosts, and cut a gate, a question or a delay short."""
        self._rolling.stop(stop_reason)
        if self._interlude is not None and not self._interlude.cancelling():
            self._interlude.cancel()
        self._wake.set()

    def abandon(self) -> None:
        """Cancel, after ``stop``, a gate once more that is still cleaning up."""
        if self._interlude is not None:
            # Later, since a task that is cancelled twice in a row notices only one cancellation.
            self._interlude.get_loop().call_soon(self._interlude.cancel)

    async def conduct(self, group: asyncio.TaskGroup) -> None:
        """Start hosts in ``group`` until all have ended or will not be started."""
        while True:
            self._wake.clear()
            match self._rolling.step:
                case Step.RUNNING:
                    self._admit(group)
                case Step.DRAINING:
                    self._stop_starting()
                    if self._rolling.step is not Step.DRAINING:
                        continue  # the last hosts were those that waited to be tried again
                    if not self._admission.in_flight:
                        self._rolling.drained()
                        continue
                case Step.DONE | Step.STOPPED:
                    self._stop_starting()
                    return
                case _:
                    await self._between_batches(group)
                    continue
            await self._until_woken()

    def _admit(self, group: asyncio.TaskGroup) -> None:
        if self._rolling.allowed > self._allowed:  # another batch has begun
            self._hosts_of_batch.clear()
            self._admission.allow(self._rolling.allowed - self._allowed)
            self._allowed = self._rolling.allowed
        for start in self._admission.admit(_now()):
            if start.attempt == 1:
                self._hosts_of_batch.append(start.host.name)
            group.create_task(self._start(start), name=f"multirsh {start.host.name}")
        for host in self._admission.upcoming(AHEAD):
            self._upcoming(host)

    async def _until_woken(self) -> None:
        at = self._admission.next_at(_now()) if self._rolling.step is Step.RUNNING else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(at):
                await self._wake.wait()

    def _stop_starting(self) -> None:
        if self._is_stopped:
            return
        self._is_stopped = True
        given_up = self._admission.stop()
        if self._rolling.stop_reason is not None:
            self._on_stopped(self._rolling.stop_reason)
        for start in given_up:
            self._give_up(start)

    async def _between_batches(self, group: asyncio.TaskGroup) -> None:
        """Do what the step says in a task of its own, which can be cancelled without the run."""
        step = self._rolling.step
        self._interlude = group.create_task(self._interval(step), name=f"multirsh {step.value}")
        await asyncio.wait((self._interlude,))
        self._interlude = None
        if self._rolling.step is step:
            self._rolling.broke("it was cancelled")

    async def _interval(self, step: Step) -> None:
        try:
            await self._decide(step)
        except (MultirshError, OSError) as error:
            self._broke(step, str(error))
        except Exception as error:
            logger.exception("the %s after batch %d", step.value, self._rolling.batch)
            self._broke(step, f"{type(error).__name__}: {error}")

    async def _decide(self, step: Step) -> None:
        """Find out whether the run continues. If the run is stopped meanwhile, that holds."""
        hooks, rolling = self._hooks, self._rolling
        if step is not Step.PAUSING:
            # The output of a batch is shown before the question whether the next one may start.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(READER_PATIENCE_S):
                    await self._read_up()
        match step:
            case Step.GATING if hooks.gate is not None:
                outcome = await hooks.gate(rolling.batch, tuple(self._hosts_of_batch))
                if rolling.step is step:
                    rolling.gated(outcome)
            case Step.ASKING if hooks.prompt is not None:
                answer = await hooks.prompt(f"batch {rolling.batch} has ended; go on?")
                if rolling.step is step:
                    rolling.answered(answer)
            case Step.PAUSING:
                self._pause_ends = _now() + self._delay
                await asyncio.sleep(self._delay)
                if rolling.step is step:
                    rolling.delay_over()
            case _:
                raise AssertionError(f"no hook for the step {step.name}")

    def _broke(self, step: Step, reason: str) -> None:
        if self._rolling.step is step:
            self._rolling.broke(reason)


def _now() -> float:
    return asyncio.get_running_loop().time()
