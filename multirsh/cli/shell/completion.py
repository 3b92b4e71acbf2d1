"""What may come where the cursor is: hosts, groups, orders, modes, commands that were typed before. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from multirsh.cli.shell.line import Word
from multirsh.cli.shell.modes import MODES

MOST: Final = 200
"""Candidates that are listed, at the most."""

_NODES_AFTER: Final = re.compile(r"(?:[@+-]|\.(?:select|reconnect)\s+)(.*)$", re.DOTALL)
_MODE_AFTER: Final = re.compile(r"(?:=|\.mode\s+)\s*(\S*)$")
_LAST_OPERAND: Final = re.compile(r"[^,!&^\s]*$")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What can be named.

    Attributes:
        hosts: Names of the shell's hosts.
        groups: Names of the groups, without ``@``.
    """

    hosts: tuple[str, ...]
    groups: tuple[str, ...]


def candidates(before: str, vocabulary: Vocabulary, typed: Iterable[str]) -> tuple[str, list[str]]:
    """What the word at the cursor may become.

    Args:
        before: The line up to the cursor.
        vocabulary: What can be named.
        typed: Lines of before, the latest first.

    Returns:
        The part of the line that is replaced, and what may stand there.
    """
    if found := _MODE_AFTER.match(before):
        return found[1], [mode for mode in MODES if mode.startswith(found[1])]
    if found := _NODES_AFTER.match(before):
        return _nodes(found[1], vocabulary)
    if " " in before:
        return before, []
    if before.startswith("."):
        return before, [f".{word}" for word in Word if word.startswith(before[1:])]
    return before, _first(_commands(typed, before))


def _nodes(nodes: str, vocabulary: Vocabulary) -> tuple[str, list[str]]:
    """The hosts and groups that begin like the last operand of ``nodes``."""
    last = _LAST_OPERAND.search(nodes)
    part = "" if last is None else last[0]
    hosts = (name for name in vocabulary.hosts if name.startswith(part))
    groups = (f"@{name}" for name in vocabulary.groups if f"@{name}".startswith(part))
    return part, _first([*groups, *_first(hosts)])


def _commands(typed: Iterable[str], begun: str) -> Iterator[str]:
    for line in typed:
        word = line.split(maxsplit=1)[0] if line.strip() else ""
        if word.startswith(begun) and word[:1].isalnum():
            yield word


def _first(names: Iterable[str]) -> list[str]:
    """The first of them, each once."""
    found: dict[str, None] = {}
    for name in names:
        found[name] = None
        if len(found) == MOST:
            break
    return list(found)
