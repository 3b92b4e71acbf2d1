"""Why no TCP connection could be made: the system's errors, as what a host's result will be."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Final

from multirsh.model import ErrorKind, Failure, Phase, Status

_LOCAL_ERRORS: Final = {
    errno.EMFILE: (ErrorKind.FILES, "no file descriptor is left in this process (ulimit -n)"),
    errno.ENFILE: (ErrorKind.FILES, "no file descriptor is left on this machine (fs.file-max)"),
    errno.ENOBUFS: (ErrorKind.MEMORY, "no buffer is left in this machine's kernel"),
    errno.ENOMEM: (ErrorKind.MEMORY, "no memory is left on this machine"),
}
"""What is this machine's fault and not the host's."""

_TELLING: Final = (
    ErrorKind.REFUSED,
    ErrorKind.RESET,
    ErrorKind.TIMEOUT,
    ErrorKind.PORTS,
    ErrorKind.PRIVILEGE,
    ErrorKind.ADDRESS,
    ErrorKind.FILES,
    ErrorKind.MEMORY,
)
"""Of several addresses' errors, which tells most of the host: that somebody answered, then that nobody did,
then that this machine could not ask; a family without a route tells least."""

_NAMED: Final = 4
"""So many of a host's addresses are named in its error."""

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


def none_connected(failures: Sequence[tuple[str, OSError | DialError]]) -> DialError:
    """Tell what it means that no address of a host could be connected to.

    Args:
        failures: Each address that was tried, with why not; one or more.

    Returns:
        The one error there is, or the most telling, with what was tried in its message.
    """
    errors = [error if isinstance(error, DialError) else dial_error(error) for _, error in failures]
    if len(errors) == 1:
        return errors[0]
    chief = min(errors, key=lambda error: _rank(error.failure.kind))
    tried: dict[str, list[str]] = {}
    for (address, _), error in list(zip(failures, errors, strict=True))[:_NAMED]:
        tried.setdefault(error.failure.message, []).append(address)
    words = [f"{', '.join(addresses)}: {message}" for message, addresses in tried.items()]
    if len(failures) > _NAMED:
        words.append(f"and {len(failures) - _NAMED} more")
    failure = Failure(chief.failure.kind, chief.failure.phase, "; ".join(words))
    return DialError(chief.status, failure)


def _rank(kind: ErrorKind) -> int:
    return _TELLING.index(kind) if kind in _TELLING else len(_TELLING)


def local_error(kind: ErrorKind, message: str, phase: Phase) -> DialError:
    """A failure that is this machine's fault and not the host's."""
    return DialError(Status.LOCAL, Failure(kind, phase, message))
