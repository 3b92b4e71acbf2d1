"""A run over fake hosts that is watched from its first event to its last, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from multirsh.engine.fleet import Fleet
from multirsh.engine.options import Timeouts
from multirsh.engine.run import Run
from multirsh.errors import HostError
from multirsh.events import Event, HostFinished, HostStarted, Output, RunFinished, RunStarted
from multirsh.model import ErrorKind, Failure, Host, Phase, Status, TransportName
from multirsh.testing import FakeTransport
from tests.fleets import endings
from tests.virtual_time import idle, virtual_loop

LONG: Final = Timeouts(connect=1000, command=1000)


def after(seconds: float) -> asyncio.Event:
    """An event that comes to pass, in virtual time."""
    event = asyncio.Event()
    virtual_loop().call_later(seconds, event.set)
    return event


def failing(status: Status, kind: ErrorKind, phase: Phase, words: str = "it was told to") -> HostError:
    """A failure of a host."""
    return HostError("", status, Failure(kind, phase, words))


class Watched:
    """What has been seen of a run.

    Attributes:
        run: Which.
        transport: Its hosts.
        said: Lines for people.
        events: All so far.
    """

    def __init__(self, run: Run, transport: FakeTransport, said: list[str]) -> None:
        self.run = run
        self.transport = transport
        self.said = said
        self.events: list[Event] = []

    async def read(self) -> None:
        """Read the run to its end."""
        async for event in self.run.events():
            self.events.append(event)

    @property
    def started(self) -> list[str]:
        """Names of the hosts started so far, once for each attempt."""
        return [event.host for event in self.events if isinstance(event, HostStarted)]

    @property
    def endings(self) -> dict[str, HostFinished]:
        """Each host's one ending, so far."""
        return endings(self.events)

    @property
    def statuses(self) -> Mapping[str, Status]:
        """Each host's status, so far."""
        return {name: ending.status for name, ending in self.endings.items()}

    @property
    def finished(self) -> RunFinished:
        """The end."""
        last = self.events[-1]
        assert isinstance(last, RunFinished)
        return last

    def check(self) -> None:
        """Whatever happened: everybody is told of once, in order, and nothing is left open."""
        first, *between, last = self.events
        assert isinstance(first, RunStarted)
        assert isinstance(last, RunFinished)
        assert set(self.endings) == set(first.hosts)
        assert sum(last.counts.values()) == len(first.hosts)
        seen: dict[str, list[Event]] = {}
        for event in between:
            assert isinstance(event, HostStarted | Output | HostFinished)
            seen.setdefault(event.host, []).append(event)
        for name, own in seen.items():
            attempts = [event.attempt for event in own if isinstance(event, HostStarted)]
            assert attempts == list(range(1, len(attempts) + 1)), name
            assert isinstance(own[-1], HostFinished), name
            assert own[-1].attempts == len(attempts), name
            assert (own[-1].status is Status.NOT_RUN) == (not attempts), name
        assert [event.t for event in self.events] == sorted(event.t for event in self.events)
        connections = self.transport.connections
        assert [connection.host.name for connection in connections] == self.started
        assert all(connection.close_calls == 1 for connection in connections)
        assert self.transport.releases >= 1


@asynccontextmanager
async def watching(
    transport: FakeTransport,
    names: str | Sequence[str],
    *,
    timeouts: Timeouts = LONG,
    **options: Any,
) -> AsyncIterator[Watched]:
    """Start a run; the body looks on and acts, and then its end is waited for and all of it checked."""
    said: list[str] = []
    hosts = [Host(name) for name in (names.split() if isinstance(names, str) else names)]
    fleet = Fleet(hosts, timeouts=timeouts, transports={TransportName.SSH: transport}, warn=said.append)
    async with fleet:
        watched = Watched(fleet.run("true", **options), transport, said)
        async with asyncio.TaskGroup() as group:
            group.create_task(watched.read())
            await idle()
            yield watched
    watched.check()
    assert asyncio.all_tasks() == {asyncio.current_task()}
