"""How an option is declared: its section of ``--help``, its environment variable, its key in config.toml.

A flag wins over the variable, and the variable over config.toml: the user's file, then the system's. A key is
the option's long name without its dashes, ``fanout = 32``. Nothing is read from the current directory: a
cloned repository must not be able to redirect commands. Values have TOML's types: a switch is ``true``, a
number has no quotes, and an option that may be repeated takes a list.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from multirsh.cli.syntax import OTHER, SectionOption
from multirsh.commands.sudo.options import Sudo
from multirsh.engine.options import DEFAULT_OPTIONS, RunOptions
from multirsh.errors import UsageError

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


SYSTEM_FILE: Final = Path("/etc/multirsh/config.toml")


def files() -> tuple[Path, ...]:
    """Return the configuration files, in order of precedence (XDG Base Directory Specification)."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    if not home.startswith("/"):  # the specification has it ignored, and it would be in the current folder
        home = os.path.expanduser("~/.config")  # noqa: PTH111 - the path's own raises where there is no home
    mine = Path(home, "multirsh", "config.toml")
    return (mine, SYSTEM_FILE) if mine.is_absolute() else (SYSTEM_FILE,)


def read_defaults(subcommands: Iterable[str]) -> dict[str, Any]:
    """Read both files into click's ``default_map``, the same values for every subcommand.

    Raises:
        UsageError: A file cannot be read, is not TOML, or sets what no option is called.
    """
    values: dict[str, Any] = {}
    for file in reversed(files()):
        values |= _read(file)
    return dict.fromkeys(subcommands, values) if values else {}


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: {error}") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file}: {error}") from error
    from multirsh.cli.options import CONFIGURABLE  # noqa: PLC0415 - only where there is a file

    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in CONFIGURABLE:
            near = difflib.get_close_matches(key, CONFIGURABLE, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(CONFIGURABLE))}"
            raise UsageError(f"{file}: no option is called {key!r}", hint=hint)
        option = CONFIGURABLE[key]
        values[str(option.name)] = _checked(file, key, value, option)
    return values


def _checked(file: Path, key: str, value: object, option: SectionOption) -> object:
    """The value as the option would take it from a command line.

    Raises:
        UsageError: It is not of the option's kind.
    """
    if option.is_flag:
        if not isinstance(value, bool):
            raise UsageError(f"{file}: {key} is a switch: {value!r} is neither true nor false")
        return value
    if option.multiple:
        return [_one(file, key, one, option) for one in (value if isinstance(value, list) else [value])]
    return _one(file, key, value, option)


def _one(file: Path, key: str, value: object, option: SectionOption) -> object:
    is_text = isinstance(option.type, click.Path | click.Choice | type(click.STRING))
    if is_text != isinstance(value, str) or isinstance(value, bool | list | dict):
        kind = "text, in quotes" if is_text else "a number, without quotes"
        raise UsageError(f"{file}: {key} takes {kind}, not {value!r}")
    if isinstance(option.type, click.Path):
        value = os.path.expanduser(str(value))  # noqa: PTH111 - as above; and no shell has done it
    try:
        option.type.convert(value, None, None)
    except click.BadParameter as error:
        raise UsageError(f"{file}: {key}: {error.message.rstrip('.')}") from error
    return value
