"""A rolling run: batch after batch, each only if the one before it went well enough. Pure.

``Batches`` says how many hosts a batch has, ``MaxFail`` how many may fail.
``Step``, ``RollingEvent`` and one table of transitions say what follows what;
``Rolling`` counts the hosts and skips the steps that the user did not ask for.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from multirsh.arguments import check_fields
from multirsh.errors import IllegalTransition, UsageError
from multirsh.model import Status


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number of hosts, or a share of all of them.

    Attributes:
        count: Hosts, 1 or more; ``None`` for a share.
        share: Of the whole, above 0 and up to 1; exact, since 29 % of 100 has to be 29.
    """

    count: int | None = None
    share: Fraction = Fraction(1)

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def parse(cls, text: str, *, what: str, hint: str) -> Quantity:
        """Read ``N`` or ``P%``; P may have decimals.

        Args:
            text: From the command line; blanks around it do not matter.
            what: Names it in the error.
            hint: The way out.

        Raises:
            UsageError: It is neither, or none at all, or more than the whole.
        """
        found = _QUANTITY.fullmatch(text.strip())
        if found is None:
            raise UsageError(f"{text.strip()!r} is no {what}", hint=hint)
        figure = Fraction(found["figure"])
        if not figure:
            raise UsageError(f"a {what} of {text.strip()} is none at all", hint=hint)
        if not found["percent"]:
            return cls(count=int(figure))
        if figure > _WHOLE:
            raise UsageError(f"a {what} of {text.strip()} is more than all hosts", hint=hint)
        return cls(share=figure / _WHOLE)

    def of(self, total: int) -> int:
        """How many of ``total`` hosts: a share is rounded down, to no fewer than 1."""
        return self.count if self.count is not None else max(1, int(self.share * total))

    def __str__(self) -> str:
        return str(self.count) if self.count is not None else f"{float(self.share * _WHOLE):g}%"


_QUANTITY: Final = re.compile(r"(?P<figure>[0-9]{1,9}|[0-9]{1,9}\.[0-9]{1,9}(?=%))(?P<percent>%?)")
_WHOLE: Final = 100
_BATCH_HINT: Final = "give numbers and shares of all hosts, such as 1,10%,100%"
_MAX_FAIL_HINT: Final = "give a number of hosts, such as 3, or a share of them, such as 10%"


@dataclass(frozen=True, slots=True)
class Batches:
    """How the hosts are divided (``--batch``).

    Attributes:
        sizes: One a batch; the last one holds for all that follow. At least one.
    """

    sizes: tuple[Quantity, ...] = (Quantity(),)

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def parse(cls, text: str) -> Batches:
        """Read ``1,10%,100%``.

        Raises:
            UsageError: A part of it is no number of hosts.
        """
        return cls(
            tuple(Quantity.parse(part, what="batch size", hint=_BATCH_HINT) for part in text.split(","))
        )

    def size(self, number: int, *, total: int, left: int) -> int:
        """How many hosts the next batch has.

        Args:
            number: Which batch, from 0.
            total: Hosts of the whole run.
            left: Hosts in no batch yet.
        """
        return min(left, self.sizes[min(number, len(self.sizes) - 1)].of(total))

    def split(self, total: int) -> list[int]:
        """The sizes of all batches; their sum is ``total``."""
        split: list[int] = []
        left = total
        while left:
            split.append(self.size(len(split), total=total, left=left))
            left -= split[-1]
        return split


ALL_AT_ONCE: Final = Batches()


@dataclass(frozen=True, slots=True)
class MaxFail:
    """How many hosts have to fail before no more are started (``--max-fail``).

    Attributes:
        limit: With so many failures the run stops.
    """

    limit: Quantity

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def parse(cls, text: str) -> MaxFail:
        """Read ``N`` or ``P%``.

        Raises:
            UsageError: It is neither.
        """
        return cls(Quantity.parse(text, what="number of failures", hint=_MAX_FAIL_HINT))

    def tolerates(self, failures: int, total: int) -> bool:
        """Whether the run goes on.

        Args:
            failures: Hosts of the whole run that have failed so far.
            total: Hosts of the whole run.
        """
        return failures < self.limit.of(total)


NO_FAILURE: Final = frozenset({Status.OK, Status.CANCELLED, Status.NOT_RUN})
"""What is not counted: a host that the run itself gave up, or did not start, says nothing of the next one.
All else is counted, ``local`` too: that host has not got what the run is for."""


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
    CANCELLING = "cancelling"
    """The gate or the question was cancelled, and is waited for: it may clean up after itself."""
    DRAINING = "draining"
    """No host is started any more; those in flight are let end."""
    DONE = "done"
    """Every host has ended."""
    STOPPED = "stopped"
    """Some hosts were not started, and will not be."""


