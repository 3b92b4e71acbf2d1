"""A plain list into a draft: ``[user@]host[:port]`` on each line, ranges allowed, ``#`` starts a comment."""

from __future__ import annotations

import re
from typing import Final

from multirsh.inventory.draft import NOTHING, Draft, Layer, Said
from multirsh.inventory.names import ORDINARY_NAME, split_endpoint
from multirsh.inventory.place import Fragment, Place
from multirsh.inventory.ranges import parse_pattern

_COMMENT: Final = re.compile(r"(?:^|[ \t])#.*")
_LIST_MARKER: Final = re.compile(r"-[ \t]")


def read_plain(text: str, source: str, draft: Draft) -> None:
    """Read a plain list.

    Args:
        text: Its text, LF after each line.
        source: Its name, for errors.
        draft: Gets the hosts.

    Raises:
        InventoryError: A line is not one host or range, or contradicts an earlier one.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if ORDINARY_NAME.fullmatch(line):
            draft.add_hosts((line,))
        else:
            bare = _COMMENT.sub("", line)
            host = Fragment.of(bare, Place(source, number)).strip()
            if host.text:
                _read_line(host, draft)
    draft.check_size(Place(source, 1))


def _read_line(line: Fragment, draft: Draft) -> None:
    if _LIST_MARKER.match(line.text):
        raise line.error("'- ' has no place in a plain list", hint="YAML files begin with hosts:")
    gap = re.search(r"[ \t]", line.text)
    if gap is not None:
        raise line.error(
            "only one host can stand on a line", at=gap.start(), hint="a user and a port go as user@host:port"
        )
    endpoint = split_endpoint(line)
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
        return NOTHING
    place = Place(line.place.source, line.place.line, line.place.column + line.offset)
    said = (("user", user), ("port", port))
    return Layer({key: Said(value, place) for key, value in said if value is not None})
