"""What options hold besides words: whole numbers and seconds, with errors that say what would be right."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TypeVar

import click
from click.types import StringParamType

from multirsh.engine.pace import StartRate
from multirsh.engine.rolling import Batches, MaxFail
from multirsh.errors import UsageError, did_you_mean
from multirsh.model import TransportName
from multirsh.names import check_jump, check_user
from multirsh.output.normalize import Normalizer
from multirsh.ports.ledger import PortBudget

Parsed = TypeVar("Parsed")

_MOST_PORTS = 65535


def whole(least: int, most: int | None = None) -> Callable[[str | int], int]:
    """Read whole numbers.

    Args:
        least: The smallest that can be meant.
        most: The largest; ``None`` for no bound.

    Returns:
        A type for click. It raises ``click.BadParameter`` with the range that is wanted.
    """
    bounds = f"of {least} or more" if most is None else f"from {least} to {most}"

    def read(value: str | int) -> int:
        try:
            number = int(value)
            if number != float(value) or number < least or (most is not None and number > most):
                raise ValueError  # noqa: TRY301 - one wording for all that is wrong
        except ValueError:
            raise click.BadParameter(f"{value!r} is not a whole number {bounds}") from None
        return number

    return read


def _number(value: str | float) -> float:
    """What ``value`` reads as; NaN, which fails every comparison, where it is no number."""
    try:
        return float(value)
    except ValueError:
        return math.nan


def seconds(value: str | float) -> float:
    """Read a time above zero; ``nan`` and ``inf`` are none.

    Raises:
        click.BadParameter: It is none.
    """
    number = _number(value)
    if not (number > 0 and math.isfinite(number)):
        raise click.BadParameter(f"{value!r} is not a number of seconds above 0")
    return number


def days(value: str | float) -> float:
    """Read a number of days; 0 is one.

    Raises:
        click.BadParameter: It is none.
    """
    number = _number(value)
    if not 0 <= number < math.inf:
        raise click.BadParameter(f"{value!r} is not a number of days")
    return number


def _parsed(parse: Callable[[str], Parsed]) -> Callable[[str | Parsed], Parsed]:
    """Read by ``parse``, whose complaints become click's."""

    def read(value: str | Parsed) -> Parsed:
        if not isinstance(value, str):
            return value
        try:
            return parse(value)
        except UsageError as error:
            raise click.BadParameter(str(error)) from None

    return read


class Checked(StringParamType):
    """Text that has to pass a check; ``config.toml`` wants it in quotes, like all text."""

    def __init__(self, check: Callable[[str], str]) -> None:
        """Take the check; what it raises is a ``click.BadParameter`` or a ``UsageError``."""
        self._check = _parsed(check)

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the text; the error says which option, variable or file it comes from."""
        try:
            return self._check(super().convert(value, param, ctx))
        except click.BadParameter as error:
            raise click.BadParameter(error.message, ctx=ctx, param=param) from None


def _transport(value: str) -> str:
    """Read a transport's name: one of ours, or of one that is installed beside them.

    Raises:
        click.BadParameter: There is none of that name.
    """
    if value in {name.value for name in TransportName}:  # to look for others takes a while
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
