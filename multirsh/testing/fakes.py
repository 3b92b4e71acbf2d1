"""Fake hosts.

They are no mocks: they keep the rules of ``transports.base``, pass the same
tests as real transports, and what they were asked is theirs to tell.
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
"""Written at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What one fake host does.

    Attributes:
        stdout: Written, in pieces of 64 KiB at the most, once the command runs.
        stderr: Likewise.
        outcome: How the command ends; an error is raised in its place.
        fails: Raised by ``open``; ``None`` to let everybody in.
        opens_after: Waited for before ``open`` ends; never set, it never ends.
        ends_after: Waited for before the command ends.
        closes_after: Waited for before the connection is closed.
        closed_by: Who closes it.
        fate: What becomes of the command when it is to be ended.
        dies_after: Waited for before that is known; never set, it never is.
        echoes: Whether the command writes what it reads, in place of ``stdout``.
        commands: What the host does instead when it is asked to run one of these. How it is connected to,
            ended and closed stays as it is here.
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
"""Let in, silent, exit status 0, closed by the remote."""


def refused(host: str) -> HostError:
    """The failure of a host on whose port nobody listens."""
    failure = Failure(ErrorKind.REFUSED, Phase.CONNECT, "connection refused")
    return HostError(host, Status.UNREACHABLE, failure)


@dataclass(slots=True, eq=False)
class FakeConnection:
    """A ``Connection`` that does what its ``Behaviour`` says.

    Attributes:
        host: Whose.
        behaviour: What it does.
        phase: Where it is.
        local_port: None: there is no socket.
        user: Who is logged in, once somebody is.
        connected_at: When it was open, on the loop's clock.
        authenticated_at: The same.
        commands: What it was asked to run.
        terminals: For each of them, whether with a pseudo-terminal.
        stdin: What came as standard input.
        end_calls: The ``kill_after`` of each time that its command was to be ended.
        close_calls: How often it was closed.
        is_held_back: Whether its output is paused now.
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
        """Let in, or raise what the behaviour says."""
        if self.behaviour.opens_after is not None:
            await self.behaviour.opens_after.wait()
        if self.behaviour.fails is not None:
            raise self.behaviour.fails
        self.user = self.host.settings.user or "somebody"
        self.connected_at = self.authenticated_at = asyncio.get_running_loop().time()

    async def run(
        self, command: str, sink: Sink, stdin: Stdin | None = None, *, tty: bool = False
    ) -> Outcome:
        """Read all input, write the output, and end as the behaviour says."""
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
        """Write ``data`` in pieces, as far as the reader wants."""
        for offset in range(0, len(data), PIECE_BYTES):
            if offset:
                await asyncio.sleep(0)  # who reads has its turn
            await self._goes_on.wait()
            sink.write(stream, data[offset : offset + PIECE_BYTES])

    async def end_command(self, *, kill_after: float, password: Password | None = None) -> Fate:  # noqa: ARG002 - nothing runs
        """Note it; tell the fate as the behaviour says."""
        self.end_calls.append(kill_after)
        if not self._is_running:
            return Fate.DEAD
        if self.behaviour.dies_after is not None:
            await self.behaviour.dies_after.wait()
        return self.behaviour.fate

    def pause_output(self) -> None:
        """Write no more."""
        self.is_held_back = True
        self._goes_on.clear()

    def resume_output(self) -> None:
        """Write again."""
        self.is_held_back = False
        self._goes_on.set()

    def close(self) -> None:
        """Note it."""
        self.close_calls += 1

    async def closed(self) -> ClosedBy | None:
        """Wait as the behaviour says."""
        if self.behaviour.closes_after is not None:
            await self.behaviour.closes_after.wait()
        return self.behaviour.closed_by


class FakeTransport:
    """A ``Transport`` whose hosts do what they are told; its own connector, for any number of runs.

    Attributes:
        connections: Every connection that was asked for, in order.
        prepared: The names it was prepared for.
        releases: How often ``release`` was called: once a run.
        descriptors_per_host: What a run is to reckon with; nothing is really opened.
        has_terminals: Whether commands can have a pseudo-terminal.
        converses: Whether files may be copied. It is false, since these hosts read all input before they
            write; hosts by the transport ``local`` really copy.
        is_private: Whether passwords may be sent.
        is_closed: Whether the fleet has let go of it.
    """

    def __init__(
        self,
        behaviours: Mapping[str, Behaviour | Sequence[Behaviour]] | None = None,
        *,
        default: Behaviour = WELL,
    ) -> None:
        """Make one.

        Args:
            behaviours: By host name. Of several, one is for each connection in turn; the last one stays.
            default: Of all other hosts.
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
        """Note whom for."""
        self.prepared += [host.name for host in hosts]

    def connection(self, host: Host) -> FakeConnection:
        """A connection that behaves as ``host`` was told to."""
        turns = self._behaviours.get(host.name) or [self._default]
        connection = FakeConnection(host, turns.pop(0) if len(turns) > 1 else turns[0])
        self.connections.append(connection)
        return connection

    def destination(self, host: Host) -> Destination | None:  # noqa: ARG002 - nothing is dialled
        """Nowhere."""
        return None

    def hop(self, host: Host) -> Hashable | None:  # noqa: ARG002 - every host is by itself
        """Nobody's."""
        return None

    async def release(self) -> None:
        """Count it."""
        self.releases += 1

    def connector(self, dialler: Dialler) -> Self:  # noqa: ARG002 - there is nothing to dial
        """Make connections for one more run."""
        return self

    async def close(self) -> None:
        """Note it."""
        self.is_closed = True
