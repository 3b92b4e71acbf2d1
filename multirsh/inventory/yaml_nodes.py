"""YAML text into nodes that know their line and column, and the values that scalars have.

Only the plain part of YAML is accepted: mappings, sequences and scalars, in
one document. Aliases, anchors, tags and duplicate keys are errors.

YAML guesses the type of a plain scalar, and its versions and parsers guess
differently: ``no`` is false, ``010`` is 8, ``22:22`` is 1342, ``1e3`` is text
for one and a number for another. Nothing is guessed here. Where text is
expected, a plain scalar that any parser would read as something else is an
error; where a number is expected, it is written in decimal.

The nodes are made from the parser's events and not by ``yaml.compose``, which
recurses in C for each nested bracket and takes quadratic time (half a minute
for a file of 100,000 ``[``), while a stream of events can be left at the first
error.

Source: YAML 1.1 types (yaml.org/type: bool, int, float, null, timestamp,
merge, value) and the YAML 1.2 core schema (section 10.3.2).
"""

from __future__ import annotations

import datetime as dt
import enum
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias, TypeVar

import yaml

from multirsh.errors import InventoryError, did_you_mean
from multirsh.inventory.text import Fragment, Location
from multirsh.model import Scalar, TransportName, installed_transports
from multirsh.names import MAX_PORT

MAX_DEPTH: Final = 20
"""Levels of nesting at most; a hosts file needs five."""

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RANGE_IN_FLOW: Final = re.compile(r"[A-Za-z0-9._-]\[[0-9]")


class ScalarNode(NamedTuple):
    """A scalar. It is a tuple, with its location in parts, because a file may have half a million of them.

    Attributes:
        value: The text.
        source: The file.
        line: The line of the first character of ``value``, from 1.
        column: The column of that character, from 1.
        exact: See ``Location``.
        plain: Whether the scalar is written without quotes, so that YAML would guess its type.
    """

    value: str
    source: str
    line: int
    column: int
    exact: bool
    plain: bool

    @property
    def place(self) -> Location:
        """The location of the first character of ``value``."""
        return Location(self.source, self.line, self.column, self.exact)

    @property
    def fragment(self) -> Fragment:
        """The text with its location, for further parsing."""
        return Fragment.of(self.value, self.place)


@dataclass(frozen=True, slots=True)
class SequenceNode:
    """A sequence."""

    place: Location
    items: list[Node] = field(default_factory=list)


class MappingItem(NamedTuple):
    """A key and its value."""

    key: ScalarNode
    value: Node


@dataclass(frozen=True, slots=True)
class MappingNode:
    """A mapping; its keys are scalars, and no two are equal.

    Attributes:
        place: The location of its beginning.
        entries: The items by the text of their keys, in order.
    """

    place: Location
    entries: dict[str, MappingItem] = field(default_factory=dict)


Node: TypeAlias = ScalarNode | SequenceNode | MappingNode


def parse_tree(text: str, source: str) -> Node | None:
    """Read one YAML document.

    Args:
        text: The text of the file, with LF after each line.
        source: The name of the file, for errors.

    Returns:
        The root node, or ``None`` if the file holds only comments.

    Raises:
        InventoryError: The text is not YAML, or uses a part of YAML that is not accepted.
    """
    try:
        return _build(yaml.parse(text, Loader=_LOADER), source)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (0, 0) if mark is None else (mark.line, mark.column)
        raise Location(source, line + 1, column + 1).error(
            f"this is not YAML: {error.problem or error.context}", hint=_way_out(text, line, column)
        ) from error
    except yaml.YAMLError as error:
        raise Location(source, 1).error("this is not YAML") from error


