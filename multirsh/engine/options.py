"""The options of a run: one shape, from the command line through the library to the engine and the journal.

Each default stands here, or in the class of a part, and nowhere else: the command line's declarations read it
from the field. What is not a value (a gate, a prompt, a journal) is in ``multirsh.engine.hooks``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from multirsh.arguments import check_argument, check_fields, field_hints
from multirsh.commands.sudo.options import Sudo
from multirsh.engine.pace import AUTO, StartRate
from multirsh.engine.retry import NO_RETRIES, RetryPolicy
from multirsh.engine.rolling import RollingPlan
from multirsh.errors import UsageError
from multirsh.exit_code import ExitRule
from multirsh.ports.ledger import EVERY_PORT, PortBudget

Fields = TypeVar("Fields")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a run does at once.

    Attributes:
        fanout: The largest number of hosts in flight at once. A host whose socket is only draining is not in
            flight.
        ports: The largest number of local ports used towards one destination.
        handshakes: The largest number of hosts that are being connected to and logged in to at once; ``None``
            for no limit but ``fanout``.
        start_rate: New connections per second, or as many as each server accepts (``AUTO``).

    Raises:
        UsageError: A number is out of range.
    """

    fanout: int = 64
    ports: PortBudget = EVERY_PORT
    handshakes: int | None = None
    start_rate: StartRate = AUTO

    def __post_init__(self) -> None:
        check_fields(self)
        if self.fanout < 1:
            raise UsageError(f"a fanout of {self.fanout} would run nothing", hint="give 1 or more")
        if self.handshakes is not None and self.handshakes < 1:
            raise UsageError(f"{self.handshakes} handshakes at once would run nothing", hint="give 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long each part of a run may take, in seconds.

    Attributes:
        connect: From looking up the host's name until it is logged in, not counting waits for a local port;
            ``None`` for no limit.
        port: How long a host waits for a free local port; ``None`` for no limit. TIME_WAIT lasts 60.
        command: From login until the command has ended; ``None`` for no limit.
        run: The whole run; ``None`` for no limit.
        kill_after: From TERM to KILL, for a remote command that is being ended.
        close: From our last byte until the connection is reset, if the remote does not close it.

    Raises:
        UsageError: A number is not above zero, or not finite.
    """

    connect: float | None = 10.0
    port: float | None = 120.0
    command: float | None = None
    run: float | None = None
    kill_after: float = 5.0
    close: float = 3.0

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("connect", "port", "command", "run", "kill_after", "close"):
            seconds: float | None = getattr(self, name)
            if seconds is not None and not (seconds > 0 and math.isfinite(seconds)):
                what = name.replace("_", " ")
                raise UsageError(f"a {what} timeout of {seconds} seconds is invalid", hint="give more than 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """All options of one run that are values.

    Attributes:
        limits: How much it does at once.
        timeouts: How long each part of it may take.
        retry: How often a host that could not be connected to is tried again.
        rolling: Its batches, and when it starts no more of them.
        fail_fast: Whether the first failure stops the run, hosts in flight included.
        barrier: Whether the command is released to all hosts at once, when each is logged in or has failed.
        exit_rule: How the exit code is chosen.
        sudo: The user that the command runs as, and the program that switches to that user; ``None`` for the
            user that logs in.

    Raises:
        UsageError: ``barrier`` with batches: the first batch would wait for the last one.
    """

    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    retry: RetryPolicy = NO_RETRIES
    rolling: RollingPlan = field(default_factory=RollingPlan)
    fail_fast: bool = False
    barrier: bool = False
    exit_rule: ExitRule = field(default_factory=ExitRule)
    sudo: Sudo | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.barrier and self.rolling.batches is not None:
            raise UsageError(
                "a barrier holds all hosts at once, and batches do not",
                hint="give --barrier or --batch, not both",
            )


DEFAULT_OPTIONS: Final = RunOptions()


def updated(instance: Fields, changes: Mapping[str, object]) -> Fields:
    """Return the dataclass ``instance`` with those of ``changes`` that are fields of it.

    Raises:
        TypeError: A value has another type than its field.
    """
    kind: Callable[..., Any] = type(instance)
    hints = field_hints(kind)
    own: dict[str, Any] = {name: value for name, value in changes.items() if name in hints}
    for name, value in own.items():
        check_argument(name, value, hints[name])
    return dataclasses.replace(instance, **own) if own else instance  # type: ignore[type-var]  # a dataclass, by contract
