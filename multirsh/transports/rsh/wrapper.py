r"""The script that runs on the remote: it waits for the command, runs it, and reports how it ended.

rsh has no exit status, it ends standard input only by a half-close (which
would make this end the first to close), and some servers cut a command off at
1 kB. So in.rshd is always sent the same command, but for the key: it replaces
the user's login shell by /bin/sh with the script below. Then the connections
carry::

    multirsh                             the script
    ◀─────────────────────────────────── KEY[              on stdout and on stderr: it has begun, and reads
    12\n                                 how many bytes of input there will be
    echo hello; exit 3\n ──────────────▶ the command, escaped so that it is one line
    12 bytes of input ─────────────────▶ by head(1) into a pipe; for 0, /dev/null is the input
    ◀─────────────────────────────────── hello
    ◀─────────────────────────────────── KEY]3;            on stdout and on stderr: it has ended, with 3
                                         reads what is left of the input, and exits: the remote's FIN

KEY is random for each connection, so output cannot look like a marker by
chance. Because the end is marked on both streams, all output of the command
has arrived once both markers have, and no timeout is needed. The script reads
all input, because a socket that is closed with unread input sends a reset. An
empty command makes the script exit without running anything.

The line for the login shell contains nothing that sh, csh, fish and their
relatives read differently: no quote within the quotes, no backslash, no
exclamation mark, no line feed, only ASCII. Within the script, $0 is KEY, and
descriptor 3 is the stderr of the command; the script's own stderr is
/dev/null, so that no shell reports there that a signal ended a child. "read"
takes one byte at a time from a socket (POSIX: no more than the line).
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
"""The script, which /bin/sh runs with KEY as its $0."""

GOODBYE: Final = b"\n\n"
"""Makes a script that waits for its command exit without running anything."""

LONGEST_PRELUDE: Final = 64 * 1024
"""Bytes at most before the script begins; the start-up of a shell does not write more."""

_ENDING: Final = re.compile(rb"\]([0-9]{1,5});")
_LONGEST_ENDING: Final = len(b"]00000;")


def make_key() -> bytes:
    """Return 64 random bits in hexadecimal, which no output contains by chance."""
    return secrets.token_hex(8).encode()


def line(key: bytes) -> bytes:
    """Return the command for in.rshd, which replaces any login shell by the script."""
    return b"exec /bin/sh -c '%b' %b" % (SCRIPT.encode("ascii"), key)


def order(command: bytes, input_bytes: int) -> bytes:
    """Build what the script reads before the input itself.

    Args:
        command: The command, which is not empty and contains no NUL byte.
        input_bytes: The length of the input that will follow.

    Raises:
        ValueError: It is empty, contains a NUL byte, or has more than ``LONGEST_ARGUMENT`` bytes.
    """
    if not command or b"\0" in command:
        raise ValueError("a command cannot be empty or contain a NUL byte")
    if len(command) > LONGEST_ARGUMENT:
        raise ValueError(f"a command can have at most {LONGEST_ARGUMENT} bytes")
    return b"%d\n%b\n" % (input_bytes, escaped(command))


class Part(enum.Enum):
    """The parts of a stream."""

    BEFORE = "before"
    """The script has not begun: bytes are of in.rshd, or of the login shell's start-up files."""
    INSIDE = "inside"
    """The script has begun: bytes are the command's output."""
    AFTER = "after"
    """The command has ended: bytes are of processes that it left running."""


class MarkerFinder:
    """Finds the command's own output in one stream, however it is cut into pieces.

    Attributes:
        part: The current part of the stream.
        prelude: The bytes before the script began: not output, but the reason if it never begins.
        outcome: How the command ended; ``None`` until ``part`` is ``AFTER``.
    """

    def __init__(self, key: bytes, *, beginnings: int = 1) -> None:
        """Begin before the first byte of a stream.

        Args:
            key: The key, as given to ``line``.
            beginnings: How many markers begin the stream: 2 if stdout and stderr are one.
        """
        self._beginning = (key + b"[") * beginnings
        self._key = key
        self._held = b""
        self.part = Part.BEFORE
        self.prelude = b""
        self.outcome: Exited | None = None

    def feed(self, data: bytes) -> bytes:
        """Take more received bytes; return the output of the command in them.

        Only bytes that may be the beginning of a marker are held back, fewer than a marker has.
        """
        if self.part is Part.BEFORE:
            data = self._begin(data)
        if self.part is Part.INSIDE:
            return self._inside(data)
        return b""

    def end(self) -> bytes:
        """Note that the stream has ended; return what was held back, since it was not a marker."""
        held, self._held = self._held, b""
        return held if self.part is Part.INSIDE else b""

    def _begin(self, data: bytes) -> bytes:
        """Collect the prelude; return the bytes after the beginning, once that has arrived."""
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
    """Return how many bytes at the end of ``text`` are the beginning of ``key``."""
    for length in range(min(len(key) - 1, len(text)), 0, -1):
        if text.endswith(key[:length]):
            return length
    return 0


def _outcome(status: int) -> Exited:
    """Return a shell's ``$?`` as an exit status: 128+N for signal N, also for 256+N of ksh93."""
    return Exited(status if status < 256 else 128 + status % 128)  # noqa: PLR2004 - exit statuses are a byte
