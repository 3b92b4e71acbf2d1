"""The text that runs another by sudo, and tells when it asks and when the command begins. Pure."""

from __future__ import annotations

import secrets
from typing import NamedTuple

from multirsh.sh_text import escaped, quoted, to_bytes


class Marks(NamedTuple):
    """What tells sudo's words from all others; nobody can write them who has not seen them.

    Neither stands in the text that is run. A shell that traces what it does, and a sudo that repeats what it
    does not allow, write no mark.

    Attributes:
        prompt: sudo's prompt.
        ready: Written when sudo has let us in, just before the command begins.
    """

    prompt: bytes
    ready: bytes


def new_marks() -> Marks:
    """Marks for one attempt at one host."""
    return Marks(*(f"multirsh-{word}%{secrets.token_hex(16)}:".encode("ascii") for word in ("asks", "ready")))


def wrapped(script: str, user: str, marks: Marks, *, may_ask: bool) -> str:
    """POSIX text that runs ``script`` as ``user``, by /bin/sh, with the standard streams as they are.

    sudo asks on stderr and reads on stdin (``-S``), byte by byte and no further than the line's end. It
    takes the place of the shell that reads this text: its parent is the server, as a command's is.

    Args:
        script: For POSIX sh.
        user: As whom.
        marks: Written to stderr.
        may_ask: Whether it may ask for a password; else, where it would have to, it fails (``-n``).
    """
    # In a prompt as in a format, "%%" is one "%" (sudo(8), -p; printf(1)).
    asks, ready = (mark.decode("ascii").replace("%", "%%") for mark in marks)
    how = f"-S -p {asks}" if may_ask else "-n"
    # On one line, as sudo's log and its complaints show it; the comment keeps line feeds at the end.
    text = escaped(to_bytes(f"{script}\n#")).decode("ascii")
    inner = f"""'printf {ready} >&2;eval "set --;$(printf %b "$1")"' sh {quoted(text)}"""
    return f"exec sudo {how} -u {quoted(user)} -- /bin/sh -c {inner}"
