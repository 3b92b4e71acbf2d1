"""Colour and progress, as decided from flags, environment and streams."""

from __future__ import annotations

import os
import pty

import pytest

from multirsh.output.options import Drawing, OutputOptions, Stdio, When, choose_drawing, use_color

WATCHED = Stdio(stdout_is_terminal=True, stderr_is_terminal=True)
PIPED = Stdio(stdout_is_pipe=True, stderr_is_terminal=True)
TO_A_FILE = Stdio(stderr_is_terminal=True)
UNWATCHED = Stdio()


@pytest.mark.parametrize(
    ("when", "environ", "is_terminal", "colored"),
    [
        (When.ALWAYS, {"NO_COLOR": "1"}, False, True),
        (When.NEVER, {"FORCE_COLOR": "1", "TERM": "xterm"}, True, False),
        (When.AUTO, {"NO_COLOR": "1", "FORCE_COLOR": "1", "TERM": "xterm"}, True, False),
        (When.AUTO, {"NO_COLOR": "", "TERM": "xterm"}, True, True),
        (When.AUTO, {"FORCE_COLOR": "1"}, False, True),
        (When.AUTO, {"FORCE_COLOR": "", "TERM": "xterm"}, False, False),
        (When.AUTO, {"TERM": "xterm"}, True, True),
        (When.AUTO, {"TERM": "xterm"}, False, False),
        (When.AUTO, {"TERM": "dumb"}, True, False),
        (When.AUTO, {}, True, False),
    ],
)
def test_color(when: When, environ: dict[str, str], is_terminal: bool, colored: bool) -> None:  # noqa: FBT001 - pytest passes by name
    assert use_color(when, environ, is_terminal=is_terminal) is colored


@pytest.mark.parametrize(
    ("when", "term", "stdio", "drawing"),
    [
        (When.AUTO, "xterm", WATCHED, Drawing.REDRAWN),
        (When.AUTO, "xterm", TO_A_FILE, Drawing.REDRAWN),
        (When.AUTO, "xterm", PIPED, Drawing.NONE),
        (When.AUTO, "xterm", UNWATCHED, Drawing.NONE),
        (When.AUTO, "dumb", WATCHED, Drawing.NONE),
        (When.ALWAYS, "xterm", PIPED, Drawing.REDRAWN),
        (When.ALWAYS, "dumb", WATCHED, Drawing.LINES),
        (When.ALWAYS, "xterm", UNWATCHED, Drawing.LINES),
        (When.NEVER, "xterm", WATCHED, Drawing.NONE),
    ],
)
def test_progress(when: When, term: str, stdio: Stdio, drawing: Drawing) -> None:
    assert choose_drawing(when, {"TERM": term}, stdio=stdio, quiet=False) is drawing
    assert choose_drawing(when, {"TERM": term}, stdio=stdio, quiet=True) is Drawing.NONE


@pytest.mark.parametrize(
    ("ci", "drawing"), [("true", Drawing.NONE), ("1", Drawing.NONE), ("", Drawing.REDRAWN)]
)
def test_in_ci_nothing_is_drawn_unless_asked_for(ci: str, drawing: Drawing) -> None:
    environ = {"TERM": "xterm", "CI": ci}
    assert choose_drawing(When.AUTO, environ, stdio=WATCHED, quiet=False) is drawing
    assert choose_drawing(When.ALWAYS, environ, stdio=WATCHED, quiet=False) is Drawing.REDRAWN


def test_force_color_does_not_make_a_log_file_a_terminal() -> None:
    options = OutputOptions(stdio=UNWATCHED).decided({"FORCE_COLOR": "1", "TERM": "xterm"})
    assert options.stdout_color
    assert options.drawing is Drawing.NONE


def test_a_look_at_a_terminal_and_a_pipe() -> None:
    master, terminal = pty.openpty()
    reader, writer = os.pipe()
    try:
        stdio = Stdio.look(stdout=writer, stderr=terminal)
        assert (stdio.stdout_is_terminal, stdio.stdout_is_pipe, stdio.stderr_is_terminal) == (
            False,
            True,
            True,
        )
        assert stdio.width() == 80  # a new pseudo-terminal has no size yet
    finally:
        for descriptor in (master, terminal, reader, writer):
            os.close(descriptor)


def test_a_look_at_closed_descriptors() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    stdio = Stdio.look(stdout=writer, stderr=writer)
    assert (stdio.stdout_is_terminal, stdio.stdout_is_pipe, stdio.stderr_is_terminal) == (False, False, False)
    assert stdio.width() == 80
