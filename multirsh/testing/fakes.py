"""Fake hosts, which follow the rules of ``transports.base`` and record how they were used.

They pass the same conformance tests as real transports.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from multirsh.arguments import check_fields
from multirsh.errors import HostError
from multirsh.model import ClosedBy, ErrorKind, Exited, Failure, Fate, Host, Outcome, Phase, Status
from multirsh.transports.base import Destination, Sink, Stdin, Stream
from multirsh.transports.dialling import Dialler
from multirsh.transports.login_deadline import LoginDeadline
from multirsh.transports.messages import input_failure
from multirsh.transports.passwords import Password

SUCCESS: Final = Exited(0)

PIECE_BYTES: Final = 64 * 1024
"""The largest number of bytes written at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """The behaviour of one fake host.

    Attributes:
        stdout: What the command writes to stdout, in pieces of at most 64 KiB.
        stderr: What the command writes to stderr, in the same way.
        outcome: The result of the command; an exception is raised.
        fails: The exception that ``open`` raises; ``None`` to succeed.
        opens_after: The event that ``open`` waits for.
        ends_after: The event that the command waits for before it ends.
        closes_after: The event that the connection waits for before it is closed.
        closed_by: The end of the connection that closes it.
        fate: The result of ``end_command``.
        dies_after: The event that ``end_command`` waits for.
        echoes: Whether the command writes its standard input to stdout, in place of ``stdout``.
        commands: The behaviours of individual commands. Only what concerns the command itself is taken from
            them, not how the host is connected to, ended and closed.
    """

    stdout: bytes = b""
    stderr: bytes = b""
    outcome: Outcome | Exception = SUCCESS
    fails: Exception | None = None
    opens_after: asyncio.Event | None = None
    ends_after: asyncio.Event | None = None
    closes_after: asyncio.Event | None = None
    closed_by: ClosedBy | None = ClosedBy.REMOTE
    fate: Fate = Fate.DEAD
    dies_after: asyncio.Event | None = None
    echoes: bool = False
    commands: Mapping[str, Behaviour] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)


WELL = Behaviour()
"""The login succeeds; the command writes nothing and exits with 0; the remote closes the connection."""


def refused(host: str) -> HostError:
    """Return the failure of a host that refuses connections."""
    failure = Failure(ErrorKind.REFUSED, Phase.CONNECT, "connection refused")
    return HostError(host, Status.UNREACHABLE, failure)


@dataclass(slots=True, eq=False)
class FakeConnection:
    """A ``Connection`` that does what its ``Behaviour`` says.

    Attributes:
        host: The host.
        behaviour: The behaviour of the host.
        phase: The current phase.
        local_port: ``None``, since there is no socket.
        user: The user that is logged in; ``None`` before the login.
        connected_at: When ``open`` succeeded, in seconds of the loop's clock.
        authenticated_at: The same time.
        commands: The commands that were run.
        terminals: Whether each of them had a pseudo-terminal.
        stdin: The standard input of the last command.
        end_calls: The ``kill_after`` of each call of ``end_command``.
        close_calls: The number of calls of ``close``.
        is_held_back: Whether output is paused.
    """

    host: Host
    behaviour: Behaviour
    phase: Phase = Phase.CONNECT
    local_port: int | None = None
    user: str | None = None
    connected_at: float | None = None
    authenticated_at: float | None = None
    commands: list[str] = field(default_factory=list)
    terminals: list[bool] = field(default_factory=list)
    stdin: bytes = b""
    end_calls: list[float] = field(default_factory=list)
    close_calls: int = 0
    is_held_back: bool = False
    _goes_on: asyncio.Event = field(default_factory=asyncio.Event)
    _is_running: bool = False

    def __post_init__(self) -> None:
        self._goes_on.set()

    async def open(self, login_deadline: LoginDeadline) -> None:  # noqa: ARG002 - it takes no port
        """Succeed, or raise the exception of the behaviour."""
        if self.behaviour.opens_after is not None:
            await self.behaviour.opens_after.wait()
        if self.behaviour.fails is not None:
            raise self.behaviour.fails
        self.user = self.host.settings.user or "user"
        self.connected_at = self.authenticated_at = asyncio.get_running_loop().time()

    async def run(
        self, command: str, sink: Sink, stdin: Stdin | None = None, *, tty: bool = False
    ) -> Outcome:
        """Read all input, write the output, and return the outcome of the behaviour."""
        self.phase = Phase.RUN
        self.commands.append(command)
        self.terminals.append(tty)
        self._is_running = True
        behaviour = self.behaviour.commands.get(command, self.behaviour)
        self.stdin = b""
        try:
            while stdin is not None and (data := await stdin.read(len(self.stdin))):
                self.stdin += data
        except OSError as error:
            raise HostError(self.host.name, Status.LOCAL, input_failure(error)) from error
        await self._write(sink, "stdout", self.stdin if behaviour.echoes else behaviour.stdout)
        await self._write(sink, "stderr", behaviour.stderr)
        if behaviour.ends_after is not None:
            await behaviour.ends_after.wait()
        self._is_running = False
        if isinstance(behaviour.outcome, Exception):
            raise behaviour.outcome
        return behaviour.outcome

    async def _write(self, sink: Sink, stream: Stream, data: bytes) -> None:
        """Write ``data`` in pieces, and wait while output is paused."""
        for offset in range(0, len(data), PIECE_BYTES):
            if offset:
                await asyncio.sleep(0)  # so that the reader can run
            await self._goes_on.wait()
            sink.write(stream, data[offset : offset + PIECE_BYTES])

    async def end_command(self, *, kill_after: float, password: Password | None = None) -> Fate:  # noqa: ARG002 - nothing runs
        """Record the call, and return the fate of the behaviour."""
        self.end_calls.append(kill_after)
        if not self._is_running:
            return Fate.DEAD
        if self.behaviour.dies_after is not None:
            await self.behaviour.dies_after.wait()
        return self.behaviour.fate

    def pause_output(self) -> None:
        """Stop writing."""
        self.is_held_back = True
        self._goes_on.clear()

    def resume_output(self) -> None:
        """Continue writing."""
        self.is_held_back = False
        self._goes_on.set()

    def close(self) -> None:
        """Record the call."""
        self.close_calls += 1

    async def closed(self) -> ClosedBy | None:
        """Wait for the event of the behaviour, and return how the connection was closed."""
        if self.behaviour.closes_after is not None:
            await self.behaviour.closes_after.wait()
        return self.behaviour.closed_by


