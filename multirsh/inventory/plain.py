"""Reading a plain list into a draft: ``[user@]host[:port]`` on each line, with ranges and ``#`` comments.

``#include FILE`` is not a comment: it includes the hosts of another list, as in pdsh (pdsh(1), WCOLL).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from multirsh.inventory.draft import EMPTY_LAYER, Draft, Layer, Sourced
from multirsh.inventory.ranges import parse_pattern
from multirsh.inventory.text import ORDINARY_NAME, Fragment, Location, split_host_spec

_COMMENT: Final = re.compile(r"(?:^|[ \t])#.*")
_INCLUDE: Final = re.compile(r"[ \t]*#include(?:[ \t]+(?P<file>.*))?")
_BLANK_OUTSIDE_BRACKETS: Final = re.compile(r"\[[^\]]*\]?|([ \t])")
_LIST_MARKER: Final = re.compile(r"-[ \t]")


def read_plain(text: str, source: str, draft: Draft, include: Callable[[Fragment], None]) -> None:
    """Read a plain list.

    Args:
        text: The text of the list, with LF after each line.
        source: The name of the list, for errors.
        draft: Receives the hosts.
        include: Reads the list that an ``#include`` line names.

    Raises:
        InventoryError: A line is not one host or range, or contradicts an earlier one.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if ORDINARY_NAME.fullmatch(line):
            draft.add_hosts((line,))
        elif found := _INCLUDE.fullmatch(line):
            include(_included(line, found, Location(source, number)))
        else:
            bare = _COMMENT.sub("", line)
            host = Fragment.of(bare, Location(source, number)).strip()
            if host.text:
                _read_line(host, draft)
    draft.check_size(Location(source, 1))


def _included(line: str, found: re.Match[str], place: Location) -> Fragment:
    """Return the file name on an ``#include`` line, which may be quoted.

    Raises:
        InventoryError: The line names no file.
    """
    whole = Fragment.of(line, place)
    bare = _COMMENT.sub("", found["file"] or "")
    if not bare.strip():
        raise whole.strip().error(
            "#include needs the name of a list", hint="a blank after the # makes it a comment"
        )
    name = whole.cut(found.start("file"), found.start("file") + len(bare)).strip()
    is_quoted = len(name.text) > 1 and name.text[0] == name.text[-1] == '"'
    return name.cut(1, -1) if is_quoted else name


def _read_line(line: Fragment, draft: Draft) -> None:
    if _LIST_MARKER.match(line.text):
        raise line.error("'- ' has no place in a plain list", hint="YAML files begin with hosts:")
    for gap in _BLANK_OUTSIDE_BRACKETS.finditer(line.text):
        if gap.group(1):
            raise line.error(
                "only one host can stand on a line",
                at=gap.start(),
                hint="a user and a port go as user@host:port",
            )
    endpoint = split_host_spec(line)
    _refuse_list(endpoint.host)
    pattern = parse_pattern(endpoint.host)
    draft.count(pattern.count, line)
    draft.add_hosts(pattern.names(), _login(endpoint.user, endpoint.port, line))


def _refuse_list(host: Fragment) -> None:
    comma = re.sub(r"\[[^\]]*\]?", lambda bracket: "." * len(bracket.group()), host.text).find(",")
    if comma >= 0:
        raise host.error("only one host can stand on a line", at=comma, hint="put each on its own line")


def _login(user: str | None, port: int | None, line: Fragment) -> Layer:
    if user is None and port is None:
        return EMPTY_LAYER
    place = Location(line.place.source, line.place.line, line.place.column + line.offset)
    said = (("user", user), ("port", port))
    return Layer({key: Sourced(value, place) for key, value in said if value is not None})
