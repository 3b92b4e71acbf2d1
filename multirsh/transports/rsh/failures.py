"""What went wrong with an rsh host, as its status and failure: all the words are here."""

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
"""How the servers of BSD, netkit and rsh-redone say that this user may not come from this host."""

_WAY_OUT: Final = " (--rsh-stderr merged does without)"


def text_of(words: bytes) -> str:
    """A remote's words for a message: one line, bounded, without control characters."""
    return one_line(words.decode("utf-8", "replace"))


def refused(words: bytes) -> Reason:
    """The server said no."""
    text = text_of(words)
    if _SAYS_DENIED.search(text):
        return Status.AUTH, Failure(ErrorKind.DENIED, Phase.AUTH, text)
    message = f"the remote refused: {text}" if text else "the remote refused, and did not say why"
    return Status.UNREACHABLE, Failure(ErrorKind.SESSION_REFUSED, Phase.AUTH, message)


def not_rsh(words: bytes) -> Reason:
    """What listens there speaks something else."""
    message = f"what listens there is no rsh server: it answered {text_of(words)!r}"
    return Status.UNREACHABLE, Failure(ErrorKind.PROTOCOL, Phase.AUTH, message)


def no_answer(error: OSError | None) -> Reason:
    """The connection ended before there was any reply."""
    if error is not None:
        return _broken(Status.UNREACHABLE, error, Phase.AUTH, "before it answered")
    message = (
        "the remote closed the connection without an answer, as rsh servers do if they cannot look up "
        "the name of our address"
    )
    return Status.UNREACHABLE, Failure(ErrorKind.CLOSED, Phase.AUTH, message)


def not_begun(words: bytes, error: OSError | None) -> Reason:
    """The server said yes, and what it started was not our script; what it wrote instead is the reason."""
    text = text_of(words)
    if _IS_DENIAL.fullmatch(text):  # rsh-redone says yes first and looks afterwards
        return Status.AUTH, Failure(ErrorKind.DENIED, Phase.AUTH, text)
    if text:
        message = f"the login shell did not run what it was given; it wrote: {text}"
        return Status.UNREACHABLE, Failure(ErrorKind.SESSION_REFUSED, Phase.AUTH, message)
    if error is not None:
        return _broken(Status.UNREACHABLE, error, Phase.AUTH, "before the login was done")
    message = "the remote closed the connection before its login shell ran what it was given"
    return Status.UNREACHABLE, Failure(ErrorKind.CLOSED, Phase.AUTH, message)


def too_much_said(limit: int) -> Reason:
    """The remote writes and writes, and our script does not begin."""
    message = f"the remote wrote more than {limit} bytes before its login shell ran what it was given"
    return Status.UNREACHABLE, Failure(ErrorKind.PROTOCOL, Phase.AUTH, message)


def ended_unasked() -> Reason:
    """The remote tells the end of a command that it was not given."""
    message = "the remote told how a command had ended that it was not given"
    return Status.UNREACHABLE, Failure(ErrorKind.PROTOCOL, Phase.SESSION, message)


def gone_before_command(error: OSError | None) -> Reason:
    """The script was there and is gone, and never got a command."""
    return _broken(Status.UNREACHABLE, error, Phase.SESSION, "before it got the command")


def no_status(error: OSError | None) -> Reason:
    """The command may have run; nobody told how it ended."""
    if error is None:
        message = "the remote closed the connection and gave no exit status"
        return Status.LOST, Failure(ErrorKind.NO_EXIT_STATUS, Phase.RUN, message)
    return _broken(Status.LOST, error, Phase.RUN, "while the command ran")


def stderr_from_wrong_port(port: int) -> Reason:
    """The back-connection did not come from a reserved port."""
    message = f"its connection for stderr came from port {port}, which is not a reserved one: refused"
    return Status.UNREACHABLE, Failure(ErrorKind.PROTOCOL, Phase.HANDSHAKE, message)


def stderr_from_elsewhere(expected: str, address: str) -> Reason:
    """A back-connection came, and not from the host's address."""
    message = f"the connection for stderr came from {address} and not from {expected}: refused{_WAY_OUT}"
    return Status.UNREACHABLE, Failure(ErrorKind.PROTOCOL, Phase.HANDSHAKE, message)


def no_stderr(error: OSError | None) -> Reason:
    """The connection ended while the back-connection was waited for."""
    how = "reset" if error is not None else "closed"
    message = f"the remote {how} the connection and made none back to us for stderr, as it does if a firewall"
    message += f" is between or no reserved port is free over there{_WAY_OUT}"
    return Status.UNREACHABLE, Failure(ErrorKind.PROTOCOL, Phase.HANDSHAKE, message)


def no_stderr_in_time() -> Reason:
    """None came before the connect timeout."""
    message = f"the remote made no connection back to us for stderr in time; is a firewall between?{_WAY_OUT}"
    return Status.TIMEOUT, Failure(ErrorKind.TIMEOUT, Phase.HANDSHAKE, message)


def no_way_for_stderr(listeners: int) -> Reason:
    """Every listener has been promised a connection from that address that never came."""
    message = f"{listeners} connections for stderr from that address were waited for in vain"
    return Status.UNREACHABLE, Failure(ErrorKind.PROTOCOL, Phase.HANDSHAKE, message)


def cannot_accept(error: OSError) -> Reason:
    """This machine has no room for the back-connection."""
    is_files = error.errno in {errno.EMFILE, errno.ENFILE}
    kind = ErrorKind.FILES if is_files else ErrorKind.MEMORY
    message = f"the connection for stderr could not be accepted: {os.strerror(error.errno or 0).lower()}"
    return Status.LOCAL, Failure(kind, Phase.HANDSHAKE, message)


def command_refused(reason: str) -> Reason:
    """The command cannot be sent."""
    return Status.UNREACHABLE, Failure(ErrorKind.SESSION_REFUSED, Phase.SESSION, reason)


def no_input(error: OSError) -> Reason:
    """What the command was to read cannot be read here."""
    return Status.LOCAL, input_failure(error)


def _broken(status: Status, error: OSError | None, phase: Phase, when: str) -> Reason:
    """The connection broke; where that is for our own want of memory, it is not the host's fault."""
    if error is not None and error.errno == errno.ENOMEM:
        return Status.LOCAL, no_memory(phase)
    return status, _ended(error, phase, when)


def _ended(error: OSError | None, phase: Phase, when: str) -> Failure:
    if error is None:
        return Failure(ErrorKind.CLOSED, phase, f"the remote closed the connection {when}")
    if error.errno == errno.ETIMEDOUT:  # of keepalives, or of data that was never acknowledged: tcp(7)
        return Failure(ErrorKind.KEEPALIVE, phase, f"the remote stopped to answer {when}")
    return Failure(ErrorKind.RESET, phase, f"the remote reset the connection {when}")
