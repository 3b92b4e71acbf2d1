"""The options of a run: one shape, from the command line through the library to the engine and the journal.

Each default stands here, or in the class of a part, and nowhere else: the command line's declarations read it
from the field. What is not a value (a gate, a prompt, a journal) is in ``multirsh.engine.run.RunHooks``.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final, TypeVar

from multirsh.arguments import check_argument, check_fields, field_hints
from multirsh.commands.sudo.options import Sudo
from multirsh.errors import UsageError
from multirsh.exit_code import ExitRule
from multirsh.ports.ledger import EVERY_PORT, PortBudget

Fields = TypeVar("Fields")


@dataclass(frozen=True, slots=True)
class StartRate:
    """How many new connections a run makes (``--start-rate``).

    Attributes:
        per_second: Connections per second over the whole run; ``None`` for ``auto``: as many as each server
            accepts (``engine.schedule.governor``).

    Raises:
        UsageError: The rate is not above 0, or not finite.
    """

    per_second: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.per_second is not None and not (self.per_second > 0 and math.isfinite(self.per_second)):
            raise UsageError(
                f"a start rate of {self.per_second:g} would start nothing", hint=_START_RATE_HINT
            )

    def __str__(self) -> str:
        return "auto" if self.per_second is None else f"{self.per_second:g}"

    @classmethod
    def parse(cls, text: str) -> StartRate:
        """Parse ``N`` or ``auto``; N may have decimals.

        Raises:
            UsageError: The text is neither.
        """
        if text == "auto":
            return AUTO
        whole, _, decimals = text.partition(".")
        if not (text.isascii() and whole.isdigit() and (decimals or "0").isdigit()):
            raise UsageError(f"{text!r} is not a start rate", hint=_START_RATE_HINT)
        return cls(float(text))


_START_RATE_HINT: Final = "give connections a second, such as 20 or 0.5, or auto"

AUTO: Final = StartRate()


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
class RetryPolicy:
    """How often a host is tried again.

    Attributes:
        retries: The largest number of attempts after the first.
        delay: Seconds. The first pause is drawn from 0 to this, and the range doubles with each attempt.
        repeat_command: Whether a command that may have run may run again (``--retry-command``).

    Raises:
        UsageError: A number is negative or not finite.
    """

    retries: int = 0
    delay: float = 1.0
    repeat_command: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.retries < 0:
            raise UsageError(f"{self.retries} retries cannot be made", hint="give 0 or more")
        if not (self.delay >= 0 and math.isfinite(self.delay)):
            raise UsageError(f"a retry delay of {self.delay} seconds cannot be kept", hint="give 0 or more")


NO_RETRIES: Final = RetryPolicy()


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
