"""A remote's words, made fit for one line of ours."""

from __future__ import annotations

from typing import Final

from multirsh.model import ErrorKind, Failure, Phase

LONGEST_MESSAGE: Final = 500
"""Characters of a remote's words that are kept: a goodbye may be 200 kB long."""

LONGEST_SIGNAL: Final = 64
"""Characters of a name of a signal: those of RFC 4254 section 6.10 have 4, a server's own have its domain."""


def one_line(text: str, *, longest: int = LONGEST_MESSAGE) -> str:
    """``text`` on one line: bounded, and without control characters.

    Args:
        text: A remote's.
        longest: Characters that are kept; three dots stand for the rest.
    """
    text = " ".join(text[: 4 * longest].split())
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= longest else f"{text[:longest]}..."


def input_failure(error: OSError) -> Failure:
    """The standard input that the commands were to get cannot be read here."""
    return Failure(ErrorKind.STDIN, Phase.RUN, f"standard input cannot be read: {error.strerror}")
