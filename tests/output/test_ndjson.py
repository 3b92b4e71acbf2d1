"""One JSON object a line, and every byte of it."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from multirsh.events import Event, Output, PortUse, RunStarted
from multirsh.model import ClosedBy, ErrorKind, Fate, Phase, Status
from multirsh.output.ndjson import Ndjson
from multirsh.output.printer import Outbox

from .events import failure, host_finished, host_started, output, run_finished, run_started

GOLDEN = """\
{"event":"run_started","run":"r1","t":0.0,"command":"uptime","hosts":["db1"],"fanout":64,"version":"0.1.0"}
{"event":"host_started","run":"r1","t":0.0,"host":"db1","attempt":1}
{"event":"stdout","run":"r1","t":0.5,"host":"db1","data":"grün\\n"}
{"event":"host_finished","run":"r1","t":5.123457,"host":"db1","status":"timeout","exit_status":null,\
"signal":null,"error":{"kind":"timeout","phase":"run","message":"the command ran longer than 5 s"},\
"attempts":1,"closed_by":"remote","local_port":40000,"stdout_bytes":0,"stderr_bytes":0,\
"seconds":{"connect":0.001,"auth":0.01,"run":0.02,"close":0.001,"total":0.031}}
{"event":"run_finished","run":"r1","t":5.2,"counts":{"timeout":1},"exit_code":0,"seconds":5.2,\
"ports":{"peak":64,"closed_by":{"remote":1,"local":0,"reset":0},"time_wait_left":0}}
"""


def show(*events: Event) -> bytes:
    ndjson = Ndjson()
    outbox = Outbox()
    for event in events:
        outbox.put(ndjson.feed(event))
    outbox.put(ndjson.close())
    batch = outbox.take()
    assert batch.stderr == b""
    return batch.stdout


def objects(*events: Event) -> list[dict[str, Any]]:
    return [json.loads(line) for line in show(*events).split(b"\n")[:-1]]


def test_a_run_to_the_byte() -> None:
    lines = show(
        run_started("db1"),
        host_started("db1"),
        output("db1", "grün\n".encode(), t=0.5),
        host_finished(
            "db1",
            Status.TIMEOUT,
            error=failure(ErrorKind.TIMEOUT, Phase.RUN, "the command ran longer than 5 s"),
            t=5.1234567,
        ),
        run_finished(
            {Status.TIMEOUT: 1, Status.OK: 0},
            seconds=5.2,
            ports=PortUse(peak=64, closed_by={ClosedBy.REMOTE: 1}, time_wait_left=0),
        ),
    )
    assert lines.decode() == GOLDEN


def test_the_fate_of_a_command_that_was_given_up_on_is_reported() -> None:
    given_up = replace(failure(ErrorKind.STOPPED, Phase.RUN, "the run was stopped"), fate=Fate.UNKNOWN)
    (line,) = objects(host_finished("h", Status.CANCELLED, error=given_up))
    assert line["error"] == {
        "kind": "stopped",
        "phase": "run",
        "message": "the run was stopped",
        "fate": "unknown",
    }


def test_what_was_torn_is_not_joined_to_the_next_attempt() -> None:
    lines = objects(output("h", b"gr\xc3"), host_started("h", attempt=2), output("h", b"\xbcn"))
    assert [line.get("data") or line.get("data_b64") or line["event"] for line in lines] == [
        "gr",
        "ww==",
        "host_started",
        "vG4=",
    ]


def test_a_character_torn_between_chunks_is_text() -> None:
    lines = objects(output("h", b"gr\xc3", t=1), output("h", b"\xbcn", t=2))
    assert [(line["t"], line["data"]) for line in lines] == [(1, "gr"), (2, "ün")]


def test_a_chunk_that_is_only_the_beginning_of_a_character_gives_no_line_yet() -> None:
    assert [
        line["data"] for line in objects(output("h", b"\xe2"), output("h", b"\x82"), output("h", b"\xac"))
    ] == ["€"]


def test_what_never_became_a_character_comes_before_host_finished_and_after_its_time() -> None:
    lines = objects(output("h", b"a\xe2", t=1), output("g", b"b", t=2), host_finished("h", t=3))
    assert [(line["event"], line["t"]) for line in lines] == [
        ("stdout", 1),
        ("stdout", 2),
        ("stdout", 3),
        ("host_finished", 3),
    ]
    assert base64.b64decode(lines[2]["data_b64"]) == b"\xe2"


def test_bytes_held_when_a_run_breaks_off_are_not_lost() -> None:
    lines = objects(output("h", b"\xe2", t=1), output("g", b"b", t=2))
    assert [line["t"] for line in lines] == [2, 2]
    assert base64.b64decode(lines[1]["data_b64"]) == b"\xe2"


def test_a_line_is_harmless_to_a_terminal_and_to_readers_of_lines() -> None:
    text = "\x1b[2J \x7f \u009b \u202e \u2028 \u0085 \\\u202e\n"
    line = show(output("h", text.encode()))
    assert len(line.decode().splitlines()) == 1
    assert rb"\u001b[2J \u007f \u009b \u202e \u2028 \u0085 \\\u202e\n" in line
    assert json.loads(line)["data"] == text


def test_a_lone_surrogate_does_not_get_through() -> None:
    started = RunStarted(run="r1", t=0.0, command="echo \udcff", hosts=("h\ud800",), fanout=1, version="0")
    line = json.loads(show(started).decode())
    assert (line["command"], line["hosts"]) == ("echo \ufffd", ["h\ufffd"])


def chunks() -> st.SearchStrategy[list[Output]]:
    piece = st.one_of(
        st.binary(max_size=5),
        st.text(max_size=4).map(str.encode),
        st.sampled_from([b"\xe2", b"\x82", b"\xac", b"\xf0\x9f", b"\x98\x80"]),
    )
    return st.lists(
        st.builds(output, st.sampled_from(["a", "b"]), piece, stream=st.sampled_from(["stdout", "stderr"]))
    )


@given(chunks(), st.sampled_from([[], ["a"], ["b", "a"]]))
def test_all_data_joined_is_the_exact_stream(outputs: list[Output], finished: list[str]) -> None:
    endings = [host_finished(host) for host in finished]
    joined: dict[tuple[str, str], bytes] = {}
    for line in objects(*outputs, *endings):
        if line["event"] in {"stdout", "stderr"}:
            data = line["data"].encode() if "data" in line else base64.b64decode(line["data_b64"])
            assert data
            key = (line["host"], line["event"])
            joined[key] = joined.get(key, b"") + data
    sent: dict[tuple[str, str], bytes] = {}
    for event in outputs:
        if event.data:
            sent[event.host, event.stream] = sent.get((event.host, event.stream), b"") + event.data
    assert joined == sent


@given(st.text(), st.lists(st.integers(min_value=0)))
def test_text_is_never_sent_as_base64_however_it_was_cut(text: str, cuts: list[int]) -> None:
    stream = text.encode()
    places = sorted({0, *(cut % (len(stream) + 1) for cut in cuts), len(stream)})
    pieces = [output("h", stream[start:end]) for start, end in pairwise(places)]
    lines = objects(*pieces, host_finished("h"))
    assert "".join(line["data"] for line in lines[:-1]) == text
