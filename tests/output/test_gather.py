"""``-b``, ``-B``, ``-L`` and ``--diff``, from events to bytes."""

from __future__ import annotations

import dataclasses
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from multirsh.events import Event
from multirsh.model import Status
from multirsh.output.normalize import Normalizer
from multirsh.output.options import Mode, OutputOptions, Stdio
from multirsh.output.printer import Printer
from multirsh.output.store import BLOCK
from tests.output.events import host_finished, host_started, output, run_finished, run_started

GROUPS = OutputOptions(mode=Mode.GROUPS)
BLOCKS = OutputOptions(mode=Mode.BLOCKS)
TERMINAL = Stdio(stdout_is_terminal=True, stdout_width=lambda: 40)


def shown(options: OutputOptions, events: Iterable[Event]) -> tuple[bytes, bytes]:
    """All that came on stdout and on stderr, the summary aside."""
    printer = Printer(dataclasses.replace(options, quiet=True), began=0.0)
    out, err = b"", b""
    for event in events:
        printer.feed(event)
        while printer.has_more:
            batch = printer.take(0.0)
            out, err = out + batch.stdout, err + batch.stderr
    printer.finish()
    while printer.has_more:
        batch = printer.take(0.0)
        out, err = out + batch.stdout, err + batch.stderr
    printer.close()
    return out, err


def ok(host: str, text: bytes) -> list[Event]:
    return [host_started(host), output(host, text), host_finished(host, exit_status=0)]


def a_run(*hosts: list[Event]) -> list[Event]:
    names = [event.host for (event, *_) in hosts if hasattr(event, "host")]
    return [run_started(*names), *(event for events in hosts for event in events), run_finished({})]


def test_the_largest_group_first_and_the_odd_ones_last() -> None:
    out, _ = shown(
        GROUPS, a_run(ok("web10", b"a\n"), ok("db1", b"b\n"), ok("web2", b"a\n"), ok("web3", b"a\n"))
    )
    assert out == b"---- web[2-3,10] (3)\na\n---- db1 (1)\nb\n"


def test_outputs_that_differ_in_the_last_newline_alone_say_so() -> None:
    out, _ = shown(GROUPS, a_run(ok("a", b"x\ny\n"), ok("b", b"x\ny"), ok("c", b"x\ny\n\n"), ok("d", b"z")))
    assert out == (
        b"---- a (1)\nx\ny\n---- b (1, no newline at the end)\nx\ny\n---- c (1)\nx\ny\n\n---- d (1)\nz\n"
    )


def test_so_do_they_with_stderr_and_with_diff() -> None:
    def both(host: str, out: bytes, err: bytes) -> list[Event]:
        return [output(host, out), output(host, err, stream="stderr"), host_finished(host, exit_status=0)]

    run = a_run(both("a", b"x\n", b"y\n"), both("b", b"x", b"y\n"), both("c", b"x", b"y"))
    out, _ = shown(dataclasses.replace(GROUPS, with_stderr=True), run)
    headers = [line for line in out.splitlines() if line.startswith(b"----")]
    assert headers == [
        b"---- a (1)",
        b"---- b (1, no newline at the end of stdout)",
        b"---- c (1, no newline at the end of stdout and stderr)",
    ]
    out, _ = shown(dataclasses.replace(GROUPS, differences=True), a_run(ok("a", b"x\n"), ok("b", b"x")))
    assert out.endswith(b"-x\n+x\n\\ No newline at end of file\n")


def test_nothing_and_a_newline_are_two() -> None:
    assert shown(GROUPS, a_run(ok("a", b""), ok("b", b"\n"))) == (b"---- b (1)\n\n", b"")


@given(st.lists(st.binary(max_size=6).map(lambda raw: raw.replace(b"0", b"\n")), max_size=5))
def test_equals_are_found_however_their_bytes_come(pieces: list[bytes]) -> None:
    """Bytes that come one by one are the same output, and so are none at all."""
    text = b"".join(pieces)
    apart: list[Event] = [host_started("a"), *(output("a", piece) for piece in pieces)]
    bytewise = [output("b", bytes([byte])) for byte in text]
    whole = [*apart, host_finished("a", exit_status=0)]
    events = a_run(whole, [host_started("b"), *bytewise, host_finished("b", exit_status=0)])
    out, _ = shown(GROUPS, events)
    assert out.startswith(b"---- a,b (2)\n" if text else b"")


def test_hosts_that_wrote_nothing_have_no_block() -> None:
    assert shown(GROUPS, a_run(ok("a", b""), ok("b", b""))) == (b"", b"")


def test_equal_output_and_another_exit_status_are_two() -> None:
    failed: list[Event] = [output("b", b"x\n"), host_finished("b", Status.FAILED, exit_status=3)]
    killed: list[Event] = [output("c", b"x\n"), host_finished("c", Status.SIGNALLED, signal="KILL")]
    late: list[Event] = [output("d", b"x\n"), host_finished("d", Status.TIMEOUT)]
    out, _ = shown(GROUPS, a_run(ok("a", b"x\n"), failed, killed, late))
    assert out == b"---- a (1)\nx\n---- b (1, exit 3)\nx\n---- c (1, KILL)\nx\n---- d (1, timeout)\nx\n"


