r"""When the progress line is drawn and cleared, so that it never tears the text above it.

The line is the last thing on the terminal. Text goes out as *clear, text, line again*, in one batch. The
cursor is left at the beginning of the line:

- whatever else writes there (``^C`` as the terminal echoes it, a message of the kernel) overwrites our line
  and does not follow it;
- where a terminal that became narrower breaks the line in two, the cursor stays at the first of them, and
  ``ESC [ J`` clears from there to the end of the screen. ``ESC [ K`` would leave one behind.

The same holds for the details below it, while there are any: the cursor goes back up to the first line (CUU).
A terminal of few lines shows no details. Nothing is drawn while the user types there. While output is
gathered, the last lines of the hosts that wrote last show that something goes on.

Where nothing can be drawn over, but progress was requested, it gets a line of its own now and then.

Sources: ECMA-48 sections 8.3.39 (ED) and 8.3.22 (CUU).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from multirsh.events import Event, HostFinished, Output
from multirsh.output.batch import Batch, Stream, Write
from multirsh.output.escape import escape_text
from multirsh.output.formatting import Style, cut, paint
from multirsh.output.options import Drawing, OutputOptions
from multirsh.output.progress import RunProgress

REFRESH_S: Final = 0.125
"""Between two updates of the line: eight a second are as many as are read, and slow links can carry."""
DELAY_S: Final = 0.3
"""A run that is over sooner is over before a line could be read."""
LINES_S: Final = 10.0
"""Between two progress lines where each stays."""
LOWEST: Final = 10
"""The lines of the lowest terminal that shows details."""
LATEST_HOSTS: Final = 3
"""The hosts of which the last line is shown."""
LONGEST_BYTES: Final = 1024
"""The end of a chunk in which its last line is looked for: a terminal's line holds no more."""

_CLEAR: Final = Write("stderr", b"\r \x1b[J\r")
"""The blank is for tmux, which takes ED at the top left corner for the clearing of a screen and saves that in
its history (scroll-on-clear): every drawing would stay there."""

_INTERVAL_S: Final = {Drawing.NONE: None, Drawing.REDRAWN: REFRESH_S, Drawing.LINES: LINES_S}


class LatestLines:
    """The last line of each of the hosts that wrote last, while their output is not shown as it comes.

    Args:
        streams: The streams that count.
    """

    def __init__(self, streams: Collection[Stream]) -> None:
        self._streams = frozenset(streams)
        self._lines: dict[str, bytes] = {}

    def feed(self, event: Event) -> None:
        """Take the next event."""
        if isinstance(event, HostFinished):
            self._lines.pop(event.host, None)
        elif isinstance(event, Output) and event.stream in self._streams:
            # A chunk may end in the middle of a line, and that middle is news, too.
            line = event.data[-LONGEST_BYTES:].rstrip().rpartition(b"\n")[2]
            if line.strip():
                self._lines.pop(event.host, None)
                self._lines[event.host] = line
                if len(self._lines) > LATEST_HOSTS:
                    del self._lines[next(iter(self._lines))]

    def lines(self, width: int) -> list[str]:
        """Format the lines, the newest last.

        Args:
            width: Columns that each may take.

        Returns:
            Lines without ends, safe on a terminal.
        """
        # A tab would be wider than it counts.
        texts = {host: line.decode(errors="replace").replace("\t", " ") for host, line in self._lines.items()}
        return [cut(f"{escape_text(host)}: {escape_text(text)}", width) for host, text in texts.items()]


