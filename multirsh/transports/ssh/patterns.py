"""The patterns of ssh: ``*`` and ``?``, and lists of them with negation.

ssh_config and known_hosts share them. Pure.

Source: ssh_config(5), section PATTERNS.
"""

from __future__ import annotations

import re
from collections.abc import Iterable


def has_wildcard(pattern: str) -> bool:
    """Whether ``pattern`` can match more than itself."""
    return "*" in pattern or "?" in pattern


def _expression(pattern: str) -> str:
    """Convert one pattern to a regular expression; repeated ``*`` become one, so that matching stays fast."""
    parts = re.split(r"(\*+|\?)", pattern)
    return "".join(
        ".*" if part.startswith("*") else "." if part == "?" else re.escape(part) for part in parts
    )


class _AnyOf:
    """Whether a text matches one of several patterns: a set for literals, one expression for the rest."""

    __slots__ = ("_literals", "_wild")

    def __init__(self, patterns: Iterable[str]) -> None:
        literals: set[str] = set()
        wild: list[str] = []
        for pattern in patterns:
            if has_wildcard(pattern):
                wild.append(_expression(pattern))
            else:
                literals.add(pattern)
        self._literals = frozenset(literals)
        self._wild = re.compile("|".join(wild), re.DOTALL) if wild else None

    @property
    def literals(self) -> frozenset[str] | None:
        """The literals, if no pattern has a wildcard."""
        return self._literals if self._wild is None else None

    def __call__(self, text: str) -> bool:
        return text in self._literals or (self._wild is not None and self._wild.fullmatch(text) is not None)


class PatternList:
    """A pattern list: a text must match one pattern, and none that is preceded by ``!``.

    Args:
        patterns: The list's words, such as ``["*.example.com", "!db1.example.com"]``.
        fold_case: Whether the patterns are converted to lower case. The text to match is
            not converted.
    """

    __slots__ = ("_refused", "_wanted")

    def __init__(self, patterns: Iterable[str], *, fold_case: bool = False) -> None:
        words = [pattern.lower() if fold_case else pattern for pattern in patterns]
        self._wanted = _AnyOf(word for word in words if not word.startswith("!"))
        self._refused = _AnyOf(word[1:] for word in words if word.startswith("!"))

    @classmethod
    def split(cls, text: str, *, fold_case: bool = False) -> PatternList:
        """Parse a comma-separated list, as in ``Match`` and known_hosts."""
        return cls(text.split(","), fold_case=fold_case)

    @property
    def literals(self) -> frozenset[str] | None:
        """All texts that the list can match; ``None`` if it has a wildcard."""
        return self._wanted.literals

    def matches(self, text: str) -> bool:
        """Whether ``text`` matches the list."""
        return self._wanted(text) and not self._refused(text)
