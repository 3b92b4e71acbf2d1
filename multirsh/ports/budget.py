"""How many local ports a run may use towards one destination (``--ports``); the rest is other programs'."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from multirsh.arguments import check_fields
from multirsh.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class PortBudget:
    """A number of ports, or a share of those that there are.

    Attributes:
        count: Ports, 1 or more; ``None`` for no such bound.
        share: Of the pool, above 0 and up to 1.

    Raises:
        UsageError: A figure that cannot be meant.
    """

    count: int | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.count is not None and self.count < 1:
            raise UsageError(f"a budget of {self.count} local ports would connect to nothing", hint=_HINT)
        if not 0 < self.share <= 1:
            raise UsageError(f"{self.share:.0%} of the local ports cannot be used", hint=_HINT)

    @classmethod
    def parse(cls, text: str) -> PortBudget:
        """Read ``N`` or ``P%``.

        Raises:
            UsageError: It is neither.
        """
        digits = text.removesuffix("%")
        if not _DIGITS.fullmatch(digits):
            raise UsageError(f"{text!r} is no number of local ports", hint=_HINT)
        return cls(count=int(digits)) if digits == text else cls(share=int(digits) / 100)

    def __str__(self) -> str:
        return f"{self.share:.0%}" if self.count is None else str(self.count)

    def of(self, pool: int) -> int:
        """How many of ``pool`` ports may be used: at least one, if there is one."""
        allowed = pool if self.count is None else min(pool, self.count)
        # Rounded before it is cut off: 100 times 0.29 is 28.999999999999996.
        return min(allowed, max(1, int(round(pool * self.share, 6))))


_DIGITS: Final = re.compile(r"[0-9]{1,9}")
_HINT: Final = "give a number such as 500, or a share such as 50%"

EVERY_PORT: Final = PortBudget()
