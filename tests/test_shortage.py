"""Memory or a thread that cannot be had is ``local`` for the host that it was for, and nothing else."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from multirsh import shortage
from multirsh.engine.emitter import EventEmitter
from multirsh.engine.fleet import Fleet
from multirsh.engine.run import HOST_BYTES
from multirsh.events import Event, HostFinished, RunFinished
from multirsh.model import ErrorKind, Fate, Host, Status, TransportName
from multirsh.shortage import NO_MEMORY, NoThreadError
from multirsh.testing import Behaviour, FakeTransport

pytestmark = pytest.mark.usefixtures("no_leaks")

HOSTS = [Host(name) for name in ("a", "b", "c")]


async def events_of(transport: FakeTransport) -> list[Event]:
    async with Fleet(HOSTS, transports={TransportName.SSH: transport}) as fleet:
        return [event async for event in fleet.run("any").events()]


def endings(events: list[Event]) -> dict[str, HostFinished]:
    finished = [event for event in events if isinstance(event, HostFinished)]
    assert sorted(event.host for event in finished) == ["a", "b", "c"], "one a host"
    last = events[-1]
    assert isinstance(last, RunFinished)
    assert sum(last.counts.values()) == len(HOSTS)
    return {event.host: event for event in finished}


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (Behaviour(fails=MemoryError()), NO_MEMORY),
        (Behaviour(outcome=MemoryError()), NO_MEMORY),
        (Behaviour(fails=NoThreadError()), NoThreadError().strerror),
    ],
)
async def test_a_host_that_there_is_no_memory_for_is_local_and_nothing_is_logged(
    behaviour: Behaviour, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    events = await events_of(FakeTransport({"b": behaviour}))
    ended = endings(events)
    assert {name: event.status for name, event in ended.items()} == {
        "a": Status.OK,
        "b": Status.LOCAL,
        "c": Status.OK,
    }
    error = ended["b"].error
    assert error is not None
    assert (error.kind, error.message) == (ErrorKind.MEMORY, message)
    assert isinstance(events[-1], RunFinished)
    assert events[-1].exit_code == 4
    assert not caplog.records


async def test_a_command_that_there_is_no_memory_for_is_ended() -> None:
    events = await events_of(FakeTransport({"b": Behaviour(outcome=MemoryError(), fate=Fate.DEAD)}))
    error = endings(events)["b"].error
    assert error is not None
    assert error.fate is Fate.DEAD


@pytest.mark.parametrize("step", ["host_started", "result", "host_finished"])
async def test_every_host_has_one_ending_wherever_memory_runs_out(
    step: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    step_of = getattr(EventEmitter, step)
    left = [1]

    def short_once(emitter: EventEmitter, *args: Any, **options: Any) -> Any:
        if left and args[0] is not None:
            left.pop()
            raise MemoryError
        return step_of(emitter, *args, **options)

    monkeypatch.setattr(EventEmitter, step, short_once)
    ended = endings(await events_of(FakeTransport()))
    statuses = [event.status for event in ended.values()]
    assert not left
    assert statuses.count(Status.OK) >= len(HOSTS) - 1
    assert set(statuses) <= {Status.OK, Status.LOCAL}
    assert not caplog.records


async def test_output_that_there_is_no_memory_for_ends_its_host_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = EventEmitter.output

    def short(emitter: EventEmitter, host: Host, *args: Any) -> None:
        if host.name == "b":
            raise MemoryError
        output(emitter, host, *args)

    monkeypatch.setattr(EventEmitter, "output", short)
    ended = endings(await events_of(FakeTransport(default=Behaviour(stdout=b"x"))))
    assert {name: event.status for name, event in ended.items()} == {
        "a": Status.OK,
        "b": Status.LOCAL,
        "c": Status.OK,
    }


async def test_a_host_is_not_begun_where_there_is_no_room_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = FakeTransport()
    monkeypatch.setattr(shortage, "room_bytes", lambda: HOST_BYTES - 1)
    ended = endings(await events_of(transport))
    assert {event.status for event in ended.values()} == {Status.LOCAL}
    assert not transport.connections
