"""How what went wrong with a file is told: as a host's failure, in one line."""

from __future__ import annotations

import errno
import os
from typing import Final

from multirsh.errors import HostError
from multirsh.model import ErrorKind, Failure, Phase, Status
from multirsh.transports.words import one_line

DISK_IS_AT_FAULT: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG})
"""What is wrong for every file of every host."""

_NO_MEANS: Final = {
    errno.EMFILE: ErrorKind.FILES,
    errno.ENFILE: ErrorKind.FILES,
    errno.ENOMEM: ErrorKind.MEMORY,
}


class FileTrouble(Exception):  # noqa: N818 - it is one file's, and the copy goes on
    """One file cannot be copied; the words say why."""


def shown(path: bytes) -> str:
    """A path in a message."""
    return one_line(os.fsdecode(path).encode("utf-8", "replace").decode())


def failed(host: str, message: str) -> HostError:
    """The copy on ``host`` has failed."""
    return HostError(host, Status.FAILED, Failure(ErrorKind.COPY, Phase.RUN, one_line(message)))


def local_trouble(host: str, error: OSError) -> HostError | None:
    """What is wrong with this machine and not with one file; ``None`` where it is the file."""
    reason = error.strerror or str(error)
    if error.errno in _NO_MEANS:
        kind = _NO_MEANS[error.errno]
        return HostError(host, Status.LOCAL, Failure(kind, Phase.RUN, f"copying: {reason}"))
    if error.errno in DISK_IS_AT_FAULT:
        message = f"cannot write here: {reason}"
        return HostError(host, Status.LOCAL, Failure(ErrorKind.DISK, Phase.RUN, message))
    return None


def why(error: OSError) -> str:
    """An error of this machine's file system, in its own words."""
    return (error.strerror or str(error)).lower()
