"""What a user asks for: a command, and what it is to find around it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from multirsh.arguments import check_fields
from multirsh.commands.script import Script
from multirsh.errors import UsageError

NO_ENVIRONMENT: Final[Mapping[str, str]] = MappingProxyType({})

OURS: Final = ("MULTIRSH_HOST", "MULTIRSH_INDEX", "MULTIRSH_RUN")
"""Variables that tell a command which host of which run it is on."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""A variable's (POSIX.1-2017, Base Definitions, 3.235)."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command for many hosts.

    One that asks for nothing but ``text`` is sent as it is, byte for byte.

    Attributes:
        text: For the login shell, what ssh would be given; empty for a script.
        environment: Variables that it finds set, by name; not in the repr, as values may be secrets.
        directory: Where it runs, as seen from where a login begins; ``None`` for there.
        tty: Whether it gets a pseudo-terminal; its stderr then comes with stdout.
        is_template: Whether ``{host}`` and its kin are filled in: in ``text``, quoted for the shell, and in a
            script's arguments.
        script: A script of this machine's, to be run in place of a text.

    Raises:
        UsageError: There is nothing to run, or something in it cannot be meant.
    """

    text: str = ""
    environment: Mapping[str, str] = field(default_factory=lambda: NO_ENVIRONMENT, kw_only=True, repr=False)
    directory: str | None = field(default=None, kw_only=True)
    tty: bool = field(default=False, kw_only=True)
    is_template: bool = field(default=False, kw_only=True)
    script: Script | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.script is None and not self.text.strip():
            raise UsageError("there is no command to run", hint="give one, such as uptime")
        if self.script is not None and self.text:
            raise UsageError("a command is a text or a script, and not both", hint="give one of them")
        if "\0" in self.text:
            raise UsageError("a command cannot hold a NUL byte")
        if self.script is not None and self.tty:
            raise UsageError(
                "a script comes by standard input, which a terminal would change",
                hint="leave out the terminal, or copy the script with 'multirsh push' and run it then",
            )
        if self.directory is not None and (not self.directory or "\0" in self.directory):
            raise UsageError(f"{self.directory!r} is no directory's name")
        for name, value in self.environment.items():
            _check_variable(name, value)

    @property
    def told_as(self) -> str:
        """What it is called in events, in the journal and to people."""
        return self.text if self.script is None else self.script.told_as


def _check_variable(name: str, value: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"{name!r} is no variable's name", hint="letters, digits and _ make one, and no digit begins it"
        )
    if name in OURS:
        raise UsageError(f"{name} is set by multirsh", hint="choose another name")
    if "\0" in value:
        raise UsageError(f"the variable {name} cannot hold a NUL byte")
