"""The whole room: what each reader gets, and what a person sees."""

from __future__ import annotations

import dataclasses
import json
import os
import pty
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.events import Event
from multirsh.model import Status
from multirsh.output import Batch, Drawing, Mode, OutputOptions, Printer, Stdio
from multirsh.output.live import LiveLines

from .events import host_finished, host_started, output, run_finished, run_started
from .screen import Screen, differing_rows

WATCHED = OutputOptions(
    drawing=Drawing.REDRAWN, stdio=Stdio(stdout_is_terminal=True, stderr_is_terminal=True), stderr_color=True
)


def small_run() -> list[Event]:
    return [
        run_started("web1", "web2"),
        host_started("web1"),
        host_started("web2"),
        output("web1", b"up 3 days\nlo"),
        output("web2", b"no such thing", stream="stderr"),
        output("web1", b"ad 0.1\n"),
        host_finished("web1"),
        host_finished("web2", Status.FAILED, exit_status=127),
        run_finished({Status.OK: 1, Status.FAILED: 1}),
    ]


STDOUT = b"web1: up 3 days\nweb1: load 0.1\n"
STDERR = b"web2: no such thing\n2 hosts: 1 ok, 1 failed in 3.2 s\nfailed (exit 127): web2\n"


def run(options: OutputOptions, events: list[Event], *, step: float = 0.0) -> list[Batch]:
    printer = Printer(options, began=0.0)
    batches: list[Batch] = []
    for number, event in enumerate(events):
        printer.feed(event)
        batches.append(printer.take(number * step))
    printer.finish()
    return [*batches, printer.take(len(events) * step)]


def joined(batches: list[Batch]) -> tuple[bytes, bytes]:
    return b"".join(batch.stdout for batch in batches), b"".join(batch.stderr for batch in batches)


def test_live_into_pipes_to_the_byte() -> None:
    assert joined(run(OutputOptions(), small_run())) == (STDOUT, STDERR)


def test_quiet_is_about_our_own_words_only() -> None:
    stdout, stderr = joined(run(OutputOptions(quiet=True), small_run()))
    assert stdout == STDOUT
    assert stderr == b"web2: no such thing\nfailed (exit 127): web2\n"


def test_json_leaves_stdout_to_events_and_words_to_stderr() -> None:
    stdout, stderr = joined(run(OutputOptions(mode=Mode.JSON), small_run()))
    events = [json.loads(line)["event"] for line in stdout.splitlines()]
    assert events[0] == "run_started"
    assert events[-1] == "run_finished"
    assert len(events) == len(small_run())
    assert stderr == b"2 hosts: 1 ok, 1 failed in 3.2 s\nfailed (exit 127): web2\n"


def test_the_last_lines_of_a_host_come_before_the_ending() -> None:
    *_, last, rest = run(WATCHED, small_run(), step=1.0)
    assert [write.target for write in last.writes] == ["stderr"]
    assert last.stderr.startswith(b"\r \x1b[J\r2 hosts:")
    assert not rest.writes


def test_a_run_that_breaks_off_leaves_nothing_unsaid_and_no_line() -> None:
    plain = dataclasses.replace(WATCHED, stderr_color=False)
    *shown, rest = run(plain, small_run()[:5], step=1.0)
    assert shown[-1].stderr.endswith(b"\r")
    assert rest.stdout == b"web1: lo\n"
    assert rest.stderr == b"\r \x1b[J\rweb2: no such thing\n"


def test_what_waits_is_known_so_that_remotes_can_be_held_back() -> None:
    printer = Printer(OutputOptions(), began=0.0)
    printer.feed(output("h", b"x" * 10 + b"\n"))
    assert printer.waiting_bytes == len("h: ") + 11
    printer.take(0.0)
    assert printer.waiting_bytes == 0


def test_a_warning_is_one_harmless_line_above_the_progress_line() -> None:
    printer = Printer(WATCHED, began=0.0)
    printer.feed(run_started("h"))
    printer.take(1.0)
    printer.say("h said: \x1b[2J\nall ok")
    assert printer.take(1.0).stderr.startswith(rb"h said: \x1b[2J\x0aall ok".join([b"\r \x1b[J\r", b"\n"]))


def test_it_wants_to_be_asked_only_where_a_line_is_drawn() -> None:
    assert Printer(WATCHED, began=0.0).interval_s == 0.125
    assert Printer(OutputOptions(), began=0.0).interval_s is None


