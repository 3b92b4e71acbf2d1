"""A remote's words, made fit for one line of ours."""

from __future__ import annotations

from typing import Final

from multirsh.model import ErrorKind, Failure, Phase

LONGEST_MESSAGE: Final = 500
"""Characters of a remote's words that are kept: a goodbye may be 200 kB long."""


def one_line(text: str) -> str:
    """``text`` on one line: bounded, and without control characters."""
    text = " ".join(text[: 4 * LONGEST_MESSAGE].split())
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}..."


def input_failure(error: OSError) -> Failure:
    """The standard input that the commands were to get cannot be read here."""
    return Failure(ErrorKind.STDIN, Phase.RUN, f"standard input cannot be read: {error.strerror}")
