"""How many connections a second the run may start (``--start-rate``). Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from multirsh.arguments import check_fields
from multirsh.errors import UsageError

BURST_SECONDS: Final = 0.1
"""Seconds of starts that may be made up for after a late wake-up: logins keep the loop busy for longer than a
short interval."""


@dataclass(frozen=True, slots=True)
class StartRate:
    """How many new connections a run makes (``--start-rate``).

    Attributes:
        per_second: Connections per second over the whole run; ``None`` for ``auto``: as many as each server
            accepts (``engine.governor``).

    Raises:
        UsageError: The rate is not above 0, or not finite.
    """

    per_second: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.per_second is not None and not (self.per_second > 0 and math.isfinite(self.per_second)):
            raise UsageError(f"a start rate of {self.per_second:g} would start nothing", hint=_HINT)

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
            raise UsageError(f"{text!r} is not a start rate", hint=_HINT)
        return cls(float(text))


_HINT: Final = "give connections a second, such as 20 or 0.5, or auto"

AUTO: Final = StartRate()


class Pace:
    """A token bucket, stored as one time: when the next start is due (GCRA, ITU-T I.371).

    In any ``t`` seconds it allows ``rate * t`` starts and at most ``burst`` more.
    """

    __slots__ = ("_due", "_interval", "_slack")

    def __init__(self, rate: float) -> None:
        """Begin with a full bucket.

        Args:
            rate: Starts per second, above 0.

        Raises:
            ValueError: The rate is not above 0.
        """
        if not rate > 0:
            raise ValueError(f"rate {rate} <= 0")
        self._interval = 1.0 / rate
        self._slack = max(0.0, BURST_SECONDS - self._interval)
        self._due = -math.inf

    @property
    def burst(self) -> float:
        """The largest number of starts at once after a rest: those of a tenth of a second, and at least 1."""
        return 1.0 + self._slack / self._interval

    def next_at(self) -> float:
        """Return when one more may start; a time in the past means now."""
        return self._due - self._slack

    def took(self, now: float) -> None:
        """Note a start at ``now``."""
        self._due = max(self._due, now) + self._interval