def fleet_run(hosts: int) -> list[Event]:
    """Chunks that end anywhere, of hosts that take turns, with words that would ruin a terminal."""
    names = [f"node{number:03}" for number in range(hosts)]
    events: list[Event] = [run_started(*names), *(host_started(name) for name in names)]
    events += [output(name, f"{name} began\r\nand \x1b[2J".encode()) for name in names]
    events += [output(name, f"warned {name}\n".encode(), stream="stderr") for name in names[::2]]
    events += [output(name, "ended größer\u202e\n".encode()) for name in names]
    events += [host_finished(name) for name in names]
    return [*events, run_finished({Status.OK: hosts})]


def expected_screen(events: list[Event]) -> list[str]:
    """What remains when the run is over: all text, in its order, as if there had been no progress line."""
    without = OutputOptions(stdio=WATCHED.stdio)
    screen = Screen()
    for batch in run(without, events):
        for write in batch.writes:
            screen.write(write.data)
    return screen.text()


@given(st.lists(st.tuples(st.integers(min_value=1, max_value=7), st.floats(min_value=0, max_value=0.5))))
def test_the_progress_line_leaves_no_trace_however_batches_fall(rhythm: list[tuple[int, float]]) -> None:
    events = fleet_run(4)
    printer, screen, now, fed = Printer(WATCHED, began=0.0), Screen(), 0.0, 0
    for count, pause in [*rhythm, (len(events), 1.0)]:
        for event in events[fed : fed + count]:
            printer.feed(event)
        fed += count
        now += pause
        for write in printer.take(now).writes:
            screen.write(write.data)
    printer.finish()
    for write in printer.take(now).writes:
        screen.write(write.data)
    assert not differing_rows(screen.text(), expected_screen(events))


@contextmanager
def terminal() -> Iterator[tuple[int, list[bytes]]]:
    """A real terminal device, and what has come out at its other end once the block is left."""
    master, device = pty.openpty()
    came: list[bytes] = []

    def read() -> None:
        try:
            while piece := os.read(master, 65536):
                came.append(piece)
        except OSError:  # how Linux says that the device was closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield device, came
    finally:
        os.close(device)
        reader.join()
        os.close(master)


@pytest.mark.parametrize("hosts", [1, 64, 500])
def test_on_a_real_terminal_scrollback_is_clean(hosts: int) -> None:
    events = fleet_run(hosts)
    with terminal() as (device, came):
        options = OutputOptions(stdio=Stdio.look(stdout=device, stderr=device)).decided(
            {"TERM": "xterm-256color", "NO_COLOR": "1"}
        )
        assert options.drawing is Drawing.REDRAWN
        for batch in run(options, events, step=0.09):
            for write in batch.writes:
                assert os.write(device, write.data) == len(write.data)
    bytes_seen = b"".join(came)
    screen = Screen()
    screen.write(bytes_seen)
    assert not differing_rows(screen.text(), expected_screen(events))
    assert bytes_seen.count(b"in flight") + bytes_seen.count(b"waiting for") > 0


def test_output_lost_for_lack_of_memory_is_reported_and_the_summary_is_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def short(_lines: object, _event: Event) -> list[object]:
        raise MemoryError

    monkeypatch.setattr(LiveLines, "_output", short)
    printer = Printer(OutputOptions(), began=0.0)
    for event in small_run():
        printer.feed(event)
    printer.finish()
    assert printer.is_cut
    assert printer.take(0.0).stderr == STDERR.removeprefix(b"web2: no such thing\n")


def test_what_waits_can_be_dropped() -> None:
    printer = Printer(OutputOptions(), began=0.0)
    printer.feed(output("web1", b"line\n"))
    printer.drop()
    assert (printer.is_cut, printer.waiting_bytes, printer.has_more) == (True, 0, False)
    assert not printer.take(0.0).writes


def test_much_that_waits_is_given_in_several_batches() -> None:
    printer = Printer(OutputOptions(prefix=False), began=0.0)
    text = b"x" * 1023 + b"\n"
    for _ in range(4 * 1024):
        printer.feed(output("web1", text))
    batches = []
    while printer.has_more:
        batches.append(printer.take(0.0))
    assert len(batches) == 4
    assert b"".join(batch.stdout for batch in batches) == text * 4 * 1024
