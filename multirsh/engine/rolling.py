"""A rolling run: batch after batch, each only when the one before it went well enough. Pure.

One enum of steps, one of happenings, one table. ``Rolling`` adds the
counting, and passes by itself what the user did not ask for.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from multirsh.arguments import check_fields
from multirsh.engine.batches import ALL_AT_ONCE, NO_FAILURE, Batches, MaxFail
from multirsh.errors import IllegalTransition, UsageError
from multirsh.model import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingPlan:
    """What the user wants of a rolling run; each part may be absent.

    Attributes:
        batches: How the hosts are divided; ``None`` for all of them at once.
        max_fail: When to stop; ``None`` for never.
        delay: Seconds before each batch but the first (``--batch-delay``).

    Raises:
        UsageError: A figure that cannot be meant.
    """

    batches: Batches | None = None
    max_fail: MaxFail | None = None
    delay: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not (self.delay >= 0 and math.isfinite(self.delay)):
            raise UsageError(f"a batch delay of {self.delay} seconds cannot be kept", hint="give 0 or more")


class Step(enum.Enum):
    """Where a rolling run is, and so what the shell around it does."""

    RUNNING = "batch running"
    """Hosts of the batch start and end."""
    GATING = "gate"
    """The gate is run."""
    ASKING = "question"
    """A person is asked."""
    PAUSING = "delay"
    """The delay is waited for."""
    DRAINING = "draining"
    """No host is started any more; those in flight are let end."""
    DONE = "done"
    """Every host has ended."""
    STOPPED = "stopped"
    """Some hosts were not started, and will not be."""


class Happening(enum.Enum):
    """What moves a rolling run."""

    BATCH_ENDED = "batch ended"
    """Every host of the batch has ended, and there are more."""
    ALL_ENDED = "all ended"
    """Every host of the run has ended."""
    TOO_MANY_FAILED = "too many failed"
    GATE_PASSED = "gate passed"
    GATE_FAILED = "gate failed"
    YES = "yes"
    NO = "no"
    DELAY_OVER = "delay over"
    STOP = "stop"
    """Somebody wants the run to end: a signal, the deadline."""
    DRAINED = "nobody in flight"


_STOP: Final = {Happening.STOP: Step.STOPPED}

TRANSITIONS: Final[Mapping[Step, Mapping[Happening, Step]]] = MappingProxyType(
    {
        Step.RUNNING: {
            Happening.BATCH_ENDED: Step.GATING,
            Happening.ALL_ENDED: Step.DONE,
            Happening.TOO_MANY_FAILED: Step.DRAINING,
            Happening.STOP: Step.DRAINING,
        },
        Step.GATING: {Happening.GATE_PASSED: Step.ASKING, Happening.GATE_FAILED: Step.STOPPED, **_STOP},
        Step.ASKING: {Happening.YES: Step.PAUSING, Happening.NO: Step.STOPPED, **_STOP},
        Step.PAUSING: {Happening.DELAY_OVER: Step.RUNNING, **_STOP},
        Step.DRAINING: {
            Happening.ALL_ENDED: Step.DONE,
            Happening.DRAINED: Step.STOPPED,
            Happening.STOP: Step.DRAINING,
        },
        Step.DONE: {Happening.STOP: Step.DONE},
        Step.STOPPED: {Happening.STOP: Step.STOPPED},
    }
)
"""Every move there is."""


class Cause(enum.StrEnum):
    """Why a rolling run stopped before its end."""

    MAX_FAIL = "max_fail"
    GATE = "gate"
    REFUSED = "refused"
    """The person who was asked said no."""
    FAIL_FAST = "fail_fast"
    DEADLINE = "deadline"
    ERROR = "error"
    """The gate, or the question, could not be brought to an end."""
    STOP = "stop"
    """Whoever runs it wanted it."""


@dataclass(frozen=True, slots=True)
class Halt:
    """That a rolling run stopped, and why.

    Attributes:
        cause: For programs.
        message: One line for people.
    """

    cause: Cause
    message: str


ON_REQUEST: Final = Halt(Cause.STOP, "the run was stopped")


@dataclass(frozen=True, slots=True)
class GateOutcome:
    """How a gate ended.

    Attributes:
        passed: Whether the next batch may start.
        reason: For people: why not, such as ``exit status 1``.
    """

    passed: bool
    reason: str = ""


class Answer(enum.Enum):
    """What a person says to the question whether to go on."""

    YES = "yes"
    NO = "no"
    ALL = "all"
    """Yes, and to all further questions."""


class Rolling:
    """One rolling run's place in the table.

    The shell does what ``step`` says and tells what came of it. While it says
    RUNNING, the hosts up to ``allowed`` may start.
    """

    def __init__(
        self, plan: RollingPlan, total: int, *, has_gate: bool = False, has_prompt: bool = False
    ) -> None:
        """Begin with the first batch.

        Args:
            plan: The batches, and when to stop.
            total: The number of hosts of the run.
            has_gate: Whether a gate must pass after each batch but the last.
            has_prompt: Whether the user is asked after each batch but the last.
        """
        self._plan = plan
        self._batches = plan.batches or ALL_AT_ONCE
        self._total = total
        self._has_gate = has_gate
        self._asks = has_prompt
        self._allowed = 0
        self._ended = 0
        self._failures = 0
        self._number = 0
        self._halt: Halt | None = None
        self._step = Step.RUNNING
        self._next_batch()
        if not total:
            self._receive(Happening.ALL_ENDED)

    @property
    def step(self) -> Step:
        """What is to be done."""
        return self._step

    @property
    def batch(self) -> int:
        """Which batch is the last that was begun, from 1."""
        return self._number

    @property
    def allowed(self) -> int:
        """How many hosts, from the front, are in the batches that were begun."""
        return self._allowed

    @property
    def failures(self) -> int:
        """Hosts that have failed so far, in the whole run."""
        return self._failures

    @property
    def halt(self) -> Halt | None:
        """Why no more hosts start; ``None`` while nothing is wrong, and if all have ended after all."""
        return None if self._step is Step.DONE else self._halt

    def ended(self, status: Status) -> None:
        """A host that was started has its result.

        Raises:
            IllegalTransition: None of the batch was left.
        """
        if self._ended == self._allowed:
            raise IllegalTransition(f"rolling: a host ended in {self._step.name} beyond its batch")
        max_fail = self._plan.max_fail
        self._ended += 1
        self._failures += status not in NO_FAILURE
        if self._ended == self._total:
            self._receive(Happening.ALL_ENDED)
        elif self._step is not Step.RUNNING:
            return
        elif max_fail is not None and not max_fail.tolerates(self._failures, self._total):
            self._stop_for(Cause.MAX_FAIL, _so_many(self._failures, max_fail))
            self._receive(Happening.TOO_MANY_FAILED)
        elif self._ended == self._allowed:
            self._receive(Happening.BATCH_ENDED)

    def gated(self, outcome: GateOutcome) -> None:
        """The gate has ended."""
        if not outcome.passed:
            because = f": {outcome.reason}" if outcome.reason else ""
            self._stop_for(Cause.GATE, f"the gate after batch {self._number} did not pass{because}")
        self._receive(Happening.GATE_PASSED if outcome.passed else Happening.GATE_FAILED)

    def answered(self, answer: Answer) -> None:
        """The person who was asked has answered."""
        if answer is Answer.NO:
            self._stop_for(Cause.REFUSED, f"stopped after batch {self._number}, as was answered")
        self._asks = self._asks and answer is not Answer.ALL
        self._receive(Happening.NO if answer is Answer.NO else Happening.YES)

    def delay_over(self) -> None:
        """The delay before the next batch has passed."""
        self._receive(Happening.DELAY_OVER)

    def drained(self) -> None:
        """Nobody is in flight any more, while draining."""
        self._receive(Happening.DRAINED)

    def broke(self, reason: str) -> None:
        """What comes between batches has failed by itself, so nobody knows whether to go on.

        Args:
            reason: For people.
        """
        self.stop(Halt(Cause.ERROR, f"the {self._step.value} after batch {self._number} failed: {reason}"))

    def stop(self, halt: Halt = ON_REQUEST) -> None:
        """End the run; those in flight are others' to give up. At any time, and as often as one likes.

        Args:
            halt: Why; the first reason holds.
        """
        if self._step not in {Step.DONE, Step.STOPPED}:
            self._stop_for(halt.cause, halt.message)
        self._receive(Happening.STOP)

    def _stop_for(self, cause: Cause, message: str) -> None:
        if self._halt is None:
            self._halt = Halt(cause, message)

    def _receive(self, happening: Happening) -> None:
        """Move by the table, and past the steps that the user did not ask for.

        Raises:
            IllegalTransition: The table has no such row.
        """
        row = TRANSITIONS[self._step]
        if happening not in row:
            raise IllegalTransition(f"rolling: {happening.name} in {self._step.name}")
        was, self._step = self._step, row[happening]
        if self._step is Step.GATING and not self._has_gate:
            self._receive(Happening.GATE_PASSED)
        elif self._step is Step.ASKING and not self._asks:
            self._receive(Happening.YES)
        elif self._step is Step.PAUSING and not self._plan.delay:
            self._receive(Happening.DELAY_OVER)
        elif self._step is Step.RUNNING and was is not Step.RUNNING:
            self._next_batch()

    def _next_batch(self) -> None:
        left = self._total - self._allowed
        self._allowed += self._batches.size(self._number, total=self._total, left=left)
        self._number += 1


def _so_many(failures: int, max_fail: MaxFail) -> str:
    hosts = "host has" if failures == 1 else "hosts have"
    return f"{failures} {hosts} failed (--max-fail {max_fail.limit})"
