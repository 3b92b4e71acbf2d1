from __future__ import annotations

from collections.abc import Iterator

import pytest

from multirsh.model import Status
from multirsh.output.gather.normalize import Normalizer
from multirsh.report import Report, outputs
from multirsh.report.outputs import Outputs
from tests.output.events import host_finished, host_started, output, run_finished, run_started


@pytest.fixture
def kept() -> Iterator[Outputs]:
    made = Outputs()
    yield made
    made.close()


def test_troubles_come_first_then_the_largest_group(kept: Outputs) -> None:
    for host, text in (("a", b"odd\n"), ("b", b"most\n"), ("c", b"most\n"), ("d", b"most\n")):
        kept.feed(output(host, text))
        kept.feed(host_finished(host, Status.FAILED if host == "d" else Status.OK, exit_status=0))
    kept.feed(host_finished("e"))

    selection = kept.selection()

    assert [group.hosts for group in selection.shown] == [["d"], ["b", "c"], ["a"]]
    assert selection.silent == ["e"]
    assert (selection.left_out, selection.left_out_hosts) == (0, 0)


def test_what_an_earlier_attempt_wrote_is_not_shown(kept: Outputs) -> None:
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
    kept = Outputs(normalizer=Normalizer.parse("host"))
    for host in ("web1", "web2"):
        kept.feed(output(host, f"I am {host}\n".encode()))
        kept.feed(host_finished(host))
    assert [group.hosts for group in kept.selection().shown] == [["web1", "web2"]]
    kept.close()


@pytest.mark.parametrize(("name", "most"), [("MOST_GROUPS", 3), ("MOST_BYTES", 3 * 4)])
def test_what_a_page_cannot_bear_is_left_out_and_counted(
    kept: Outputs, monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    monkeypatch.setattr(outputs, name, most)
    for number in range(10):
        kept.feed(output(f"h{number}", b"no %d" % number))
        kept.feed(host_finished(f"h{number}"))
    selection = kept.selection()
    assert [group.hosts for group in selection.shown] == [["h0"], ["h1"], ["h2"]]
    assert (selection.left_out, selection.left_out_hosts) == (7, 7)
