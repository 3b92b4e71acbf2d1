"""A run over fake hosts: order, fanout, one ending each, stopping, cancelling, and what the reader gets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from multirsh.engine.fleet import Fleet
from multirsh.engine.options import Limits, Timeouts
from multirsh.errors import HostError, UsageError
from multirsh.events import HostFinished, HostStarted, Output, RunFinished, RunStarted
from multirsh.exit_code import ExitRule
from multirsh.model import ClosedBy, ErrorKind, Exited, Failure, Host, Phase, Signalled, Status, TransportName
from multirsh.testing import Behaviour, FakeConnection, FakeTransport, refused
from multirsh.transports.base import Sink, Stdin
from tests.fleets import endings
from tests.waiting import HANG_GUARD_S

pytestmark = pytest.mark.usefixtures("no_leaks")


def fleet_of(
    transport: FakeTransport, names: str, *, fanout: int = 64, timeouts: Timeouts | None = None
) -> Fleet:
    """A fleet of the hosts in ``names``, all of them fake."""
    return Fleet(
        [Host(name) for name in names.split()],
        limits=Limits(fanout=fanout),
        timeouts=timeouts or Timeouts(),
        transports={TransportName.SSH: transport},
    )


async def soon() -> None:
    """Let everything that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


NEVER = asyncio.Event
"""An event that nobody sets."""


async def test_events_come_in_the_contracts_order() -> None:
    transport = FakeTransport(default=Behaviour(stdout=b"out\n", stderr=b"err\n"))
    async with fleet_of(transport, "a b c") as fleet:
        events = [event async for event in fleet.run("uptime").events()]
    assert isinstance(events[0], RunStarted)
    assert (events[0].command, events[0].hosts, events[0].fanout) == ("uptime", ("a", "b", "c"), 64)
    assert isinstance(events[-1], RunFinished)
    assert (events[-1].counts, events[-1].exit_code) == ({Status.OK: 3}, 0)
    assert len({event.run for event in events}) == 1
    assert [event.t for event in events] == sorted(event.t for event in events)
    for name in "abc":
        own = [event for event in events if getattr(event, "host", None) == name]
        assert [type(event) for event in own] == [HostStarted, Output, Output, HostFinished]
    assert transport.releases == 1
    assert transport.is_closed


async def test_results_come_in_the_order_of_completion_with_their_output() -> None:
    first, second = asyncio.Event(), asyncio.Event()
    transport = FakeTransport(
        {"a": Behaviour(stdout=b"slow", ends_after=first), "b": Behaviour(ends_after=second)}
    )
    async with fleet_of(transport, "a b") as fleet:
        results = aiter(fleet.run("true"))
        second.set()
        assert (await anext(results)).host.name == "b"
        first.set()
        result = await anext(results)
        assert (result.host.name, result.stdout, result.text()) == ("a", b"slow", "slow")
        with pytest.raises(StopAsyncIteration):
            await anext(results)


async def test_the_fanout_limits_hosts_in_flight_and_the_next_starts_as_one_ends() -> None:
    gates = {name: asyncio.Event() for name in "abcde"}
    transport = FakeTransport({name: Behaviour(ends_after=gate) for name, gate in gates.items()})
    async with fleet_of(transport, "a b c d e", fanout=2) as fleet, asyncio.TaskGroup() as group:
        results = group.create_task(fleet.run("true").gather())
        await soon()
        assert [c.host.name for c in transport.connections] == ["a", "b"]
        gates["b"].set()
        await soon()
        assert [c.host.name for c in transport.connections] == ["a", "b", "c"]
        for gate in gates.values():
            gate.set()
    assert list(results.result()) == ["b", "a", "c", "d", "e"]


async def test_a_socket_that_drains_holds_neither_result_nor_place() -> None:
    drained = asyncio.Event()
    transport = FakeTransport(default=Behaviour(closes_after=drained, closed_by=ClosedBy.RESET))
    async with fleet_of(transport, "a b c", fanout=1) as fleet:
        results = [result async for result in _take(fleet, 3)]
        assert [result.status for result in results] == [Status.OK] * 3
        assert [result.closed_by for result in results] == [None] * 3
        drained.set()
        assert [await result.closed() for result in results] == [ClosedBy.RESET] * 3
        assert results[0].closed_by is ClosedBy.RESET


async def _take(fleet: Fleet, count: int):  # type: ignore[no-untyped-def]  # a generator of results
    """The first ``count`` results, the run left unfinished behind them."""
    results = aiter(fleet.run("true"))
    for _ in range(count):
        yield await anext(results)