def test_stderr_comes_live_unless_it_is_gathered() -> None:
    run = a_run(
        [output("a", b"o\n"), output("a", b"e\n", stream="stderr"), host_finished("a", exit_status=0)],
        [output("b", b"f\n", stream="stderr"), output("b", b"o\n"), host_finished("b", exit_status=0)],
    )
    # -q leaves the summary's lists, of which there are none.
    assert shown(GROUPS, run) == (b"---- a,b (2)\no\n", b"a: e\nb: f\n")
    with_stderr = dataclasses.replace(GROUPS, with_stderr=True)
    assert shown(with_stderr, run) == (b"---- a (1)\no\ne\n---- b (1)\no\nf\n", b"")


def test_no_headers_with_dash_n() -> None:
    without = dataclasses.replace(GROUPS, prefix=False)
    assert shown(without, a_run(ok("a", b"x"), ok("b", b"y\n")))[0] == b"x\ny\n"


def test_a_pipe_gets_exact_bytes_and_a_terminal_escapes_within_its_width() -> None:
    run = a_run(ok("a", b"\x1b]0;x\x07\xff\r\n\x00"))
    assert shown(GROUPS, run)[0] == b"---- a (1)\n\x1b]0;x\x07\xff\r\n\x00\n"
    on_terminal = dataclasses.replace(GROUPS, stdio=TERMINAL)
    assert (
        shown(on_terminal, run)[0] == b"---- a (1) " + b"-" * 28 + b"\n" + rb"\x1b]0;x\x07\xff" + b"\n\\x00\n"
    )


def test_only_headers_are_coloured() -> None:
    colored = dataclasses.replace(GROUPS, stdout_color=True)
    assert shown(colored, a_run(ok("a", b"x\n")))[0] == b"\x1b[36m---- a (1)\x1b[0m\nx\n"


def test_another_attempt_begins_with_nothing() -> None:
    again: list[Event] = [output("a", b"half"), host_started("a", attempt=2), output("a", b"whole\n")]
    assert shown(GROUPS, a_run([*again, host_finished("a", exit_status=0)]))[0] == b"---- a (1)\nwhole\n"


def test_normalized_hosts_fold_and_the_first_is_shown_as_it_is() -> None:
    options = dataclasses.replace(GROUPS, normalizer=Normalizer.parse("host,time"))
    run = a_run(ok("a", b"a at 12:00\n"), ok("b", b"b at 12:01"), ok("c", b"d at 12:01\n"))
    assert shown(options, run)[0] == b"---- a,b (2)\na at 12:00\n---- c (1)\nd at 12:01\n"


def test_a_run_that_breaks_off_shows_what_there_is() -> None:
    assert shown(GROUPS, a_run(ok("a", b"x\n"))[:-1])[0] == b"---- a (1)\nx\n"


@given(
    st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=3)), max_size=30),
    st.integers(1, BLOCK),
)
def test_equality_is_over_all_bytes_however_they_come(chunks: list[tuple[int, bytes]], memory: int) -> None:
    """Also where everything is on disk."""
    wrote = {f"h{number}": b"" for number in range(4)}
    events: list[Event] = [run_started(*wrote)]
    for number, data in chunks:
        wrote[f"h{number}"] += data
        events.append(output(f"h{number}", data))
    events += [host_finished(host, exit_status=0) for host in wrote]
    out, _ = shown(dataclasses.replace(GROUPS, memory=memory, prefix=False), [*events, run_finished({})])
    distinct = {text: sum(other == text for other in wrote.values()) for text in wrote.values() if text}
    expected = sorted(distinct, key=lambda text: (-distinct[text], min(h for h in wrote if wrote[h] == text)))
    assert out == b"".join(text if text.endswith(b"\n") else text + b"\n" for text in expected)


class TestBlocks:
    def test_in_the_order_of_the_selection_each_when_its_turn_has_come(self) -> None:
        events = [run_started("a", "b", "c"), *ok("c", b"3\n"), *ok("a", b"1"), *ok("b", b"2\n")]
        assert shown(BLOCKS, events[:4])[0] == b"---- c\n3\n", "at the end of a run that broke off"
        printer = Printer(BLOCKS, began=0.0)
        came = []
        for event in events:
            printer.feed(event)
            came.append(printer.take(0.0).stdout)
        assert [text for text in came if text] == [b"---- a\n1\n", b"---- b\n2\n---- c\n3\n"]

    def test_who_failed_is_marked_and_who_is_silent_left_out(self) -> None:
        failed: list[Event] = [output("a", b"x\n"), host_finished("a", Status.FAILED, exit_status=1)]
        assert shown(BLOCKS, a_run(failed, ok("b", b"")))[0] == b"---- a (exit 1)\nx\n"


