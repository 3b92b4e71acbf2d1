"""What a scalar of a hosts file means, and which ones have to be quoted.

YAML guesses the type of a plain scalar, and its versions and readers guess
differently: ``no`` is false, ``010`` is 8, ``22:22`` is 1342, ``1e3`` is text
here and a number there. Nothing is guessed here. Where text is wanted, a
plain scalar that any reader would take for something else is an error; where
a number is wanted, it is written in decimal.

Source: YAML 1.1 types (yaml.org/type: bool, int, float, null, timestamp,
merge, value) and the YAML 1.2 core schema (section 10.3.2).
"""

from __future__ import annotations

import datetime as dt
import enum
import re
from collections.abc import Iterable
from typing import Final, TypeVar

import yaml

from multirsh.errors import InventoryError
from multirsh.inventory.suggest import did_you_mean
from multirsh.inventory.tree import Entries, Items, Node, Text
from multirsh.model import Scalar, TransportName
from multirsh.names import MAX_PORT
from multirsh.plugins import installed_transports

Word = TypeVar("Word", bound=enum.StrEnum)

_NOT_TEXT: Final = re.compile(
    r"""
      | ~ | null                                             # null; the first line is nothing at all
      | yes | no | on | off | true | false                   # bool; y and n are text to PyYAML too
      | [-+]? [0-9] [0-9_]*                                  # int, octal with a leading 0
      | [-+]? 0 (?: x [0-9a-f_]+ | o [0-7_]+ | b [01_]+ )    # int in another base
      | [-+]? [0-9] [0-9_]* (?: : [0-5]?[0-9] )+ (?: \. [0-9_]* )?    # base 60
      | [-+]? (?: [0-9] [0-9_]* \.? [0-9_]* | \. [0-9] [0-9_]* ) (?: e [-+]? [0-9]+ )?    # float
      | [-+]? \. (?: inf | nan )
      | [0-9]{4} - [0-9]{1,2} - [0-9]{1,2} (?: (?: t | [ \t]+ ) [0-9] .* )?    # date, time
      | << | =                                               # merge key, default value
    """,
    re.VERBOSE | re.IGNORECASE,
)
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,17}")
_DECIMAL: Final = re.compile(r"-?[0-9]+\.[0-9]+")
_KEYWORDS: Final[dict[str, Scalar]] = {"true": True, "false": False, "null": None, "~": None}


def as_text(node: Node, what: str) -> Text:
    """Read text.

    Args:
        node: What stands there.
        what: What it is the value of, for errors.

    Raises:
        InventoryError: It is no scalar, is missing, holds control characters, or would be taken for
            something else than text.
    """
    if not isinstance(node, Text):
        raise node.place.error(f"{what} must be text, not {_kind(node)}")
    if not node.value:
        raise node.place.error(f"{what} is missing here")
    if not node.value.isprintable():
        raise node.place.error(f"{what} cannot hold control characters")
    if node.plain and _NOT_TEXT.fullmatch(node.value):
        raise _ambiguous(node)
    return node


def as_port(node: Node) -> int:
    """Read a port: a plain decimal number, 1-65535.

    Raises:
        InventoryError: It is none.
    """
    if not isinstance(node, Text):
        raise node.place.error(f"port must be a number, not {_kind(node)}")
    hint = f"write a number from 1 to {MAX_PORT}"
    if not re.fullmatch(r"[1-9][0-9]{0,4}", node.value) or int(node.value) > MAX_PORT:
        if not node.value:
            raise node.place.error("port is missing here", hint=hint)
        meaning = _meaning(node.value) if node.plain else None
        changed = meaning is not None and meaning != f"the number {node.value}"
        aside = f": YAML reads it as {meaning}" if changed else ""
        raise node.place.error(f"{node.value!r} is not a port{aside}", hint=hint)
    if not node.plain:
        raise node.place.error("port must be a number, not text", hint=f"write {node.value} without quotes")
    return int(node.value)


def as_word(node: Node, what: str, words: type[Word]) -> Word:
    """Read one of a few words; since they are known, ``off`` needs no quotes.

    Raises:
        InventoryError: It is none of them.
    """
    return words(_one_of([word.value for word in words], node, what))


def as_transport(node: Node) -> str:
    """Read a transport's name: one of ours, or of those that other distributions have brought.

    Raises:
        InventoryError: It is none.
    """
    known = [name.value for name in TransportName]
    if not isinstance(node, Text) or node.value not in known:  # to look for others takes a while
        known += sorted(installed_transports().keys() - set(known))
    return _one_of(known, node, "transport")


def _one_of(known: list[str], node: Node, what: str) -> str:
    if not isinstance(node, Text):
        raise node.place.error(f"{what} must be one of {', '.join(known)}, not {_kind(node)}")
    if node.value not in known:
        raise node.place.error(
            f"{what} cannot be {node.value!r}",
            hint=did_you_mean(node.value, known) or f"it is one of {', '.join(known)}",
        )
    return node.value


def as_variable(node: Node, what: str) -> Scalar:
    """Read a variable's value.

    Returns:
        Text, or a number, ``true``, ``false`` or ``null`` in the spelling that all readers take alike.

    Raises:
        InventoryError: It is no scalar, or readers of YAML disagree on it.
    """
    if not isinstance(node, Text):
        raise node.place.error(f"{what} must be one value, not {_kind(node)}")
    value = node.value
    if not node.plain:
        return value
    if not value:
        raise node.place.error(f"{what} has no value", hint='write null, or "" for empty text')
    if value in _KEYWORDS:
        return _KEYWORDS[value]
    if _INTEGER.fullmatch(value):
        return int(value)
    if _DECIMAL.fullmatch(value) and repr(float(value)) == value:
        return float(value)
    if _NOT_TEXT.fullmatch(value):
        raise _ambiguous(node)
    return value


def unknown_key(key: Text, known: Iterable[str], *, foreign: str | None = None) -> InventoryError:
    """Make the error for a key that is not known here.

    Args:
        key: The key.
        known: The keys there are.
        foreign: What it would be called here, if it is another tool's word.
    """
    known = list(known)
    hint = f"did you mean {foreign}?" if foreign in known else did_you_mean(key.value, known)
    return key.place.error(
        f"the key {key.value!r} is not known here", hint=hint or f"the keys are {', '.join(known)}"
    )


def _kind(node: Items | Entries) -> str:
    return "a list" if isinstance(node, Items) else "a mapping"


def _ambiguous(node: Text) -> InventoryError:
    meaning = _meaning(node.value)
    taken = f"YAML reads {node.value} as {meaning}" if meaning else f"not all YAML reads {node.value} as text"
    return node.place.error(taken, hint=f'write "{node.value}" if text is meant')


def _meaning(value: str) -> str | None:
    """What YAML 1.1 makes of a plain scalar, in words; ``None`` if text, or if nothing can be made of it."""
    try:
        meaning = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, OverflowError):
        return None
    if meaning is None or isinstance(meaning, bool):
        return {None: "null", True: "true", False: "false"}[meaning]
    if isinstance(meaning, int | float):
        return f"the number {meaning}"
    return "a date" if isinstance(meaning, dt.date) else None
