"""Statuses, times, sizes and colours as people read them, the same in the progress line and in the summary.

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


class Style(enum.Enum):
    """A colour by its use; the value is SGR's parameter."""

    STDOUT_HOST = "36"
    """The name before a line of standard output: cyan."""
    STDERR_HOST = "35"
    """The name before a line of standard error: magenta. Not red: programs say harmless things there."""
    GOOD = "32"
    """Green."""
    BAD = "31"
    """Red."""
    FAINT = "2"
    """What may be overlooked."""


def paint(text: str, style: Style | None, *, color: bool) -> str:
    """Put ``text`` into a style; unchanged without ``color``, without a style, or where it is empty."""
    if not color or style is None or not text:
        return text
    return f"\x1b[{style.value}m{text}\x1b[0m"


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
"""Every status but ok, as people are told of them: first where the command ran and went wrong, then where it
may be half done, then where it never began (a changed host key before a wrong password before a host that is
down), last what was given up because the run stopped."""

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
_FINE: Final = 9.95
"""Up to here a tenth is told."""


def status_words(status: Status) -> str:
    """A status as two words where it has two."""
    return status.value.replace("_", " ")


def ending_words(finished: HostFinished) -> str:
    """How a host ended, in one or two words: ``exit 3``, ``KILL``, else its status."""
    if finished.status is Status.FAILED and finished.exit_status is not None:  # a copy has none
        return f"exit {finished.exit_status}"
    return escape_text(finished.signal) if finished.signal else status_words(finished.status)


def copied_words(event: Copied) -> str | None:
    """What went wrong with a file, why it was left out, or what was not kept; ``None`` for nothing."""
    if event.error:
        words = event.error
    elif event.skipped and event.skipped != "unchanged":
        words = f"left out: {event.skipped}"
    elif event.note:
        words = f"copied, but {event.note}"
    else:
        return None
    return f"{escape_text(event.path)}: {escape_text(words)}"


def duration(seconds: float) -> str:
    """A time that is over, such as ``3.2 s``, ``4 min 05 s`` or ``2 h 07 min``."""
    if seconds < _MINUTE - 0.05:  # what would be rounded to 60.0 s is a minute
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"


def clock(seconds: float) -> str:
    """A time that runs, such as ``0:05`` or ``1:02:03``."""
    whole = max(0, round(seconds))
    minutes = whole // _MINUTE
    if whole < _HOUR:
        return f"{minutes}:{whole % _MINUTE:02}"
    return f"{minutes // _MINUTE}:{minutes % _MINUTE:02}:{whole % _MINUTE:02}"


def waits_words(waits: Iterable[Wait], now: float) -> str:
    """What a run waits for, such as ``the gate, a local port (12, the first in 0:42)``.

    Args:
        waits: Each thing.
        now: By the clock of their ``until``.
    """
    return ", ".join(_wait_words(wait, now) for wait in waits)


def _wait_words(wait: Wait, now: float) -> str:
    facts = [str(wait.hosts)] if wait.hosts else []
    if wait.until is not None and wait.until - now >= 1:
        facts.append(f"{'the first ' if wait.hosts > 1 else ''}in {clock(wait.until - now)}")
    return _AWAITED[wait.what] + (f" ({', '.join(facts)})" if facts else "")


def plural(count: int, noun: str) -> str:
    """``1 host``, ``2 hosts``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def size(count: int) -> str:
    """Bytes, such as ``999 B``, ``1.5 kB`` or ``12 GB``; a kB is 1,000."""
    number = float(count)
    if number < _KILO:
        return f"{count} B"
    for unit in ("kB", "MB", "GB", "TB"):
        number /= _KILO
        if number < _KILO - 0.5 or unit == "TB":
            break
    return f"{number:.1f} {unit}" if number < _FINE else f"{number:.0f} {unit}"


_ASCII_END: Final = 0x80


def columns(text: str) -> int:
    """Columns of a text without escape sequences."""
    return sum(map(_columns_of, text))


def cut(text: str, width: int) -> str:
    """The beginning of ``text`` that fits into ``width`` columns."""
    taken = 0
    for place, char in enumerate(text):
        taken += _columns_of(char)
        if taken > width:
            return text[:place]
    return text


def _columns_of(char: str) -> int:
    return 1 if ord(char) < _ASCII_END else 2


@dataclass(frozen=True, slots=True)
class Surface:
    """One of our streams.

    Attributes:
        is_terminal: Whether remote bytes are escaped.
        color: Whether our own words are coloured.
        host_style: The style of host names there.
    """

    is_terminal: bool
    color: bool
    host_style: Style

    def lines(self, lines: bytes) -> bytes:
        """Whole lines of a remote, as they may be shown."""
        return escape_lines(lines) if self.is_terminal else lines

    def pieces(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """A remote's text that comes in pieces, cut anywhere, as it may be shown."""
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

    def paint(self, text: str, style: Style | None = None) -> str:
        """Words of our own; a host's name, where no style is given."""
        return paint(text, style or self.host_style, color=self.color)


def surfaces(options: OutputOptions) -> dict[Stream, Surface]:
    """Both of them."""
    stdio = options.stdio
    return {
        "stdout": Surface(stdio.stdout_is_terminal, options.stdout_color, Style.STDOUT_HOST),
        "stderr": Surface(stdio.stderr_is_terminal, options.stderr_color, Style.STDERR_HOST),
    }
