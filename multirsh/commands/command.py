"""What a user asks for: a command, and what it is to find around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from multirsh.errors import UsageError

NO_ENVIRONMENT: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Command:
    """A command for many hosts.

    One that asks for nothing more than ``text`` is sent as it is, byte for byte.

    Attributes:
        text: For the login shell, what ssh would be given.
        environment: Variables that it finds set, by name.
        directory: Where it runs; ``None`` for where a login begins. Relative to that.
        tty: Whether it gets a pseudo-terminal; its stderr then comes with stdout.

    Raises:
        UsageError: There is nothing to run, or something in it cannot be meant.
    """

    text: str = ""
    environment: Mapping[str, str] = field(default_factory=lambda: NO_ENVIRONMENT, kw_only=True)
    directory: str | None = field(default=None, kw_only=True)
    tty: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise UsageError("there is no command to run", hint="give one, such as uptime")
        if "\0" in self.text:
            raise UsageError("a command cannot hold a NUL byte")

    @property
    def told_as(self) -> str:
        """What it is called in events, in the journal and to people."""
        return self.text