class _Builder:
    """Builds nodes from events: the open collections, innermost last, and the keys still without a value."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self.open: list[SequenceNode | MappingNode] = []
        self.key: list[ScalarNode | None] = []

    def add(self, node: Node) -> None:
        """Add a node where it belongs: as the root, into a sequence, or as a key or value of a mapping."""
        if not self.open:
            self.root = node
            return
        parent = self.open[-1]
        if isinstance(parent, SequenceNode):
            parent.items.append(node)
            return
        key = self.key[-1]
        if key is None:
            self.key[-1] = _new_key(parent, node)
        else:
            parent.entries[key.value] = MappingItem(key, node)
            self.key[-1] = None

    def enter(self, node: SequenceNode | MappingNode) -> None:
        """Add a collection and open it."""
        self.add(node)
        if len(self.open) == MAX_DEPTH:
            raise node.place.error(f"nested more than {MAX_DEPTH} deep")
        self.open.append(node)
        self.key.append(None)

    def leave(self) -> None:
        """Close the innermost collection."""
        self.open.pop()
        self.key.pop()


def _build(events: Iterator[yaml.Event], source: str) -> Node | None:
    builder = _Builder()
    for event in events:
        if isinstance(event, yaml.ScalarEvent):
            builder.add(_scalar(event, source))
        elif isinstance(event, yaml.SequenceStartEvent):
            builder.enter(SequenceNode(_place_of_collection(event, source)))
        elif isinstance(event, yaml.MappingStartEvent):
            builder.enter(MappingNode(_place_of_collection(event, source)))
        elif isinstance(event, yaml.CollectionEndEvent):
            builder.leave()
        elif isinstance(event, yaml.AliasEvent):
            raise _place(event, source).error(
                f"the alias *{event.anchor}: aliases are not read",
                hint='a group can hold shared settings; in quotes, "*..." is text',
            )
        elif isinstance(event, yaml.DocumentStartEvent) and builder.root is not None:
            raise _place(event, source).error(
                "a second document begins here", hint="put it into its own file"
            )
    return builder.root


def _new_key(parent: MappingNode, node: Node) -> ScalarNode:
    if not isinstance(node, ScalarNode):
        raise node.place.error("a key must be text here", hint="quote names that start with [ or {")
    earlier = parent.entries.get(node.value)
    if earlier is not None:
        raise node.place.error(
            f"the key {node.value!r} is here twice", hint=f"the first is on line {earlier.key.line}"
        )
    return node


def _scalar(event: yaml.ScalarEvent, source: str) -> ScalarNode:
    start, end = event.start_mark, event.end_mark
    if event.anchor is not None or event.tag is not None or start is None or end is None:
        _refuse_properties(event.anchor, event.tag, _place(event, source))
        return ScalarNode(event.value, source, 1, 1, exact=False, plain=not event.style)
    plain = not event.style
    quote = 0 if plain else 1
    exact = start.line == end.line and end.column - start.column == len(event.value) + 2 * quote
    column = start.column + 1 + (quote if exact else 0)
    return ScalarNode(event.value, source, start.line + 1, column, exact, plain)


def _place_of_collection(event: yaml.SequenceStartEvent | yaml.MappingStartEvent, source: str) -> Location:
    place = _place(event, source)
    _refuse_properties(event.anchor, event.tag, place)
    return place


def _refuse_properties(anchor: str | None, tag: str | None, place: Location) -> None:
    if anchor is not None:
        raise place.error(f"the anchor &{anchor}: anchors are not read", hint='in quotes, "&..." is text')
    if tag is not None:
        short = tag.replace("tag:yaml.org,2002:", "!!")
        raise place.error(f"the tag {short!r}: tags are not read", hint='in quotes, "!..." is text')


def _place(event: yaml.Event, source: str) -> Location:
    mark = event.start_mark
    return Location(source, 1) if mark is None else Location(source, mark.line + 1, mark.column + 1)


def _way_out(text: str, line: int, column: int) -> str | None:
    """Return a hint for a common mistake in hosts files."""
    lines = text.split("\n", line + 1)
    here = lines[line] if line < len(lines) else ""
    at = here[column : column + 1]
    if at == "\t":
        return "YAML indents with blanks, not with tabs"
    if at in tuple("@`%*"):
        return f"quote text that starts with {at}"
    if at in tuple("[]") and _RANGE_IN_FLOW.search(here):
        return 'inside [...] or {...}, quote names that have brackets: "web[1-3]"'
    if ":" in here[column:] and at == ":":
        return "quote text that holds ': '"
    return None


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


def as_text(node: Node, what: str) -> ScalarNode:
    """Check that a node is text.

    Args:
        node: The node.
        what: What the text is, for errors.

    Raises:
        InventoryError: The node is not a scalar, is empty, holds control characters, or is one that YAML
            reads as something else than text.
    """
    if not isinstance(node, ScalarNode):
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
        InventoryError: The node is not a port.
    """
    if not isinstance(node, ScalarNode):
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
        InventoryError: The node is none of the words.
    """
    return words(_one_of([word.value for word in words], node, what))


def as_transport(node: Node) -> str:
    """Read the name of a transport: a built-in one, or one that another distribution has installed.

    Raises:
        InventoryError: No transport has this name.
    """
    known = [name.value for name in TransportName]
    if not isinstance(node, ScalarNode) or node.value not in known:  # the search for installed ones is slow
        known += sorted(installed_transports().keys() - set(known))
    return _one_of(known, node, "transport")


def _one_of(known: list[str], node: Node, what: str) -> str:
    if not isinstance(node, ScalarNode):
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
        ScalarNode, or a number, ``true``, ``false`` or ``null`` in the spelling that all readers take alike.

    Raises:
        InventoryError: The node is not a scalar, or YAML parsers disagree about its value.
    """
    if not isinstance(node, ScalarNode):
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


def unknown_key(key: ScalarNode, known: Iterable[str], *, foreign: str | None = None) -> InventoryError:
    """Make the error for an unknown key.

    Args:
        key: The key.
        known: The valid keys.
        foreign: The key of the same meaning here, if this one is another tool's.
    """
    known = list(known)
    hint = f"did you mean {foreign}?" if foreign in known else did_you_mean(key.value, known)
    return key.place.error(
        f"the key {key.value!r} is not known here", hint=hint or f"the keys are {', '.join(known)}"
    )


def _kind(node: SequenceNode | MappingNode) -> str:
    return "a list" if isinstance(node, SequenceNode) else "a mapping"


def _ambiguous(node: ScalarNode) -> InventoryError:
    meaning = _meaning(node.value)
    taken = f"YAML reads {node.value} as {meaning}" if meaning else f"not all YAML reads {node.value} as text"
    return node.place.error(taken, hint=f'write "{node.value}" if text is meant')


def _meaning(value: str) -> str | None:
    """Say what YAML 1.1 reads a plain scalar as; ``None`` for text, or if it is not valid."""
    try:
        meaning = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, OverflowError):
        return None
    if meaning is None or isinstance(meaning, bool):
        return {None: "null", True: "true", False: "false"}[meaning]
    if isinstance(meaning, int | float):
        return f"the number {meaning}"
    return "a date" if isinstance(meaning, dt.date) else None
