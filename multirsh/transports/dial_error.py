"""Why no TCP connection could be made: the system's errors, as what a host's result will be."""

from __future__ import annotations

import errno
import os
from typing import Final

from multirsh.model import ErrorKind, Failure, Phase, Status

_LOCAL_ERRORS: Final = {
    errno.EMFILE: (ErrorKind.FILES, "no file descriptor is left in this process (ulimit -n)"),
    errno.ENFILE: (ErrorKind.FILES, "no file descriptor is left on this machine (fs.file-max)"),
    errno.ENOBUFS: (ErrorKind.MEMORY, "no buffer is left in this machine's kernel"),
    errno.ENOMEM: (ErrorKind.MEMORY, "no memory is left on this machine"),
}
"""What is this machine's fault and not the host's."""

_ROUTE_ERRORS: Final = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})


class DialError(Exception):
    """No TCP connection could be made.

    Attributes:
        status: What the host's result will be.
        failure: Kind, phase and message.
    """

    def __init__(self, status: Status, failure: Failure) -> None:
        super().__init__(failure.message)
        self.status = status
        self.failure = failure


def dial_error(error: OSError) -> DialError:
    """Tell what a failed connect means."""
    code = error.errno
    if code in _LOCAL_ERRORS:
        kind, message = _LOCAL_ERRORS[code]
        return local_error(kind, message, Phase.CONNECT)
    if code == errno.ECONNREFUSED:
        kind = ErrorKind.REFUSED
    elif code == errno.ETIMEDOUT:
        kind = ErrorKind.TIMEOUT
    elif code in _ROUTE_ERRORS:
        kind = ErrorKind.NO_ROUTE
    else:
        kind = ErrorKind.RESET
        if code == errno.ENOTCONN:
            code = errno.ECONNRESET  # the peer was gone before its name was asked for
    reason = os.strerror(code).lower() if code else str(error)  # asyncio's words repeat the address
    return DialError(Status.UNREACHABLE, Failure(kind, Phase.CONNECT, reason))


def local_error(kind: ErrorKind, message: str, phase: Phase) -> DialError:
    """A failure that is this machine's fault and not the host's."""
    return DialError(Status.LOCAL, Failure(kind, phase, message))
