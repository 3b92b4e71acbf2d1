r"""A command line that every login shell reads alike: it becomes /bin/sh and runs a text of ours.

::

    exec /bin/sh -c 'eval "set --;$(printf %b "$@")"' sh 'cd /srv\0012...' '...'

The words at the end are the text, in which everything that sh, csh, fish and
their kin read differently is an octal escape. There are several since BSD's
csh takes no word of more than 1,024 bytes (csh(1)); printf joins them. The
text is run by the shell that decodes it, and may become another program by
``exec``: one process, whose end is the command's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from multirsh.errors import UsageError
from multirsh.sh_text import LONGEST_ARGUMENT, escaped_for_quotes, to_bytes

_BEGINNING: Final = """exec /bin/sh -c 'eval "set --;$(printf %b "$@")"' sh"""

_END: Final = "\n#"
"""Behind the text: command substitution drops line feeds at the end, and a comment keeps them."""

LONGEST_WORD: Final = 900
"""Bytes; csh's bound, less a little."""

_CUT_ESCAPE: Final = re.compile(rb"\\(0[0-7]{0,2})?\Z")


def line(script: str) -> str:
    """The command line for ``script``.

    Args:
        script: For POSIX sh. It has no positional parameters, and ``$0`` is ``sh``.

    Returns:
        Printable ASCII, without a line feed.

    Raises:
        UsageError: It has a NUL byte, or makes a line that is too long for one argument of a program.
    """
    if "\0" in script:
        raise UsageError("a command cannot hold a NUL byte")
    words = _words(escaped_for_quotes(to_bytes(script + _END)))
    made = " ".join([_BEGINNING, *(f"'{word.decode('ascii')}'" for word in words)])
    check_length(made)
    return made


def check_length(line: str) -> None:
    """See to it that a server can give ``line`` to a login shell, as one argument.

    Raises:
        UsageError: It is too long.
    """
    length = len(to_bytes(line))
    if length > LONGEST_ARGUMENT:
        raise UsageError(
            f"the command is too long: {length:,} bytes as it would be sent, and"
            f" a shell takes {LONGEST_ARGUMENT:,} at the most",
            hint="put it into a file and use 'multirsh script FILE', or give data as standard input (-I)",
        )


def _words(text: bytes) -> Iterator[bytes]:
    """Cut ``text`` into words, and no escape in two."""
    start = 0
    while start < len(text):
        end = start + LONGEST_WORD
        if end < len(text):
            cut = _CUT_ESCAPE.search(text, start, end)
            end = end if cut is None else cut.start()
        yield text[start:end]
        start = end
