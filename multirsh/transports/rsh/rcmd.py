r"""The bytes of the rcmd protocol: the request and the server's reply. Pure: there is no socket here.

::

    we                                        in.rshd
    from a port of 512-1023 ───connect──────▶ 514
    "1022\0" (or "\0") ─────────────────────▶
               ◀──────connect from 512-1023── to our port 1022: the command's stderr (not after "\0")
    "locuser\0" "remuser\0" "command\0" ────▶
    ◀─────────────────────────────────────── "\0", or "\1" and a line that says why not
    then the command's stdin and stdout       and on the second connection: stderr, and signals, a byte each

Sources: RFC 1282, section 2, and rshd(8) for the exchange; in.rshd of
netkit 0.17 and of rsh-redone 85 for the behaviour of servers.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

DEFAULT_PORT: Final = 514
"""``shell`` in services(5)."""

LONGEST_NAME: Final = 16
"""Bytes of a user's name at most, by rshd(8); some servers take one less, and say so."""

LONGEST_REFUSAL: Final = 4096
"""Bytes of a refusal that are kept; a refusal is normally one line."""

RESERVED: Final = range(512, 1024)
"""The privileged ports that servers of this protocol accept connections from."""


class NameTooLong(ValueError):  # noqa: N818 - it names what is wrong with the name
    """A user's name is longer than the protocol allows."""


def request_stderr(port: int | None) -> bytes:
    """Build the first part of the request: the port that listens for the connection of stderr.

    Args:
        port: 512-1023; ``None`` to leave stderr on the main connection.
    """
    return b"\0" if port is None else b"%d\0" % port


def request_command(local_user: bytes, remote_user: bytes, command: bytes) -> bytes:
    """Build the rest of the request.

    Args:
        local_user: The user name to send as the local one.
        remote_user: The user to run the command as.
        command: The command for the remote user's login shell.

    Raises:
        NameTooLong: A name has more than ``LONGEST_NAME`` bytes.
        ValueError: A name is empty, or a name or the command contains a NUL byte.
    """
    for name in (local_user, remote_user):
        check_name(name)
    if b"\0" in command:
        raise ValueError("a command cannot contain a NUL byte")
    return b"%b\0%b\0%b\0" % (local_user, remote_user, command)


def check_name(name: bytes) -> None:
    """Check that a user's name can be sent.

    Raises:
        NameTooLong: It has more than ``LONGEST_NAME`` bytes.
        ValueError: It is empty or contains a NUL byte.
    """
    if not name or b"\0" in name:
        raise ValueError("a user's name cannot be empty or contain a NUL byte")
    if len(name) > LONGEST_NAME:
        raise NameTooLong(f"rsh allows at most {LONGEST_NAME} bytes for a user's name")


class ReplyKind(enum.Enum):
    """The kind of a server's reply."""

    ACCEPTED = "accepted"
    """``\\0``. Some servers (rsh-redone) send it before they have checked the user."""
    REFUSED = "refused"
    """``\\1`` and a line of text."""
    NOT_RSH = "not rsh"
    """Anything else: the server does not speak this protocol."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's reply, complete.

    Attributes:
        answer: The kind of reply.
        text: The reason for the refusal, or the beginning of the other protocol, of bounded length.
        rest: The bytes after the reply: the beginning of the command's output.
    """

    answer: ReplyKind
    text: bytes = b""
    rest: bytes = b""


class ReplyParser:
    """Finds the reply at the beginning of what the server sends, however it is cut into pieces."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> Reply | None:
        """Take more received bytes; return the reply once it is complete. Do not call it after that."""
        self._held += data
        if not self._held:
            return None
        first, more = self._held[:1], self._held[1:]
        if first == b"\0":
            return Reply(ReplyKind.ACCEPTED, rest=more)
        if first != b"\1":
            return Reply(ReplyKind.NOT_RSH, text=self._held[:LONGEST_REFUSAL])
        line, newline, _ = more.partition(b"\n")
        if newline or len(line) >= LONGEST_REFUSAL:
            return Reply(ReplyKind.REFUSED, text=line[:LONGEST_REFUSAL])
        return None

    def end(self) -> Reply | None:
        """Note that the server has closed; return a refusal even if its line feed is missing."""
        return Reply(ReplyKind.REFUSED, text=self._held[1:]) if self._held[:1] == b"\1" else None
