"""YAML text into a tree whose every node knows its line and column.

Only the plain part of YAML is let in: mappings, sequences and scalars, in one
document. Aliases, anchors, tags and duplicate keys are refused where they
stand. Scalars stay raw text; what a plain one means is decided elsewhere.

The tree is made from the parser's events as they come, not by
``yaml.compose``: that recurses in C for each nested bracket and takes
quadratic time (a file of 100,000 ``[`` costs it half a minute), while an
event stream can be left at the first thing that is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

import yaml

from multirsh.inventory.place import Fragment, Place

MAX_DEPTH: Final = 20
"""Collections inside collections; a hosts file needs five."""

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RANGE_IN_FLOW: Final = re.compile(r"[A-Za-z0-9._-]\[[0-9]")


class Text(NamedTuple):
    """A scalar; a tuple, and its place in parts, because a file has half a million of them.

    Attributes:
        value: Its text.
        source: The file.
        line: Where the first character of ``value`` stands, from 1.
        column: From 1.
        exact: As in ``Place``.
        plain: Whether it was written without quotes, so that YAML would guess its type.
    """

    value: str
    source: str
    line: int
    column: int
    exact: bool
    plain: bool

    @property
    def place(self) -> Place:
        """Where the first character of ``value`` stands."""
        return Place(self.source, self.line, self.column, self.exact)

    @property
    def fragment(self) -> Fragment:
        """The text with its place, to be parsed further."""
        return Fragment.of(self.value, self.place)


@dataclass(frozen=True, slots=True)
class Items:
    """A sequence."""

    place: Place
    items: list[Node] = field(default_factory=list)


class Entry(NamedTuple):
    """A key and its value."""

    key: Text
    value: Node


@dataclass(frozen=True, slots=True)
class Entries:
    """A mapping; its keys are scalars, each there once.

    Attributes:
        place: Where it begins.
        entries: By the key's text, in order.
    """

    place: Place
    entries: dict[str, Entry] = field(default_factory=dict)


Node: TypeAlias = Text | Items | Entries


def parse_tree(text: str, source: str) -> Node | None:
    """Read one YAML document.

    Args:
        text: The file's text, LF after each line.
        source: The file's name, for errors.

    Returns:
        The root, or ``None`` where there is nothing but comments.

    Raises:
        InventoryError: It is not YAML, or a part of YAML that hosts files do without.
    """
    try:
        return _build(yaml.parse(text, Loader=_LOADER), source)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (0, 0) if mark is None else (mark.line, mark.column)
        raise Place(source, line + 1, column + 1).error(
            f"this is not YAML: {error.problem or error.context}", hint=_way_out(text, line, column)
        ) from error
    except yaml.YAMLError as error:
        raise Place(source, 1).error("this is not YAML") from error


class _Builder:
    """The collections that are open, innermost last, and the keys that wait for their values."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self.open: list[Items | Entries] = []
        self.key: list[Text | None] = []

    def add(self, node: Node) -> None:
        """Put a node where it belongs: at the root, into a sequence, or as a key or a value."""
        if not self.open:
            self.root = node
            return
        parent = self.open[-1]
        if isinstance(parent, Items):
            parent.items.append(node)
            return
        key = self.key[-1]
        if key is None:
            self.key[-1] = _new_key(parent, node)
        else:
            parent.entries[key.value] = Entry(key, node)
            self.key[-1] = None

    def enter(self, node: Items | Entries) -> None:
        """Add a collection; what comes is inside it."""
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
            builder.enter(Items(_place_of_collection(event, source)))
        elif isinstance(event, yaml.MappingStartEvent):
            builder.enter(Entries(_place_of_collection(event, source)))
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


def _new_key(parent: Entries, node: Node) -> Text:
    if not isinstance(node, Text):
        raise node.place.error("a key must be text here", hint="quote names that start with [ or {")
    earlier = parent.entries.get(node.value)
    if earlier is not None:
        raise node.place.error(
            f"the key {node.value!r} is here twice", hint=f"the first is on line {earlier.key.line}"
        )
    return node


def _scalar(event: yaml.ScalarEvent, source: str) -> Text:
    start, end = event.start_mark, event.end_mark
    if event.anchor is not None or event.tag is not None or start is None or end is None:
        _refuse_properties(event.anchor, event.tag, _place(event, source))
        return Text(event.value, source, 1, 1, exact=False, plain=not event.style)
    plain = not event.style
    quote = 0 if plain else 1
    exact = start.line == end.line and end.column - start.column == len(event.value) + 2 * quote
    column = start.column + 1 + (quote if exact else 0)
    return Text(event.value, source, start.line + 1, column, exact, plain)


def _place_of_collection(event: yaml.SequenceStartEvent | yaml.MappingStartEvent, source: str) -> Place:
    place = _place(event, source)
    _refuse_properties(event.anchor, event.tag, place)
    return place


def _refuse_properties(anchor: str | None, tag: str | None, place: Place) -> None:
    if anchor is not None:
        raise place.error(f"the anchor &{anchor}: anchors are not read", hint='in quotes, "&..." is text')
    if tag is not None:
        short = tag.replace("tag:yaml.org,2002:", "!!")
        raise place.error(f"the tag {short!r}: tags are not read", hint='in quotes, "!..." is text')


def _place(event: yaml.Event, source: str) -> Place:
    mark = event.start_mark
    return Place(source, 1) if mark is None else Place(source, mark.line + 1, mark.column + 1)


def _way_out(text: str, line: int, column: int) -> str | None:
    """Hint for the mistakes in YAML that a hosts file invites."""
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