class RollingEvent(enum.Enum):
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
    BROKE = "broke"
    """The gate or the question failed by itself."""
    STOP = "stop"
    """Somebody wants the run to end: a signal, the deadline."""
    DRAINED = "nobody in flight"


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
class StopReason:
    """That a rolling run stopped, and why.

    Attributes:
        cause: For programs.
        message: One line for people.
    """

    cause: Cause
    message: str


ON_REQUEST: Final = StopReason(Cause.STOP, "the run was stopped")


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
        self._stop_reason: StopReason | None = None
        self._step = Step.RUNNING
        self._next_batch()
        if not total:
            self._receive(RollingEvent.ALL_ENDED)

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
    def stop_reason(self) -> StopReason | None:
        """Why no more hosts start; ``None`` while nothing is wrong, and if all have ended after all."""
        return None if self._step is Step.DONE else self._stop_reason

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
            self._receive(RollingEvent.ALL_ENDED)
        elif self._step is not Step.RUNNING:
            return
        elif max_fail is not None and not max_fail.tolerates(self._failures, self._total):
            self._stop_for(Cause.MAX_FAIL, _so_many(self._failures, max_fail))
            self._receive(RollingEvent.TOO_MANY_FAILED)
        elif self._ended == self._allowed:
            self._receive(RollingEvent.BATCH_ENDED)

    def gated(self, outcome: GateOutcome) -> None:
        """The gate has ended."""
        if not outcome.passed:
            because = f": {outcome.reason}" if outcome.reason else ""
            self._stop_for(Cause.GATE, f"the gate after batch {self._number} did not pass{because}")
        self._receive(RollingEvent.GATE_PASSED if outcome.passed else RollingEvent.GATE_FAILED)

    def answered(self, answer: Answer) -> None:
        """The person who was asked has answered."""
        if answer is Answer.NO:
            self._stop_for(Cause.REFUSED, f"stopped after batch {self._number}, as was answered")
        self._asks = self._asks and answer is not Answer.ALL
        self._receive(RollingEvent.NO if answer is Answer.NO else RollingEvent.YES)

    def delay_over(self) -> None:
        """The delay before the next batch has passed."""
        self._receive(RollingEvent.DELAY_OVER)

    def drained(self) -> None:
        """Nobody is in flight any more, while draining."""
        self._receive(RollingEvent.DRAINED)

    def broke(self, reason: str) -> None:
        """What comes between batches has failed by itself, so nobody knows whether to go on.

        Args:
            reason: For people.
        """
        self._stop_for(Cause.ERROR, f"the {self._step.value} after batch {self._number} failed: {reason}")
        self._receive(RollingEvent.BROKE)

    def stop(self, stop_reason: StopReason = ON_REQUEST) -> None:
        """End the run; those in flight are others' to give up. At any time, and as often as one likes.

        Args:
            stop_reason: Why; the first reason holds.
        """
        if self._step not in {Step.DONE, Step.STOPPED}:
            self._stop_for(stop_reason.cause, stop_reason.message)
        self._receive(RollingEvent.STOP)

    def _stop_for(self, cause: Cause, message: str) -> None:
        if self._stop_reason is None:
            self._stop_reason = StopReason(cause, message)

    def _receive(self, event: RollingEvent) -> None:
        """Move by the table, and past the steps that the user did not ask for.

        Raises:
            IllegalTransition: The table has no such row.
        """
        row = TRANSITIONS[self._step]
        if event not in row:
            raise IllegalTransition(f"rolling: {event.name} in {self._step.name}")
        was, self._step = self._step, row[event]
        if self._step is Step.GATING and not self._has_gate:
            self._receive(RollingEvent.GATE_PASSED)
        elif self._step is Step.ASKING and not self._asks:
            self._receive(RollingEvent.YES)
        elif self._step is Step.PAUSING and not self._plan.delay:
            self._receive(RollingEvent.DELAY_OVER)
        elif self._step is Step.RUNNING and was is not Step.RUNNING:
            self._next_batch()

    def _next_batch(self) -> None:
        left = self._total - self._allowed
        self._allowed += self._batches.size(self._number, total=self._total, left=left)
        self._number += 1


def _so_many(failures: int, max_fail: MaxFail) -> str:
    hosts = "host has" if failures == 1 else "hosts have"
    return f"{failures} {hosts} failed (--max-fail {max_fail.limit})"
