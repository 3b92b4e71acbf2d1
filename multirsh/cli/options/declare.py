"""How an option is declared: with its heading, its environment variable and its key in config.toml."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any, Final, TypeVar

import click

from multirsh.cli.sections import OTHER, SectionOption
from multirsh.commands.sudo.options import Sudo
from multirsh.engine.options import DEFAULT_OPTIONS, RunOptions

Taken = TypeVar("Taken")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])

CONFIGURABLE: dict[str, SectionOption] = {}
"""Key in config.toml → the option it is a default of."""


def option(
    *names: str,
    section: str = OTHER,
    configurable: bool = True,
    key: str | None = None,
    cls: type[SectionOption] = SectionOption,
    **settings: Any,
) -> Callable[[Decorated], Decorated]:
    """Declare an option with its heading, its environment variable and its key in config.toml.

    The key is the option's long name, if ``key`` does not give another.
    """
    if configurable:
        key = key or next(name for name in names if name.startswith("--")).lstrip("-")
        settings.setdefault("envvar", f"MULTIRSH_{key.replace('-', '_').upper()}")
        CONFIGURABLE[key] = cls(names, section=section, **settings)
    return click.option(*names, cls=cls, section=section, **settings)


RUN_FIELDS: Final[dict[str, str]] = {}
"""Name of click's parameter → the field of ``RunOptions`` that it sets, such as ``limits.fanout``."""


def run_option(
    *names: str, sets: str, about: str, unset: str | None = None, **settings: Any
) -> Callable[[Decorated], Decorated]:
    """Declare an option that sets a field of ``RunOptions``; unless it is given, the field keeps its default.

    Args:
        names: As on the command line.
        sets: The field, such as ``limits.fanout``.
        about: What ``--help`` says; the default is added.
        unset: What ``--help`` says of a default of ``None``; nothing if this is ``None``.
        settings: As of ``option``.
    """
    parameter = sets.replace(".", "_")
    RUN_FIELDS[parameter] = sets
    default = attrgetter(sets)(DEFAULT_OPTIONS)
    shown = unset if default is None else f"{default:g}" if isinstance(default, float) else str(default)
    if shown is not None and not isinstance(default, bool):
        about = f"{about}  [default: {shown}]"
    return option(*names, parameter, help=about, **settings)


def take_run_options(parameters: dict[str, Any], *, sudo: Sudo | None) -> RunOptions:
    """Make the options of a run of what click has read, and take that out of ``parameters``.

    Raises:
        UsageError: Options exclude each other.
    """
    parts: dict[str, dict[str, Any]] = {}
    for parameter, sets in RUN_FIELDS.items():
        value = parameters.pop(parameter, None)
        if value is not None:
            part, _, name = sets.rpartition(".")
            parts.setdefault(part, {})[name] = value
    own = parts.pop("", {})
    changed = {part: replace(getattr(DEFAULT_OPTIONS, part), **fields) for part, fields in parts.items()}
    return RunOptions(**own, **changed, sudo=sudo)


def together(*decorators: Callable[[Decorated], Decorated]) -> Callable[[Decorated], Decorated]:
    """Make one decorator of several, in the order in which ``--help`` lists them."""

    def decorate(function: Decorated) -> Decorated:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def take(kind: type[Taken], parameters: dict[str, Any]) -> Taken:
    """Make a ``kind``, a dataclass, of its fields among ``parameters``, and take those out."""
    names = [field.name for field in fields(kind) if field.name in parameters]  # type: ignore[arg-type]  # checked by fields() itself
    return kind(**{name: parameters.pop(name) for name in names})
