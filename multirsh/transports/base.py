"""The interface that the engine drives, common to all transports.

A connection is made in steps that the engine times and reports on::

    connection = connector.connection(host)
    await connection.open(login_deadline)            # name look-up to logged in
    outcome = await connection.run(command, sink)
    fate = await connection.end_command(...)   # in place of an outcome, where ``run`` was given up on
    connection.close()                         # returns at once; the socket drains by itself
    closed_by = await connection.closed()      # within the close timeout

Every step may be cancelled. Whatever happened, ``close()`` followed by
``closed()`` ends the connection in the right order.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable, Sequence
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from multirsh.model import (
    ClosedBy,
    ErrorKind,
    Failure,
    Fate,
    Host,
    HostRoute,
    Outcome,
    Phase,
    Settings,
    Status,
)
from multirsh.transports.dialling import Dialler
from multirsh.transports.login_deadline import LoginDeadline
from multirsh.transports.passwords import Password


class Congestion(enum.Enum):
    """How certain it is that a server dropped a connection because it had too many."""

    SAID = "said"
    """The server said so."""
    LIKELY = "likely"
    """The server closed or reset the connection before the end of the key exchange, without a reason."""


def congestion_of(status: Status, failure: Failure | None) -> Congestion | None:
    """Return whether the server, or a jump host on the way to it, dropped the connection.

    sshd drops connections beyond MaxStartups, and those from an address that it penalises, right after
    accept: it writes a line ("Exceeded MaxStartups", since 9.8 "Not allowed at this time") and closes. If our
    banner meets the closed socket, only a reset can be seen.

    Args:
        status: How the attempt ended.
        failure: Why it failed; ``None`` if it did not.

    Returns:
        ``None`` for any other failure, including a refused connect: sshd accepts before it drops.

    Source: sshd.c (``drop_connection``), srclimit.c; sshd_config(5), MaxStartups and PerSourcePenalties.
    """
    if status is not Status.UNREACHABLE or failure is None:
        return None
    its_own = failure.of_jump or failure
    if its_own.kind is ErrorKind.BUSY:
        return Congestion.SAID
    return Congestion.LIKELY if (its_own.phase, its_own.kind) in _LIKE_DROPS else None


_LIKE_DROPS: Final = frozenset(
    {
        (Phase.CONNECT, ErrorKind.RESET),  # the reset came before the socket was first read
        (Phase.HANDSHAKE, ErrorKind.CLOSED),
        (Phase.HANDSHAKE, ErrorKind.RESET),
    }
)


Stream: TypeAlias = Literal["stdout", "stderr"]


class Sink(Protocol):
    """Receives the output of a command."""

    def write(self, stream: Stream, data: bytes) -> None:
        """Take all of ``data`` at once; call the connection's ``pause_output`` to receive no more."""


class Stdin(Protocol):
    """The standard input of a command; each host reads it at its own pace."""

    async def read(self, offset: int) -> bytes:
        """Return bytes from ``offset``, waiting for at least one; ``b""`` means end of file.

        Raises:
            OSError: The input cannot be read.
        """

    async def size(self) -> int:
        """Return the total number of bytes; waits until it is known.

        Raises:
            OSError: The input cannot be read.
        """

    def at(self, offset: int) -> bytes:
        """Return bytes from ``offset`` without waiting: once ``size`` has returned, all bytes are available.

        Raises:
            OSError: The input cannot be read.
        """


class Connection(Protocol):
    """The connection to one host, from before the name look-up until after its socket is closed."""

    @property
    def phase(self) -> Phase:
        """The current phase; after a failure, the phase in which it failed."""

    @property
    def local_port(self) -> int | None:
        """The local port; ``None`` before the connect, and for a connection without a port of its own."""

    @property
    def user(self) -> str | None:
        """The login name on the remote host; ``None`` before ``open``."""

    @property
    def connected_at(self) -> float | None:
        """When the TCP connection, or its equivalent, was established, in seconds on the loop's clock."""

    @property
    def authenticated_at(self) -> float | None:
        """When the login was complete, in seconds on the loop's clock."""

    async def open(self, login_deadline: LoginDeadline) -> None:
        """Look up the name, connect and log in.

        Args:
            login_deadline: Also bounds the wait for a local port, which pauses the other deadlines.

        Raises:
            HostError: The host could not be reached, or the login failed.
        """

    async def run(
        self, command: str, sink: Sink, stdin: Stdin | None = None, *, tty: bool = False
    ) -> Outcome:
        """Run ``command`` through the remote's login shell.

        Args:
            command: The command as the user gave it.
            sink: Receives all output before this returns.
            stdin: Its standard input; with ``None`` the command reads end of file at once. This does not wait
                for a remote command to read all of its input.
            tty: Whether to allocate a pseudo-terminal, for transports that support one.

        Raises:
            HostError: The command was refused, or its connection died; or ``stdin`` cannot be read (kind
                ``stdin``), in which case the caller must end the command as after a timeout.
        """

    async def end_command(self, *, kill_after: float, password: Password | None = None) -> Fate:
        """End the command after ``run`` was cancelled, along with every process that it started.

        Each process gets TERM, and KILL if it still exists after ``kill_after``. Output that is written
        meanwhile goes to the sink. A command that has ended by itself, or was never started, counts as dead,
        and no signal is sent.

        Args:
            kill_after: Seconds from TERM to KILL; 0 for KILL right after TERM.
            password: The answer to sudo's prompt, if the command runs under sudo; ``None`` if sudo must not
                prompt.

        Returns:
            The fate of the command, at most a few seconds after ``kill_after``. This raises nothing but
            cancellation.
        """

    def pause_output(self) -> None:
        """Stop passing output to the sink; flow control then makes the remote command wait."""

    def resume_output(self) -> None:
        """Pass output to the sink again."""

    def close(self) -> None:
        """Begin to close: send the goodbye and leave the socket to drain. Idempotent."""

    async def closed(self) -> ClosedBy | None:
        """Wait until the socket is closed, for at most the close timeout.

        Returns:
            Which end closed first; ``None`` for a connection without a socket of its own.
        """


