"""How outputs that are shown together look: a header with the hosts, then what they wrote."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from multirsh.inventory import fold
from multirsh.model import Status
from multirsh.output.batch import Write
from multirsh.output.escape import escape_text
from multirsh.output.gather.collector import Written
from multirsh.output.options import OutputOptions
from multirsh.output.style import Style
from multirsh.output.surface import surfaces
from multirsh.output.words import ending_words

_RULE: Final = "----"
_STYLES: Final = {b"+": Style.GOOD, b"-": Style.BAD, b"@": Style.STDOUT_HOST}
_WIDEST: Final = 80
"""Columns of a rule at the most: beyond them it is only far to go for the eye."""


def unended_words(written: Written) -> str:
    """What tells an output from another one that looks the same; empty where there is none."""
    if not written.unended:
        return ""
    which = f" of {' and '.join(written.unended)}" if len(written.texts) > 1 else ""
    return f"no newline at the end{which}"


class Page:
    """Words for stdout.

    Args:
        options: ``prefix`` (no headers without it), and what stdout is.
    """

    def __init__(self, options: OutputOptions) -> None:
        self._surface = surfaces(options)["stdout"]
        self._stdio = options.stdio
        self._has_headers = options.prefix

    def block(self, written: Written, *, counted: bool) -> Iterator[Write]:
        """A header, and all that was written, stream by stream.

        Args:
            written: Its output.
            counted: Whether the header has the number of hosts.
        """
        yield from self.header(written, counted=counted, note=unended_words(written))
        for text in written.texts.values():
            yield from self._shown(text.pieces())

    def header(self, written: Written, *, counted: bool, note: str = "") -> Iterator[Write]:
        """The hosts, folded, how many there are, and how they ended if not well."""
        if not self._has_headers:
            return
        facts = [str(len(written.hosts))] if counted else []
        if written.ending.status is not Status.OK:
            facts.append(ending_words(written.ending))
        if note:
            facts.append(note)
        yield self.rule(written.hosts, facts)

    def rule(self, hosts: Sequence[str], facts: Sequence[str] = ()) -> Write:
        """A line with folded names of hosts, and what is said of them in parentheses."""
        names = f"{_RULE} {escape_text(fold(hosts))}" + (f" ({', '.join(facts)})" if facts else "")
        rule = ""
        if self._surface.is_terminal:
            columns = min(self._stdio.stdout_width(), _WIDEST) - 1
            rule = " " + "-" * max(4, columns - len(names) - 1)
        return self.line(self._surface.paint(names + rule))

    def change(self, line: bytes) -> Write:
        """A line of a difference in the unified format, with its end; its first byte tells what it is."""
        style = _STYLES.get(line[:1])
        shown = self._surface.lines(line)
        if style is None:
            return Write("stdout", shown)
        before, _, after = self._surface.paint("\0", style).encode().partition(b"\0")
        return Write("stdout", before + shown[:-1] + after + b"\n")

    @staticmethod
    def line(text: str) -> Write:
        """A line of our own."""
        return Write("stdout", f"{text}\n".encode())

    def _shown(self, pieces: Iterable[bytes]) -> Iterator[Write]:
        """Exact for a pipe or a file, but for the end that a last line may lack; escaped for a terminal."""
        last = b"\n"
        for shown in self._surface.pieces(pieces):
            last = shown[-1:] or last
            yield Write("stdout", shown)
        if last != b"\n":
            yield Write("stdout", b"\n")
