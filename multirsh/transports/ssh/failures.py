"""asyncssh's exceptions, translated to a host's status and failure; no other module knows both."""

from __future__ import annotations

import asyncssh

from multirsh.model import ErrorKind, Failure, Phase, Status
from multirsh.shortage import no_memory
from multirsh.transports import messages

_LOGIN_ATTEMPTS_SPENT = "Too many authentication failures"
"""OpenSSH's DISCONNECT message when MaxAuthTries is exceeded (auth.c)."""


_NOT_NOW = (b"Exceeded MaxStartups", b"Not allowed at this time")
"""What sshd writes to a connection that it drops, because of MaxStartups or, since 9.8, of a penalty
(sshd.c, ``drop_connection``)."""


def login_failure(error: BaseException, phase: Phase, *, said: bytes = b"") -> tuple[Status, Failure]:
    """Translate the error that ended a connection before the login succeeded.

    Args:
        error: The exception of asyncssh or the socket.
        phase: The phase of the connection.
        said: What the remote wrote instead of its SSH version.
    """
    message = one_line(error)
    match error:
        case asyncssh.ConnectionLost() | OSError() if said and phase is Phase.HANDSHAKE:
            return Status.UNREACHABLE, _turned_away(said)
        case asyncssh.HostKeyNotVerifiable():
            return Status.HOSTKEY, Failure(ErrorKind.HOSTKEY_INVALID, Phase.HANDSHAKE, message)
        case asyncssh.PermissionDenied():
            return Status.AUTH, Failure(ErrorKind.DENIED, Phase.AUTH, message)
        case asyncssh.DisconnectError() if _LOGIN_ATTEMPTS_SPENT in message:
            return Status.AUTH, Failure(ErrorKind.DENIED, Phase.AUTH, message)
        case asyncssh.KeyExchangeFailed():
            return Status.UNREACHABLE, Failure(ErrorKind.KEY_EXCHANGE, phase, message)
        case asyncssh.ConnectionLost():
            return Status.UNREACHABLE, Failure(ErrorKind.CLOSED, phase, _closed_during(phase))
        case asyncssh.DisconnectError():
            return Status.UNREACHABLE, Failure(ErrorKind.PROTOCOL, phase, message)
        case ConnectionResetError():
            return Status.UNREACHABLE, Failure(ErrorKind.RESET, phase, "the remote reset the connection")
        case OSError():
            return Status.UNREACHABLE, Failure(ErrorKind.CLOSED, phase, message)
        case _:
            return Status.UNREACHABLE, Failure(ErrorKind.PROTOCOL, phase, message or type(error).__name__)


def _turned_away(said: bytes) -> Failure:
    """Translate what the remote wrote before it closed the connection."""
    quoted = messages.one_line(said.decode("utf-8", "replace"))
    if said in _NOT_NOW:
        return Failure(ErrorKind.BUSY, Phase.HANDSHAKE, f"the remote takes no login now: {quoted}")
    message = f"the remote closed the connection and said, which no SSH server says: {quoted}"
    return Failure(ErrorKind.PROTOCOL, Phase.HANDSHAKE, message)


def one_line(error: BaseException) -> str:
    """Return the error's message, part of which may come from the remote, as one line."""
    return messages.one_line(str(error))


def _closed_during(phase: Phase) -> str:
    if phase is Phase.HANDSHAKE:
        return "the remote closed the connection before the key exchange was done"
    return "the remote closed the connection before the login was done"


def command_failure(error: BaseException | None, *, requested: bool) -> tuple[Status, Failure]:
    """Translate the error that left a command without an exit status.

    Args:
        error: The exception that ended the channel; ``None`` if the remote just closed it.
        requested: Whether the remote may have received the command, which then may or may not have run.
    """
    match error:
        case MemoryError():
            return Status.LOCAL, no_memory(Phase.RUN if requested else Phase.SESSION)
        case asyncssh.ChannelOpenError() if error.code == asyncssh.OPEN_REQUEST_PTY_FAILED:
            message = "the remote gives no terminal"
            return Status.UNREACHABLE, Failure(ErrorKind.SESSION_REFUSED, Phase.SESSION, message)
        case asyncssh.ChannelOpenError() if (
            not requested or error.code == asyncssh.OPEN_REQUEST_SESSION_FAILED
        ):
            message = one_line(error) or "the remote refused to run a command"
            return Status.UNREACHABLE, Failure(ErrorKind.SESSION_REFUSED, Phase.SESSION, message)
        case None:
            kind, message = ErrorKind.NO_EXIT_STATUS, "the remote closed the channel and gave no exit status"
        case asyncssh.ConnectionLost() if "keepalive" in str(error):
            kind, message = ErrorKind.KEEPALIVE, "the remote stopped to answer"
        case asyncssh.ConnectionLost():
            kind, message = ErrorKind.CLOSED, "the remote closed the connection while the command ran"
        case ConnectionResetError():
            kind, message = ErrorKind.RESET, "the remote reset the connection while the command ran"
        case _:
            kind, message = ErrorKind.PROTOCOL, one_line(error) or type(error).__name__
    if not requested:
        return Status.UNREACHABLE, Failure(kind, Phase.SESSION, message)
    return Status.LOST, Failure(kind, Phase.RUN, message)
