"""``host: line``."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.events import Event
from multirsh.output.batch import Batch
from multirsh.output.live import LONGEST_LINE, LineAssembler, LiveLines
from multirsh.output.options import OutputOptions, Stdio
from multirsh.output.printer import Outbox
from multirsh.output.store import OutputStore

from .events import host_finished, host_started, output, run_started

TERMINAL = Stdio(stdout_is_terminal=True, stderr_is_terminal=True)


def show(options: OutputOptions, *events: Event) -> Batch:
    live = LiveLines(options, partial(OutputStore, options.memory))
    outbox = Outbox()
    for event in events:
        outbox.put(live.feed(event))
    outbox.put(live.close())
    return outbox.take()


def test_an_unfinished_line_is_not_joined_to_the_next_attempt() -> None:
    batch = show(
        OutputOptions(), output("h", b"half a li"), host_started("h", attempt=2), output("h", b"whole\n")
    )
    assert batch.stdout == b"h: half a li\nh: whole\n"


def test_lines_of_two_hosts_are_never_torn() -> None:
    batch = show(
        OutputOptions(),
        host_started("web1"),
        output("web1", b"one\ntw"),
        output("web2", b"eins\n"),
        output("web1", b"warn", stream="stderr"),
        output("web1", b"o\n\nthree"),
        host_finished("web1"),
    )
    assert batch.stdout == b"web1: one\nweb2: eins\nweb1: two\nweb1: \nweb1: three\n"
    assert batch.stderr == b"web1: warn\n"


def test_both_streams_keep_the_order_of_arrival() -> None:
    batch = show(
        OutputOptions(), output("h", b"1\n"), output("h", b"2\n", stream="stderr"), output("h", b"3\n")
    )
    assert [(write.target, write.data) for write in batch.writes] == [
        ("stdout", b"h: 1\n"),
        ("stderr", b"h: 2\n"),
        ("stdout", b"h: 3\n"),
    ]


def test_without_a_prefix() -> None:
    assert show(OutputOptions(prefix=False), output("web1", b"a\nb\n")).stdout == b"a\nb\n"


def test_a_terminal_is_shown_escapes_and_a_pipe_gets_exact_bytes() -> None:
    event = output("web1", b"\x1b]0;x\x07 10%\r20%\r\n")
    assert show(OutputOptions(stdio=TERMINAL), event).stdout == rb"web1: \x1b]0;x\x07 10%\x0d20%" + b"\n"
    assert show(OutputOptions(), event).stdout == b"web1: \x1b]0;x\x07 10%\r20%\r\n"


def test_each_stream_is_escaped_for_itself() -> None:
    options = OutputOptions(stdio=Stdio(stderr_is_terminal=True))
    batch = show(options, output("h", b"\x07\n"), output("h", b"\x07\n", stream="stderr"))
    assert (batch.stdout, batch.stderr) == (b"h: \x07\n", rb"h: \x07" + b"\n")


def test_only_the_host_is_coloured() -> None:
    options = OutputOptions(stdio=TERMINAL, stdout_color=True, stderr_color=True)
    batch = show(options, output("h", b"a\x1b[1m\nb\n"), output("h", b"c\n", stream="stderr"))
    assert batch.stdout == b"\x1b[36mh:\x1b[0m a\\x1b[1m\n\x1b[36mh:\x1b[0m b\n"
    assert batch.stderr == b"\x1b[35mh:\x1b[0m c\n"


def test_a_run_that_breaks_off_keeps_unfinished_lines() -> None:
    batch = show(OutputOptions(), output("b", b"half"), output("a", b"half", stream="stderr"))
    assert (batch.stdout, batch.stderr) == (b"b: half\n", b"a: half\n")


def test_nothing_is_kept_of_a_host_that_finished() -> None:
    live = LiveLines(OutputOptions(), OutputStore)
    live.feed(output("web1", b"x"))
    live.feed(host_finished("web1"))
    assert not live._unfinished


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.binary(max_size=8))))
def test_a_hosts_lines_can_be_had_back_exactly(chunks: list[tuple[str, bytes]]) -> None:
    stdout = show(OutputOptions(), *(output(host, chunk) for host, chunk in chunks)).stdout
    for host in ("a", "b"):
        prefix = f"{host}: ".encode()
        sent = b"".join(chunk for sender, chunk in chunks if sender == host)
        came = b"".join(
            line[len(prefix) :] + b"\n" for line in stdout.split(b"\n")[:-1] if line.startswith(prefix)
        )
        assert came == sent + (b"" if not sent or sent.endswith(b"\n") else b"\n")


def test_unfinished_lines_of_many_hosts_are_bounded_together() -> None:
    store = OutputStore(1000)
    lines = LiveLines(OutputOptions(memory=1000), lambda: store)
    outbox = Outbox()
    hosts = [f"h{number}" for number in range(100)]
    for host in [*hosts, *hosts]:
        outbox.put(lines.feed(output(host, b"x" * 300)))
        assert not outbox.size
        assert lines._held + store.memory <= 2000
    outbox.put(lines.close())
    assert sorted(outbox.take().stdout.split(b"\n")) == sorted(
        [b"", *(f"{host}: ".encode() + b"x" * 600 for host in hosts)]
    )
    assert store.memory == 0


LONG = 3 * LONGEST_LINE + 17


def test_a_line_of_any_length_stays_one_line_and_memory_is_bounded() -> None:
    store = OutputStore(100_000)
    live, outbox = LiveLines(OutputOptions(), lambda: store), Outbox()
    written = b""
    for number in range(LONG // 10_000):
        outbox.put(live.feed(output("a", b"%05d" % number * 2_000)))
        outbox.put(live.feed(output("b", b"meanwhile\n")))
        written += outbox.take().stdout
        assert live._held + store.memory <= LONGEST_LINE + 110_000
    assert written == b"b: meanwhile\n" * (LONG // 10_000)
    outbox.put(live.feed(output("a", b"end\nnext\n")))
    last = b""
    while outbox:
        last += outbox.take().stdout
    line = b"".join(b"%05d" % number * 2_000 for number in range(LONG // 10_000))
    assert last == b"a: " + line + b"end\na: next\n"
    assert store.memory == 0


def test_a_line_is_broken_only_where_neither_memory_nor_disk_has_room() -> None:
    told: list[OSError] = []
    store = OutputStore(1000, folder="/nowhere", on_full=told.append)
    live, outbox = LiveLines(OutputOptions(), lambda: store), Outbox()
    shown = b""
    for _ in range(50):
        outbox.put(live.feed(output("a", b"x" * 100_000)))
        while outbox:
            shown += outbox.take().stdout
        assert store.memory <= LONGEST_LINE + 200_000
    outbox.put(live.feed(host_finished("a")))
    while outbox:
        shown += outbox.take().stdout
    assert len(told) == 1
    assert shown.count(b"x") == 50 * 100_000
    assert set(shown.replace(b"x", b"").splitlines()) == {b"a: "}


def test_a_long_line_without_an_end_is_shown_when_its_host_has_ended() -> None:
    last: Event
    for last in (host_finished("a"), host_started("a", attempt=2)):
        live, outbox = LiveLines(OutputOptions(), OutputStore), Outbox()
        outbox.put(live.feed(output("a", b"x" * LONG)))
        outbox.put(live.feed(output("a", b"warned\n", stream="stderr")))
        assert outbox.take().stderr == b"a: warned\n"
        outbox.put(live.feed(last))
        shown = b""
        while outbox:
            shown += outbox.take().stdout
        assert shown == b"a: " + b"x" * LONG + b"\n"


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_long_line_on_a_terminal_is_escaped_wherever_it_is_cut(end: bytes) -> None:
    live, outbox = LiveLines(OutputOptions(stdio=TERMINAL), partial(OutputStore, 1000)), Outbox()
    for _ in range(LONG // 1000):
        outbox.put(live.feed(output("a", "ö€\x1b😀".encode() * 100)))
    outbox.put(live.feed(output("a", end)))
    shown = b""
    while outbox:
        shown += outbox.take().stdout
    assert shown == b"a: " + "ö€\\x1b😀".encode() * (LONG // 1000 * 100) + b"\n"


def test_one_host_without_a_prefix_passes_through_unchanged() -> None:
    alone = OutputOptions(prefix=False)
    chunks = [b'{"a": 1', b"x" * LONG, b"}"]
    events: list[Event] = [run_started("a"), *(output("a", chunk) for chunk in chunks), host_finished("a")]
    live, outbox = LiveLines(alone, OutputStore), Outbox()
    came = []
    for event in events:
        outbox.put(live.feed(event))
        came.append(outbox.take().stdout)
    assert [each for each in came if each] == chunks
    # With a second host around, lines are kept whole, and each has its end.
    both = show(alone, run_started("a", "b"), output("a", b"x"), output("b", b"y"), host_finished("a"))
    assert both.stdout == b"x\ny\n"


def test_on_a_terminal_one_host_without_a_prefix_is_escaped() -> None:
    alone = OutputOptions(prefix=False, stdio=TERMINAL)
    assert show(alone, run_started("a"), output("a", b"\x1b[2J")).stdout == rb"\x1b[2J" + b"\n"


def assemble(*chunks: bytes, longest: int = LONGEST_LINE) -> bytes:
    assembler = LineAssembler(longest=longest)
    return b"".join([*(assembler.feed(chunk) for chunk in chunks), assembler.finish()])


def test_a_line_waits_for_its_end() -> None:
    assembler = LineAssembler()
    assert assembler.feed(b"on") == b""
    assert assembler.feed(b"e\ntwo\nth") == b"one\ntwo\n"
    assert assembler.feed(b"ree") == b""
    assert assembler.finish() == b"three\n"
    assert assembler.finish() == b""


def test_a_character_split_between_chunks_is_whole_again() -> None:
    assert assemble(b"gr\xc3", b"\xbcn\n") == "grün\n".encode()


def test_an_overlong_line_is_given_out_in_pieces_while_it_grows() -> None:
    assembler = LineAssembler(longest=4)
    assert assembler.feed(b"abcd") == b""
    assert assembler.feed(b"efghi") == b"abcd\nefgh\n"
    assert assembler.feed(b"\n") == b"i\n"


def test_a_line_of_just_the_longest_length_is_whole() -> None:
    assert assemble(b"abcd\nefgh\n", longest=4) == b"abcd\nefgh\n"


def test_a_piece_does_not_tear_a_character() -> None:
    assert assemble("abcö\n".encode(), longest=4) == "abc\nö\n".encode()


def test_what_is_held_is_bounded() -> None:
    assembler = LineAssembler()
    given_out = sum(len(assembler.feed(b"x" * 65536)) for _ in range(64))
    assert 64 * 65536 - given_out <= LONGEST_LINE


@given(st.binary(), st.lists(st.integers(min_value=0, max_value=64)), st.integers(min_value=4, max_value=12))
def test_how_the_stream_was_cut_makes_no_difference(stream: bytes, cuts: list[int], longest: int) -> None:
    places = sorted({0, *(cut % (len(stream) + 1) for cut in cuts), len(stream)})
    chunks = [stream[start:end] for start, end in pairwise(places)]
    assert assemble(*chunks, longest=longest) == assemble(stream, longest=longest)


@given(st.lists(st.binary(max_size=20)))
def test_short_lines_are_exact_but_for_a_missing_last_line_feed(chunks: list[bytes]) -> None:
    stream = b"".join(chunks)
    missing = b"" if not stream or stream.endswith(b"\n") else b"\n"
    assert assemble(*chunks) == stream + missing


@given(st.binary(), st.integers(min_value=4, max_value=12))
def test_pieces_only_add_line_feeds(stream: bytes, longest: int) -> None:
    lines = assemble(stream, longest=longest)
    assert lines.replace(b"\n", b"") == stream.replace(b"\n", b"")
    assert all(len(line) <= longest for line in lines.split(b"\n"))
