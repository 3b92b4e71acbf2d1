"""Defaults for options, from the user's and the system's ``config.toml``.

A key is an option's long name without its dashes, ``fanout = 32``. Nothing
is read from the current folder: a cloned repository must not be able to
redirect anybody's commands.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from multirsh.errors import UsageError

SYSTEM_FILE: Final = Path("/etc/multirsh/config.toml")

NEVER: Final = frozenset({"help", "version"})


def files() -> tuple[Path, Path]:
    """The files, the one whose values win first (XDG Base Directory Specification)."""
    home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(home).expanduser() / "multirsh" / "config.toml", SYSTEM_FILE


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
        values[CONFIGURABLE[key]] = value
    return values
