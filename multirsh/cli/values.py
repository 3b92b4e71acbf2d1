"""Parsers of option values: numbers, times and the like, with errors that say what is expected."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TypeVar

import click
from click.types import StringParamType

from multirsh.engine.options import Batches, MaxFail, StartRate
from multirsh.errors import UsageError, did_you_mean
from multirsh.model import TransportName
from multirsh.names import check_jump, check_user
from multirsh.output.normalize import Normalizer
from multirsh.ports.ledger import PortBudget

Parsed = TypeVar("Parsed")

_MOST_PORTS = 65535


def whole(least: int, most: int | None = None) -> Callable[[str | int], int]:
    """Return a type for click that reads whole numbers, and whose error gives the range.

    Args:
        least: The smallest number.
        most: The largest number; ``None`` for no limit.
    """
    bounds = f"of {least} or more" if most is None else f"from {least} to {most}"

    def read(value: str | int) -> int:
        try:
            number = int(value)
            if number != float(value) or number < least or (most is not None and number > most):
                raise ValueError  # noqa: TRY301 - one message for every error
        except ValueError:
            raise click.BadParameter(f"{value!r} is not a whole number {bounds}") from None
        return number

    return read


def _number(value: str | float) -> float:
    """Return the number; NaN, which fails every comparison, if ``value`` is none."""
    try:
        return float(value)
    except ValueError:
        return math.nan


def seconds(value: str | float) -> float:
    """Read a finite number of seconds above 0.

    Raises:
        click.BadParameter: It is none.
    """
    number = _number(value)
    if not (number > 0 and math.isfinite(number)):
        raise click.BadParameter(f"{value!r} is not a number of seconds above 0")
    return number


def days(value: str | float) -> float:
    """Read a number of days; 0 is allowed.

    Raises:
        click.BadParameter: It is none.
    """
    number = _number(value)
    if not 0 <= number < math.inf:
        raise click.BadParameter(f"{value!r} is not a number of days")
    return number


def _parsed(parse: Callable[[str], Parsed]) -> Callable[[str | Parsed], Parsed]:
    """Return a type for click that reads by ``parse``, and reports its errors."""

    def read(value: str | Parsed) -> Parsed:
        if not isinstance(value, str):
            return value
        try:
            return parse(value)
        except UsageError as error:
            raise click.BadParameter(str(error)) from None

    return read


class Checked(StringParamType):
    """Text that must pass a check; in ``config.toml`` it is quoted, as all text."""

    def __init__(self, check: Callable[[str], str]) -> None:
        """Take the check, which raises ``click.BadParameter`` or ``UsageError``."""
        self._check = _parsed(check)

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the text; the error names the option, variable or file that it comes from."""
        try:
            return self._check(super().convert(value, param, ctx))
        except click.BadParameter as error:
            raise click.BadParameter(error.message, ctx=ctx, param=param) from None


def _transport(value: str) -> str:
    """Read the name of a transport: a built-in one, or one of another distribution.

    Raises:
        click.BadParameter: There is no such transport.
    """
    if value in {name.value for name in TransportName}:  # looking for others takes longer
        return value
    from multirsh.transports.options import known_names  # noqa: PLC0415 - not needed for --help

    known = known_names()
    if value not in known:
        hint = did_you_mean(value, known) or f"it is one of {', '.join(known)}"
        raise click.BadParameter(f"there is no transport {value!r}; {hint}")
    return value


def assignment(value: str | tuple[str, str]) -> tuple[str, str]:
    """Read ``K=V``.

    Raises:
        click.BadParameter: There is no ``=``, or nothing before it.
    """
    if isinstance(value, tuple):
        return value
    name, separator, content = value.partition("=")
    if not (name and separator):
        raise click.BadParameter(f"{value!r} is no K=V")
    return name, content


def size(value: str | int) -> int:
    """Read a number of bytes, such as ``64M``: K, M, G and T are powers of 1024.

    Raises:
        click.BadParameter: It is none.
    """
    if isinstance(value, int):
        return value
    match = re.fullmatch(r"(\d+)\s*(?:([KMGT])(?:i?B)?|B)?", value.strip(), re.IGNORECASE)
    if match is None or not int(match[1]):
        raise click.BadParameter(f"{value!r} is not a size, such as 64M")
    return int(match[1]) << 10 * " KMGT".index((match[2] or " ").upper())


port_budget = _parsed(PortBudget.parse)
start_rate = _parsed(StartRate.parse)
batches = _parsed(Batches.parse)
max_fail = _parsed(MaxFail.parse)
normalizer = _parsed(Normalizer.parse)
user = Checked(lambda name: check_user(name, "the user"))
jump = Checked(check_jump)
transport = Checked(_transport)
count = whole(1)
port = whole(1, _MOST_PORTS)
