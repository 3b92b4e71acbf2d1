"""``--rerun WHICH [RUN]``: an option of two words, of which the second may be missing.

What follows may be the command's first word as well. It is the run if it is
``last`` (last(1) needs ``--`` before it), or looks like one, with the date in
it, or is exactly the last part of a recorded run's identifier.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import click

from multirsh.errors import did_you_mean

RERUN: Final = "--rerun"

KINDS: Final = ("failed", "unreachable", "notrun", "unknown", "ok")
"""As ``multirsh.journal.resuming.Which`` has them."""

_DATED: Final = re.compile(r"\d{8}(T\d{0,6}(-[0-9a-f]{0,6})?)?")
_SHORT: Final = re.compile(r"[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class Rerun:
    """Whom to run again.

    Attributes:
        which: Those that ended so.
        run: In which run, as it was written.
    """

    which: str
    run: str


def rerun(value: str | Rerun) -> Rerun:
    """Read ``WHICH`` or ``WHICH RUN``.

    Raises:
        click.BadParameter: Nobody ends so.
    """
    if isinstance(value, Rerun):
        return value
    word, _, run = value.partition(" ")
    if word not in KINDS:
        hint = did_you_mean(word, KINDS) or f"it is one of {', '.join(KINDS)}"
        raise click.BadParameter(f"no hosts are {word!r}; {hint}")
    return Rerun(word, run or "last")


def is_run(word: str) -> bool:
    """Whether the word after ``WHICH`` is the run, and not the command's first."""
    if word == "last" or _DATED.fullmatch(word):
        return True
    if not _SHORT.fullmatch(word):
        return False
    from multirsh.errors import UsageError  # noqa: PLC0415 - the journal is not needed for --help
    from multirsh.journal import Journal  # noqa: PLC0415

    try:
        return any(entry.run.endswith(f"-{word}") for entry in Journal().runs())
    except UsageError:
        return False
