from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.model import Status
from multirsh.output.normalize import Normalizer
from multirsh.output.store import OutputStore
from multirsh.report import Report, outputs
from multirsh.report.outputs import HEAD, TAIL, Excerpt, ReportOutputs
from tests.output.events import host_finished, host_started, output, run_finished, run_started


@pytest.fixture
def kept() -> Iterator[ReportOutputs]:
    made = ReportOutputs()
    yield made
    made.close()


def test_troubles_come_first_then_the_largest_group(kept: ReportOutputs) -> None:
    for host, text in (("a", b"odd\n"), ("b", b"most\n"), ("c", b"most\n"), ("d", b"most\n")):
        kept.feed(output(host, text))
        kept.feed(host_finished(host, Status.FAILED if host == "d" else Status.OK, exit_status=0))
    kept.feed(host_finished("e"))

    selection = kept.selection()

    assert [group.hosts for group in selection.shown] == [["d"], ["b", "c"], ["a"]]
    assert selection.silent == ["e"]
    assert (selection.left_out, selection.left_out_hosts) == (0, 0)


def test_what_an_earlier_attempt_wrote_is_not_shown(kept: ReportOutputs) -> None:
    kept.feed(host_started("a"))
    kept.feed(output("a", b"first\n"))
    kept.feed(host_started("a", attempt=2))
    kept.feed(output("a", b"second\n"))
    kept.feed(host_finished("a"))
    (group,) = kept.selection().shown
    assert b"".join(group.streams["stdout"].pieces()) == b"second\n"


def test_outputs_that_differ_in_the_last_newline_alone_say_so() -> None:
    report = Report()
    report.feed(run_started("a", "b", "c"))
    for host, text in (("a", b"x\n"), ("b", b"x"), ("c", b"y")):
        report.feed(output(host, text))
        report.feed(host_finished(host))
    report.feed(run_finished({}))
    page = "".join(report.html())
    report.close()
    assert page.count("1 B, no newline at the end of stdout</span>") == 1
    assert page.count("no newline at the end") == 1


def test_rules_of_comparison_are_those_of_the_run() -> None:
    kept = ReportOutputs(normalizer=Normalizer.parse("host"))
    for host in ("web1", "web2"):
        kept.feed(output(host, f"I am {host}\n".encode()))
        kept.feed(host_finished(host))
    assert [group.hosts for group in kept.selection().shown] == [["web1", "web2"]]
    kept.close()


@pytest.mark.parametrize(("name", "most"), [("MOST_GROUPS", 3), ("MOST_BYTES", 3 * 4)])
def test_what_a_page_cannot_bear_is_left_out_and_counted(
    kept: ReportOutputs, monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    monkeypatch.setattr(outputs, name, most)
    for number in range(10):
        kept.feed(output(f"h{number}", b"no %d" % number))
        kept.feed(host_finished(f"h{number}"))
    selection = kept.selection()
    assert [group.hosts for group in selection.shown] == [["h0"], ["h1"], ["h2"]]
    assert (selection.left_out, selection.left_out_hosts) == (7, 7)


@pytest.fixture
def store() -> Iterator[OutputStore]:
    made = OutputStore()
    yield made
    made.close()


@given(st.lists(st.integers(0, 20_000), max_size=40))
def test_what_is_short_is_whole_and_of_what_is_long_the_middle_is_gone(sizes: list[int]) -> None:
    store = OutputStore()
    excerpt = Excerpt(store)
    text = b"".join(b"%07d\n" % number for number in range(sum(sizes) // 8 + 1))[: sum(sizes)]
    at = 0
    for size in sizes:
        excerpt.append(text[at : at + size])
        at += size
    head, tail = excerpt.parts()
    assert excerpt.size == len(text)
    assert text.startswith(head)
    assert text.endswith(tail)
    if len(text) <= HEAD + TAIL:
        assert head == text
    elif head != text:
        assert tail
        assert head.endswith(b"\n")
        assert len(head) + len(tail) < len(text)
        assert store.memory <= HEAD + 2 * TAIL


def test_lines_are_not_cut(store: OutputStore) -> None:
    excerpt = Excerpt(store)
    for number in range(100_000):
        excerpt.append(b"line %d\n" % number)
    head, tail = excerpt.parts()
    assert head.splitlines()[-1].startswith(b"line ")
    assert tail.splitlines()[0].startswith(b"line ")
    assert tail.splitlines()[-1] == b"line 99999"
    assert HEAD - 20 < len(head) <= HEAD
    assert TAIL - 20 < len(tail) <= TAIL


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_that_fills_all_of_it_is_cut(store: OutputStore, end: bytes) -> None:
    excerpt = Excerpt(store)
    excerpt.append(b"x" * 1_000_000 + end)
    head, tail = excerpt.parts()
    assert (head, tail) == (b"x" * HEAD, b"x" * (TAIL - len(end)) + end)


def test_what_is_dropped_holds_nothing(store: OutputStore) -> None:
    excerpt = Excerpt(store)
    excerpt.append(b"x" * 1_000_000)
    excerpt.drop()
    assert store.memory == 0
