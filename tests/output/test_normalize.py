"""What is not looked at in comparing."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.errors import UsageError
from multirsh.output.normalize import Normalizer


def normalized(rules: str, line: str, *, host: str = "web1.example.com") -> str:
    return Normalizer.parse(rules).for_host(host)(line.encode() + b"\n").decode().removesuffix("\n")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("I am web1.example.com.", "I am <host>."),
        ("I am web1, not web11 or myweb1", "I am <host>, not web11 or myweb1"),
        ("WEB1:/srv", "<host>:/srv"),
        ("web1-old", "web1-old"),
    ],
)
def test_a_host_by_its_own_name(line: str, expected: str) -> None:
    assert normalized("host", line) == expected


def test_the_first_byte_of_an_address_is_no_name() -> None:
    assert normalized("host", "10 of 10.0.0.7", host="10.0.0.7") == "10 of <host>"


@pytest.mark.parametrize(
    "time",
    [
        "12:34",
        "12:34:56",
        "12:34:56.789",
        "3:04 PM",
        "2026-11-20",
        "2026-11-20T12:34:56Z",
        "2026-11-20 12:34:56.789+01:00",
        "2026-11-20 12:34:56 UTC",
        "Nov 20 12:34:56",
        "Nov  2 12:34:56",
        "Fri Nov 20 12:34:56 UTC 2026",
        "Fri Nov 20 12:34:56 2026",
        "Fri, 20 Nov 2026 12:34:56 +0000",
        "20 Nov 2026",
    ],
)
def test_times(time: str) -> None:
    assert normalized("time", f"at {time}, ok") == "at <time>, ok"


@pytest.mark.parametrize("other", ["1.2.3", "a:12", "version 12", "::1", "fe80::12:34", "May be", "12345"])
def test_what_is_no_time(other: str) -> None:
    assert normalized("time", f"at {other}, ok") == f"at {other}, ok"


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.7",
        "255.255.255.255",
        "::1",
        "fe80::1%eth0",
        "2001:db8::8a2e:370:7334",
        "1:2:3:4:5:6:7:8",
        "::",
    ],
)
def test_addresses(address: str) -> None:
    assert normalized("ip", f"from {address} port 22") == "from <ip> port 22"


@pytest.mark.parametrize("other", ["1.2.3.4.5", "256.1.1.1", "1.2.3", "std::vector", "12:34:56"])
def test_what_is_no_address(other: str) -> None:
    assert normalized("ip", f"from {other} x") == f"from {other} x"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sshd[123]: hi", "sshd[<pid>]: hi"),
        ("pid 123", "pid <pid>"),
        ("PID=123,", "PID=<pid>,"),
        ("process 77 died", "process <pid> died"),
        ("rapid 123", "rapid 123"),
    ],
)
def test_process_ids(line: str, expected: str) -> None:
    assert normalized("pid", line) == expected


def test_expressions_of_ones_own_may_have_commas_and_slashes() -> None:
    assert normalized(r"/load average: .*, .*/,/usr\/s?bin/,pid", "x[1] usr/bin load average: 1, 2") == (
        "x[<pid>] <*> <*>"
    )


def test_times_go_before_addresses() -> None:
    assert normalized("ip,time", "12:34:56 from 10.0.0.1") == "<time> from <ip>"


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("hots", "'hots' is not a rule"),
        ("host,tme", "'tme' is not a rule"),
        ("//", "between two slashes"),
        ("/a", "between two slashes"),
        ("/(/", "missing )"),
        ("/a{99999999999}/", "too large"),
        (f"/{'(' * 5000}/", "recursion"),
    ],
)
def test_bad_rules(rules: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        Normalizer.parse(rules)


@pytest.mark.filterwarnings("error")
def test_an_expression_with_a_future_is_taken_as_it_is_meant_now() -> None:
    assert normalized("/[[x]+/", "a[[x]b") == "a<*>]b"


def test_an_expression_may_be_of_bytes_that_are_no_text() -> None:
    assert Normalizer.parse("/\udcff+/").for_host("web1")(b"a\xff\xffb\n") == b"a<*>b\n"


LINES = st.lists(
    st.sampled_from(["load 1", "Jan 12", "2024 a", "12:30", "PM", "pid:", " 123", "Mon,", "web1", "x", ""])
)


@pytest.mark.parametrize("rules", ["/^load.*/", "/1$/", r"/\s+/", "/^$/", "/x*/,/<.>/", "host,ip,time,pid"])
@given(lines=LINES)
def test_no_rule_sees_beyond_a_line(rules: str, lines: list[str]) -> None:
    """How many come at once is the network's doing, and must not make equals differ."""
    together = normalized(rules, "\n".join(lines))
    assert together == "\n".join(normalized(rules, line) for line in (lines or [""]))


@given(st.binary(max_size=200))
def test_any_bytes_are_taken(line: bytes) -> None:
    Normalizer.parse("host,ip,time,pid").for_host("web1")(line)
