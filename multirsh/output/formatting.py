"""How things look as text: colours, statuses, times, sizes, and a remote's bytes on each of our streams.

Only multirsh's own words are coloured: a remote's bytes never are. The colours are the terminal's own eight,
which its user chose to be readable on dark or on light.

Source: ECMA-48 section 8.3.117 (SGR).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from multirsh.events import Copied, HostFinished
from multirsh.model import Status
from multirsh.output.batch import Stream
from multirsh.output.escape import escape_lines, escape_text, torn_tail
from multirsh.output.options import OutputOptions
from multirsh.waits import Awaited, Wait

TROUBLES: Final = (
    Status.FAILED,
    Status.SIGNALLED,
    Status.TIMEOUT,
    Status.LOST,
    Status.HOSTKEY,
    Status.AUTH,
    Status.UNREACHABLE,
    Status.LOCAL,
    Status.CANCELLED,
    Status.NOT_RUN,
)
"""Every status but ok, in the order in which people see them: first where the command ran and failed, then
where it may be half done, then where it never began (a changed host key before a wrong password before a host
that is down), last what was given up because the run stopped."""

_AWAITED: Final = {
    Awaited.GATE: "the gate",
    Awaited.ANSWER: "an answer",
    Awaited.BATCH_DELAY: "the next batch",
    Awaited.PORT: "a local port",
    Awaited.START_RATE: "the start rate",
    Awaited.HANDSHAKES: "logins to end",
    Awaited.SERVER: "servers to take logins",
    Awaited.RETRY: "the next attempt",
    Awaited.NAME: "names to be looked up",
    Awaited.BARRIER: "the others to log in",
}

_MINUTE: Final = 60
_HOUR: Final = 3600
_KILO: Final = 1000
_ONE_DIGIT: Final = 9.95
"""The number from which sizes are rounded to whole units."""
_ASCII_END: Final = 0x80


class Style(enum.Enum):
    """A colour, named after its use; the value is SGR's parameter."""

    STDOUT_HOST = "36"
    """The host name before a line of standard output: cyan."""
    STDERR_HOST = "35"
    """The host name before a line of standard error: magenta, not red, since programs report harmless things
    there."""
    GOOD = "32"
    """Green."""
    BAD = "31"
    """Red."""
    FAINT = "2"
    """For what may be overlooked."""


def paint(text: str, style: Style | None, *, color: bool) -> str:
    """Colour ``text``; without ``color``, without a style, or if it is empty, it is unchanged."""
    if not color or style is None or not text:
        return text
    return f"\x1b[{style.value}m{text}\x1b[0m"


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """How one of our streams shows the bytes of a remote and our own words.

    Attributes:
        is_terminal: Whether a remote's bytes are escaped.
        color: Whether our own words are coloured.
        host_style: The style of host names.
    """

    is_terminal: bool
    color: bool
    host_style: Style

    def lines(self, lines: bytes) -> bytes:
        """Escape whole lines of a remote, if the stream is a terminal."""
        return escape_lines(lines) if self.is_terminal else lines

    def pieces(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Escape a remote's text that comes in pieces, cut anywhere, if the stream is a terminal."""
        if not self.is_terminal:
            yield from pieces
            return
        held = b""
        for piece in pieces:
            text = held + piece
            # A character is escaped as a whole, and a CR by what comes after it.
            end = len(text) - (torn_tail(text) or int(text.endswith(b"\r")))
            held = text[end:]
            yield escape_lines(text[:end])
        yield escape_lines(held)

    def prefix(self, host: str) -> bytes:
        """Make what stands before a line of a host: its name, coloured, a colon and a blank."""
        name = f"{escape_text(host)}:"
        return (paint(name, self.host_style, color=True) if self.color else name).encode() + b" "

    def paint(self, text: str, style: Style | None = None) -> str:
        """Colour our own words; without a style, as a host's name."""
        return paint(text, style or self.host_style, color=self.color)


def stream_formats(options: OutputOptions) -> dict[Stream, StreamFormat]:
    """Make the formats of both of our streams."""
    stdio = options.stdio
    return {
        "stdout": StreamFormat(stdio.stdout_is_terminal, options.stdout_color, Style.STDOUT_HOST),
        "stderr": StreamFormat(stdio.stderr_is_terminal, options.stderr_color, Style.STDERR_HOST),
    }


def format_status(status: Status) -> str:
    """Write a status in plain words, such as ``not run``."""
    return status.value.replace("_", " ")


def format_ending(finished: HostFinished) -> str:
    """Say how a host ended, in one or two words: ``exit 3``, ``KILL``, else its status."""
    if finished.status is Status.FAILED and finished.exit_status is not None:  # a copy has none
        return f"exit {finished.exit_status}"
    return escape_text(finished.signal) if finished.signal else format_status(finished.status)


def format_copied(event: Copied) -> str | None:
    """Say what went wrong with a file, why it was left out, or what was not kept; ``None`` if all is well."""
    if event.error:
        words = event.error
    elif event.skipped and event.skipped != "unchanged":
        words = f"left out: {event.skipped}"
    elif event.note:
        words = f"copied, but {event.note}"
    else:
        return None
    return f"{escape_text(event.path)}: {escape_text(words)}"


def format_waits(waits: Iterable[Wait], now: float) -> str:
    """List what a run waits for, such as ``the gate, a local port (12, the first in 0:42)``.

    Args:
        waits: What it waits for.
        now: Seconds, by the clock of their ``until``.
    """
    return ", ".join(_format_wait(wait, now) for wait in waits)


def _format_wait(wait: Wait, now: float) -> str:
    facts = [str(wait.hosts)] if wait.hosts else []
    if wait.until is not None and wait.until - now >= 1:
        facts.append(f"{'the first ' if wait.hosts > 1 else ''}in {clock(wait.until - now)}")
    return _AWAITED[wait.what] + (f" ({', '.join(facts)})" if facts else "")


def duration(seconds: float) -> str:
    """Write a time that is over, such as ``3.2 s``, ``4 min 05 s`` or ``2 h 07 min``."""
    if seconds < _MINUTE - 0.05:  # what would be rounded to 60.0 s is a minute
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"


def clock(seconds: float) -> str:
    """Write a time that runs, such as ``0:05`` or ``1:02:03``."""
    whole = max(0, round(seconds))
    minutes = whole // _MINUTE
    if whole < _HOUR:
        return f"{minutes}:{whole % _MINUTE:02}"
    return f"{minutes // _MINUTE}:{minutes % _MINUTE:02}:{whole % _MINUTE:02}"


def plural(count: int, noun: str) -> str:
    """Count things: ``1 host``, ``2 hosts``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def size(count: int) -> str:
    """Write a number of bytes, such as ``999 B``, ``1.5 kB`` or ``12 GB``; a kB is 1,000 bytes."""
    number = float(count)
    if number < _KILO:
        return f"{count} B"
    for unit in ("kB", "MB", "GB", "TB"):
        number /= _KILO
        if number < _KILO - 0.5 or unit == "TB":
            break
    return f"{number:.1f} {unit}" if number < _ONE_DIGIT else f"{number:.0f} {unit}"


def columns(text: str) -> int:
    """Count the columns that a text without escape sequences takes at most: what is not ASCII may be wide."""
    return sum(map(_columns_of, text))


def cut(text: str, width: int) -> str:
    """Return the beginning of ``text`` that fits into ``width`` columns."""
    taken = 0
    for place, char in enumerate(text):
        taken += _columns_of(char)
        if taken > width:
            return text[:place]
    return text


def _columns_of(char: str) -> int:
    return 1 if ord(char) < _ASCII_END else 2
