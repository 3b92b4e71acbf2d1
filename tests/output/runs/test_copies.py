from __future__ import annotations

from multirsh.events import Event
from multirsh.output.runs.copies import with_copies_told
from tests.output.events import copied, host_finished, output, run_started


def test_only_what_was_not_copied_is_told() -> None:
    well: list[Event] = [run_started("h1"), copied("h1"), copied("h1", skipped="unchanged")]
    assert list(with_copies_told([*well, host_finished("h1")])) == [*well, host_finished("h1")]
    failed, left_out = copied("h1", "/srv/a", error="no room"), copied("h1", "/srv/b", skipped="a socket")
    assert list(with_copies_told([failed, left_out])) == [
        failed,
        output("h1", b"/srv/a: no room\n", stream="stderr"),
        left_out,
        output("h1", b"/srv/b: left out: a socket\n", stream="stderr"),
    ]
