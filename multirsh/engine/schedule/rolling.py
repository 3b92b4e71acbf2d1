"""A rolling run: batch after batch, each only if the one before it went well enough. Pure.

``Batches`` says how many hosts a batch has, ``MaxFail`` how many may fail.
``Step``, ``RollingEvent`` and one table of transitions say what follows what;
``Rolling`` counts the hosts and skips the steps that the user did not ask for.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from multirsh.engine.options import ALL_AT_ONCE, MaxFail, RollingPlan
from multirsh.errors import IllegalTransition
from multirsh.model import Status

NO_FAILURE: Final = frozenset({Status.OK, Status.CANCELLED, Status.NOT_RUN})
"""The statuses that are not failures: a host that the run cancelled or did not start says nothing
about the next one. All others count, ``local`` too: the command has not done its work on that host."""


class Step(enum.Enum):
    """The state of a rolling run, which says what the shell around it does."""

    RUNNING = "batch running"
    """Hosts of the batch start and end."""
    GATING = "gate"
    """The gate is run."""
    ASKING = "question"
    """The user is asked whether to continue."""
    PAUSING = "delay"
    """The run waits for the delay to pass."""
    CANCELLING = "cancelling"
    """The gate or the question was cancelled, and the run waits for it to clean up."""
    DRAINING = "draining"
    """No host is started any more; those in flight continue to their ends."""
    DONE = "done"
    """Every host has ended."""
    STOPPED = "stopped"
    """Some hosts were not started and will not be."""


class RollingEvent(enum.Enum):
    """What moves a rolling run from step to step."""

    BATCH_ENDED = "batch ended"
    """Every host of the batch has ended, and there are more batches."""
    ALL_ENDED = "all ended"
    """Every host of the run has ended."""
    TOO_MANY_FAILED = "too many failed"
    GATE_PASSED = "gate passed"
    GATE_FAILED = "gate failed"
    YES = "yes"
    NO = "no"
    DELAY_OVER = "delay over"
    BROKE = "broke"
    """The gate or the question failed by itself."""
    STOP = "stop"
    """The run is to end, as by a signal or the deadline."""
    DRAINED = "no host in flight"


_CANCELLED: Final = {RollingEvent.BROKE: Step.STOPPED, RollingEvent.STOP: Step.CANCELLING}

TRANSITIONS: Final[Mapping[Step, Mapping[RollingEvent, Step]]] = MappingProxyType(
    {
        Step.RUNNING: {
            RollingEvent.BATCH_ENDED: Step.GATING,
            RollingEvent.ALL_ENDED: Step.DONE,
            RollingEvent.TOO_MANY_FAILED: Step.DRAINING,
            RollingEvent.STOP: Step.DRAINING,
        },
        Step.GATING: {
            RollingEvent.GATE_PASSED: Step.ASKING,
            RollingEvent.GATE_FAILED: Step.STOPPED,
            **_CANCELLED,
        },
        Step.ASKING: {RollingEvent.YES: Step.PAUSING, RollingEvent.NO: Step.STOPPED, **_CANCELLED},
        Step.PAUSING: {RollingEvent.DELAY_OVER: Step.RUNNING, RollingEvent.STOP: Step.STOPPED},
        Step.CANCELLING: {
            # Whatever it says now, the run ends.
            RollingEvent.GATE_PASSED: Step.STOPPED,
            RollingEvent.GATE_FAILED: Step.STOPPED,
            RollingEvent.YES: Step.STOPPED,
            RollingEvent.NO: Step.STOPPED,
            **_CANCELLED,
        },
        Step.DRAINING: {
            RollingEvent.ALL_ENDED: Step.DONE,
            RollingEvent.DRAINED: Step.STOPPED,
            RollingEvent.STOP: Step.DRAINING,
        },
        Step.DONE: {RollingEvent.STOP: Step.DONE},
        Step.STOPPED: {RollingEvent.STOP: Step.STOPPED},
    }
)
"""Every transition that is allowed."""


class Cause(enum.StrEnum):
    """Why a rolling run stopped before its end."""

    MAX_FAIL = "max_fail"
    GATE = "gate"
    REFUSED = "refused"
    """The user answered no."""
    FAIL_FAST = "fail_fast"
    DEADLINE = "deadline"
    ERROR = "error"
    """The gate or the prompt raised an exception or was cancelled."""
    STOP = "stop"
    """The user or the program stopped the run."""


@dataclass(frozen=True, slots=True)
class StopReason:
    """Why a run starts no more hosts, although some are left.

    Attributes:
        cause: The reason, for programs.
        message: The reason in one line, for people.
    """

    cause: Cause
    message: str


ON_REQUEST: Final = StopReason(Cause.STOP, "the run was stopped")


@dataclass(frozen=True, slots=True)
class GateOutcome:
    """How a gate ended.

    Attributes:
        passed: Whether the next batch may start.
        reason: Why it may not, for people, such as ``exit status 1``.
    """

    passed: bool
    reason: str = ""


class Answer(enum.Enum):
    """The user's answer to the question whether to continue."""

    YES = "yes"
    NO = "no"
    ALL = "all"
    """Yes, and yes to all further questions."""


