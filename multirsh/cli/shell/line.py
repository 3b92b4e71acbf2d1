"""What a line means: a command for the hosts, one for this machine, another selection, an order. Pure.

The single characters are clush's (clush(1), INTERACTIVE MODE): ``@`` ``+``
``-`` choose hosts, ``!`` runs here, ``=`` gathers, ``?`` tells who is chosen.
Orders begin with a dot and a letter, and nothing follows the word but a
blank: ``./run.sh``, ``. /etc/profile`` and ``.venv/bin/python`` go to the
hosts. So does whatever follows a blank.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from multirsh.errors import UsageError, did_you_mean


class Word(enum.StrEnum):
    """An order to the shell itself."""

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


class Change(enum.Enum):
    """What becomes of the selection."""

    SET = "@"
    ADD = "+"
    DROP = "-"


@dataclass(frozen=True, slots=True)
class Command:
    """Text for the hosts' login shells."""

    text: str


@dataclass(frozen=True, slots=True)
class Here:
    """Text for this machine's shell."""

    text: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A change of the selection; empty ``nodes`` are all hosts."""

    change: Change
    nodes: str


@dataclass(frozen=True, slots=True)
class Order:
    """An order, with what follows it."""

    word: Word
    argument: str = ""


Line: TypeAlias = Command | Here | Choice | Order

LEAVING: Final = frozenset({"quit", "exit"})
"""Words that alone are ``.quit``, as in every shell; a remote one would end where it began."""

TAKING: Final = frozenset({Word.SELECT, Word.MODE, Word.RECONNECT})
"""Orders that something may follow."""

_ORDER: Final = re.compile(r"\.([A-Za-z]+)(?:\s+(.*))?$", re.DOTALL)


def parse(text: str) -> Line | None:
    """Read a line.

    Args:
        text: As it was typed, without its end.

    Returns:
        What it means; ``None`` for an empty line, and for a comment (``#``).

    Raises:
        UsageError: An order that there is not, or one with too much or too little behind it.
    """
    words = text.strip()
    if not words or words.startswith("#"):
        return None
    if text[0].isspace():
        return Command(words)
    first, rest = words[0], words[1:].strip()
    if words in LEAVING:
        return Order(Word.QUIT)
    if words == "?":
        return Order(Word.HOSTS)
    if first == "=":
        return Order(Word.MODE, rest or "=")
    if first == "!":
        if not rest:
            raise UsageError("there is no command after the !", hint="!COMMAND runs COMMAND on this machine")
        if "\0" in rest:
            raise UsageError("a command cannot hold a NUL byte")
        return Here(rest)
    if first in "@+-":
        return _choice(Change(first), rest)
    found = _ORDER.match(words)
    return Command(words) if found is None else _order(found[1], (found[2] or "").strip())


def _choice(change: Change, nodes: str) -> Choice:
    if not nodes and change is not Change.SET:
        raise UsageError(f"there are no hosts after the {change.value}", hint="name some, such as web[01-12]")
    return Choice(change, nodes)


def _order(name: str, argument: str) -> Line:
    try:
        word = Word(name)
    except ValueError:
        raise UsageError(
            f"there is no order .{name}",
            hint=did_you_mean(name, [word.value for word in Word])
            or ".help lists them; a blank before the line sends it to the hosts",
        ) from None
    if argument and word not in TAKING:
        raise UsageError(f".{name} stands alone", hint="a blank before the line sends all of it to the hosts")
    if word is Word.SELECT:
        return _choice(Change.SET, argument)
    if word is Word.ALL:
        return _choice(Change.SET, "")
    return Order(word, argument)