@runtime_checkable
class HasSubsystems(Protocol):
    """A connection that can also start services by name, beside commands."""

    async def subsystem(self, name: str, sink: Sink, stdin: Stdin) -> Outcome:
        """Run the service ``name``, such as ``sftp``, in the way in which ``Connection.run`` runs a command.

        Raises:
            HostError: The service was refused (``ErrorKind.SESSION_REFUSED``), or the connection died.
        """


@runtime_checkable
class Killable(Protocol):
    """A connection that can have the remote host kill a command."""

    def kill_command(self) -> bool:
        """Send KILL to the command's own process group, without TERM before it and without a reply.

        This is for programs that do harm on an orderly exit, such as sudo, which counts an unanswered prompt
        as a failed attempt.

        Returns:
            Whether the signal was sent.
        """


@runtime_checkable
class Reusable(Protocol):
    """A connection that can be used again after its command has ended."""

    @property
    def is_open(self) -> bool:
        """Whether it is logged in and, as far as is known, has not ended."""

    @property
    def is_idle(self) -> bool:
        """Whether it is open and has no command in progress."""

    def reset(self) -> None:
        """Return to the state right after the login, forgetting earlier commands. Only allowed while idle."""


class Destination(NamedTuple):
    """The remote end of one of our TCP connections.

    Attributes:
        address: A name or an IP literal.
        port: 1-65535.
        family: The family of the addresses that may be used: ``AF_INET``, ``AF_INET6`` or ``AF_UNSPEC``.
    """

    address: str
    port: int
    family: int


class Connector(Protocol):
    """Makes the connections of one run."""

    def destination(self, host: Host) -> Destination | None:
        """Return where the connection to ``host`` will go; ``None`` if this process does not make it itself.

        This may be called for any host at any time and must not fail: errors are raised when the connection
        is opened.
        """

    def hop(self, host: Host) -> Hashable | None:
        """Return the server of the next login on the way to ``host``: equal values mean the same server.

        That is the host's own server, or a jump host that has not been logged in to yet. As with
        ``destination``, this may be called at any time, and the result may change.

        Returns:
            A value to compare; ``None`` if logins are not counted, or the server is not known.
        """

    def connection(self, host: Host) -> Connection:
        """Return a connection to ``host`` that is not yet open."""

    async def release(self) -> None:
        """Close what the hosts of the run shared, such as connections to jump hosts, in order."""


class Transport(Protocol):
    """A way to reach hosts; a fleet has one of each kind for all of its runs."""

    @property
    def descriptors_per_host(self) -> int:
        """The number of file descriptors that one host's connection may hold; 1 or more."""

    @property
    def converses(self) -> bool:
        """Whether a command's input may depend on its output; copying files requires it."""

    @property
    def has_terminals(self) -> bool:
        """Whether a command can have a pseudo-terminal."""

    @property
    def is_private(self) -> bool:
        """Whether the traffic cannot be read on the way; passwords are sent only if so."""

    async def prepare(self, hosts: Sequence[Host]) -> None:
        """Read what all hosts share, once: keys, known hosts, passwords.

        Raises:
            CredentialError: A shared credential cannot be used, so no host could log in.
        """

    def connector(self, dialler: Dialler) -> Connector:
        """Return the connector for one run.

        Args:
            dialler: Makes the run's TCP connections and tracks those that are not closed yet.
        """

    async def close(self) -> None:
        """Release what ``prepare`` acquired."""


@runtime_checkable
class Routing(Protocol):
    """A transport that adds its own settings to those of a host, such as the user from ssh_config.

    Any other transport uses the host's settings, overridden by those of the command line.
    """

    def route(self, host: Host) -> HostRoute:
        """Return the address and settings used for ``host``; called after ``prepare``, outside of runs."""


Warn: TypeAlias = Callable[[str], None]
"""Shows a one-line warning to the user."""


class TransportFactory(Protocol):
    """The object that an entry point of the group ``multirsh.transports`` refers to."""

    def __call__(self, *, settings: Settings, warn: Warn) -> Transport:
        """Make the transport of one fleet, without reading or connecting anything yet.

        Args:
            settings: The settings that take precedence over every host's own: ``-l``, ``-p``, ``-i``, ``-J``.
            warn: Shows warnings to the user.

        Raises:
            UsageError: The settings cannot be used with this transport.
        """
