"""Defaults for options, from the user's and the system's ``config.toml``.

A key is an option's long name without its dashes, ``fanout = 32``. Nothing
is read from the current folder: a cloned repository must not be able to
redirect anybody's commands. Values have TOML's types: a switch is ``true``, a
number has no quotes, and what may be given several times is a list.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from multirsh.errors import UsageError

if TYPE_CHECKING:
    from multirsh.cli.sections import SectionOption

SYSTEM_FILE: Final = Path("/etc/multirsh/config.toml")


def files() -> tuple[Path, ...]:
    """The files, the one whose values win first (XDG Base Directory Specification)."""
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
