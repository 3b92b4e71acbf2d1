"""What the caller says of sudo, doas and su."""

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
    """doas(1); it asks on a terminal only, so the command gets one."""
    SU = "su"
    """su(1), likewise; the password is the other user's."""


@dataclass(frozen=True, slots=True)
class Sudo:
    """That a command runs as another user.

    Attributes:
        user: As which: a name; for sudo also ``#`` and a number.
        by: The program that does it.

    Raises:
        UsageError: The user cannot be one (``multirsh.names``).
    """

    user: str = ROOT
    by: Become = Become.SUDO

    def __post_init__(self) -> None:
        check_fields(self)
        option = "--sudo" if self.by is Become.SUDO else "--become"
        check_user(self.user, f"the user of {option}")

    @classmethod
    def read(cls, text: str) -> Self:
        """Read ``PROGRAM[:USER]``, as ``--become`` has it.

        Raises:
            UsageError: There is no such program, or no user can have that name.
        """
        program, colon, user = text.partition(":")
        try:
            by = Become(program)
        except ValueError:
            raise UsageError(
                f"--become {text}: {program!r} is none of sudo, doas and su",
                hint="give one of these, and a user after a colon, such as doas:www",
            ) from None
        return cls(user if colon else ROOT, by)

    @property
    def told(self) -> str:
        """As ``--sudo`` has it, or else as ``read`` reads it."""
        return self.user if self.by is Become.SUDO else f"{self.by}:{self.user}"

    @property
    def needs_tty(self) -> bool:
        """Whether the program asks on a terminal only."""
        return self.by is not Become.SUDO