@pytest.mark.parametrize(
    ("behaviour", "status", "exit_status", "signal", "exit_code"),
    [
        (Behaviour(), Status.OK, 0, None, 0),
        (Behaviour(outcome=Exited(7)), Status.FAILED, 7, None, 5),
        (Behaviour(outcome=Signalled("KILL")), Status.SIGNALLED, None, "KILL", 5),
        (Behaviour(fails=refused("a")), Status.UNREACHABLE, None, None, 4),
        (
            Behaviour(outcome=HostError("a", Status.LOST, Failure(ErrorKind.RESET, Phase.RUN, "reset"))),
            Status.LOST,
            None,
            None,
            3,
        ),
        (Behaviour(opens_after=NEVER()), Status.TIMEOUT, None, None, 3),
        (Behaviour(ends_after=NEVER()), Status.TIMEOUT, None, None, 3),
        (Behaviour(fails=TimeoutError("the system's own")), Status.LOCAL, None, None, 1),
        (Behaviour(outcome=ZeroDivisionError("a bug")), Status.LOCAL, None, None, 1),
    ],
)
async def test_every_way_to_end_is_a_status_and_an_exit_code(
    behaviour: Behaviour, status: Status, exit_status: int | None, signal: str | None, exit_code: int
) -> None:
    transport = FakeTransport({"a": behaviour})
    async with fleet_of(transport, "a b", timeouts=Timeouts(connect=0.05, command=0.05)) as fleet:
        events = [event async for event in fleet.run("true").events()]
    ending = endings(events)["a"]
    assert (ending.status, ending.exit_status, ending.signal) == (status, exit_status, signal)
    assert (ending.error is None) == (status in {Status.OK, Status.FAILED, Status.SIGNALLED})
    assert endings(events)["b"].status is Status.OK, "one host's failure is its own"
    assert isinstance(events[-1], RunFinished)
    assert events[-1].exit_code == exit_code
    assert [connection.close_calls for connection in transport.connections] == [1, 1]


@pytest.mark.parametrize(("phase", "gate"), [(Phase.CONNECT, "opens_after"), (Phase.RUN, "ends_after")])
async def test_a_timeout_names_its_phase(phase: Phase, gate: str) -> None:
    behaviour = Behaviour(**{gate: asyncio.Event()})  # type: ignore[arg-type]  # one of the two gates
    timeouts = Timeouts(connect=0.05, command=0.06)
    async with fleet_of(FakeTransport({"a": behaviour}), "a", timeouts=timeouts) as fleet:
        (result,) = (await fleet.run("true").gather()).values()
    assert result.error is not None
    assert (result.error.kind, result.error.phase) == (ErrorKind.TIMEOUT, phase)
    assert {Phase.CONNECT: "0.05 s", Phase.RUN: "0.06 s"}[phase] in result.error.message


async def test_stopping_ends_every_host_once() -> None:
    transport = FakeTransport({name: Behaviour(ends_after=asyncio.Event()) for name in "bc"})
    async with fleet_of(transport, "a b c d e", fanout=2) as fleet:
        run = fleet.run("true")
        events = []
        async for event in run.events():
            events.append(event)
            if sum(isinstance(event, HostStarted) for event in events) == 3:
                run.stop(signal=2)
                run.stop(signal=15)
    statuses = {name: ending.status for name, ending in endings(events).items()}
    assert statuses == {
        "a": Status.OK,
        "b": Status.CANCELLED,
        "c": Status.CANCELLED,
        "d": Status.NOT_RUN,
        "e": Status.NOT_RUN,
    }
    assert endings(events)["d"].attempts == 0
    assert isinstance(events[-1], RunFinished)
    assert events[-1].exit_code == 130


async def test_a_stop_before_a_host_has_begun_to_connect_cancels_it() -> None:
    transport = FakeTransport(default=Behaviour(opens_after=asyncio.Event()))
    async with fleet_of(transport, "a b") as fleet:
        run = fleet.run("true")
        events = []
        async for event in run.events():
            events.append(event)
            if isinstance(event, RunStarted):
                run.stop()
    assert {ending.status for ending in endings(events).values()} <= {Status.CANCELLED, Status.NOT_RUN}
    assert len(endings(events)) == 2
    assert isinstance(events[-1], RunFinished)
    assert events[-1].exit_code == 6


async def test_a_stop_before_the_run_is_read_starts_no_host() -> None:
    transport = FakeTransport()
    async with fleet_of(transport, "a b") as fleet:
        run = fleet.run("true")
        run.stop(signal=15)
        events = [event async for event in run.events()]
    assert isinstance(events[0], RunStarted)
    assert {ending.status for ending in endings(events).values()} == {Status.NOT_RUN}
    assert not transport.connections
    assert isinstance(events[-1], RunFinished)
    assert events[-1].exit_code == 143


