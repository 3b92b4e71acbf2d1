"""How the statuses of a run's hosts determine the exit code of the process.

It is a pure table over statuses, so that the engine, which puts the code into
``RunFinished``, and the command line, which exits with it, cannot differ.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from multirsh.model import Status


class ExitCode(enum.IntEnum):
    """The exit codes of the process; 128+N, if signal N ended it, has no member."""

    OK = 0
    """All hosts are ok."""
    INTERNAL = 1
    """multirsh itself failed."""
    USAGE = 2
    """Nothing was run: an option or a hosts file is wrong, or no host is selected."""
    UNFINISHED = 3
    """A host timed out or was lost: its command may still be running."""
    UNREACHED = 4
    """A host was unreachable, refused the login, found no local port, or did not close as was required."""
    COMMAND = 5
    """A command exited with a status other than 0, or was ended by a signal."""
    STOPPED = 6
    """The run stopped early."""


SIGNAL_BASE: Final = 128
"""Added to a signal's number, as shells do."""

BY_STATUS: Final[Mapping[Status, ExitCode]] = MappingProxyType(
    {
        Status.OK: ExitCode.OK,
        Status.FAILED: ExitCode.COMMAND,
        Status.SIGNALLED: ExitCode.COMMAND,
        Status.TIMEOUT: ExitCode.UNFINISHED,
        Status.UNREACHABLE: ExitCode.UNREACHED,
        Status.AUTH: ExitCode.UNREACHED,
        Status.HOSTKEY: ExitCode.UNREACHED,
        Status.LOST: ExitCode.UNFINISHED,
        Status.LOCAL: ExitCode.UNREACHED,
        # Only a run that stops early cancels a host.
        Status.CANCELLED: ExitCode.STOPPED,
        Status.NOT_RUN: ExitCode.STOPPED,
    }
)
"""The exit code if a host has this status."""

PRECEDENCE: Final = (
    ExitCode.INTERNAL,
    ExitCode.STOPPED,
    ExitCode.UNFINISHED,
    ExitCode.UNREACHED,
    ExitCode.COMMAND,
)
"""Where several hold, the first of these wins; a signal wins over all."""

FAILED_TRANSPORT: Final = 255
"""What counts, under ``-S``, for a host that has no exit status; ssh(1) ends with it, too."""


def exit_code(
    counts: Mapping[Status, int],
    *,
    signal: int | None = None,
    internal_error: bool = False,
    close_failed: bool = False,
    largest_remote_status: int | None = None,
) -> int:
    """Choose the process's exit code.

    A run that was stopped early is known by its ``not_run`` and ``cancelled``
    hosts; a stop that affected no host does not count.

    Args:
        counts: Hosts of each status; absent means 0.
        signal: Number of the signal that ended the run (2 for Ctrl-C, 13 if the reader of stdout is
            gone), or ``None``.
        internal_error: Whether multirsh itself failed.
        close_failed: Whether, under ``--require-remote-close``, a remote did not close first.
        largest_remote_status: With ``-S``, the largest ``remote_status`` of all hosts; else ``None``. It
            takes the place of 6, 3, 4 and 5, unless it is 0: hosts that were never tried have no status,
            and must not count as a success.

    Returns:
        0-255.
    """
    if signal is not None:
        return SIGNAL_BASE + signal
    if internal_error:
        return ExitCode.INTERNAL
    if largest_remote_status:
        return largest_remote_status
    reached = {BY_STATUS[status] for status, hosts in counts.items() if hosts}
    if close_failed:
        reached.add(ExitCode.UNREACHED)
    return next((code for code in PRECEDENCE if code in reached), ExitCode.OK)


def remote_status(status: Status, exit_status: int | None) -> int:
    """Return the status of one host for ``-S``.

    A command that a signal ended counts as 255, as in ssh(1), since signals
    have other numbers on other systems. A host that was never started counts as 0.

    Args:
        status: How the host ended.
        exit_status: 0-255 where its command exited, else ``None``.

    Returns:
        0-255.
    """
    if exit_status is not None:
        return exit_status
    return 0 if status in {Status.OK, Status.NOT_RUN} else FAILED_TRANSPORT


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitRule:
    """What else determines the exit code of a run, besides the statuses of its hosts.

    Attributes:
        largest_status: Whether the largest remote exit status is used (``-S``).
        require_remote_close: Whether a connection that the remote did not close first fails the run.
        earlier: Hosts of each status that count as well, from the run that this one resumes.
    """

    largest_status: bool = False
    require_remote_close: bool = False
    earlier: Mapping[Status, int] = field(default_factory=dict)
