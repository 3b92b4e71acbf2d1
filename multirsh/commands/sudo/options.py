"""What the caller says of sudo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from multirsh.arguments import check_fields
from multirsh.errors import UsageError

ROOT: Final = "root"


@dataclass(frozen=True, slots=True)
class Sudo:
    """That a command runs by sudo(8).

    Attributes:
        user: As whom: a name, or ``#`` and a number.

    Raises:
        UsageError: It can be nobody.
    """

    user: str = ROOT

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.user or not self.user.isprintable() or self.user.startswith("-"):
            raise UsageError(f"--sudo={self.user!r}: nobody is called that", hint="give a user's name")
