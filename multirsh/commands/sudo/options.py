"""What the caller says of sudo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from multirsh.arguments import check_fields
from multirsh.names import check_user

ROOT: Final = "root"


@dataclass(frozen=True, slots=True)
class Sudo:
    """That a command runs by sudo(8).

    Attributes:
        user: As whom: a name, or ``#`` and a number.

    Raises:
        UsageError: The user cannot be one (``multirsh.names``).
    """

    user: str = ROOT

    def __post_init__(self) -> None:
        check_fields(self)
        check_user(self.user, "the user of --sudo")
