r"""What is really run on the remote: a shell that waits for the command, runs it, and tells how it ended.

rsh brings no exit status, ends standard input only by a half-close (which
would make us the first to close), and has servers that cut a command off at
1 kB. So the command that in.rshd is given is always the same line: it makes
the user's login shell become /bin/sh with the script below. What passes then
on the connections::

    we                                   the script
    ◀─────────────────────────────────── KEY[              on stdout and on stderr: it is there, and reads
    12\n                                 how many bytes of input there will be
    echo hello; exit 3\n ──────────────▶ the command, escaped so that it is one line
    12 bytes of input ─────────────────▶ by head(1) into a pipe; for 0, /dev/null is the input
    ◀─────────────────────────────────── hello
    ◀─────────────────────────────────── KEY]3;            on stdout and on stderr: it has ended, with 3
                                         reads what is left of the input, and exits: the remote's FIN

KEY is made anew for each connection, so output cannot look like a marker by
chance. Since the ending is on both streams, all output of the command has
come once both have been seen, and nothing has to be waited for by the clock.
All input is read, as a socket that is closed with input unread sends a reset.
An empty command is a goodbye: the script exits without running anything.

The line that in.rshd gives to the login shell holds nothing that sh, csh,
fish and their kin read differently: no quote within the quotes, no backslash,
no exclamation mark, no line feed, nothing but ASCII. Within the script: $0 is
KEY; descriptor 3 is the stderr that the command gets, while the script's own
is /dev/null, so that no shell tells there of a child that a signal ended; and
"read" takes one byte at a time from a socket (POSIX: no more than the line).
"""

from __future__ import annotations

import enum
import re
import secrets
from typing import Final

from multirsh.model import Exited
from multirsh.sh_text import LONGEST_ARGUMENT, escaped

_PARTS: Final = (
    "exec 3>&2 2>/dev/null",
    '__m(){ printf %s "$0$1";printf %s "$0$1">&3;}',
    # In a subshell: dash redirects its own stderr, too, while it waits for a command that has redirections.
    '__r(){ (exec "${SHELL:-/bin/sh}" -c "$__c" 2>&3 3>&-);__m "]$?;";}',
    "__m [",
    "IFS= read -r __n&&IFS= read -r __c||exit",
    # The slash keeps trailing line feeds, which command substitution would drop.
    '__c=$(printf %b/ "$__c")',
    "__c=${__c%/}",
    # After the command, cat takes what head still has, so that head reads all that was sent.
    "case $__n in 0)__r</dev/null;;[1-9]*)head -c $__n|{ __r;cat>/dev/null;};;esac",
)

SCRIPT: Final = ";".join(_PARTS)
"""Run by /bin/sh with KEY as its $0."""

GOODBYE: Final = b"\n\n"
"""What ends a script that waits for its command; nothing is run."""

LONGEST_PRELUDE: Final = 64 * 1024
"""Bytes that may come before the script begins; more than that is no shell's start-up."""

_ENDING: Final = re.compile(rb"\]([0-9]{1,5});")
_LONGEST_ENDING: Final = len(b"]00000;")


def make_key() -> bytes:
    """A key that no output holds by chance: 64 random bits, in hexadecimal."""
    return secrets.token_hex(8).encode()


def line(key: bytes) -> bytes:
    """The command for in.rshd: whatever the user's login shell is, it becomes the script."""
    return b"exec /bin/sh -c '%b' %b" % (SCRIPT.encode("ascii"), key)


def order(command: bytes, input_bytes: int) -> bytes:
    """Word what the script reads before the input itself.

    Args:
        command: Any bytes but NUL; not empty.
        input_bytes: How much input will follow.

    Raises:
        ValueError: It is empty, holds a NUL, or has more than ``LONGEST_ARGUMENT`` bytes.
    """
    if not command or b"\0" in command:
        raise ValueError("a command cannot be empty or hold a NUL byte")
    if len(command) > LONGEST_ARGUMENT:
        raise ValueError(f"a shell takes a command of {LONGEST_ARGUMENT} bytes at the most")
    return b"%d\n%b\n" % (input_bytes, escaped(command))


class Part(enum.Enum):
    """Where in a stream we are."""

    BEFORE = "before"
    """The script has not begun: what comes is of in.rshd, or of the login shell's start-up files."""
    INSIDE = "inside"
    """The script has begun: what comes is the command's."""
    AFTER = "after"
    """The command has ended: what comes is of something that it left running."""


class MarkerFinder:
    """Finds the command's own output in one stream, however it is cut into pieces.

    Attributes:
        part: Where in the stream we are.
        prelude: What came before the script began: nobody's output, but the reason if it never begins.
        outcome: How the command ended; ``None`` until ``part`` is ``AFTER``.
    """

    def __init__(self, key: bytes, *, beginnings: int = 1) -> None:
        """Begin.

        Args:
            key: As given to ``line``.
            beginnings: How many markers begin the stream: 2 where stdout and stderr are one.
        """
        self._beginning = (key + b"[") * beginnings
        self._key = key
        self._held = b""
        self.part = Part.BEFORE
        self.prelude = b""
        self.outcome: Exited | None = None

    def feed(self, data: bytes) -> bytes:
        """Take more of what came; the output of the command in it.

        Only what may be the beginning of a marker is held back: fewer bytes than a marker has.
        """
        if self.part is Part.BEFORE:
            data = self._begin(data)
        if self.part is Part.INSIDE:
            return self._inside(data)
        return b""

    def end(self) -> bytes:
        """The stream has ended: what was held back was no marker."""
        held, self._held = self._held, b""
        return held if self.part is Part.INSIDE else b""

    def _begin(self, data: bytes) -> bytes:
        """Collect the prelude; what comes after the beginning, once it is there."""
        # The search starts where the marker may have been cut.
        start = max(0, len(self.prelude) - len(self._beginning) + 1)
        came = self.prelude + data
        found = came.find(self._beginning, start)
        if found < 0:
            self.prelude = came
            return b""
        self.prelude = came[:found]
        self.part = Part.INSIDE
        return came[found + len(self._beginning) :]

    def _inside(self, data: bytes) -> bytes:
        came, self._held = self._held + data, b""
        start = 0
        while (found := came.find(self._key, start)) >= 0:
            after = found + len(self._key)
            ending = _ENDING.match(came, after)
            if ending is not None:
                self.part = Part.AFTER
                self.outcome = _outcome(int(ending[1]))
                return came[:found]
            if len(came) - after < _LONGEST_ENDING and _may_become_ending(came[after:]):
                self._held = came[found:]
                return came[:found]
            start = found + 1  # the command wrote the key itself, such as by ps
        kept = _cut_key(came, self._key)
        self._held = came[len(came) - kept :]
        return came[: len(came) - kept]


_CUT_ENDING: Final = re.compile(rb"(\]([0-9]{1,5})?)?\Z")


def _may_become_ending(text: bytes) -> bool:
    return _CUT_ENDING.match(text) is not None


def _cut_key(text: bytes, key: bytes) -> int:
    """How many bytes at the end of ``text`` are the beginning of ``key``."""
    for length in range(min(len(key) - 1, len(text)), 0, -1):
        if text.endswith(key[:length]):
            return length
    return 0


def _outcome(status: int) -> Exited:
    """A shell's ``$?`` as an exit status: 128+N for signal N. ksh93 says 256+N, and that is made the same."""
    return Exited(status if status < 256 else 128 + status % 128)  # noqa: PLR2004 - exit statuses are a byte
