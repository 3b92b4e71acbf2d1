"""What the printer is told about its two streams, and how colour and progress are decided.

The decisions are our own and not rich's: rich takes ``FORCE_COLOR`` for "this
is a terminal" and would animate in a log file.

- **Colour**, for each stream: ``--color always|never`` > ``NO_COLOR`` (not empty) > ``FORCE_COLOR``
  (not empty) > the stream is a terminal that is not dumb.
- **Progress**: ``-q`` > ``--progress always|never`` > stderr is a terminal that is not dumb, stdout is no
  pipe, and ``CI`` is not set: a terminal there is a log. Whoever reads that pipe (``| grep``, ``| tee``) may
  write to the same terminal, where we could not clear the line away before they do.

Sources: no-color.org, force-color.org.
"""

from __future__ import annotations

import enum
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from multirsh.output.batch import Stream
from multirsh.output.normalize import Normalizer
from multirsh.output.store import USUAL_MEMORY

USUAL_WIDTH: Final = 80
USUAL_HEIGHT: Final = 24
"""Columns and lines, where nobody can be asked."""

_DUMB: Final = frozenset({"", "dumb", "unknown"})
"""``TERM`` of what cannot clear a line, or says nothing of itself."""

_NO_CI: Final = frozenset({"", "0", "false"})
"""``CI`` of who is not in it."""


class When(enum.StrEnum):
    """A choice that may be left to us (``--color``, ``--progress``)."""

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
    """A line of its own now and then: asked for where nothing can be drawn over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stdio:
    """What our standard streams are.

    Attributes:
        stdout_is_terminal: Whether remote bytes would reach a terminal.
        stdout_is_pipe: Whether some other program reads stdout.
        stderr_is_terminal: Whether a person may be watching.
        width: Columns of stderr's terminal, asked anew for each drawing, since windows change.
        height: Its lines, likewise.
        is_ours: Whether that terminal belongs to us now, and not to the shell or another job of it.
        stdout_width: Columns of stdout's terminal.
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
        """Look at two descriptors. One that is closed is no terminal and no pipe."""
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
    """How to print one run.

    Attributes:
        mode: What stdout carries.
        prefix: Whether live lines begin with their host's name, and gathered ones have headers (not with
            ``-N``).
        with_stderr: Whether stderr is gathered, too; else it comes as live lines.
        differences: Whether groups are shown by how they differ from the largest.
        normalizer: What is not looked at where outputs are compared; ``None`` to look at all.
        memory: Bytes of output that may be held in memory; what is more goes to disk.
        folders: Where each host's stdout and stderr also go to, a file a host.
        quiet: ``-q``: stderr gets only errors and the lists of hosts that are not ok; no counts, no notes,
            no progress. Remote output is untouched.
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

    @classmethod
    def decide(
        cls,
        *,
        stdio: Stdio,
        environ: Mapping[str, str],
        mode: Mode = Mode.LIVE,
        prefix: bool = True,
        with_stderr: bool = False,
        differences: bool = False,
        normalizer: Normalizer | None = None,
        memory: int = USUAL_MEMORY,
        folders: Mapping[Stream, Path] | None = None,
        quiet: bool = False,
        color: When = When.AUTO,
        progress: When = When.AUTO,
    ) -> OutputOptions:
        """Settle what was left open, from the streams and the environment."""
        return cls(
            mode=mode,
            prefix=prefix,
            with_stderr=with_stderr,
            differences=differences,
            normalizer=normalizer,
            memory=memory,
            folders=folders or {},
            quiet=quiet,
            stdio=stdio,
            stdout_color=use_color(color, environ, is_terminal=stdio.stdout_is_terminal),
            stderr_color=use_color(color, environ, is_terminal=stdio.stderr_is_terminal),
            drawing=choose_drawing(progress, environ, stdio=stdio, quiet=quiet),
        )


def use_color(when: When, environ: Mapping[str, str], *, is_terminal: bool) -> bool:
    """Whether our own words on a stream are coloured."""
    if when is not When.AUTO:
        return when is When.ALWAYS
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return is_terminal and not is_dumb(environ)


def choose_drawing(when: When, environ: Mapping[str, str], *, stdio: Stdio, quiet: bool) -> Drawing:
    """How progress is shown."""
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
    """A terminal that has no foreground group, or is not our controlling one, is nobody else's."""
    try:
        return os.tcgetpgrp(descriptor) in {os.getpgrp(), 0}
    except OSError:
        return True


def _size(descriptor: int) -> os.terminal_size:
    """A terminal that was never told its size says 0."""
    try:
        size = os.get_terminal_size(descriptor)
    except OSError:
        return os.terminal_size((USUAL_WIDTH, USUAL_HEIGHT))
    return os.terminal_size((size.columns or USUAL_WIDTH, size.lines or USUAL_HEIGHT))