class Rolling:
    """The state machine of one rolling run.

    The run does what ``step`` says and reports the outcome. While the step
    is RUNNING, the first ``allowed`` hosts may start.

    Attributes:
        step: The step that the run is at.
        batch: The number of the last batch that was begun, from 1.
        allowed: The number of hosts, from the front, in the batches that were begun.
        failures: The number of hosts of the run that have failed so far.
    """

    def __init__(
        self, plan: RollingPlan, total: int, *, has_gate: bool = False, has_prompt: bool = False
    ) -> None:
        """Begin with the first batch.

        Args:
            plan: The batches, and how many failures stop the run.
            total: The number of hosts of the run.
            has_gate: Whether a gate must pass after each batch but the last.
            has_prompt: Whether the user is asked after each batch but the last.
        """
        self._plan = plan
        self._batches = plan.batches or ALL_AT_ONCE
        self._total = total
        self._has_gate = has_gate
        self._asks = has_prompt
        self.allowed = 0
        self._ended = 0
        self.failures = 0
        self.batch = 0
        self._stop_reason: StopReason | None = None
        self.step = Step.RUNNING
        self._next_batch()
        if not total:
            self._receive(RollingEvent.ALL_ENDED)

    @property
    def stop_reason(self) -> StopReason | None:
        """Why no more hosts start; ``None`` if the run was not stopped, or all hosts have ended after all."""
        return None if self.step is Step.DONE else self._stop_reason

    def ended(self, status: Status) -> None:
        """Note that a host which was started has its result.

        Raises:
            IllegalTransition: All hosts of the batch had ended already.
        """
        if self._ended == self.allowed:
            raise IllegalTransition(f"rolling: a host ended in {self.step.name} beyond its batch")
        max_fail = self._plan.max_fail
        self._ended += 1
        self.failures += status not in NO_FAILURE
        if self._ended == self._total:
            self._receive(RollingEvent.ALL_ENDED)
        elif self.step is not Step.RUNNING:
            return
        elif max_fail is not None and not max_fail.tolerates(self.failures, self._total):
            self._stop_for(Cause.MAX_FAIL, _so_many(self.failures, max_fail))
            self._receive(RollingEvent.TOO_MANY_FAILED)
        elif self._ended == self.allowed:
            self._receive(RollingEvent.BATCH_ENDED)

    def gated(self, outcome: GateOutcome) -> None:
        """Note how the gate has ended."""
        if not outcome.passed:
            because = f": {outcome.reason}" if outcome.reason else ""
            self._stop_for(Cause.GATE, f"the gate after batch {self.batch} did not pass{because}")
        self._receive(RollingEvent.GATE_PASSED if outcome.passed else RollingEvent.GATE_FAILED)

    def answered(self, answer: Answer) -> None:
        """Note the user's answer."""
        if answer is Answer.NO:
            self._stop_for(Cause.REFUSED, f"stopped after batch {self.batch}, as you answered")
        self._asks = self._asks and answer is not Answer.ALL
        self._receive(RollingEvent.NO if answer is Answer.NO else RollingEvent.YES)

    def delay_over(self) -> None:
        """Note that the delay before the next batch has passed."""
        self._receive(RollingEvent.DELAY_OVER)

    def drained(self) -> None:
        """Note, while draining, that no host is in flight any more."""
        self._receive(RollingEvent.DRAINED)

    def broke(self, reason: str) -> None:
        """Stop because the gate or the prompt itself has failed, which leaves it open whether to continue.

        Args:
            reason: The reason, for people.
        """
        self._stop_for(Cause.ERROR, f"the {self.step.value} after batch {self.batch} failed: {reason}")
        self._receive(RollingEvent.BROKE)

    def stop(self, stop_reason: StopReason = ON_REQUEST) -> None:
        """Stop the run; hosts in flight continue. It may be called at any time and more than once.

        Args:
            stop_reason: Why the run stops; the first reason holds.
        """
        if self.step not in {Step.DONE, Step.STOPPED}:
            self._stop_for(stop_reason.cause, stop_reason.message)
        self._receive(RollingEvent.STOP)

    def _stop_for(self, cause: Cause, message: str) -> None:
        if self._stop_reason is None:
            self._stop_reason = StopReason(cause, message)

    def _receive(self, event: RollingEvent) -> None:
        """Move as the table says, and skip the steps that the user did not ask for.

        Raises:
            IllegalTransition: The table has no such transition.
        """
        row = TRANSITIONS[self.step]
        if event not in row:
            raise IllegalTransition(f"rolling: {event.name} in {self.step.name}")
        was, self.step = self.step, row[event]
        if self.step is Step.GATING and not self._has_gate:
            self._receive(RollingEvent.GATE_PASSED)
        elif self.step is Step.ASKING and not self._asks:
            self._receive(RollingEvent.YES)
        elif self.step is Step.PAUSING and not self._plan.delay:
            self._receive(RollingEvent.DELAY_OVER)
        elif self.step is Step.RUNNING and was is not Step.RUNNING:
            self._next_batch()

    def _next_batch(self) -> None:
        left = self._total - self.allowed
        self.allowed += self._batches.size(self.batch, total=self._total, left=left)
        self.batch += 1


def _so_many(failures: int, max_fail: MaxFail) -> str:
    hosts = "host has" if failures == 1 else "hosts have"
    return f"{failures} {hosts} failed (--max-fail {max_fail.limit})"
