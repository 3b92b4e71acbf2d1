"""The errors of every room, as facts; each class words itself.

::

    MultirshError
    ├ PlainError
    │ ├ UsageError          an option or an argument that cannot be meant
    │ └ CredentialError     a key, password or known_hosts file that cannot be used at all
    ├ InventoryError        a hosts file or a host list, with its place
    │ └ NodeSetError        an expression such as ``web[01-12]!web3``
    └ HostError             one host could not be reached, entered or finished

    IllegalTransition       our bug: a state machine was asked the impossible

Everything under ``MultirshError`` can be caused by a user or by the world.
``IllegalTransition`` stands outside, so that no handler for the others can
hide it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from multirsh.model import Failure, Status


class MultirshError(Exception):
    """Base of what a user or the world can cause."""


class PlainError(MultirshError):
    """What is wrong, and the way out.

    Attributes:
        message: What is wrong, naming the option or the file.
        hint: The way out, or ``None``.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}; {self.hint}"


class UsageError(PlainError):
    """An option or an argument cannot be meant as it was given."""


class CredentialError(PlainError):
    """A key, a password source or a known_hosts file that cannot be used at all.

    It is raised before the first connection: what is wrong for every host is
    said once, and nothing has run.
    """


class InventoryError(MultirshError):
    """A hosts file or a host list that cannot be used.

    Attributes:
        source: The file's path as the user gave it, ``<stdin>``, or the option (``-w``).
        line: Line in ``source``, from 1; ``None`` where a place has no meaning.
        column: Column in the line, in characters from 1; ``None`` where it has no meaning.
        message: What is wrong there.
        hint: The way out, such as a likely spelling; or ``None``.
    """

    def __init__(
        self,
        message: str,
        *,
        source: str,
        line: int | None = None,
        column: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.source = source
        self.line = line
        self.column = column
        self.hint = hint

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.source, self.line, self.column) if part is not None)
        worded = f"{place}: {self.message}"
        return worded if self.hint is None else f"{worded}; {self.hint}"


class NodeSetError(InventoryError):
    """A node-set expression that cannot be read, or names what is not there.

    Attributes:
        text: The whole expression.
        position: Offset into ``text`` of the trouble, in characters from 0.
    """

    def __init__(
        self,
        message: str,
        *,
        text: str,
        position: int,
        source: str = "-w",
        line: int | None = None,
        column: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(
            message, source=source, line=line, column=position + 1 if column is None else column, hint=hint
        )
        self.text = text
        self.position = position


class HostError(MultirshError):
    """One host could not be reached, entered or finished.

    Transports raise it inside that host's task; the engine turns it into
    data. It only leaves the library where a caller asks for it, by
    ``Results.raise_for_status()``.

    Attributes:
        host: The host's name.
        status: What the host's result will be.
        failure: Kind, phase and message.
    """

    def __init__(self, host: str, status: Status, failure: Failure | None) -> None:
        super().__init__(host, status, failure)
        self.host = host
        self.status = status
        self.failure = failure

    def __str__(self) -> str:
        if self.failure is None:
            return f"{self.host}: {self.status}"
        return f"{self.host}: {self.status} ({self.failure.phase}): {self.failure.message}"


class IllegalTransition(RuntimeError):  # noqa: N818 - the field's name for it, and it is no user's error
    """A state machine received an event that its table has no row for: a bug in multirsh."""


CANDIDATES: Final = 2_000
"""Words compared at the most: comparing costs some 20 microseconds each, and a fleet may have 100,000."""

LENGTH_DIFFERENCE: Final = 3
"""A likely spelling is not longer or shorter than this many characters."""


def likely(word: str, known: Iterable[str]) -> str | None:
    """The known word that ``word`` was probably meant to be, or ``None``.

    A host's name without its domain is taken for the first such host.
    """
    import difflib  # noqa: PLC0415 - it takes 3 ms, and most runs have no error

    words = list(known)
    for candidate in words:
        if candidate.startswith(f"{word}."):
            return candidate
    near = (candidate for candidate in words if abs(len(candidate) - len(word)) <= LENGTH_DIFFERENCE)
    matches = difflib.get_close_matches(word, itertools.islice(near, CANDIDATES), n=1)
    return matches[0] if matches else None


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint that names the likely spelling, or ``None`` where there is none."""
    match = likely(word, known)
    return None if match is None else f"did you mean {match}?"


def is_one_edit_away(word: str, known: str) -> bool:
    """Whether one letter added, left out, replaced, or two neighbours swapped make ``known`` of ``word``."""
    if word == known or abs(len(word) - len(known)) > 1:
        return False
    pairs = enumerate(zip(word, known, strict=False))
    start = next((place for place, (one, other) in pairs if one != other), min(len(word), len(known)))
    left, right = word[start:], known[start:]
    swapped = left[1:2] + left[:1] + left[2:]
    return right in {left[1:], swapped} or left[1:] == right[1:] or left == right[1:]