@pytest.mark.parametrize("read", ["gather", "results", "events"])
async def test_cancelling_the_reader_closes_everything_and_is_passed_on(read: str) -> None:
    transport = FakeTransport(default=Behaviour(ends_after=asyncio.Event()))
    async with fleet_of(transport, "a b c", fanout=2) as fleet:
        run = fleet.run("true")

        async def reader() -> None:
            if read == "gather":
                await run.gather()
            elif read == "results":
                async for _ in run:
                    pass
            else:
                async for _ in run.events():
                    pass

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await reader()
    assert [connection.host.name for connection in transport.connections] == ["a", "b"]
    assert [connection.close_calls for connection in transport.connections] == [1, 1]
    assert transport.releases == 1


async def test_the_fleet_cleans_up_after_a_loop_that_is_left_early() -> None:
    transport = FakeTransport({"b": Behaviour(ends_after=asyncio.Event())})
    async with fleet_of(transport, "a b") as fleet:
        async for result in fleet.run("true"):
            assert result.host.name == "a"
            break
    assert [connection.close_calls for connection in transport.connections] == [1, 1]


async def test_an_exception_in_the_body_is_passed_on_as_it_is() -> None:
    transport = FakeTransport(default=Behaviour(ends_after=asyncio.Event()))

    async def body() -> None:
        async with fleet_of(transport, "a b", timeouts=Timeouts(connect=HANG_GUARD_S)) as fleet:
            async for event in fleet.run("true").events():
                if isinstance(event, HostStarted):
                    raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await body()
    assert [connection.close_calls for connection in transport.connections] == [1, 1]


async def test_a_fleet_runs_one_command_after_another() -> None:
    transport = FakeTransport()
    async with fleet_of(transport, "a b") as fleet:
        assert (await fleet.run("one").gather()).is_ok
        assert (await fleet.run("two").gather()).is_ok
    assert [connection.commands for connection in transport.connections] == [
        ["one"],
        ["one"],
        ["two"],
        ["two"],
    ]


async def test_a_run_is_read_once() -> None:
    async with fleet_of(FakeTransport(), "a") as fleet:
        run = fleet.run("true")
        await run.gather()
        with pytest.raises(RuntimeError, match="read once"):
            await run.gather()


async def test_a_slow_reader_holds_writers_back_and_loses_nothing() -> None:
    big = b"x" * (3 << 20)
    transport = FakeTransport(default=Behaviour(stdout=big))
    async with fleet_of(transport, "a b c d e") as fleet:
        run = fleet.run("true")
        total = 0
        async for batch in run.event_batches():
            await soon()
            total += sum(len(event.data) for event in batch if isinstance(event, Output))
    assert total == 5 * len(big)
    assert not any(connection.is_held_back for connection in transport.connections[:2])


async def test_many_small_writes_are_held_back_as_few_large_ones_are() -> None:
    class Dripping(FakeConnection):
        async def run(
            self, command: str, sink: Sink, stdin: Stdin | None = None, *, tty: bool = False
        ) -> Exited:
            while not self.is_held_back:
                sink.write("stdout", b"y")
            return Exited(0)

    class Drips(FakeTransport):
        def connection(self, host: Host) -> FakeConnection:
            return Dripping(host, Behaviour())

    async with fleet_of(Drips(), "a") as fleet:
        (result,) = (await fleet.run("true").gather()).values()
    assert len(result.stdout) < 100_000


def exit_rules() -> Mapping[str, tuple[ExitRule, int]]:
    return {
        "plain": (ExitRule(), 5),
        "largest status": (ExitRule(largest_status=True), 255),
        "remote close": (ExitRule(require_remote_close=True), 5),
    }


@pytest.mark.parametrize("name", exit_rules())
async def test_the_exit_code_follows_the_rule(name: str) -> None:
    rule, code = exit_rules()[name]
    transport = FakeTransport({"a": Behaviour(outcome=Exited(7)), "b": Behaviour(outcome=Signalled("TERM"))})
    async with fleet_of(transport, "a b") as fleet:
        events = [event async for event in fleet.run("true", exit_rule=rule).events()]
    assert isinstance(events[-1], RunFinished)
    assert events[-1].exit_code == code


async def test_misuse_is_reported() -> None:
    with pytest.raises(UsageError, match="more than once: a"):
        fleet_of(FakeTransport(), "a b a")
    fleet = fleet_of(FakeTransport(), "a")
    with pytest.raises(RuntimeError, match="async with"):
        fleet.run("true")
    async with fleet:
        for command, words in ((" ", "no command"), ("a\0b", "NUL")):
            with pytest.raises(UsageError, match=words):
                fleet.run(command)
    rsh = Fleet([Host("a")], transports={TransportName.RSH: FakeTransport()})
    assert rsh.hosts == (Host("a"),)
