"""The errors of every package, as facts; each class has its own message.

::

    MultirshError
    ├ PlainError
    │ ├ UsageError          an option or an argument that is invalid
    │ └ CredentialError     a key, password or known_hosts file that cannot be used at all
    ├ InventoryError        a hosts file or a host list that is invalid; it says where
    │ └ NodeSetError        an expression such as ``web[01-12]!web3``
    └ HostError             a host that could not be reached, logged in to or finished

    IllegalTransition       a bug: a state machine received an event that it has no row for

Every ``MultirshError`` can be caused by a user or by the environment.
``IllegalTransition`` is none, so that no handler of the others can hide it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from multirsh.model import Failure, Status


class MultirshError(Exception):
    """Base of the errors that a user or the environment can cause."""


class PlainError(MultirshError):
    """An error with a hint.

    Attributes:
        message: What is wrong; it names the option or the file.
        hint: What the user can do about it, or ``None``.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}; {self.hint}"


class UsageError(PlainError):
    """An option or an argument is invalid."""


class CredentialError(PlainError):
    """A key, a password source or a known_hosts file that cannot be used at all.

    It is raised before the first connection: what is wrong for every host is
    reported once, and nothing has run.
    """


class InventoryError(MultirshError):
    """A hosts file or a host list that cannot be used.

    Attributes:
        source: The file's path as the user gave it, ``<stdin>``, or the option (``-w``).
        line: Line in ``source``, from 1; ``None`` if there is none.
        column: Column in the line, in characters from 1; ``None`` if there is none.
        message: What is wrong there.
        hint: What the user can do about it, such as a likely spelling, or ``None``.
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
    """A node-set expression that is invalid, or names hosts that do not exist.

    Attributes:
        text: The whole expression.
        position: Offset of the error in ``text``, in characters from 0.
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
    """One host could not be reached, logged in to or finished.

    Transports raise it inside that host's task, and the engine turns it into
    data. It leaves the library only by ``Results.raise_for_status()``.

    Attributes:
        host: The host's name.
        status: The status of the host's result.
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


class IllegalTransition(RuntimeError):  # noqa: N818 - the usual name, and no error of a user
    """A state machine received an event that its table has no row for: a bug in multirsh."""


CANDIDATES: Final = 2_000
"""The largest number of words to compare: each takes about 20 microseconds, and a fleet may have 100,000."""

LENGTH_DIFFERENCE: Final = 3
"""The largest difference in length of a likely spelling, in characters."""


def likely(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that ``word`` probably stands for, or ``None``.

    The name of a host without its domain stands for the first such host.
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
    """Return a hint with the likely spelling, or ``None``."""
    match = likely(word, known)
    return None if match is None else f"did you mean {match}?"


def is_one_edit_away(word: str, known: str) -> bool:
    """Whether one letter added, removed or replaced, or two swapped, turn ``word`` into ``known``."""
    if word == known or abs(len(word) - len(known)) > 1:
        return False
    pairs = enumerate(zip(word, known, strict=False))
    start = next((place for place, (one, other) in pairs if one != other), min(len(word), len(known)))
    left, right = word[start:], known[start:]
    swapped = left[1:2] + left[:1] + left[2:]
    return right in {left[1:], swapped} or left[1:] == right[1:] or left == right[1:]
