"""How many hosts at a time, and how many may fail: ``--batch`` and ``--max-fail``. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from multirsh.arguments import check_fields
from multirsh.errors import UsageError
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
