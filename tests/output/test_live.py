"""``host: line``."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from multirsh.events import Event
from multirsh.output.batch import Batch, Outbox
from multirsh.output.live import LiveLines
from multirsh.output.options import OutputOptions, Stdio

from .events import host_finished, host_started, output

TERMINAL = Stdio(stdout_is_terminal=True, stderr_is_terminal=True)


def show(options: OutputOptions, *events: Event) -> Batch:
    live = LiveLines(options)
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
    live = LiveLines(OutputOptions())
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
    lines = LiveLines(OutputOptions(memory=1000))
    hosts = [f"h{number}" for number in range(100)]
    given = fed = 0
    for host in [*hosts, *hosts]:
        fed += 300
        given += sum(write.data.count(b"x") for write in lines.feed(output(host, b"x" * 300)))
        assert fed - given <= 1000
    assert given + sum(write.data.count(b"x") for write in lines.close()) == fed
