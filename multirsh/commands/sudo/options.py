"""The user to run as, and the program that switches to it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, Self

from multirsh.arguments import check_fields
from multirsh.errors import UsageError
from multirsh.names import check_user

ROOT: Final = "root"


class Become(enum.StrEnum):
    """The program by which a command runs as another user."""

    SUDO = "sudo"
    """sudo(8), or sudo-rs in its place."""
    DOAS = "doas"
    """doas(1). It asks on a terminal only, so the command gets one."""
    SU = "su"
    """su(1). It asks on a terminal only, and for the other user's password."""


@dataclass(frozen=True, slots=True)
class Sudo:
    """Runs a command as another user.

    Attributes:
        user: The user: a name; for sudo also ``#`` and a number.
        by: The program that switches to the user.

    Raises:
        UsageError: The name cannot be a user's (``multirsh.names``).
    """

    user: str = ROOT
    by: Become = Become.SUDO

    def __post_init__(self) -> None:
        check_fields(self)
        option = "--sudo" if self.by is Become.SUDO else "--become"
        check_user(self.user, f"the user of {option}")

    @classmethod
    def read(cls, text: str) -> Self:
        """Parse the value of ``--become``: ``PROGRAM[:USER]``.

        Raises:
            UsageError: The program is unknown, or the name cannot be a user's.
        """
        program, colon, user = text.partition(":")
        try:
            by = Become(program)
        except ValueError:
            raise UsageError(
                f"--become {text}: {program!r} is not sudo, doas or su",
                hint="give one of these, optionally with a colon and a user, such as doas:www",
            ) from None
        return cls(user if colon else ROOT, by)

    @property
    def option_value(self) -> str:
        """The value that ``--sudo`` takes, or ``--become`` for other programs; it is also recorded."""
        return self.user if self.by is Become.SUDO else f"{self.by}:{self.user}"

    @property
    def needs_tty(self) -> bool:
        """Whether the program asks on a terminal only."""
        return self.by is not Become.SUDO
