"""Commands with placeholders that are filled in for each host: ``{host}``, ``{var.rack}``.

Values are quoted for the shell that will read them. A placeholder that has no
value on some host is an error before anything connects.
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
class Placeholder:
    """A part of a template that is replaced by a host's value.

    Attributes:
        name: What it stands for, without the braces.
    """

    name: str


Template: TypeAlias = Sequence[str | Placeholder]
"""A template's parts in order: literal text and placeholders."""

Quote: TypeAlias = Callable[[str], str]


def parse(text: str) -> Template:
    """Parse a template.

    Args:
        text: ``{{`` and ``}}`` stand for single braces.

    Raises:
        UsageError: A brace is unmatched, or a placeholder is unknown.
    """
    parts: list[str | Placeholder] = []
    start = 0
    for found in _TOKEN.finditer(text):
        parts.append(text[start : found.start()])
        parts.append(found[0][0] if found[0] in {"{{", "}}"} else _placeholder(found))
        start = found.end()
    return [part for part in (*parts, text[start:]) if part != ""]


def check(template: Template, host: Host) -> None:
    """Check that ``host`` has a value for every placeholder.

    Raises:
        UsageError: It lacks a variable.
    """
    for part in template:
        if isinstance(part, Placeholder) and part.name.startswith(_VAR):
            _variable(part.name, host)


def fill(template: Template, host: Host, *, index: int, user: str, quote: Quote) -> str:
    """Fill in a template for one host.

    Args:
        template: What ``parse`` returned.
        host: The host; ``check`` has accepted it.
        index: The host's position in the run, from 0.
        user: The user that is logged in there.
        quote: Quotes each value for the shell.
    """
    values = {"host": host.name, "index": str(index), "user": user}
    return "".join(
        part
        if isinstance(part, str)
        else quote(values[part.name] if part.name in values else _variable(part.name, host))
        for part in template
    )


def _placeholder(found: re.Match[str]) -> Placeholder:
    name = found[1]
    if name is None:
        raise UsageError(
            f"template: unmatched {found[0]!r} at character {found.start() + 1}",
            hint="write a literal brace twice: {{ or }}",
        )
    if name not in _NAMES and not (name.startswith(_VAR) and name != _VAR):
        raise UsageError(
            f"template: {found[0]} is not known; known are {KNOWN}",
            hint=f"if the braces belong to the command, write {{{found[0]}}}",
        )
    return Placeholder(name)


def _variable(placeholder: str, host: Host) -> str:
    """The value of a host's variable, written as in YAML.

    Raises:
        UsageError: The host has no such variable, or it has no value.
    """
    name = placeholder.removeprefix(_VAR)
    value = host.vars.get(name)
    if value is None:
        raise UsageError(
            f"{host.name}: {{{placeholder}}} has no value; known are {_known_names(host.vars)}",
            hint="set it under 'vars' in the hosts file, or leave the host out with -x",
        )
    return str(value).lower() if isinstance(value, bool) else str(value)


def _known_names(variables: Mapping[str, Scalar]) -> str:
    named = (f"{{{_VAR}{name}}}" for name, value in sorted(variables.items()) if value is not None)
    return ", ".join((*(f"{{{name}}}" for name in _NAMES), *named))
