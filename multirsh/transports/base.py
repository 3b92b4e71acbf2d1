"""What every way to a host has in common: the interface the engine drives.

A connection is made in steps that the engine times and reports on::

    connection = connector.connection(host)
    await connection.open(login_deadline)            # name look-up to logged in
    outcome = await connection.run(command, sink)
    fate = await connection.end_command(...)   # in place of an outcome, where ``run`` was given up on
    connection.close()                         # returns at once; the socket drains by itself
    closed_by = await connection.closed()      # within the close timeout

Every step may be cancelled; whatever happened, ``close()`` then ``closed()``
end the connection in the right order.
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
    """How sure it is that a server dropped a connection because there were too many."""

    SAID = "said"
    """It has said so."""
    LIKELY = "likely"
    """It closed or reset the connection before the key exchange was done, without a reason."""


def congestion_of(status: Status, failure: Failure | None) -> Congestion | None:
    """Tell whether a server dropped us, or the jump host that we wanted to go through did.

    sshd drops connections beyond MaxStartups, and those of an address it penalises, right after accept: it
    writes a line ("Exceeded MaxStartups", since 9.8 "Not allowed at this time") and closes. Our banner may
    meet the closed socket, and then all that is seen is a reset.

    Args:
        status: How the attempt ended.
        failure: Why.

    Returns:
        ``None`` for any other failure. A refused connect is one: sshd accepts before it drops.

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
        (Phase.CONNECT, ErrorKind.RESET),  # it came before the socket was looked at
        (Phase.HANDSHAKE, ErrorKind.CLOSED),
        (Phase.HANDSHAKE, ErrorKind.RESET),
    }
)


Stream: TypeAlias = Literal["stdout", "stderr"]


class Sink(Protocol):
    """Where a command's output goes."""

    def write(self, stream: Stream, data: bytes) -> None:
        """Take ``data``, whole and at once; to be held back, call the connection's ``pause_output``."""


class Stdin(Protocol):
    """What a command gets as its standard input; each host reads it at its own pace."""

    async def read(self, offset: int) -> bytes:
        """Some bytes from ``offset``; waits for the first of them; ``b""`` at the end.

        Raises:
            OSError: The input cannot be read.
        """

    async def size(self) -> int:
        """How many bytes there are in all; waits until that is known.

        Raises:
            OSError: The input cannot be read.
        """

    def at(self, offset: int) -> bytes:
        """Some bytes from ``offset``, at once: once ``size`` has told, all are there.

        Raises:
            OSError: The input cannot be read.
        """


class Connection(Protocol):
    """One host's connection, from before its name is looked up to after its socket is closed."""

    @property
    def phase(self) -> Phase:
        """Where it is; where it was, once something has gone wrong."""

    @property
    def local_port(self) -> int | None:
        """The local port it left from; ``None`` before that, and where it has none of its own."""

    @property
    def user(self) -> str | None:
        """The login name on the remote; ``None`` before ``open``."""

    @property
    def connected_at(self) -> float | None:
        """When the TCP connection (or what stands for it) was open, on the loop's clock, in seconds."""

    @property
    def authenticated_at(self) -> float | None:
        """When the login was through, on the loop's clock, in seconds."""

    async def open(self, login_deadline: LoginDeadline) -> None:
        """Look up the name, connect and log in.

        Args:
            login_deadline: Also bounds the wait for a local port, during which the deadlines stand still.

        Raises:
            HostError: This host could not be reached or entered.
        """

    async def run(
        self, command: str, sink: Sink, stdin: Stdin | None = None, *, tty: bool = False
    ) -> Outcome:
        """Run ``command`` through the remote's login shell.

        Args:
            command: As the user gave it.
            sink: Takes all output before this returns.
            stdin: Its standard input; ``None`` is at end of file. A remote that does not read it all is
                not waited for.
            tty: Whether it gets a pseudo-terminal; only of a transport that has them.

        Raises:
            HostError: The command was refused, or its connection died; or ``stdin`` cannot be read (kind
                ``stdin``), and then the command is to be ended as if it had been given up on.
        """

    async def end_command(self, *, kill_after: float, password: Password | None = None) -> Fate:
        """End what ``run`` started and was given up on: the command, and all that it started in turn.

        Each process is sent TERM, and KILL if it is still there after ``kill_after``. What is written
        meanwhile goes to the sink. A command that has ended by itself, and one that was never asked for, is
        dead; nothing is sent then.

        Args:
            kill_after: Seconds from TERM to KILL; 0 for KILL right after TERM.
            password: What sudo may be answered where the command runs by it, and it asks; ``None`` where sudo
                may not ask.

        Returns:
            What has become of it, ``kill_after`` and a few seconds later at the latest. Nothing but a
            cancellation is raised.
        """

    def pause_output(self) -> None:
        """Hand no more output to the sink; the remote is held back by its flow control."""

    def resume_output(self) -> None:
        """Hand output to the sink again."""

    def close(self) -> None:
        """Be done with the connection: say goodbye and leave the socket to drain. Idempotent."""

    async def closed(self) -> ClosedBy | None:
        """Wait for the socket's end, bounded by the close timeout.

        Returns:
            Who closed first; ``None`` where there was no socket of our own.
        """