class TestDifferences:
    OPTIONS = dataclasses.replace(GROUPS, differences=True)

    def test_the_majority_once_and_then_what_differs(self) -> None:
        lines = b"".join(b"%d\n" % number for number in range(9))
        other = lines.replace(b"4\n", b"four\n")
        out, _ = shown(self.OPTIONS, a_run(ok("c", other), ok("a", lines), ok("b", lines)))
        assert out == (
            b"---- a,b (2)\n" + lines + b"---- c (1)\n@@ -2,7 +2,7 @@\n 1\n 2\n 3\n-4\n+four\n 5\n 6\n 7\n"
        )

    def test_changes_are_coloured_and_a_remotes_escapes_are_not_obeyed(self) -> None:
        options = dataclasses.replace(self.OPTIONS, stdio=TERMINAL, stdout_color=True, prefix=False)
        out, _ = shown(options, a_run(ok("a", b"x\n"), ok("b", b"x\n"), ok("c", b"\x1b[2J\n")))
        assert out == (b"x\n\x1b[36m@@ -1 +1 @@\x1b[0m\n\x1b[31m-x\x1b[0m\n\x1b[32m+\\x1b[2J\x1b[0m\n")

    def test_the_same_output_with_another_ending_is_said_in_the_header(self) -> None:
        failed: list[Event] = [output("c", b"x\n"), host_finished("c", Status.FAILED, exit_status=1)]
        out, _ = shown(self.OPTIONS, a_run(ok("a", b"x\n"), ok("b", b"x\n"), failed))
        assert out == b"---- a,b (2)\nx\n---- c (1, exit 1, the same output)\n"

    def test_what_is_silent_differs_from_what_is_not(self) -> None:
        out, _ = shown(self.OPTIONS, a_run(ok("a", b"x\n"), ok("b", b"x\n"), ok("c", b"")))
        assert out == b"---- a,b (2)\nx\n---- c (1)\n@@ -1 +0,0 @@\n-x\n"

    def test_what_does_not_count_is_no_difference(self) -> None:
        """Shown is what the group itself wrote."""
        options = dataclasses.replace(self.OPTIONS, normalizer=Normalizer.parse("host"))
        same = [ok(host, f"I am {host}\n80\n".encode()) for host in ("a", "b")]
        out, _ = shown(options, a_run(*same, ok("c", b"I am c\n81\n")))
        assert out == b"---- a,b (2)\nI am a\n80\n---- c (1)\n@@ -1,2 +1,2 @@\n I am c\n-80\n+81\n"

    def test_a_line_end_that_is_missing_is_a_difference(self) -> None:
        out, _ = shown(self.OPTIONS, a_run(ok("a", b"x\n"), ok("b", b"x\n"), ok("c", b"x")))
        assert out == (b"---- a,b (2)\nx\n---- c (1)\n@@ -1 +1 @@\n-x\n+x\n\\ No newline at end of file\n")

    def test_several_hunks_as_diff_has_them(self, tmp_path: Path) -> None:
        lines = [b"%d\n" % number for number in range(40)]
        other = [b"first\n", *lines[:7], b"8\n", b"9\n", *lines[12:30], b"x\n", *lines[30:-1]]
        out, _ = shown(
            self.OPTIONS, a_run(ok("a", b"".join(lines)), ok("b", b"".join(lines)), ok("c", b"".join(other)))
        )
        (tmp_path / "old").write_bytes(b"".join(lines))
        (tmp_path / "new").write_bytes(b"".join(other))
        diff = subprocess.run(
            ["diff", "-u", "old", "new"], cwd=tmp_path, stdout=subprocess.PIPE, check=False
        ).stdout
        assert out.partition(b"---- c (1)\n")[2] == b"".join(diff.splitlines(keepends=True)[2:])

    def test_where_most_differs_it_is_shown_in_full(self) -> None:
        """And soon: difflib takes half a minute for these."""
        long = b"".join(b"%d\n" % (number % 101) for number in range(10_000))
        other = b"".join(b"%d\n" % ((number * 7 + number // 101) % 101) for number in range(10_000))
        began = time.process_time()
        out, _ = shown(self.OPTIONS, a_run(ok("a", long), ok("b", long), ok("c", other)))
        assert out == b"---- a,b (2)\n" + long + b"---- c (1)\n" + other
        assert time.process_time() - began < 8

    def test_what_is_too_long_to_compare_is_shown_in_full(self) -> None:
        long, other = b"x\n" * 20_000, b"y\n" * 20_000
        out, _ = shown(self.OPTIONS, a_run(ok("a", long), ok("b", long), ok("c", other)))
        assert out == b"---- a,b (2)\n" + long + b"---- c (1)\n" + other


def test_long_outputs_are_taken_in_batches_that_are_not() -> None:
    printer = Printer(GROUPS, began=0.0)
    for number in range(4):
        for event in ok(f"h{number}", b"%d" % number * 3_000_000):
            printer.feed(event)
    printer.feed(run_finished({Status.OK: 4}))
    sizes = []
    while printer.has_more:
        sizes.append(len(printer.take(0.0).stdout))
    assert sum(sizes) > 12_000_000
    assert max(sizes) < 2_000_000