class StatusLine:
    """Puts the progress line below the text.

    Args:
        options: How progress is drawn, and on what.
        progress: Words the line.
        latest_of: The streams of which the last lines are shown below it.

    Attributes:
        is_held: Whether nothing is drawn for now, since a person types an answer.
    """

    def __init__(
        self, options: OutputOptions, progress: RunProgress, *, latest_of: Collection[Stream] = ()
    ) -> None:
        self._options = options
        self._progress = progress
        self._latest = LatestLines(latest_of)
        self._updated_at = float("-inf")
        self._line = b""
        self._is_shown = False
        self.is_held = False

    @property
    def interval_s(self) -> float | None:
        """How often the line should be drawn even if nothing happens; ``None`` for never."""
        return _INTERVAL_S[self._options.drawing]

    def feed(self, event: Event) -> None:
        """Take the next event, of which the last lines may be shown."""
        self._latest.feed(event)

    def below(self, text: Batch, now: float) -> Batch:
        """Add to ``text`` what clears the line before it and draws it after it.

        Args:
            text: What is written. If it ends within a line that is still to go on, the progress line waits.
            now: Monotonic seconds.
        """
        match self._options.drawing:
            case Drawing.NONE:
                return text
            case Drawing.LINES:
                return self._on_lines_of_its_own(text, now)
            case Drawing.REDRAWN:
                return self._drawn_below(text, now)

    def last(self, text: Batch) -> Batch:
        """Clear the line for good before ``text``."""
        if not self._is_shown:
            return text
        self._is_shown = False
        return Batch.merge((_CLEAR, *text.writes))

    def _drawn_below(self, text: Batch, now: float) -> Batch:
        if self.is_held or not self._options.stdio.is_ours() or self._ends_within_line(text):
            # The user types at a prompt of the shell, or an answer to us: what is on the screen stays as it
            # is.
            return self.last(text)
        is_torn = self._is_shown and self._is_on_screen(text)
        if now - self._updated_at >= REFRESH_S and now - self._progress.began >= DELAY_S:
            line = self._update(now) + b"\r"
        elif is_torn:
            line = self._line
        else:
            return text
        if self._is_shown and not is_torn and line == self._line:
            return text
        cleared = (_CLEAR,) if self._is_shown else ()
        self._line = line
        self._is_shown = True
        return Batch.merge((*cleared, *text.writes, Write("stderr", line)))

    def _on_lines_of_its_own(self, text: Batch, now: float) -> Batch:
        if now - max(self._progress.began, self._updated_at) < LINES_S or self._ends_within_line(text):
            return text
        line = self._progress_line(now, alone=True) + b"\n"
        return Batch.merge((*text.writes, Write("stderr", line)))

    def _update(self, now: float) -> bytes:
        """Format the line, and the details if the terminal has lines enough for them."""
        is_alone = self._options.stdio.height() < LOWEST
        line = self._progress_line(now, alone=is_alone)
        return line if is_alone else line + self._details(now)

    def _progress_line(self, now: float, *, alone: bool) -> bytes:
        self._updated_at = now
        width = (
            self._options.stdio.width() - 1
        )  # terminals differ in what they do when the last column is filled
        return self._progress.render(width, now, color=self._options.stderr_color, alone=alone).encode()

    def _details(self, now: float) -> bytes:
        width = self._options.stdio.width() - 1
        details = self._progress.details(width, now)
        lines = [paint(line, Style.FAINT, color=self._options.stderr_color) for line in details]
        lines += self._latest.lines(width)
        return "".join(f"\n{line}" for line in lines).encode() + (b"\x1b[%dA" % len(lines) if lines else b"")

    def _ends_within_line(self, text: Batch) -> bool:
        """Whether the progress line would be drawn into a line that goes on."""
        last = next((write for write in reversed(text.writes) if write.target in self._on_screen), None)
        return last is not None and not last.data.endswith(b"\n")

    def _is_on_screen(self, text: Batch) -> bool:
        """Whether any of the text goes to the terminal."""
        return any(write.target in self._on_screen for write in text.writes)

    @property
    def _on_screen(self) -> Collection[object]:
        """The targets that are the terminal; stderr is, or nothing would be drawn."""
        return ("stdout", "stderr") if self._options.stdio.stdout_is_terminal else ("stderr",)
