"""The functions that a run calls: its work on each host, and the user's gate, prompt and journal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from multirsh.arguments import check_fields
from multirsh.engine.attempt import Work, no_password
from multirsh.engine.emitter import NO_RECORD, Record
from multirsh.engine.rolling import Answer, GateOutcome
from multirsh.model import Assignment
from multirsh.transports.passwords import Password

Gate: TypeAlias = Callable[[int, Sequence[str]], Awaitable[GateOutcome]]
"""Decides whether the next batch may start, given the number of the last batch and the names of its hosts."""

Prompt: TypeAlias = Callable[[str], Awaitable[Answer]]
"""Asks the user a question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHooks:
    """The user's functions that a run calls.

    Attributes:
        gate: Called after each batch but the last; ``None`` for no gate.
        prompt: Called after each batch but the last, when the gate has passed; ``None`` for no question.
        journal: Keeps the run's events, such as a ``multirsh.journal.Recorder`` made for this run.
    """

    gate: Gate | None = None
    prompt: Prompt | None = None
    journal: Record = NO_RECORD

    def __post_init__(self) -> None:
        check_fields(self)


NO_HOOKS: Final = RunHooks()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWork:
    """What a run does on each host.

    Attributes:
        title: What events and the journal show; of a command, the text that ssh would be given.
        work_for: Returns a host's work; called once for each attempt.
        sudo_password: Returns the password that ends commands which run by sudo; called each time.
    """

    title: str
    work_for: Callable[[Assignment], Work]
    sudo_password: Callable[[], Password | None] = no_password
