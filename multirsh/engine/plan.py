"""What one run is to do, beyond what the fleet can: values only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from multirsh.engine.attempt import Work, no_password
from multirsh.engine.batches import ALL_AT_ONCE
from multirsh.engine.record import NO_RECORD, Record
from multirsh.engine.retry import NO_RETRIES, RetryPolicy
from multirsh.engine.rolling import Answer, GateOutcome, RollingPlan
from multirsh.errors import UsageError
from multirsh.exit_code import ExitRule
from multirsh.model import Assignment
from multirsh.transports.passwords import Password

Gate: TypeAlias = Callable[[int, Sequence[str]], Awaitable[GateOutcome]]
"""Decides whether the batch after number N, of the hosts named, may start."""

Ask: TypeAlias = Callable[[str], Awaitable[Answer]]
"""Asks a person a question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What one run is to do.

    Attributes:
        command: What it is told as; of a command, what ssh would be given.
        work_for: What is to be done on each host; asked once for each attempt.
        exit_rule: What the exit code is made of.
        retry: How often a host is tried again.
        rolling: In which batches, and when to stop.
        gate: Awaited after each batch but the last; there must be one if ``rolling.has_gate``.
        ask: The same, if ``rolling.asks``.
        fail_fast: Whether the first failure stops the run, those in flight included.
        barrier: Whether the command is released at once, when all hosts are logged in or have failed.
        sudo_password: What sudo is answered where commands are to be ended that run by it; asked each time.
        record: Keeps the events.

    Raises:
        UsageError: A barrier for hosts that come in batches: the first would wait for the last.
    """

    command: str
    work_for: Callable[[Assignment], Work]
    exit_rule: ExitRule = field(default_factory=ExitRule)
    retry: RetryPolicy = NO_RETRIES
    rolling: RollingPlan = field(default_factory=RollingPlan)
    gate: Gate | None = None
    ask: Ask | None = None
    fail_fast: bool = False
    barrier: bool = False
    sudo_password: Callable[[], Password | None] = no_password
    record: Record = NO_RECORD

    def __post_init__(self) -> None:
        if self.barrier and self.rolling.batches != ALL_AT_ONCE:
            raise UsageError("a barrier holds all hosts at once, and batches do not", hint="use one of them")
