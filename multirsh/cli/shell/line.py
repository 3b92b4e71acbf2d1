"""The grammar of the shell's lines: what a line means, and what Tab completes. Pure.

The single characters are those of clush (clush(1), INTERACTIVE MODE): ``@`` ``+``
``-`` select hosts, ``!`` runs a local command, ``=`` gathers outputs, ``?`` shows
the selection. A dot command is a dot and letters, followed by a blank or the end
of the line, so ``./run.sh``, ``. /etc/profile`` and ``.venv/bin/python`` are run on
the hosts. So is every line that begins with a blank.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeAlias

from multirsh.cli.shell.modes import MODES
from multirsh.errors import UsageError, did_you_mean


class DotName(enum.StrEnum):
    """The name of a dot command."""

    HELP = "help"
    HOSTS = "hosts"
    GROUPS = "groups"
    SELECT = "select"
    ALL = "all"
    FAILED = "failed"
    MODE = "mode"
    STATUS = "status"
    RECONNECT = "reconnect"
    QUIT = "quit"


class SelectionOperator(enum.Enum):
    """How a line changes the selection."""

    SET = "@"
    ADD = "+"
    REMOVE = "-"


@dataclass(frozen=True, slots=True)
class RemoteCommand:
    """A command for the login shells of the hosts."""

    text: str


@dataclass(frozen=True, slots=True)
class LocalCommand:
    """A command for the shell of this machine."""

    text: str


@dataclass(frozen=True, slots=True)
class SelectionChange:
    """A change of the selection; empty ``nodes`` stand for all hosts."""

    operator: SelectionOperator
    nodes: str


@dataclass(frozen=True, slots=True)
class DotCommand:
    """A command for ``multirsh shell`` itself."""

    name: DotName
    argument: str = ""


ParsedLine: TypeAlias = RemoteCommand | LocalCommand | SelectionChange | DotCommand

QUIT_WORDS: Final = frozenset({"quit", "exit"})
"""Lines that mean ``.quit``, as in other shells; on a host, they would only end the shell that ran them."""

WITH_ARGUMENT: Final = frozenset({DotName.SELECT, DotName.MODE, DotName.RECONNECT})
"""Dot commands that may have an argument."""

_DOT_COMMAND: Final = re.compile(r"\.([A-Za-z]+)(?:\s+(.*))?$", re.DOTALL)


def parse(text: str) -> ParsedLine | None:
    """Parse a line.

    Args:
        text: The line as it was typed, without its newline.

    Returns:
        What the line means; ``None`` for an empty line and for a comment (``#``).

    Raises:
        UsageError: The dot command does not exist, or an argument is missing or not allowed.
    """
    line = text.strip()
    if not line or line.startswith("#"):
        return None
    if text[0].isspace():
        return RemoteCommand(line)
    first, rest = line[0], line[1:].strip()
    if line in QUIT_WORDS:
        return DotCommand(DotName.QUIT)
    if line == "?":
        return DotCommand(DotName.HOSTS)
    if first == "=":
        return DotCommand(DotName.MODE, rest or "=")
    if first == "!":
        if not rest:
            raise UsageError("there is no command after the !", hint="!COMMAND runs COMMAND on this machine")
        if "\0" in rest:
            raise UsageError("a command cannot hold a NUL byte")
        return LocalCommand(rest)
    if first in "@+-":
        return _selection_change(SelectionOperator(first), rest)
    found = _DOT_COMMAND.match(line)
    return RemoteCommand(line) if found is None else _dot_command(found[1], (found[2] or "").strip())


def _selection_change(operator: SelectionOperator, nodes: str) -> SelectionChange:
    if not nodes and operator is not SelectionOperator.SET:
        raise UsageError(
            f"there are no hosts after the {operator.value}", hint="name some, such as web[01-12]"
        )
    return SelectionChange(operator, nodes)


def _dot_command(word: str, argument: str) -> ParsedLine:
    try:
        name = DotName(word)
    except ValueError:
        raise UsageError(
            f"there is no shell command .{word}",
            hint=did_you_mean(f".{word}", [f".{name}" for name in DotName])
            or ".help lists them; a line that begins with a blank is run on the hosts",
        ) from None
    if argument and name not in WITH_ARGUMENT:
        raise UsageError(
            f".{word} takes no argument", hint="a line that begins with a blank is run on the hosts"
        )
    if name is DotName.SELECT:
        return _selection_change(SelectionOperator.SET, argument)
    if name is DotName.ALL:
        return _selection_change(SelectionOperator.SET, "")
    return DotCommand(name, argument)


MOST_CANDIDATES: Final = 200
"""The largest number of candidates that Tab shows."""

_NODES_AFTER: Final = re.compile(r"(?:[@+-]|\.(?:select|reconnect)\s+)(.*)$", re.DOTALL)
_MODE_AFTER: Final = re.compile(r"(?:=|\.mode\s+)\s*(\S*)$")
_LAST_OPERAND: Final = re.compile(r"[^,!&^\s]*$")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The names that can be completed.

    Attributes:
        hosts: The names of the shell's hosts.
        groups: The names of the groups, without ``@``.
    """

    hosts: tuple[str, ...]
    groups: tuple[str, ...]


def completions(before: str, vocabulary: Vocabulary, history: Iterable[str]) -> tuple[str, list[str]]:
    """Complete the word at the cursor.

    Args:
        before: The line up to the cursor.
        vocabulary: The names that can be completed.
        history: Earlier lines, the latest first.

    Returns:
        The part of the line to replace, and the candidates to replace it with.
    """
    if found := _MODE_AFTER.match(before):
        return found[1], [mode for mode in MODES if mode.startswith(found[1])]
    if found := _NODES_AFTER.match(before):
        return _nodes(found[1], vocabulary)
    if " " in before:
        return before, []
    if before.startswith("."):
        return before, [f".{name}" for name in DotName if name.startswith(before[1:])]
    return before, _first_unique(_commands(history, before))


def _nodes(nodes: str, vocabulary: Vocabulary) -> tuple[str, list[str]]:
    """Return the last operand of ``nodes``, and the hosts and groups that begin with it."""
    last = _LAST_OPERAND.search(nodes)
    part = "" if last is None else last[0]
    hosts = (name for name in vocabulary.hosts if name.startswith(part))
    groups = (f"@{name}" for name in vocabulary.groups if f"@{name}".startswith(part))
    return part, _first_unique([*groups, *islice(hosts, MOST_CANDIDATES)])


def _commands(history: Iterable[str], part: str) -> Iterator[str]:
    for line in history:
        word = line.split(maxsplit=1)[0] if line.strip() else ""
        if word.startswith(part) and word[:1].isalnum():
            yield word


def _first_unique(names: Iterable[str]) -> list[str]:
    """Return the first names, each once."""
    found: dict[str, None] = {}
    for name in names:
        found[name] = None
        if len(found) == MOST_CANDIDATES:
            break
    return list(found)