@runtime_checkable
class HasSubsystems(Protocol):
    """A connection whose remote offers services by name, beside commands."""

    async def subsystem(self, name: str, sink: Sink, stdin: Stdin) -> Outcome:
        """Do with the service ``name``, such as ``sftp``, what ``Connection.run`` does with a command.

        Raises:
            HostError: It was refused (``ErrorKind.SESSION_REFUSED``), or the connection died.
        """


@runtime_checkable
class Killable(Protocol):
    """A connection whose remote kills a command on request."""

    def kill_command(self) -> bool:
        """Send KILL, and no TERM before it, to the command's own process group; there is no answer.

        It is for programs that do harm when they end in order, such as a sudo that counts an unanswered
        prompt as a failed attempt.

        Returns:
            Whether it was sent.
        """


@runtime_checkable
class Reusable(Protocol):
    """A connection that can be used again once what it was opened for is done."""

    @property
    def is_open(self) -> bool:
        """Whether it is logged in and has not ended, as far as we know."""

    @property
    def is_idle(self) -> bool:
        """Whether it is open, and nothing that it was asked for goes on."""

    def reset(self) -> None:
        """Be as it was after the login: what came since is forgotten. Only while it is idle."""


class Destination(NamedTuple):
    """Where a TCP connection of ours goes to.

    Attributes:
        address: A name or an IP literal.
        port: 1-65535.
        family: Which of its addresses may be used: ``AF_INET``, ``AF_INET6`` or ``AF_UNSPEC``.
    """

    address: str
    port: int
    family: int


class Connector(Protocol):
    """Makes the connections of one run."""

    def destination(self, host: Host) -> Destination | None:
        """Where the connection to ``host`` will go to; ``None`` where it is none of our own.

        It may be asked for any host at any time, and must not fail: what is wrong is told when the connection
        is opened.
        """

    def hop(self, host: Host) -> Hashable | None:
        """Where the next login on the way to ``host`` is: hosts with the same one log in at one server.

        That is the host's own server, or a jump host that is not entered yet. It is asked as ``destination``
        is, and at another time the answer may be another.

        Returns:
            Anything to compare; ``None`` where nobody counts logins, or it cannot be told.
        """

    def connection(self, host: Host) -> Connection:
        """A connection to ``host``, not yet begun."""

    async def release(self) -> None:
        """At the end of the run: close what its hosts shared, such as connections to jump hosts, in order."""


class Transport(Protocol):
    """A way to reach hosts; one for a fleet, whatever it runs."""

    @property
    def descriptors_per_host(self) -> int:
        """File descriptors that one host's connection may hold; 1 or more."""

    @property
    def converses(self) -> bool:
        """Whether a command's input may depend on its output; if not, no files can be copied."""

    @property
    def has_terminals(self) -> bool:
        """Whether a command can have a pseudo-terminal."""

    @property
    def is_private(self) -> bool:
        """Whether nobody on the way can read what is sent; if not, no password is."""

    async def prepare(self, hosts: Sequence[Host]) -> None:
        """Read what is needed once for all: keys, known hosts, passwords.

        Raises:
            CredentialError: Something is wrong for every host.
        """

    def connector(self, dialler: Dialler) -> Connector:
        """Begin a run.

        Args:
            dialler: Makes the run's TCP connections, and knows those that are not closed yet.
        """

    async def close(self) -> None:
        """Let go of what ``prepare`` got."""


@runtime_checkable
class Routing(Protocol):
    """A transport that adds something of its own to what is said of a host, such as ssh_config's user.

    One that is none of these connects to a host as the host's settings say, behind those of the command line.
    """

    def route(self, host: Host) -> HostRoute:
        """Where ``host`` is and how it is entered; asked after ``prepare``, and while no run goes on."""


Warn: TypeAlias = Callable[[str], None]
"""Takes one line for people."""


class TransportFactory(Protocol):
    """What an entry point of the group ``multirsh.transports`` names."""

    def __call__(self, *, settings: Settings, warn: Warn) -> Transport:
        """Make the transport of one fleet; nothing is read or connected yet.

        Args:
            settings: What goes before every host's own: ``-l``, ``-p``, ``-i``, ``-J``.
            warn: Takes warnings for people.

        Raises:
            UsageError: What is said cannot be meant.
        """
