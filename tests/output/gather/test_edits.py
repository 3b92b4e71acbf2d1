"""The shortest way from one sequence to another."""

from __future__ import annotations

import itertools
import time

from hypothesis import given
from hypothesis import strategies as st

from multirsh.output.gather.edits import Change, changes, hunks

ITEMS = st.lists(st.sampled_from("abc"), max_size=12)


def in_common(old: list[str], new: list[str]) -> int:
    """The length of the longest common subsequence, by its definition."""
    row = [0] * (len(new) + 1)
    for item in old:
        before = row
        row = [0]
        for place, other in enumerate(new):
            row.append(before[place] + 1 if item == other else max(row[-1], before[place + 1]))
    return row[-1]


@given(ITEMS, ITEMS)
def test_they_lead_there_and_none_is_in_vain(old: list[str], new: list[str]) -> None:
    needed = len(old) + len(new) - 2 * in_common(old, new)
    found = changes(old, new, most=needed)
    assert found is not None
    made: list[str] = []
    place = 0
    for change in found:
        made += old[place : change.old_start]
        assert len(made) == change.new_start
        made += new[change.new_start : change.new_end]
        place = change.old_end
    assert made + old[place:] == new
    assert sum(each.old_end - each.old_start + each.new_end - each.new_start for each in found) == needed
    for one, following in itertools.pairwise(found):
        assert following.old_start > one.old_end
    if needed:
        assert changes(old, new, most=needed - 1) is None


def test_lines_that_repeat_take_no_longer() -> None:
    """difflib takes half a minute for these."""
    old = [number % 101 for number in range(10_000)]
    new = [(number * 7 + number // 101) % 101 for number in range(10_000)]
    began = time.process_time()
    assert changes(old, new, most=1000) is None
    assert time.process_time() - began < 8


def test_what_is_near_stands_together() -> None:
    near = [Change(10, 11, 10, 11), Change(17, 17, 17, 18)]
    far = Change(24, 25, 25, 25)
    assert list(hunks([*near, far], context=3)) == [[*near], [far]]
    assert list(hunks([], context=3)) == []
