"""How a run's endings become the exit code of the process.

The contract's table, as data. It is pure and knows only statuses, so that the
engine, which states the code in ``RunFinished``, and the command line, which
ends with it, cannot differ.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from multirsh.model import Status


class ExitCode(enum.IntEnum):
    """What the process ends with; 128+N, for an ending by signal N, has no member."""

    OK = 0
    """All hosts are ok."""
    INTERNAL = 1
    """multirsh itself failed."""
    USAGE = 2
    """An option, the hosts file, or a selection of nobody: nothing was run."""
    UNFINISHED = 3
    """Some host timed out or was lost: its command may still run."""
    UNREACHED = 4
    """Some host was unreachable, refused us, found no local port, or did not close as was required."""
    COMMAND = 5
    """Some command exited non-zero or was ended by a signal."""
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
        # Nobody cancels a host but a run that stops before its end.
        Status.CANCELLED: ExitCode.STOPPED,
        Status.NOT_RUN: ExitCode.STOPPED,
    }
)
"""What one host of a status makes of the run."""

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

    That a run was stopped early is not asked for: its ``not_run`` and
    ``cancelled`` hosts say so, and a stop that no host noticed was none.

    Args:
        counts: Hosts of each status; absent means 0.
        signal: Number of the signal that ended the run (2 for Ctrl-C, 13 where stdout's reader went
            away), or ``None``.
        internal_error: Whether multirsh itself failed.
        close_failed: Whether, under ``--require-remote-close``, a remote did not close first.
        largest_remote_status: With ``-S``, the largest ``remote_status`` of all hosts; else ``None``. It
            takes the place of 6, 3, 4 and 5, unless it is 0: hosts that were never tried have no status,
            and they must not end in a success.

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
    """What one host counts under ``-S``.

    A command ended by a signal counts 255, as in ssh(1): a signal's number is
    the remote system's affair. A host that was never tried counts 0.

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
    """What a run's exit code is made of, beyond its hosts' statuses.

    Attributes:
        largest_status: ``-S``: the largest remote status.
        require_remote_close: A connection that the remote did not close first fails the run.
        earlier: Hosts of each status that count beside the run's own: of a run that it goes on with.
    """

    largest_status: bool = False
    require_remote_close: bool = False
    earlier: Mapping[Status, int] = field(default_factory=dict)
