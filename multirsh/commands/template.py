"""Commands with places in them that each host fills in for itself: ``{host}``, ``{var.rack}``.

What is filled in is quoted for the shell that will read it. A place that some
host cannot fill is an error of the whole run, before anything connects.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from multirsh.errors import UsageError
from multirsh.model import Host, Scalar

_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_VAR: Final = "var."
_NAMES: Final = ("host", "user", "index")

KNOWN: Final = "{host}, {user}, {index}, and {var.NAME} for a variable of the hosts file"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is filled in.

    Attributes:
        name: What, without braces.
    """

    name: str


Template: TypeAlias = Sequence[str | Place]
"""Text as it is, and places, by turns."""

Quote: TypeAlias = Callable[[str], str]


def parse(text: str) -> Template:
    """Read a template.

    Args:
        text: ``{{`` and ``}}`` stand for braces.

    Raises:
        UsageError: A brace that has no other, or a name that is not known.
    """
    parts: list[str | Place] = []
    start = 0
    for found in _TOKEN.finditer(text):
        parts.append(text[start : found.start()])
        parts.append(found[0][0] if found[0] in {"{{", "}}"} else _place(found))
        start = found.end()
    return [part for part in (*parts, text[start:]) if part != ""]


def check(template: Template, host: Host) -> None:
    """See to it that ``host`` can fill every place.

    Raises:
        UsageError: It has no such variable.
    """
    for part in template:
        if isinstance(part, Place) and part.name.startswith(_VAR):
            _variable(part.name, host)


def filled(template: Template, host: Host, *, index: int, user: str, quote: Quote) -> str:
    """Fill a template in.

    Args:
        template: As ``parse`` read it.
        host: Whose; ``check`` has passed it.
        index: Its place in the run, from 0.
        user: Who is logged in there.
        quote: Makes a word for the shell of what is filled in.
    """
    values = {"host": host.name, "index": str(index), "user": user}
    return "".join(
        part
        if isinstance(part, str)
        else quote(values[part.name] if part.name in values else _variable(part.name, host))
        for part in template
    )


def _place(found: re.Match[str]) -> Place:
    name = found[1]
    if name is None:
        raise UsageError(
            f"template: a {found[0]!r} at character {found.start() + 1} that has no other",
            hint="a brace of the command's own is written twice: {{ or }}",
        )
    if name not in _NAMES and not (name.startswith(_VAR) and name != _VAR):
        raise UsageError(
            f"template: {found[0]} is not known; known are {KNOWN}",
            hint=f"if the braces are the command's own, write {{{found[0]}}}",
        )
    return Place(name)


def _variable(place: str, host: Host) -> str:
    """A variable of ``host`` as YAML writes it.

    Raises:
        UsageError: There is none of that name, or it has no value.
    """
    name = place.removeprefix(_VAR)
    value = host.vars.get(name)
    if value is None:
        raise UsageError(
            f"{host.name}: {{{place}}} has no value; known are {_known_of(host.vars)}",
            hint="give it one under 'vars' in the hosts file, or leave the host out with -x",
        )
    return str(value).lower() if isinstance(value, bool) else str(value)


def _known_of(variables: Mapping[str, Scalar]) -> str:
    named = (f"{{{_VAR}{name}}}" for name, value in sorted(variables.items()) if value is not None)
    return ", ".join((*(f"{{{name}}}" for name in _NAMES), *named))
