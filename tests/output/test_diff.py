"""The shortest way from one sequence to another."""

from __future__ import annotations

import itertools
import subprocess
import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from multirsh.output.diff import Edit, TextChange, compare_texts, hunks, shortest_edits
from multirsh.output.normalize import Normalizer

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
    found = shortest_edits(old, new, most=needed)
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
        assert shortest_edits(old, new, most=needed - 1) is None


def test_lines_that_repeat_take_no_longer() -> None:
    """difflib takes half a minute for these."""
    old = [number % 101 for number in range(10_000)]
    new = [(number * 7 + number // 101) % 101 for number in range(10_000)]
    began = time.process_time()
    assert shortest_edits(old, new, most=1000) is None
    assert time.process_time() - began < 8


def test_what_is_near_stands_together() -> None:
    near = [Edit(10, 11, 10, 11), Edit(17, 17, 17, 18)]
    far = Edit(24, 25, 25, 25)
    assert list(hunks([*near, far], context=3)) == [[*near], [far]]
    assert list(hunks([], context=3)) == []


def change(before: bytes, after: bytes, normalize: str = "") -> TextChange:
    normalized = Normalizer.parse(normalize).for_host("web01") if normalize else None
    found = compare_texts(before, after, normalized)
    assert found is not None
    return found


def test_a_change_is_shown_as_by_diff_u(tmp_path: Path) -> None:
    before = b"".join(b"line %d\n" % number for number in range(30))
    after = before.replace(b"line 5\n", b"line five\n").replace(b"line 25\n", b"") + b"more"
    (tmp_path / "a").write_bytes(before)
    (tmp_path / "b").write_bytes(after)
    told = subprocess.run(["diff", "-u", "a", "b"], cwd=tmp_path, capture_output=True, check=False).stdout
    assert b"".join(change(before, after).lines) == b"".join(told.splitlines(keepends=True)[2:])
    assert b"\\ No newline at end of file\n" in told


def test_from_and_to_nothing() -> None:
    assert change(b"", b"a\nb\n").lines == (b"@@ -0,0 +1,2 @@\n", b"+a\n", b"+b\n")
    assert change(b"a\n", b"").lines == (b"@@ -1 +0,0 @@\n", b"-a\n")
    assert change(b"a\n", b"a\n").lines == ()


def test_the_same_change_is_the_same_wherever_it_stands() -> None:
    here = change(b"kernel 6.1\nnginx 1.22\n", b"kernel 6.1\nnginx 1.24\n")
    there = change(b"nginx 1.22\npostgres 15\nredis 7\n", b"nginx 1.24\npostgres 15\nredis 7\n")
    other = change(b"nginx 1.22\n", b"nginx 1.25\n")
    assert here.identity == there.identity != other.identity


def test_lines_that_went_are_not_lines_that_came() -> None:
    assert change(b"a\n", b"").identity != change(b"", b"a\n").identity
    assert change(b"", b"ab\n").identity != change(b"", b"a\nb\n").identity


def test_what_does_not_count_is_shown_and_changes_nothing() -> None:
    before, after = b"up 10:00:01\nload high\n", b"up 11:30:00\nload low\n"
    assert change(before, after, "time").lines == (
        b"@@ -1,2 +1,2 @@\n",
        b" up 11:30:00\n",
        b"-load high\n",
        b"+load low\n",
    )
    assert change(b"10:00:01\n", b"11:00:00\n", "time").lines == ()
    again = change(b"load high\nat 12:00\n", b"load low\nat 13:00\n", "time")
    assert change(before, after, "time").identity == again.identity


def test_too_many_lines_are_not_compared() -> None:
    assert compare_texts(b"\n" * 6_000, b"a\n" * 6_000) is None


LINES = st.lists(st.sampled_from([b"a", b"b", b"c", b"\r", b"", b"\xff"]), max_size=6).map(b"\n".join)


@given(LINES, LINES)
def test_the_signs_give_back_both_texts(before: bytes, after: bytes) -> None:
    """Where all is shown, what has no ``+`` is the old text, and what has no ``-`` the new."""
    found = change(before, after)
    assert bool(found.lines) == (before != after)
    shown = sum(line[:1] in b"- " for line in found.lines)
    if shown < before.count(b"\n") + (before[-1:] not in {b"", b"\n"}):
        return  # some of it is not shown
    texts = {b"-": b"", b"+": b""}
    last: set[bytes] = set()
    for line in found.lines[1:]:
        if line == b"\\ No newline at end of file\n":
            texts = {sign: text[:-1] if sign in last else text for sign, text in texts.items()}
            continue
        last = {b"-", b"+"} if line[:1] == b" " else {line[:1]}
        texts = {sign: text + line[1:] if sign in last else text for sign, text in texts.items()}
    assert texts == {b"-": before, b"+": after}