class FakeTransport:
    """A ``Transport`` of fake hosts. It is also the ``Connector`` of each of its runs.

    Attributes:
        connections: All connections that were made, in order.
        prepared: The names of the hosts that it was prepared for.
        releases: The number of calls of ``release``, one per run.
        descriptors_per_host: The descriptors that a run reserves for each host; none are opened.
        has_terminals: Whether commands can have a pseudo-terminal.
        converses: Whether files can be copied. It is false, since these hosts read all input before they
            write; hosts of the transport ``local`` can be used instead.
        is_private: Whether passwords may be sent.
        is_closed: Whether the fleet has closed it.
    """

    def __init__(
        self,
        behaviours: Mapping[str, Behaviour | Sequence[Behaviour]] | None = None,
        *,
        default: Behaviour = WELL,
    ) -> None:
        """Create a transport.

        Args:
            behaviours: The behaviours by host name. In a sequence, each connection takes the next one, and
                the last one stays.
            default: The behaviour of all other hosts.
        """
        self._behaviours = {
            name: [behaviour] if isinstance(behaviour, Behaviour) else list(behaviour)
            for name, behaviour in (behaviours or {}).items()
        }
        self._default = default
        self.connections: list[FakeConnection] = []
        self.prepared: list[str] = []
        self.releases = 0
        self.descriptors_per_host = 1
        self.converses = False
        self.is_private = True
        self.has_terminals = True
        self.is_closed = False

    async def prepare(self, hosts: Sequence[Host]) -> None:
        """Record the names of the hosts."""
        self.prepared += [host.name for host in hosts]

    def connection(self, host: Host) -> FakeConnection:
        """Return a connection with the behaviour of ``host``."""
        turns = self._behaviours.get(host.name) or [self._default]
        connection = FakeConnection(host, turns.pop(0) if len(turns) > 1 else turns[0])
        self.connections.append(connection)
        return connection

    def destination(self, host: Host) -> Destination | None:  # noqa: ARG002 - nothing is dialled
        """Return ``None``, since nothing is dialled."""
        return None

    def hop(self, host: Host) -> Hashable | None:  # noqa: ARG002 - there are no jump hosts
        """Return ``None``, since the hosts share no server."""
        return None

    async def release(self) -> None:
        """Count the call."""
        self.releases += 1

    def connector(self, dialler: Dialler) -> Self:  # noqa: ARG002 - there is nothing to dial
        """Return itself."""
        return self

    async def close(self) -> None:
        """Record the call."""
        self.is_closed = True
