"""Expanding ranges: ``web[01-12].example.com`` becomes twelve names.

::

    pattern    name with any number of brackets; the last bracket varies fastest
    bracket    [ run , run ... ]
    run        7 | 01-12 | 1-9/2 | a-d | a-g/2 | 01:12 | 1:9:2 | a:d     (with ``:`` as Ansible writes them)

Blanks and empty members in brackets are ignored: ``[1, 3,]`` is 1 and 3. A low
end with leading zeros pads the numbers to its width, and longer numbers are
written as they are: ``[08-10]`` is 08 09 10, ``[98-101]`` and ``[098-101]``
differ. Brackets around an IPv6 literal, ``[::1]``, are not a range.

The number of names is known before any of them is made; more than
``MAX_NAMES`` are an error.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from multirsh.arguments import check_argument
from multirsh.inventory.text import (
    MAX_NAME,
    ORDINARY_NAME,
    Fragment,
    Location,
    check_host_characters,
    check_host_start,
    is_ipv6,
)

MAX_NAMES: Final = 1_000_000
"""Names that one pattern, one expression or one inventory may have."""

MAX_DIGITS: Final = 18
"""Digits of a number in a range; so many surely fit 64 bits."""

_END: Final = "[0-9]+|[A-Za-z]"
_RUN: Final = re.compile(
    rf"(?P<low>{_END})"
    rf"(?:[ \t]*-[ \t]*(?P<high>{_END})(?:[ \t]*/[ \t]*(?P<step>[0-9]+))?"
    rf"|[ \t]*:[ \t]*(?P<ansible_high>{_END})(?:[ \t]*:[ \t]*(?P<ansible_step>[0-9]+))?)?"
)
_SEPARATORS: Final = re.compile(r"\[[^\]]*\]?|([,!&^])")


@dataclass(frozen=True, slots=True)
class NumberRange:
    """One range of a bracket: numbers at equal distances, or letters.

    Attributes:
        numbers: The numbers, or the code points of the letters, in order; not empty.
        width: Digits to which numbers are padded with zeros; 1 for no padding.
        are_letters: Whether they are letters.
    """

    numbers: range
    width: int
    are_letters: bool = False

    @property
    def longest(self) -> int:
        """The length of the longest number, in characters."""
        return 1 if self.are_letters else max(self.width, len(str(self.numbers[-1])))

    def texts(self) -> Iterator[str]:
        """Yield the numbers or letters as text."""
        if self.are_letters:
            return map(chr, self.numbers)
        width = self.width
        return (str(number).zfill(width) for number in self.numbers)


@dataclass(frozen=True, slots=True)
class Pattern:
    """Alternating literal text and brackets; the first and the last text may be empty.

    Attributes:
        literals: The literal texts, one more than there are brackets.
        brackets: The ranges of each bracket.
    """

    literals: tuple[str, ...]
    brackets: tuple[tuple[NumberRange, ...], ...] = ()

    @property
    def count(self) -> int:
        """The number of names, with repetitions."""
        return math.prod(sum(len(run.numbers) for run in runs) for runs in self.brackets)

    @property
    def is_glob(self) -> bool:
        """Whether the names are globs."""
        return any("*" in literal or "?" in literal for literal in self.literals)

    def names(self) -> Iterator[str]:
        """Yield the names in order, with repetitions."""
        first, *rest = self.literals
        columns: list[list[str]] = [
            [text + literal for run in runs for text in run.texts()]
            for runs, literal in zip(self.brackets, rest, strict=True)
        ]
        return map("".join, itertools.product([first], *columns))


def expand(text: str, *, source: str = "-w") -> list[str]:
    """Expand comma-separated patterns.

    Empty members (``a,,b``) are ignored.

    Args:
        text: The patterns, such as ``web[01-12],db1,fe80::1%eth0``.
        source: The origin of the text, for errors.

    Returns:
        The names in the order written, each once.

    Raises:
        NodeSetError: There is no pattern, one is not valid, or there are more than ``MAX_NAMES`` names.
    """
    check_argument("text", text, str)
    patterns = []
    total = 0
    for item in members(Fragment.of(text, Location(source))):
        pattern = parse_pattern(item)
        total += pattern.count
        check_count(total, item)
        patterns.append(pattern)
    return list(dict.fromkeys(itertools.chain.from_iterable(pattern.names() for pattern in patterns)))


def split_items(text: Fragment, separators: str) -> Iterator[tuple[str, Fragment]]:
    """Split a text at separators outside brackets.

    Args:
        text: The text.
        separators: Some of ``,!&^``.

    Yields:
        Each item with the separator before it, which is ``","`` for the first.
    """
    separator, start = ",", 0
    for match in _SEPARATORS.finditer(text.text):
        found = match.group(1)
        if found is not None and found in separators:
            yield separator, text.cut(start, match.start())
            separator, start = found, match.end()
    yield separator, text.cut(start)


def members(text: Fragment) -> Iterator[Fragment]:
    """Split a text at commas outside brackets, and ignore empty members unless all are empty.

    Yields:
        Each member, without surrounding blanks.
    """
    items = [item.strip() for _, item in split_items(text, ",")]
    yield from [item for item in items if item.text] or items[:1]


def parse_pattern(text: Fragment, *, wildcards: bool = False) -> Pattern:
    """Parse one pattern.

    Args:
        text: The pattern, without surrounding blanks.
        wildcards: Whether ``*`` and ``?`` are allowed; then the names are globs.

    Returns:
        The pattern; all its names are valid host names.

    Raises:
        NodeSetError: The pattern or one of its names is not valid, or there are more than ``MAX_NAMES``.
    """
    if ORDINARY_NAME.fullmatch(text.text):
        return Pattern((text.text,))
    check_host_start(text)
    if text.text[0] == "[" and text.text[-1] == "]" and is_ipv6(text.text[1:-1]):
        return Pattern((text.text[1:-1],))
    pattern = _brackets_apart(text, wildcards=wildcards)
    check_count(pattern.count, text)
    if not wildcards:
        _check_names(pattern, text)
    return pattern


_UNREADABLE: Final = 10**18


def check_count(count: int, text: Fragment) -> None:
    """Check that a text has at most ``MAX_NAMES`` names.

    Raises:
        NodeSetError: ``count`` is larger.
    """
    if count > MAX_NAMES:
        # Python does not format a number of more than some thousand digits.
        said = f"{count:,}" if count < _UNREADABLE else "that many"
        raise text.error(f"{said} names are too many", hint=f"the limit is {MAX_NAMES:,}")


def _brackets_apart(text: Fragment, *, wildcards: bool) -> Pattern:
    literals: list[str] = []
    brackets: list[tuple[NumberRange, ...]] = []
    start = 0
    while True:
        opening = text.text.find("[", start)
        literal = text.cut(start, None if opening < 0 else opening)
        stray = literal.text.find("]")
        if stray >= 0:
            raise literal.error("this ']' closes nothing", at=stray)
        check_host_characters(literal, wildcards=wildcards)
        literals.append(literal.text)
        if opening < 0:
            return Pattern(tuple(literals), tuple(brackets))
        closing = text.text.find("]", opening)
        if closing < 0:
            raise text.error("this '[' is never closed", at=opening)
        brackets.append(_runs(text.cut(opening + 1, closing)))
        start = closing + 1


def _runs(bracket: Fragment) -> tuple[NumberRange, ...]:
    nested = bracket.text.find("[")
    if nested >= 0:
        raise bracket.error("brackets cannot stand inside brackets", at=nested)
    return tuple(map(_run, members(bracket)))


def _run(text: Fragment) -> NumberRange:
    match = _RUN.fullmatch(text.text)
    if match is None:
        raise text.error(
            f"{text.text!r} is not a range" if text.text else "a number is missing here",
            hint="write numbers as 7, 01-12 or 1-9/2, and letters as a-d",
        )
    low = match["low"]
    high = match["high"] or match["ansible_high"] or low
    step = match["step"] or match["ansible_step"] or "1"
    if low.isalpha() or high.isalpha():
        return _letters(text, low, high, step)
    if max(len(low), len(high), len(step)) > MAX_DIGITS:
        raise text.error("a number in a range is too long", hint=f"the limit is {MAX_DIGITS} digits")
    if int(high) < int(low):
        raise _backwards(text, low, high)
    if len(high) < len(low) or (high[0] == "0" and len(high) > len(low)):
        raise text.error(
            f"{low} and {high} are padded differently", hint="give both ends as many digits, or pad neither"
        )
    return NumberRange(_range(text, int(low), int(high), step), len(low) if low[0] == "0" else 1)


def _letters(text: Fragment, low: str, high: str, step: str) -> NumberRange:
    if not (low.isalpha() and high.isalpha() and low.isupper() == high.isupper()):
        raise text.error(f"{low} and {high} are not of one kind", hint="write a range as a-d, A-D or 1-4")
    if high < low:
        raise _backwards(text, low, high)
    return NumberRange(_range(text, ord(low), ord(high), step), 1, are_letters=True)


def _range(text: Fragment, low: int, high: int, step: str) -> range:
    if int(step) == 0:
        raise text.error("a range cannot go in steps of 0")
    return range(low, high + 1, int(step))


def _backwards(text: Fragment, low: str, high: str) -> Exception:
    return text.error(f"the range runs backwards, from {low} down to {high}", hint="put the low end first")


def _check_names(pattern: Pattern, text: Fragment) -> None:
    """Check complete names: their length, and that those with a colon are IPv6 addresses."""
    longest = sum(map(len, pattern.literals)) + sum(
        max(run.longest for run in runs) for runs in pattern.brackets
    )
    if longest > MAX_NAME:
        raise text.error(f"a host name of {longest} characters", hint=f"the limit is {MAX_NAME}")
    if any(":" in literal or "%" in literal for literal in pattern.literals):
        for name in pattern.names():
            if not is_ipv6(name):
                raise text.error(f"{name!r} is neither a host name nor an IPv6 address")
