"""Folding names into ranges: web01 web02 web03 web07 become ``web[01-03,07]``.

A name is split into alternating text and numbers. One round groups the names
that differ in one number only, each at the number where it has the most
partners, and writes that number as a bracket. Rounds follow as long as they
join names, so that ``rack[1-3]node[1-40]`` is given both its brackets.

The order is natural: numbers by length, then by value, so that web2 comes
before web10, and web10 before web010.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from multirsh.inventory.ranges import MAX_DIGITS

_NUMBERS: Final = re.compile(r"([0-9]+)")

Tokens: TypeAlias = tuple[str, ...]
"""Text, number, text, ..., text; a number may already be a bracket."""

Slot: TypeAlias = tuple[int, Tokens]
"""The index of a number in a term, and the term without it."""


def fold(names: Iterable[str]) -> str:
    """Fold names into ranges, as short as possible.

    Args:
        names: Valid host names, in any order; repetitions are ignored.

    Returns:
        Comma-separated patterns in natural order, which ``expand`` turns into the same names; empty if there
        are none.
    """
    if isinstance(names, str):
        raise TypeError("names must be several names, not str")
    terms = [tuple(_NUMBERS.split(name)) for name in set(names)]
    while True:
        joined = _join(terms)
        if len(joined) == len(terms):
            break
        terms = joined
    terms.sort(key=_order)
    return ",".join("".join(term) for term in terms)


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """Return a sort key for the natural order: web2, web10, web010."""
    return _order(tuple(_NUMBERS.split(name)))


def _order(term: Tokens) -> tuple[tuple[int, str], ...]:
    """Return a sort key: text compares as text, numbers by length first, a bracket by its first number."""
    return tuple(
        (len(first), first) if odd else (0, token)
        for odd, token, first in ((index % 2, token, _first(token)) for index, token in enumerate(term))
    )


def _first(number: str) -> str:
    """Return the first number of a bracket, or the number itself."""
    match = _NUMBERS.search(number)
    return number if match is None else match.group()


def _join(terms: Sequence[Tokens]) -> list[Tokens]:
    """Do one round: each term joins its largest group of terms that differ from it in one number only."""
    groups: defaultdict[Slot, list[str]] = defaultdict(list)
    joined: list[Tokens] = []
    undecided: list[tuple[Tokens, list[Slot]]] = []
    for term in terms:
        slots = _slots(term)
        if len(slots) == 1:
            groups[slots[0]].append(term[slots[0][0]])
        elif slots:
            undecided.append((term, slots))
        else:
            joined.append(term)
    sizes = Counter(slot for _, slots in undecided for slot in slots)
    for term, slots in undecided:
        slot = max(reversed(slots), key=sizes.__getitem__)  # the last of several largest: 10.0.0.[1-2]
        groups[slot].append(term[slot[0]])
    for (index, rest), numbers in groups.items():
        joined.append((*rest[:index], _bracket(numbers), *rest[index + 1 :]))
    return joined


def _slots(term: Tokens) -> list[Slot]:
    """Return the numbers of a term that may become a bracket, each with the term without it."""
    return [
        (index, (*term[:index], "", *term[index + 1 :]))
        for index in range(1, len(term), 2)
        if term[index][0] != "[" and len(term[index]) <= MAX_DIGITS
    ]


def _bracket(numbers: list[str]) -> str:
    """Write distinct numbers as a bracket; a single one as itself."""
    if len(numbers) == 1:
        return numbers[0]
    numbers.sort()
    numbers.sort(key=len)  # stable: by length, then by text, which is by value among equal lengths
    runs: list[str] = []
    low = high = numbers[0]
    for number in itertools.chain(numbers[1:], [""]):
        if number and number == str(int(high) + 1).zfill(len(high)):
            high = number
            continue
        runs.append(low if low == high else f"{low}-{high}")
        low = high = number
    return f"[{','.join(runs)}]"
