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
    """A number of hosts, or a share of all hosts.

    Attributes:
        count: The number of hosts, 1 or more; ``None`` for a share.
        share: The share of all hosts, above 0 and up to 1; exact, since 29 % of 100 has to be 29.
    """

    count: int | None = None
    share: Fraction = Fraction(1)

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def parse(cls, text: str, *, what: str, hint: str) -> Quantity:
        """Parse ``N`` or ``P%``; P may have decimals.

        Args:
            text: The text from the command line; blanks around it are ignored.
            what: The name of the quantity, for error messages.
            hint: The hint of error messages.

        Raises:
            UsageError: The text is neither, or it is 0, or more than 100 %.
        """
        found = _QUANTITY.fullmatch(text.strip())
        if found is None:
            raise UsageError(f"{text.strip()!r} is not a {what}", hint=hint)
        figure = Fraction(found["figure"])
        if not figure:
            raise UsageError(f"a {what} of {text.strip()} is none at all", hint=hint)
        if not found["percent"]:
            return cls(count=int(figure))
        if figure > _WHOLE:
            raise UsageError(f"a {what} of {text.strip()} is more than all hosts", hint=hint)
        return cls(share=figure / _WHOLE)

    def of(self, total: int) -> int:
        """Return the number of hosts out of ``total``; a share is rounded down, but to 1 at least."""
        return self.count if self.count is not None else max(1, int(self.share * total))

    def __str__(self) -> str:
        return str(self.count) if self.count is not None else f"{float(self.share * _WHOLE):g}%"


_QUANTITY: Final = re.compile(r"(?P<figure>[0-9]{1,9}|[0-9]{1,9}\.[0-9]{1,9}(?=%))(?P<percent>%?)")
_WHOLE: Final = 100
_BATCH_HINT: Final = "give numbers and shares of all hosts, such as 1,10%,100%"
_MAX_FAIL_HINT: Final = "give a number of hosts, such as 3, or a share of them, such as 10%"


@dataclass(frozen=True, slots=True)
class Batches:
    """How the hosts are divided into batches (``--batch``).

    Attributes:
        sizes: The sizes of the batches, at least one; the last one holds for all further batches.
    """

    sizes: tuple[Quantity, ...] = (Quantity(),)

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def parse(cls, text: str) -> Batches:
        """Parse text such as ``1,10%,100%``.

        Raises:
            UsageError: A part of it is not a number of hosts.
        """
        return cls(
            tuple(Quantity.parse(part, what="batch size", hint=_BATCH_HINT) for part in text.split(","))
        )

    def size(self, number: int, *, total: int, left: int) -> int:
        """Return how many hosts a batch has.

        Args:
            number: The number of the batch, from 0.
            total: The number of hosts of the run.
            left: The number of hosts that are in no batch yet.
        """
        return min(left, self.sizes[min(number, len(self.sizes) - 1)].of(total))

    def split(self, total: int) -> list[int]:
        """Return the sizes of all batches; their sum is ``total``."""
        split: list[int] = []
        left = total
        while left:
            split.append(self.size(len(split), total=total, left=left))
            left -= split[-1]
        return split


ALL_AT_ONCE: Final = Batches()


@dataclass(frozen=True, slots=True)
class MaxFail:
    """How many hosts must fail before no more are started (``--max-fail``).

    Attributes:
        limit: The number of failures at which the run stops.
    """

    limit: Quantity

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def parse(cls, text: str) -> MaxFail:
        """Parse ``N`` or ``P%``.

        Raises:
            UsageError: The text is neither.
        """
        return cls(Quantity.parse(text, what="number of failures", hint=_MAX_FAIL_HINT))

    def tolerates(self, failures: int, total: int) -> bool:
        """Return whether the run continues.

        Args:
            failures: The number of hosts of the run that have failed so far.
            total: The number of hosts of the run.
        """
        return failures < self.limit.of(total)


NO_FAILURE: Final = frozenset({Status.OK, Status.CANCELLED, Status.NOT_RUN})
"""The statuses that are not failures: a host that the run cancelled or did not start says nothing
about the next one. All others count, ``local`` too: the command has not done its work on that host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingPlan:
    """The options of a rolling run.

    Attributes:
        batches: How the hosts are divided into batches; ``None`` for one batch of all hosts.
        max_fail: How many failures stop the run; ``None`` if failures do not.
        delay: Seconds to wait before each batch but the first (``--batch-delay``).

    Raises:
        UsageError: The delay is negative or not finite.
    """

    batches: Batches | None = None
    max_fail: MaxFail | None = None
    delay: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not (self.delay >= 0 and math.isfinite(self.delay)):
            raise UsageError(f"a batch delay of {self.delay} seconds cannot be kept", hint="give 0 or more")


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

    The shell does what ``step`` says and reports the outcome. While the step
    is RUNNING, the first ``allowed`` hosts may start.
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
        """The step that the run is at."""
        return self._step

    @property
    def batch(self) -> int:
        """The number of the last batch that was begun, from 1."""
        return self._number

    @property
    def allowed(self) -> int:
        """The number of hosts, from the front, in the batches that were begun."""
        return self._allowed

    @property
    def failures(self) -> int:
        """The number of hosts of the run that have failed so far."""
        return self._failures

    @property
    def stop_reason(self) -> StopReason | None:
        """Why no more hosts start; ``None`` if the run was not stopped, or all hosts have ended after all."""
        return None if self._step is Step.DONE else self._stop_reason

    def ended(self, status: Status) -> None:
        """Note that a host which was started has its result.

        Raises:
            IllegalTransition: All hosts of the batch had ended already.
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
        """Note how the gate has ended."""
        if not outcome.passed:
            because = f": {outcome.reason}" if outcome.reason else ""
            self._stop_for(Cause.GATE, f"the gate after batch {self._number} did not pass{because}")
        self._receive(RollingEvent.GATE_PASSED if outcome.passed else RollingEvent.GATE_FAILED)

    def answered(self, answer: Answer) -> None:
        """Note the user's answer."""
        if answer is Answer.NO:
            self._stop_for(Cause.REFUSED, f"stopped after batch {self._number}, as you answered")
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
        self._stop_for(Cause.ERROR, f"the {self._step.value} after batch {self._number} failed: {reason}")
        self._receive(RollingEvent.BROKE)

    def stop(self, stop_reason: StopReason = ON_REQUEST) -> None:
        """Stop the run; hosts in flight continue. It may be called at any time and more than once.

        Args:
            stop_reason: Why the run stops; the first reason holds.
        """
        if self._step not in {Step.DONE, Step.STOPPED}:
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
