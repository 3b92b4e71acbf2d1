"""Hosts reached by rsh, and what is left of their connections."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from multirsh.engine.fleet import Fleet
from multirsh.engine.options import Limits, Timeouts
from multirsh.engine.spool import Given
from multirsh.events import Event, HostFinished, Output, RunFinished
from multirsh.model import ClosedBy, ErrorKind, Host, Outcome, Phase, Settings, Status, TransportName
from multirsh.ports.allocator import PortAllocator
from multirsh.ports.tally import Tally
from multirsh.transports.base import Stream
from multirsh.transports.dialling import Dialler
from multirsh.transports.login_deadline import LoginDeadline
from multirsh.transports.options import RshOptions, RshStderr
from multirsh.transports.rsh.connection import RshConnection
from multirsh.transports.rsh.transport import RshTransport
from tests.fleets import run_all
from tests.servers.namespace import Namespace
from tests.servers.rshd import GUEST, PORT
from tests.waiting import HANG_GUARD_S

HERE = "127.0.0.1"
"""The host: in.rshd connects back from the address that its route has, and on loopback that is this."""

SEPARATE, MERGED = RshStderr.SEPARATE, RshStderr.MERGED


@dataclass(frozen=True)
class Ending:
    """One host's run, told."""

    finished: HostFinished
    run: RunFinished
    events: list[Event]
    warnings: list[str]

    def output(self, stream: str) -> bytes:
        return b"".join(e.data for e in self.events if isinstance(e, Output) and e.stream == stream)

    @property
    def why(self) -> tuple[Status, ErrorKind | None, Phase | None]:
        error = self.finished.error
        if error is None:
            return self.finished.status, None, None
        return self.finished.status, error.kind, error.phase

    @property
    def message(self) -> str:
        assert self.finished.error is not None
        return self.finished.error.message


def rsh_host(name: str = HERE, *, user: str | None = GUEST, port: int | None = None) -> Host:
    return Host(name, settings=Settings(user=user, port=port, transport=TransportName.RSH))


async def run_rsh(
    command: str,
    *,
    hosts: Sequence[Host] | None = None,
    stderr: RshStderr = SEPARATE,
    fanout: int = 64,
    connect_s: float | None = HANG_GUARD_S,
    command_s: float | None = None,
    close_s: float = HANG_GUARD_S,
) -> tuple[dict[str, HostFinished], RunFinished, list[Event], list[str]]:
    warnings: list[str] = []
    fleet = Fleet(
        [rsh_host()] if hosts is None else hosts,
        limits=Limits(fanout=fanout),
        timeouts=Timeouts(connect=connect_s, command=command_s, kill_after=0.2, close=close_s),
        rsh=RshOptions(stderr=stderr),
        warn=warnings.append,
    )
    return (*await run_all(fleet, command), warnings)


async def run_one(
    command: str = "true",
    *,
    user: str = GUEST,
    port: int | None = None,
    stderr: RshStderr = SEPARATE,
    connect_s: float | None = HANG_GUARD_S,
    command_s: float | None = None,
    close_s: float = HANG_GUARD_S,
) -> Ending:
    finished, run, events, warnings = await run_rsh(
        command,
        hosts=[rsh_host(user=user, port=port)],
        stderr=stderr,
        connect_s=connect_s,
        command_s=command_s,
        close_s=close_s,
    )
    (only,) = finished.values()
    return Ending(only, run, events, warnings)


def nothing_left(namespace: Namespace, ending: Ending | RunFinished, *, port: int = PORT) -> None:
    """Our ends of both connections are gone, and what is left of the server's is its own TIME_WAIT."""
    run = ending.run if isinstance(ending, Ending) else ending
    assert run.ports.time_wait_left == 0
    assert not namespace.client_side([port])
    assert {row.state for row in namespace.sockets()} <= {"LISTEN", "TIME-WAIT"}


def remote_closed(ending: Ending, *, sockets: int) -> None:
    """Each of the host's sockets was closed by its remote first."""
    assert ending.finished.closed_by is ClosedBy.REMOTE
    assert ending.run.ports.closed_by == {ClosedBy.REMOTE: sockets}


@dataclass
class Collected:
    """A sink."""

    stdout: bytes = b""
    stderr: bytes = b""

    def write(self, stream: Stream, data: bytes) -> None:
        if stream == "stdout":
            self.stdout += data
        else:
            self.stderr += data


@dataclass
class Talk:
    """A connection without an engine: for what no command line can ask for yet."""

    connection: RshConnection
    tally: Tally
    sink: Collected = field(default_factory=Collected)

    async def run(self, command: str, stdin: bytes = b"") -> Outcome:
        return await self.connection.run(command, self.sink, Given(stdin))


@asynccontextmanager
async def open_rsh(
    *, port: int | None = None, stderr: RshStderr = SEPARATE, close_s: float = HANG_GUARD_S
) -> AsyncGenerator[Talk, None]:
    """One connection, logged in; closed and drained afterwards."""
    tally = Tally()
    dialler = Dialler(ports=PortAllocator(), tally=tally, close_timeout=close_s)
    transport = RshTransport(RshOptions(stderr=stderr), lambda _line: None)
    host = rsh_host(port=port)
    await transport.prepare([host])
    connector = transport.connector(dialler)
    connection = connector.connection(host)
    try:
        await connection.open(LoginDeadline())
        yield Talk(connection, tally)
    finally:
        connection.close()
        await connection.closed()
        await connector.release()
        await dialler.drained()
