"""What is set for all hosts of a fleet, for each transport: the command line's options, or a program's.

These modules import no transport, since asyncssh alone takes longer to import than a small command to run.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from multirsh.arguments import check_fields
from multirsh.model import NO_SETTINGS, Settings
from multirsh.transports.ssh.options import SshOptions


class RshStderr(enum.StrEnum):
    """How the stderr of a command is received (``--rsh-stderr``)."""

    SEPARATE = "separate"
    """On a second connection, which the remote opens to this machine, from and to a reserved port."""
    MERGED = "merged"
    """As part of stdout: one connection, and no way to send signals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RshOptions:
    """The options of rsh for all hosts of a fleet.

    Attributes:
        settings: The settings that take precedence over every host's own: ``-l``, ``-p``, ``-J``.
        stderr: How stderr is received.
    """

    settings: Settings = NO_SETTINGS
    stderr: RshStderr = RshStderr.SEPARATE

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecOptions:
    """The options of exec for all hosts of a fleet.

    Attributes:
        template: The program that reaches a host, and its arguments (``--exec``), as ``exec.template`` reads
            it; ``None`` where none is given.
        settings: The settings that take precedence over every host's own: ``-l``, ``-p``, ``-J``.
    """

    template: str | None = None
    settings: Settings = NO_SETTINGS

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportOptions:
    """The options of all transports of a fleet.

    Attributes:
        ssh: The options of ssh.
        rsh: The options of rsh; ``None`` for the defaults, with ``settings``.
        exec: The options of exec; ``None`` for the defaults, with ``settings``.
        settings: The settings that take precedence over every host's own, for transports without options of
            their own.
    """

    ssh: SshOptions = field(default_factory=SshOptions)
    rsh: RshOptions | None = None
    exec: ExecOptions | None = None
    settings: Settings = NO_SETTINGS
