"""Makes text from a remote fit for one line of our messages."""

from __future__ import annotations

from typing import Final

from multirsh.model import ErrorKind, Failure, Phase

LONGEST_MESSAGE: Final = 500
"""Characters of a remote's text that are kept: a goodbye may be 200 kB long."""

LONGEST_SIGNAL: Final = 64
"""Characters of a signal's name: RFC 4254, section 6.10, has up to 4, and private names include a domain."""


def one_line(text: str, *, longest: int = LONGEST_MESSAGE) -> str:
    """Return ``text`` on one line, shortened and without control characters.

    Args:
        text: Text from a remote.
        longest: The number of characters to keep; three dots replace the rest.
    """
    text = " ".join(text[: 4 * longest].split())
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= longest else f"{text[:longest]}..."


def input_failure(error: OSError) -> Failure:
    """Return the failure for standard input that cannot be read on this machine."""
    return Failure(ErrorKind.STDIN, Phase.RUN, f"standard input cannot be read: {error.strerror}")
