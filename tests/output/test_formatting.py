"""Statuses and times for people."""

from __future__ import annotations

import pytest

from multirsh.model import Status
from multirsh.output.formatting import (
    TROUBLES,
    Style,
    clock,
    duration,
    format_ending,
    format_status,
    paint,
    plural,
)
from tests.output.events import host_finished


def test_every_status_but_ok_is_a_trouble_and_has_one_place() -> None:
    assert sorted(TROUBLES) == sorted(set(Status) - {Status.OK})


def test_status_words() -> None:
    assert format_status(Status.NOT_RUN) == "not run"


def test_ending_words() -> None:
    assert format_ending(host_finished("h", Status.FAILED, exit_status=3)) == "exit 3"
    assert format_ending(host_finished("h", Status.FAILED)) == "failed"  # as a copy does
    assert format_ending(host_finished("h", Status.SIGNALLED, signal="KILL")) == "KILL"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0.0 s"),
        (3.21, "3.2 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (245.2, "4 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7627, "2 h 07 min"),
    ],
)
def test_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "shown"), [(-1.0, "0:00"), (5.4, "0:05"), (59.6, "1:00"), (754, "12:34"), (3723, "1:02:03")]
)
def test_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_plural() -> None:
    assert (plural(1, "host"), plural(2, "host"), plural(0, "host")) == ("1 host", "2 hosts", "0 hosts")


def test_a_painted_text_ends_its_own_style() -> None:
    assert paint("web1:", Style.STDOUT_HOST, color=True) == "\x1b[36mweb1:\x1b[0m"


def test_without_color_style_or_text_nothing_is_added() -> None:
    assert paint("ok", Style.GOOD, color=False) == "ok"
    assert paint("ok", None, color=True) == "ok"
    assert paint("", Style.GOOD, color=True) == ""
