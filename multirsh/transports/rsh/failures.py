"""The failures of rsh hosts: their statuses, and all their messages."""

from __future__ import annotations

import errno
import os
import re
from typing import Final, TypeAlias

from multirsh.model import ErrorKind, Failure, Phase, Status
from multirsh.shortage import no_memory
from multirsh.transports.messages import input_failure, one_line

Reason: TypeAlias = tuple[Status, Failure]

_DENIALS: Final = (
    r"permission denied|login incorrect|authentication failure|access denied|host address mismatch.*"
    r"|host addr .* not listed for host .*"
)
_SAYS_DENIED: Final = re.compile(_DENIALS, re.IGNORECASE)
_IS_DENIAL: Final = re.compile(rf"(rshd: *)?({_DENIALS})\.?", re.IGNORECASE)
"""How the servers of BSD, netkit and rsh-redone refuse this user from this host."""

_WAY_OUT: Final = " (--rsh-stderr merged does not need it)"


def text_of(words: bytes) -> str:
    """Return a remote's text for a message: one line, of bounded length, without control characters."""
    return one_line(words.decode("utf-8", "replace"))


def refused(words: bytes) -> Reason:
    """The server refused the request."""
    text = text_of(words)
    if _SAYS_DENIED.search(text):
        return Status.AUTH, Failure(ErrorKind.DENIED, Phase.AUTH, text)
    message = f"the remote refused: {text}" if text else "the remote refused the request without a reason"
    return Status.UNREACHABLE, Failure(ErrorKind.SESSION_REFUSED, Phase.AUTH, message)


def not_rsh(words: bytes) -> Reason:
    """The server speaks another protocol."""
    message = f"not an rsh server: it answered {text_of(words)!r}"
    return Status.UNREACHABLE, Failure(ErrorKind.PROTOCOL, Phase.AUTH, message)


def no_answer(error: OSError | None) -> Reason:
    """The connection ended before the server replied."""
    if error is not None:
        return _broken(Status.UNREACHABLE, error, Phase.AUTH, "before it answered")
    message = (
        "the remote closed the connection without an answer, as rsh servers do if they cannot look up "
        "the name of this machine's address"
    )
    return Status.UNREACHABLE, Failure(ErrorKind.CLOSED, Phase.AUTH, message)


def not_begun(words: bytes, error: OSError | None) -> Reason:
    """The server accepted the request, but the script did not begin; what was written instead says why."""
    text = text_of(words)
    if _IS_DENIAL.fullmatch(text):  # rsh-redone accepts first, and checks the user afterwards
        return Status.AUTH, Failure(ErrorKind.DENIED, Phase.AUTH, text)
    if text:
        message = f"the login shell did not run its command, and wrote: {text}"
        return Status.UNREACHABLE, Failure(ErrorKind.SESSION_REFUSED, Phase.AUTH, message)
    if error is not None:
        return _broken(Status.UNREACHABLE, error, Phase.AUTH, "before the login was complete")
    message = "the remote closed the connection before its login shell ran its command"
    return Status.UNREACHABLE, Failure(ErrorKind.CLOSED, Phase.AUTH, message)


def too_much_said(limit: int) -> Reason:
    """The remote wrote too much before the script began."""
    message = f"the remote wrote more than {limit} bytes before its login shell ran its command"
    return Status.UNREACHABLE, Failure(ErrorKind.PROTOCOL, Phase.AUTH, message)


def ended_unasked() -> Reason:
    """The remote reported the end of a command that was not sent."""
    message = "the remote reported the end of a command that was not sent to it"
    return Status.UNREACHABLE, Failure(ErrorKind.PROTOCOL, Phase.SESSION, message)


def gone_before_command(error: OSError | None) -> Reason:
    """The script had begun, and the connection ended before the command was sent."""
    return _broken(Status.UNREACHABLE, error, Phase.SESSION, "before the command was sent")


def no_status(error: OSError | None) -> Reason:
    """The command may have run, but its exit status did not arrive."""
    if error is None:
        message = "the remote closed the connection and gave no exit status"
        return Status.LOST, Failure(ErrorKind.NO_EXIT_STATUS, Phase.RUN, message)
    return _broken(Status.LOST, error, Phase.RUN, "while the command ran")


def stderr_from_wrong_port(port: int) -> Reason:
    """The connection for stderr did not come from a reserved port."""
    message = f"refused the connection for stderr, which came from port {port}: not a reserved port"
    return Status.UNREACHABLE, Failure(ErrorKind.PROTOCOL, Phase.HANDSHAKE, message)


def stderr_from_elsewhere(expected: str, address: str) -> Reason:
    """The connection for stderr did not come from the host's address."""
    message = f"refused the connection for stderr, which came from {address}, not from {expected}{_WAY_OUT}"
    return Status.UNREACHABLE, Failure(ErrorKind.PROTOCOL, Phase.HANDSHAKE, message)


def no_stderr(error: OSError | None) -> Reason:
    """The connection ended before the server made the one for stderr."""
    how = "reset" if error is not None else "closed"
    message = f"the remote {how} the connection and did not connect back for stderr; a firewall may block it,"
    message += f" or the remote may have no free reserved port{_WAY_OUT}"
    return Status.UNREACHABLE, Failure(ErrorKind.PROTOCOL, Phase.HANDSHAKE, message)


def no_stderr_in_time() -> Reason:
    """The server did not make the connection for stderr before the connect timeout."""
    message = f"the remote did not connect back for stderr in time; a firewall may block it{_WAY_OUT}"
    return Status.TIMEOUT, Failure(ErrorKind.TIMEOUT, Phase.HANDSHAKE, message)


def no_way_for_stderr(listeners: int) -> Reason:
    """On every listener, a connection from that address was expected and never came."""
    message = f"{listeners} connections for stderr from that address never came"
    return Status.UNREACHABLE, Failure(ErrorKind.PROTOCOL, Phase.HANDSHAKE, message)


def cannot_accept(error: OSError) -> Reason:
    """This machine lacks a descriptor or memory for the connection for stderr."""
    is_files = error.errno in {errno.EMFILE, errno.ENFILE}
    kind = ErrorKind.FILES if is_files else ErrorKind.MEMORY
    message = f"the connection for stderr could not be accepted: {os.strerror(error.errno or 0).lower()}"
    return Status.LOCAL, Failure(kind, Phase.HANDSHAKE, message)


def command_refused(reason: str) -> Reason:
    """The command cannot be sent."""
    return Status.UNREACHABLE, Failure(ErrorKind.SESSION_REFUSED, Phase.SESSION, reason)


def no_input(error: OSError) -> Reason:
    """The input for the command cannot be read on this machine."""
    return Status.LOCAL, input_failure(error)


def _broken(status: Status, error: OSError | None, phase: Phase, when: str) -> Reason:
    """The connection broke. If this process lacked memory for it, the host is not to blame."""
    if error is not None and error.errno == errno.ENOMEM:
        return Status.LOCAL, no_memory(phase)
    return status, _ended(error, phase, when)


def _ended(error: OSError | None, phase: Phase, when: str) -> Failure:
    if error is None:
        return Failure(ErrorKind.CLOSED, phase, f"the remote closed the connection {when}")
    if error.errno == errno.ETIMEDOUT:  # of keepalives, or of data that was never acknowledged: tcp(7)
        return Failure(ErrorKind.KEEPALIVE, phase, f"the remote stopped answering {when}")
    return Failure(ErrorKind.RESET, phase, f"the remote reset the connection {when}")
