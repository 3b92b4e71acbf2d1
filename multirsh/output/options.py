"""How a run is shown: what stdout carries, what our streams are, and how colour and progress are decided.

The decisions are our own and not rich's: rich takes ``FORCE_COLOR`` as a sign of a terminal, and would
animate in a log file.

- **Colour**, for each stream: ``--color always|never`` > ``NO_COLOR`` (not empty) > ``FORCE_COLOR``
  (not empty) > the stream is a terminal that is not dumb.
- **Progress**: ``-q`` > ``--progress always|never`` > stderr is a terminal that is not dumb, stdout is no
  pipe, and ``CI`` is not set, since a terminal there is a log. The program that reads such a pipe (``|
  grep``, ``| tee``) may write to the same terminal, where we could not clear the line away before it does.

Sources: no-color.org, force-color.org.
"""

from __future__ import annotations

import enum
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from multirsh.output.batch import Stream
from multirsh.output.normalize import Normalizer
from multirsh.output.store import USUAL_MEMORY

USUAL_WIDTH: Final = 80
USUAL_HEIGHT: Final = 24
"""Columns and lines where the terminal does not say how many it has."""

_DUMB: Final = frozenset({"", "dumb", "unknown"})
"""``TERM`` of a terminal that cannot clear a line, or does not say what it is."""

_NO_CI: Final = frozenset({"", "0", "false"})
"""Values of ``CI`` that mean that this is no continuous integration."""


class When(enum.StrEnum):
    """Values of ``--color`` and ``--progress``."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Mode(enum.StrEnum):
    """What stdout carries."""

    LIVE = "live"
    """Remote output, ``host: line``."""
    GROUPS = "groups"
    """Equal outputs once, when the run is over."""
    BLOCKS = "blocks"
    """One block a host."""
    JSON = "json"
    """NDJSON events."""


class Drawing(enum.Enum):
    """How progress is shown on stderr."""

    NONE = "none"
    REDRAWN = "redrawn"
    """One line that is drawn over itself."""
    LINES = "lines"
    """A line of its own now and then: requested where nothing can be drawn over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stdio:
    """What kind of files our standard streams are.

    Attributes:
        stdout_is_terminal: Whether remote bytes would reach a terminal.
        stdout_is_pipe: Whether another program reads stdout.
        stderr_is_terminal: Whether a person may be watching.
        width: Returns the columns of stderr's terminal; called for each drawing, since windows change.
        height: Returns its lines, likewise.
        is_ours: Returns whether our job is in the foreground of that terminal.
        stdout_width: Returns the columns of stdout's terminal.
    """

    stdout_is_terminal: bool = False
    stdout_is_pipe: bool = False
    stderr_is_terminal: bool = False
    width: Callable[[], int] = lambda: USUAL_WIDTH
    height: Callable[[], int] = lambda: USUAL_HEIGHT
    is_ours: Callable[[], bool] = lambda: True
    stdout_width: Callable[[], int] = lambda: USUAL_WIDTH

    @classmethod
    def look(cls, *, stdout: int = 1, stderr: int = 2) -> Stdio:
        """Look at two descriptors. One that is closed is neither a terminal nor a pipe."""
        return cls(
            stdout_is_terminal=os.isatty(stdout),
            stdout_is_pipe=_is_pipe(stdout),
            stderr_is_terminal=os.isatty(stderr),
            width=lambda: _size(stderr).columns,
            height=lambda: _size(stderr).lines,
            is_ours=lambda: _is_foreground(stderr),
            stdout_width=lambda: _size(stdout).columns,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """How to show one run.

    Attributes:
        mode: What stdout carries.
        prefix: Whether live lines begin with the name of their host, and gathered output has headers (not
            with ``-N``).
        with_stderr: Whether stderr is gathered, too; else it comes as live lines.
        differences: Whether groups are shown by how they differ from the largest.
        normalizer: What is ignored when outputs are compared; ``None`` to compare everything.
        memory: Bytes of output that may be held in memory; the rest goes to disk.
        folders: The folders that get a file for each host, for stdout and for stderr.
        quiet: ``-q``: stderr gets only errors and the lists of hosts that are not ok; no counts, no notes,
            no progress. Remote output is not affected.
        stdio: What the streams are; remote bytes are escaped for terminals only.
        stdout_color: Whether host names on stdout are coloured.
        stderr_color: Whether names and words on stderr are coloured.
        drawing: How progress is shown.
    """

    mode: Mode = Mode.LIVE
    prefix: bool = True
    with_stderr: bool = False
    differences: bool = False
    normalizer: Normalizer | None = None
    memory: int = USUAL_MEMORY
    folders: Mapping[Stream, Path] = field(default_factory=dict)
    quiet: bool = False
    stdio: Stdio = Stdio()
    stdout_color: bool = False
    stderr_color: bool = False
    drawing: Drawing = Drawing.NONE

    def decided(
        self, environ: Mapping[str, str], *, color: When = When.AUTO, progress: When = When.AUTO
    ) -> OutputOptions:
        """Decide about colour and progress, from the streams and the environment."""
        stdio = self.stdio
        return replace(
            self,
            stdout_color=use_color(color, environ, is_terminal=stdio.stdout_is_terminal),
            stderr_color=use_color(color, environ, is_terminal=stdio.stderr_is_terminal),
            drawing=choose_drawing(progress, environ, stdio=stdio, quiet=self.quiet),
        )


def use_color(when: When, environ: Mapping[str, str], *, is_terminal: bool) -> bool:
    """Decide whether our own words on a stream are coloured."""
    if when is not When.AUTO:
        return when is When.ALWAYS
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return is_terminal and not is_dumb(environ)


def choose_drawing(when: When, environ: Mapping[str, str], *, stdio: Stdio, quiet: bool) -> Drawing:
    """Decide how progress is shown."""
    can_redraw = stdio.stderr_is_terminal and not is_dumb(environ)
    if quiet or when is When.NEVER:
        return Drawing.NONE
    if when is When.ALWAYS:
        return Drawing.REDRAWN if can_redraw else Drawing.LINES
    if stdio.stdout_is_pipe or environ.get("CI", "") not in _NO_CI:
        return Drawing.NONE
    return Drawing.REDRAWN if can_redraw else Drawing.NONE


def is_dumb(environ: Mapping[str, str]) -> bool:
    """Whether the terminal can show no more than lines of text."""
    return environ.get("TERM", "") in _DUMB


def _is_pipe(descriptor: int) -> bool:
    try:
        kind = os.fstat(descriptor).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)


def _is_foreground(descriptor: int) -> bool:
    """Whether no other job has the terminal, as where it has no foreground group or does not control us."""
    try:
        return os.tcgetpgrp(descriptor) in {os.getpgrp(), 0}
    except OSError:
        return True


def _size(descriptor: int) -> os.terminal_size:
    """The size of a terminal; the usual one if it does not know its own (it says 0) or is none."""
    try:
        size = os.get_terminal_size(descriptor)
    except OSError:
        return os.terminal_size((USUAL_WIDTH, USUAL_HEIGHT))
    return os.terminal_size((size.columns or USUAL_WIDTH, size.lines or USUAL_HEIGHT))
