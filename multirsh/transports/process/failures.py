"""What went wrong with a program that stands for a host, as the host's status and failure: all the words."""

from __future__ import annotations

import errno
import os
from typing import Final, TypeAlias

from multirsh.model import ErrorKind, Failure, Phase, Status
from multirsh.transports.messages import one_line
from multirsh.transports.process.child import Launch

Reason: TypeAlias = tuple[Status, Failure]

_OURS: Final = {
    errno.EMFILE: ErrorKind.FILES,
    errno.ENFILE: ErrorKind.FILES,
    errno.ENOMEM: ErrorKind.MEMORY,
    errno.EAGAIN: ErrorKind.MEMORY,  # as many processes as the user, or the machine, may have: fork(2)
}
"""What this machine has too little of, whatever the program."""


def not_started(error: OSError, launch: Launch) -> Reason:
    """The program could not be started: nothing has run."""
    what = error.strerror or str(error)
    if error.errno in _OURS:
        message = f"no program can be started here: {what}"
        return Status.LOCAL, Failure(_OURS[error.errno], Phase.SESSION, message)
    program = launch.executable or os.fsdecode(launch.argv[0])
    message = one_line(f"{program} cannot be started: {what}")
    return Status.UNREACHABLE, Failure(ErrorKind.PROGRAM, Phase.SESSION, message)


def no_status() -> Reason:
    """The program has ended, and its exit status went to somebody else."""
    message = "its exit status is lost: another part of this process has taken it, or SIGCHLD is ignored"
    return Status.LOST, Failure(ErrorKind.NO_EXIT_STATUS, Phase.RUN, message)
