"""What the user says of rsh for all hosts at once: the command line's options, or the library caller's."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from multirsh.arguments import check_fields
from multirsh.model import NO_SETTINGS, Settings


class RshStderr(enum.StrEnum):
    """How a command's stderr comes (``--rsh-stderr``)."""

    SEPARATE = "separate"
    """On a second connection, which the remote makes back to us, from and to a reserved port."""
    MERGED = "merged"
    """As part of stdout: one connection, and no way to send signals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RshOptions:
    """rsh for the whole fleet.

    Attributes:
        settings: What goes before every host's own settings: ``-l``, ``-p``, ``-J``.
        stderr: How stderr comes.
    """

    settings: Settings = NO_SETTINGS
    stderr: RshStderr = RshStderr.SEPARATE

    def __post_init__(self) -> None:
        check_fields(self)
