"""How an option is declared: with its heading, its environment variable and its key in config.toml."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

import click

from multirsh.cli.sections import OTHER, SectionOption

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
