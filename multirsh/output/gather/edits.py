"""Where two sequences have items in common, and what stands between: what diff(1) looks for, in bounded time.

difflib takes time that grows with how often items are repeated: ten thousand
lines of a hundred kinds keep it busy for half a minute. Here time and memory
grow with the square of how much differs, and that has a bound.

Source: E. W. Myers, "An O(ND) Difference Algorithm and Its Variations",
Algorithmica 1 (1986): the greedy algorithm of section 3.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple


class Change(NamedTuple):
    """``old[old_start:old_end]`` has become ``new[new_start:new_end]``; one of them may be empty.

    Attributes:
        old_start: Where it begins in the old sequence.
        old_end: Where it ends there, exclusive.
        new_start: Where it begins in the new one.
        new_end: Where it ends there, exclusive.
    """

    old_start: int
    old_end: int
    new_start: int
    new_end: int


def changes(old: Sequence[Hashable], new: Sequence[Hashable], *, most: int) -> list[Change] | None:
    """The shortest way from ``old`` to ``new``, in order, no two changes touching each other.

    Args:
        old: What is compared with.
        new: What is compared.
        most: Items that may be taken out and put in, together; 1,000 of them take a third of a second.

    Returns:
        None of them for equals; ``None`` where there would be more than ``most``.
    """
    numbers: dict[Hashable, int] = {}
    ours, theirs = ([numbers.setdefault(item, len(numbers)) for item in side] for side in (old, new))
    reached = _reached(ours, theirs, most)
    if reached is None:
        return None
    found: list[Change] = []
    for change in _steps_back(reached, len(ours), len(theirs)):
        if found and (change.old_end, change.new_end) == (found[-1].old_start, found[-1].new_start):
            last = found.pop()
            found.append(Change(change.old_start, last.old_end, change.new_start, last.new_end))
        else:
            found.append(change)
    return found[::-1]


def hunks(found: Sequence[Change], *, context: int) -> Iterator[list[Change]]:
    """Changes that stand together, since fewer than two contexts are between them."""
    hunk: list[Change] = []
    for change in found:
        if hunk and change.old_start - hunk[-1].old_end > 2 * context:
            yield hunk
            hunk = []
        hunk.append(change)
    if hunk:
        yield hunk


def _reached(old: list[int], new: list[int], most: int) -> list[list[int]] | None:
    """For each number of steps, how far into ``old`` one gets on each diagonal, before the steps are made.

    A diagonal is the place in ``old`` less that in ``new``; of row ``steps``, item ``i`` is diagonal
    ``i - steps - 1``. ``None`` where the end is not reached.
    """
    end, new_end = len(old), len(new)
    middle = most + 1
    furthest = [0] * (2 * middle + 1)
    reached: list[list[int]] = []
    for steps in range(most + 1):
        reached.append(furthest[middle - steps - 1 : middle + steps + 2])
        for diagonal in range(-steps, steps + 1, 2):
            at = middle + diagonal
            below, above = furthest[at - 1], furthest[at + 1]
            place = above if diagonal == -steps or (diagonal != steps and below < above) else below + 1
            while place < end and place - diagonal < new_end and old[place] == new[place - diagonal]:
                place += 1
            furthest[at] = place
            if place >= end and place - diagonal >= new_end:
                return reached
    return None


def _steps_back(reached: list[list[int]], old_place: int, new_place: int) -> Iterator[Change]:
    """The steps of the way that ends at these places, the last first."""
    for steps in range(len(reached) - 1, 0, -1):
        row = reached[steps]
        diagonal = old_place - new_place
        at = diagonal + steps + 1
        puts_in = diagonal == -steps or (diagonal != steps and row[at - 1] < row[at + 1])
        old_place = row[at + 1] if puts_in else row[at - 1]
        new_place = old_place - (diagonal + 1 if puts_in else diagonal - 1)
        yield Change(old_place, old_place + (not puts_in), new_place, new_place + puts_in)
