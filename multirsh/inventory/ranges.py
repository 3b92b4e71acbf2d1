"""One pattern into names: ``web[01-12].example.com`` stands for twelve.

::

    pattern    name with any number of brackets; the last bracket varies fastest
    bracket    [ run , run ... ]
    run        7 | 01-12 | 1-9/2 | a-d | a-g/2 | 01:12 | 1:9:2 | a:d     (with ``:`` as Ansible writes them)

Blanks within brackets are passed over, and so are empty members: ``[1, 3,]``
is 1 and 3. A low end with leading zeros pads the run to its width, and numbers
that have outgrown it stand as they are: ``[08-10]`` is 08 09 10, ``[98-101]``
and ``[098-101]`` differ. Brackets around an IPv6 literal, ``[::1]``, are no
range.

How many names a pattern stands for is known before any of them is made;
above ``MAX_NAMES`` it is refused.
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
"""Names that one pattern, one expression or one inventory may stand for."""

MAX_DIGITS: Final = 18
"""Digits in a number of a range: as many as surely fit 64 bits."""

_END: Final = "[0-9]+|[A-Za-z]"
_RUN: Final = re.compile(
    rf"(?P<low>{_END})"
    rf"(?:[ \t]*-[ \t]*(?P<high>{_END})(?:[ \t]*/[ \t]*(?P<step>[0-9]+))?"
    rf"|[ \t]*:[ \t]*(?P<ansible_high>{_END})(?:[ \t]*:[ \t]*(?P<ansible_step>[0-9]+))?)?"
)
_SEPARATORS: Final = re.compile(r"\[[^\]]*\]?|([,!&^])")


@dataclass(frozen=True, slots=True)
class NumberRange:
    """Numbers at equal distances, written with at least ``width`` digits; or letters.

    Attributes:
        numbers: The numbers, in order; not empty. Of letters, their code points.
        width: Digits to pad to with zeros; 1 for no padding.
        are_letters: Whether they are letters.
    """

    numbers: range
    width: int
    are_letters: bool = False

    @property
    def longest(self) -> int:
        """Characters of the longest of them."""
        return 1 if self.are_letters else max(self.width, len(str(self.numbers[-1])))

    def texts(self) -> Iterator[str]:
        """The numbers, or letters, as they stand in names."""
        if self.are_letters:
            return map(chr, self.numbers)
        width = self.width
        return (str(number).zfill(width) for number in self.numbers)


@dataclass(frozen=True, slots=True)
class Pattern:
    """Literal text and brackets by turns; it begins and ends with literal text, maybe empty.

    Attributes:
        literals: One more than there are brackets.
        brackets: The runs of each bracket.
    """

    literals: tuple[str, ...]
    brackets: tuple[tuple[NumberRange, ...], ...] = ()

    @property
    def count(self) -> int:
        """How many names it stands for, repeated ones counted again."""
        return math.prod(sum(len(run.numbers) for run in runs) for runs in self.brackets)

    @property
    def is_glob(self) -> bool:
        """Whether its names are globs."""
        return any("*" in literal or "?" in literal for literal in self.literals)

    def names(self) -> Iterator[str]:
        """The names in order; a name that is written twice comes twice."""
        first, *rest = self.literals
        columns: list[list[str]] = [
            [text + literal for run in runs for text in run.texts()]
            for runs, literal in zip(self.brackets, rest, strict=True)
        ]
        return map("".join, itertools.product([first], *columns))


def expand(text: str, *, source: str = "-w") -> list[str]:
    """Expand comma-separated patterns.

    Empty members (``a,,b``) are passed over.

    Args:
        text: Such as ``web[01-12],db1,fe80::1%eth0``.
        source: What an error names as the text's origin.

    Returns:
        The names in the order written, each once.

    Raises:
        NodeSetError: There is none, one cannot be read, or there would be more than ``MAX_NAMES`` names.
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
    """Split at separators that stand outside brackets.

    Args:
        text: What to split.
        separators: Those of ``,!&^`` that split here; the others are left in the items.

    Yields:
        Each item with the separator before it; ``","`` before the first.
    """
    separator, start = ",", 0
    for match in _SEPARATORS.finditer(text.text):
        found = match.group(1)
        if found is not None and found in separators:
            yield separator, text.cut(start, match.start())
            separator, start = found, match.end()
    yield separator, text.cut(start)


def members(text: Fragment) -> Iterator[Fragment]:
    """Split at commas outside brackets; empty members are passed over, but one where there is no other.

    Yields:
        Each member, without the blanks around it.
    """
    items = [item.strip() for _, item in split_items(text, ",")]
    yield from [item for item in items if item.text] or items[:1]


def parse_pattern(text: Fragment, *, wildcards: bool = False) -> Pattern:
    """Read one pattern.

    Args:
        text: The pattern, without blanks around it.
        wildcards: ``*`` and ``?`` may stand in it; then the names are globs.

    Returns:
        The pattern; all its names are valid host names.

    Raises:
        NodeSetError: It cannot be read, holds what no host name may hold, or stands for more than
            ``MAX_NAMES`` names.
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
    """Refuse more names than ``MAX_NAMES``.

    Raises:
        NodeSetError: ``count`` is above it; the error points at ``text``.
    """
    if count > MAX_NAMES:
        # Python refuses to write out a number of more than some thousand digits, and nobody reads one.
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
    """Check what only whole names show: their length, and that a colon means IPv6."""
    longest = sum(map(len, pattern.literals)) + sum(
        max(run.longest for run in runs) for runs in pattern.brackets
    )
    if longest > MAX_NAME:
        raise text.error(f"a host name of {longest} characters", hint=f"the limit is {MAX_NAME}")
    if any(":" in literal or "%" in literal for literal in pattern.literals):
        for name in pattern.names():
            if not is_ipv6(name):
                raise text.error(f"{name!r} is neither a host name nor an IPv6 address")
