"""How copies are told: lines for what went wrong, bytes in the progress line, all of it at the end."""

from __future__ import annotations

import json

import pytest

from multirsh.model import Status
from multirsh.output.formatting import size
from multirsh.output.live import LiveLines
from multirsh.output.ndjson import encode
from multirsh.output.options import OutputOptions, Stdio
from multirsh.output.printer import Outbox
from multirsh.output.progress import RunProgress
from multirsh.output.store import OutputStore
from multirsh.output.summary import Summary

from .events import copied, host_finished, host_started, run_finished, run_started


def lines_of(*events: object) -> str:
    live, outbox = LiveLines(OutputOptions(), OutputStore), Outbox()
    for event in events:
        outbox.put(live.feed(event))  # type: ignore[arg-type]  # they are events
    batch = outbox.take()
    assert batch.stdout == b""
    return batch.stderr.decode()


def test_a_line_is_for_what_went_wrong_or_was_left_out_for_what_it_is() -> None:
    told = lines_of(
        copied("h1", size=5),
        copied("h1", skipped="unchanged"),
        copied("h1", "/srv/pipe", skipped="special"),
        copied("h2", "/srv/f", error="permission denied"),
        copied("h2", "/srv/g", note="its owner is not kept"),
    )

    assert told.splitlines() == [
        "h1: /srv/pipe: left out: special",
        "h2: /srv/f: permission denied",
        "h2: /srv/g: copied, but its owner is not kept",
    ]


def test_a_path_has_no_power_over_the_terminal() -> None:
    assert lines_of(copied("h1", "a\x1b[2J\nb\udcff", error="no")) == "h1: a\\x1b[2J\\x0ab\\xff: no\n"


def test_the_end_tells_of_all_files() -> None:
    summary = Summary(OutputOptions())
    for event in (
        copied("h1", size=1_500_000),
        copied("h2", size=10),
        copied("h2", skipped="unchanged"),
        copied("h2", skipped="special"),
        copied("h2", error="no"),
        host_finished("h1"),
        host_finished("h2"),
    ):
        assert not summary.feed(event)
    (ending,) = summary.feed(run_finished({Status.OK: 2}))

    assert b"\nfiles: 2 copied, 1.5 MB, 1 unchanged, 1 left out, 1 failed\n" in ending.data


def test_the_progress_line_has_bytes() -> None:
    progress = RunProgress(began=0)
    progress.feed(run_started("h1", "h2"))
    progress.feed(host_started("h1"))
    progress.copied = 1_234_567, 20_000_000
    assert "1.2 MB of 20 MB" in progress.render(90, 1)
    assert "1.2 MB of 20 MB" in progress.status(1)
    progress.copied = 999, None
    assert "999 B" in progress.render(90, 1)


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9949, "9.9 kB"),
        (9951, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (10**9, "1.0 GB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_sizes_are_worded(count: int, words: str) -> None:
    assert size(count) == words


def test_the_event_is_json() -> None:
    event = json.loads(encode(copied("h1", "/srv/\udcff", size=7, error="no")))

    assert event == {
        "event": "copied",
        "run": "r1",
        "t": 0.0,
        "host": "h1",
        "path": "/srv/\ufffd",
        "bytes": 7,
        "via": "sftp",
        "skipped": None,
        "error": "no",
        "note": None,
    }


def test_the_streams_may_be_terminals() -> None:
    options = OutputOptions(stdio=Stdio(stderr_is_terminal=True))
    live, outbox = LiveLines(options, OutputStore), Outbox()
    outbox.put(live.feed(copied("h1", error="no")))

    assert b"/srv/f: no\n" in outbox.take().stderr
