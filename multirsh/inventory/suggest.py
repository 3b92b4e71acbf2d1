"""Likely spellings for a word that is not known."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable
from typing import Final

CANDIDATES: Final = 2_000
"""Words compared at the most: comparing costs some 20 microseconds each, and a fleet may have 100,000."""

LENGTH_DIFFERENCE: Final = 3
"""A likely spelling is not longer or shorter than this many characters."""


def likely(word: str, known: Iterable[str]) -> str | None:
    """The known word that ``word`` was probably meant to be, or ``None``.

    A host's name without its domain is taken for the first such host.
    """
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
