"""Who is whose, of made-up tables and of this machine's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from multirsh.transports.process.table import (
    ProcessEntry,
    ancestors,
    family,
    has_environment,
    holders,
    parse_stat,
    read_table,
    strays,
)

STAT = "4242 (a) b) (c) S 1 4242 4242 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 {start} 1 2 3"


def entry(parent: int, session: int, *, state: str = "S", start: int = 100) -> ProcessEntry:
    return ProcessEntry(parent, session, session, state, start)


def test_a_name_may_hold_brackets_and_blanks() -> None:
    assert parse_stat(STAT.format(start=77)) == ProcessEntry(1, 4242, 4242, "S", 77)


@given(st.text())
def test_what_is_no_line_of_proc_is_nothing(text: str) -> None:
    assert parse_stat(text) is None or ")" in text


def test_sessions_descendants_and_their_sessions_are_family_parents_first() -> None:
    table = {
        1: entry(0, 1, start=0),
        10: entry(1, 10, start=1),  # we
        20: entry(10, 20),  # the program
        21: entry(20, 20),
        22: entry(1, 20),  # its parent has ended
        23: entry(21, 23),  # a session of its own, its parent lives
        24: entry(1, 23),  # in that one, its parent has ended
        25: entry(20, 20, state="Z"),
        30: entry(10, 30),  # another program of ours
        31: entry(1, 31),  # a daemon
    }
    found = list(family(table, 20, {}))
    assert set(found) == {20, 21, 22, 23, 24}
    assert found.index(20) < found.index(21) < found.index(23)


def test_a_leader_that_has_ended_still_names_its_session() -> None:
    table = {20: entry(10, 20, state="Z"), 22: entry(1, 20), 23: entry(22, 23)}
    assert set(family(table, 20, {})) == {22, 23}


def test_who_was_seen_before_is_known_again_and_a_reused_number_is_not() -> None:
    table = {20: entry(10, 20, state="Z"), 40: entry(1, 40, start=120), 41: entry(1, 41, start=500)}
    assert set(family(table, 20, {40: 120, 41: 130})) == {40}


def test_what_is_older_than_the_program_is_none_of_its_family() -> None:
    table = {20: entry(10, 20), 5: entry(20, 5, start=50)}
    assert set(family(table, 20, {})) == {20}


@given(
    st.dictionaries(
        st.integers(2, 12), st.builds(entry, st.integers(0, 12), st.integers(0, 12), start=st.integers(0, 5))
    )
)
def test_any_table_has_an_answer(table: dict[int, ProcessEntry]) -> None:
    """Also one that was read while parents changed, and has circles in it."""
    found = family(table, 3, {4: 2})
    assert set(found) <= set(table)
    for pid in found:
        list(ancestors(table, pid))


def test_strays_are_young_adopted_orphans_of_nobodys() -> None:
    table = {
        1: entry(0, 1, start=0),
        9: entry(1, 9, start=1),  # a terminal that adopts
        10: entry(9, 10, start=2),  # we
        20: entry(10, 20),
        30: entry(10, 30),
        31: entry(1, 30),  # of another program of ours
        40: entry(1, 40),
        41: entry(9, 41),
        42: entry(1, 42, start=3),  # older
        43: entry(50, 43),  # somebody's child
        50: entry(51, 50),
    }
    assert set(strays(table, table[20], 10, {20})) == {40, 41}


def test_this_machine_shows_us_our_child_its_pipes_and_its_environment() -> None:
    reading, writing = os.pipe()
    pipe = str(Path(f"/proc/self/fd/{writing}").readlink())
    environment = {"MARK": "one two"}
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=writing, env=environment
    ) as child:
        os.close(writing)
        table = read_table()
        assert table is not None
        assert table[child.pid].parent == os.getpid()
        assert os.getpid() in ancestors(table, child.pid)
        assert list(holders([child.pid, 1], {pipe})) == [child.pid]
        assert has_environment(child.pid, [b"MARK=one two", b"SHLVL=7"])
        assert not has_environment(child.pid, [b"MARK=one"])
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.close()
    os.close(reading)
    assert not has_environment(child.pid, [b"MARK=one two"])
