"""A run's course through the fleet, in virtual time: batches, stops, failures, retries, the barrier.

Every run here is checked at its end, by ``Watched.check``: each host reported once, in order, nothing left
open.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.engine.fleet import Fleet
from multirsh.engine.options import Limits, Timeouts
from multirsh.engine.pace import AUTO, StartRate
from multirsh.engine.retry import RetryPolicy
from multirsh.engine.rolling import Batches, Cause, GateOutcome, MaxFail, RollingPlan
from multirsh.engine.run import READER_PATIENCE_S
from multirsh.errors import UsageError
from multirsh.events import Event, Output
from multirsh.model import ClosedBy, ErrorKind, Exited, Fate, Host, Phase, Status, TransportName
from multirsh.testing import Behaviour, FakeTransport, refused
from tests.engine.watched import after, failing, watching
from tests.virtual_time import idle, in_virtual_time, virtual_loop

pytestmark = pytest.mark.usefixtures("no_leaks")

PASSED: Final = GateOutcome(passed=True)
FAILS: Final = Behaviour(outcome=Exited(1))
LOST: Final = Behaviour(outcome=failing(Status.LOST, ErrorKind.RESET, Phase.RUN))


def batches(text: str, **settings: Any) -> RollingPlan:
    return RollingPlan(batches=Batches.parse(text), **settings)


def never() -> Behaviour:
    return Behaviour(ends_after=asyncio.Event())


# Batches.


class SlowRecord:
    """Takes its time to store an event."""

    def record(self, _event: Event) -> Future[None]:
        """When that is kept."""
        kept: Future[None] = Future()
        virtual_loop().call_later(0.2, kept.set_result, None)
        return kept

    def close(self) -> None:
        """It is complete at once."""

    def give_up(self, reason: str) -> None:
        """It always answers in time."""
        raise AssertionError(reason)


@in_virtual_time
async def test_a_gate_is_called_when_the_reader_has_the_whole_output_of_the_batch() -> None:
    known: list[tuple[int, list[str]]] = []

    async def gate(batch: int, _hosts: Sequence[str]) -> GateOutcome:
        known.append((batch, [event.host for event in watched.events if isinstance(event, Output)]))
        return PASSED

    transport = FakeTransport(default=Behaviour(stdout=b"done"))
    plan: dict[str, Any] = {"rolling": batches("1"), "gate": gate, "journal": SlowRecord()}
    async with watching(transport, "a b c", **plan) as watched:
        pass
    assert known == [(1, ["a"]), (2, ["a", "b"])]


@in_virtual_time
async def test_a_slow_reader_is_not_waited_for_without_a_limit() -> None:
    async with Fleet([Host("a"), Host("b")], transports={TransportName.SSH: FakeTransport()}) as fleet:
        asked_at: list[float] = []

        async def gate(_batch: int, _hosts: Sequence[str]) -> GateOutcome:
            asked_at.append(virtual_loop().time())
            return PASSED

        async for _result in fleet.run("true", rolling=batches("1"), gate=gate):
            await asyncio.sleep(100)
    assert asked_at == [READER_PATIENCE_S]


@in_virtual_time
async def test_a_batch_begins_when_the_one_before_has_ended_and_not_sooner() -> None:
    ends = {name: asyncio.Event() for name in "abcdef"}
    transport = FakeTransport({name: Behaviour(ends_after=end) for name, end in ends.items()})
    async with watching(transport, "a b c d e f", rolling=batches("1,50%")) as watched:
        assert watched.started == ["a"]
        ends["a"].set()
        await idle()
        assert watched.started == ["a", "b", "c", "d"]
        ends["b"].set()
        ends["c"].set()
        await idle()
        assert watched.started == ["a", "b", "c", "d"], "d goes on"
        ends["d"].set()
        await idle()
        assert watched.started == list("abcdef")
        ends["e"].set()
        ends["f"].set()
    assert watched.finished.exit_code == 0
    assert not watched.said


@in_virtual_time
async def test_a_batch_does_not_wait_for_sockets_but_for_retries() -> None:
    transport = FakeTransport(
        {"a": Behaviour(closes_after=after(50)), "b": [Behaviour(fails=refused("b")), Behaviour()]}
    )
    async with watching(
        transport, "a b c", rolling=batches("1"), retry=RetryPolicy(retries=1, delay=8)
    ) as watched:
        assert watched.started[:2] == ["a", "b"]
        await idle(10)
        assert watched.started == ["a", "b", "b", "c"]
        assert set(watched.statuses) == {"b", "c"}
    assert watched.endings["a"].closed_by is ClosedBy.REMOTE


@in_virtual_time
async def test_the_fanout_holds_within_a_batch() -> None:
    transport = FakeTransport(default=never())
    async with watching(
        transport, "a b c d", rolling=batches("3"), limits=Limits(fanout=2), timeouts=Timeouts(command=1)
    ) as watched:
        assert watched.started == ["a", "b"]
        await idle(1.5)
        assert watched.started == ["a", "b", "c"]
    assert watched.started == list("abcd")


@in_virtual_time
async def test_the_delay_is_between_batches_only() -> None:
    async with watching(FakeTransport(), "a b c", rolling=batches("1", delay=10)) as watched:
        assert watched.started == ["a"]
        await idle(10)
        assert watched.started == ["a", "b"]
    assert watched.finished.seconds == pytest.approx(20)


@in_virtual_time
async def test_a_gate_is_called_with_the_batch_that_has_ended() -> None:
    asked: list[tuple[int, tuple[str, ...]]] = []

    async def gate(batch: int, hosts: Sequence[str]) -> GateOutcome:
        asked.append((batch, tuple(hosts)))
        return PASSED

    transport = FakeTransport({"b": FAILS})
    async with watching(transport, "a b c d", rolling=batches("2"), gate=gate) as watched:
        pass
    assert asked == [(1, ("a", "b"))]
    assert watched.finished.exit_code == 5


@in_virtual_time
async def test_a_gate_that_did_not_pass_leaves_the_rest_alone() -> None:
    async def gate(_batch: int, _hosts: Sequence[str]) -> GateOutcome:
        return GateOutcome(passed=False, reason="too warm")

    async with watching(FakeTransport(), "a b c", rolling=batches("1"), gate=gate) as watched:
        pass
    assert watched.statuses == {"a": Status.OK, "b": Status.NOT_RUN, "c": Status.NOT_RUN}
    assert watched.said == ["the gate after batch 1 did not pass: too warm"]
    assert watched.run.stop_reason is not None
    assert watched.run.stop_reason.cause is Cause.GATE
    assert watched.finished.exit_code == 6


@in_virtual_time
async def test_a_gate_that_raises_is_an_internal_error_and_every_host_is_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def gate(_batch: int, _hosts: Sequence[str]) -> GateOutcome:
        raise ZeroDivisionError("of mine")

    transport = FakeTransport({"a": Behaviour(closes_after=after(5))})  # its socket drains meanwhile
    async with watching(transport, "a b", rolling=batches("1"), gate=gate) as watched:
        pass
    assert watched.statuses == {"a": Status.OK, "b": Status.NOT_RUN}
    assert watched.said == ["the gate after batch 1 failed: ZeroDivisionError: of mine"]
    assert watched.finished.exit_code == 1
    assert "of mine" in caplog.text


@pytest.mark.parametrize("step", ["drain", "stop", "abandon", "deadline"])
def test_a_gate_is_cut_short(step: str) -> None:
    @in_virtual_time
    async def run() -> None:
        async def gate(_batch: int, _hosts: Sequence[str]) -> GateOutcome:
            await asyncio.sleep(1000)
            return PASSED

        timeouts = Timeouts(run=10 if step == "deadline" else None)
        async with watching(
            FakeTransport(), "a b", rolling=batches("1"), gate=gate, timeouts=timeouts
        ) as watched:
            await idle(9)
            if step != "deadline":
                getattr(watched.run, step)()
        assert watched.statuses == {"a": Status.OK, "b": Status.NOT_RUN}
        assert watched.finished.seconds < 11
        told = ["the run's deadline of 10 s has passed"] if step == "deadline" else []
        assert watched.said == told

    run()


@in_virtual_time
async def test_a_gate_may_be_a_run_of_the_same_fleet_and_is_hurried_as_that_is() -> None:
    ends = asyncio.Event()
    transport = FakeTransport({"a": [Behaviour(), Behaviour(ends_after=ends, dies_after=ends)]})
    hosts = [Host("a"), Host("b")]
    async with Fleet(hosts, transports={TransportName.SSH: transport}) as fleet:

        async def gate(_batch: int, names: Sequence[str]) -> GateOutcome:
            results = await fleet.run("check", hosts=[host for host in hosts if host.name in names]).gather()
            return GateOutcome(passed=results.is_ok)

        run = fleet.run("true", rolling=batches("1"), gate=gate)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(run.gather())
            await idle(5)
            run.stop()
            await idle(5)
            assert not reading.done(), "what the gate runs is being ended"
            run.abandon()
        assert [result.status for result in reading.result().values()] == [Status.OK, Status.NOT_RUN]
    assert [connection.commands for connection in transport.connections] == [["true"], ["check"]]


# When to stop.


@in_virtual_time
async def test_max_fail_counts_over_the_whole_run_and_hosts_in_flight_continue() -> None:
    slow = asyncio.Event()
    transport = FakeTransport(
        {"a": FAILS, "c": Behaviour(fails=refused("c")), "d": Behaviour(ends_after=slow)}
    )
    rolling = batches("2", max_fail=MaxFail.parse("2"))
    async with watching(transport, "a b c d e f", rolling=rolling) as watched:
        await idle(5)
        assert set(watched.statuses) == {"a", "b", "c", "e", "f"}
        slow.set()
    assert watched.statuses["d"] is Status.OK
    assert watched.statuses["e"] is watched.statuses["f"] is Status.NOT_RUN
    assert watched.said == ["2 hosts have failed (--max-fail 2)"]
    assert watched.finished.exit_code == 6


@in_virtual_time
async def test_a_host_that_is_tried_again_has_not_failed_yet() -> None:
    transport = FakeTransport({"a": [Behaviour(fails=refused("a")), Behaviour()]})
    rolling = RollingPlan(max_fail=MaxFail.parse("1"))
    async with watching(transport, "a b", rolling=rolling, retry=RetryPolicy(retries=1)) as watched:
        pass
    assert watched.finished.exit_code == 0


@in_virtual_time
async def test_fail_fast_cancels_hosts_in_flight() -> None:
    transport = FakeTransport({"a": Behaviour(outcome=Exited(3), ends_after=after(5))}, default=never())
    async with watching(transport, "a b c", limits=Limits(fanout=2), fail_fast=True) as watched:
        pass
    assert watched.statuses == {"a": Status.FAILED, "b": Status.CANCELLED, "c": Status.NOT_RUN}
    error = watched.endings["b"].error
    assert error is not None
    assert (error.kind, error.phase, error.fate) == (ErrorKind.STOPPED, Phase.RUN, Fate.DEAD)
    assert [connection.end_calls for connection in transport.connections] == [[], [5.0]]
    assert watched.said == ["a has failed (--fail-fast)"]
    assert watched.finished.exit_code == 6


@in_virtual_time
async def test_the_last_hosts_failure_stops_nothing() -> None:
    async with watching(FakeTransport({"b": FAILS}), "a b", fail_fast=True) as watched:
        pass
    assert not watched.said
    assert watched.run.stop_reason is None
    assert watched.finished.exit_code == 5


@in_virtual_time
async def test_the_deadline_ends_hosts_in_flight_as_timeouts() -> None:
    transport = FakeTransport(
        {"a": Behaviour(), "b": Behaviour(opens_after=asyncio.Event())}, default=never()
    )
    timeouts = Timeouts(connect=None, run=10, kill_after=2)
    async with watching(transport, "a b c d", limits=Limits(fanout=2), timeouts=timeouts) as watched:
        pass
    assert [watched.statuses[name].value for name in "abcd"] == ["ok", "timeout", "timeout", "not_run"]
    for name, phase, fate in (("b", Phase.CONNECT, None), ("c", Phase.RUN, Fate.DEAD)):
        error = watched.endings[name].error
        assert error is not None
        assert (error.kind, error.phase, error.fate) == (ErrorKind.TIMEOUT, phase, fate)
        assert error.message == "the run's deadline of 10 s has passed"
    assert watched.said == ["the run's deadline of 10 s has passed"]
    assert watched.run.stop_reason is None or watched.run.stop_reason.cause is Cause.DEADLINE
    assert watched.finished.exit_code == 6
    assert watched.finished.seconds == pytest.approx(10)


# The three steps of a stop.


@in_virtual_time
async def test_in_a_drained_run_hosts_in_flight_continue_to_their_ends() -> None:
    ends = asyncio.Event()
    async with watching(
        FakeTransport(default=Behaviour(ends_after=ends)), "a b c", limits=Limits(fanout=2)
    ) as watched:
        watched.run.drain(signal=2)
        await idle(5)
        assert watched.statuses == {"c": Status.NOT_RUN}
        ends.set()
    assert watched.statuses == {"a": Status.OK, "b": Status.OK, "c": Status.NOT_RUN}
    assert watched.finished.exit_code == 130


@in_virtual_time
async def test_a_stopped_run_ends_remote_commands_and_waits_for_that_and_for_sockets() -> None:
    dies, closes = asyncio.Event(), asyncio.Event()
    transport = FakeTransport(
        default=Behaviour(ends_after=asyncio.Event(), dies_after=dies, closes_after=closes)
    )
    async with watching(transport, "a") as watched:
        watched.run.stop()
        await idle(3)
        assert not watched.statuses
        dies.set()
        await idle(3)
        assert not watched.statuses, "its socket drains"
        closes.set()
    error = watched.endings["a"].error
    assert error is not None
    assert error.fate is Fate.DEAD
    assert watched.endings["a"].seconds.close == pytest.approx(3)


@in_virtual_time
async def test_an_abandoned_run_does_not_wait_for_remote_commands() -> None:
    transport = FakeTransport(default=Behaviour(ends_after=asyncio.Event(), dies_after=asyncio.Event()))
    async with watching(transport, "a b") as watched:
        watched.run.stop()
        await idle(3)
        assert not watched.statuses
        watched.run.abandon()
        watched.run.abandon()
    assert {ending.error and ending.error.fate for ending in watched.endings.values()} == {Fate.UNKNOWN}
    assert watched.finished.seconds == pytest.approx(3)


@in_virtual_time
async def test_a_run_that_is_abandoned_at_once_does_not_end_remote_commands() -> None:
    transport = FakeTransport(default=Behaviour(ends_after=asyncio.Event(), dies_after=asyncio.Event()))
    async with watching(transport, "a") as watched:
        watched.run.abandon(signal=15)
    assert watched.finished.exit_code == 143


@pytest.mark.parametrize("cancellations", [1, 2])
def test_a_reader_that_is_cancelled_again_waits_for_no_remote(cancellations: int) -> None:
    @in_virtual_time
    async def run() -> None:
        transport = FakeTransport(
            default=Behaviour(ends_after=asyncio.Event(), dies_after=after(30), closes_after=after(40))
        )
        async with Fleet([Host("a")], transports={TransportName.SSH: transport}) as fleet:
            reading = asyncio.ensure_future(fleet.run("true").gather())  # noqa: TID251 - awaited below
            await idle(1)
            for _ in range(cancellations):
                reading.cancel()
                await idle(1)
            assert not reading.done()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert virtual_loop().time() == pytest.approx(40)  # the fake socket takes its time in any case
        (connection,) = transport.connections
        assert (len(connection.end_calls), connection.close_calls) == (1, 1)
        assert transport.releases == 1

    run()


# Retries.


@in_virtual_time
async def test_each_attempt_is_reported_and_the_last_one_is_the_hosts_ending() -> None:
    transport = FakeTransport(
        {"a": [Behaviour(fails=refused("a")), Behaviour(fails=refused("a")), Behaviour(stdout=b"here\n")]}
    )
    async with watching(transport, "a b", retry=RetryPolicy(retries=2)) as watched:
        pass
    assert watched.endings["a"].attempts == 3
    assert watched.endings["a"].stdout_bytes == 5
    assert watched.endings["b"].attempts == 1
    assert watched.finished.exit_code == 0


@in_virtual_time
async def test_so_many_retries_and_no_more() -> None:
    async with watching(
        FakeTransport({"a": Behaviour(fails=refused("a"))}), "a b", retry=RetryPolicy(retries=2)
    ) as watched:
        pass
    assert (watched.statuses["a"], watched.endings["a"].attempts) == (Status.UNREACHABLE, 3)


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(fails=failing(Status.AUTH, ErrorKind.DENIED, Phase.AUTH)),
        Behaviour(fails=failing(Status.HOSTKEY, ErrorKind.HOSTKEY_CHANGED, Phase.HANDSHAKE)),
        Behaviour(fails=failing(Status.UNREACHABLE, ErrorKind.CLOSED, Phase.AUTH)),
        Behaviour(fails=ZeroDivisionError("a bug")),
        LOST,
        FAILS,
    ],
    ids=["auth", "hostkey", "closed at auth", "bug", "lost", "failed"],
)
def test_failures_that_are_never_retried(behaviour: Behaviour) -> None:
    @in_virtual_time
    async def run() -> None:
        async with watching(FakeTransport({"a": behaviour}), "a", retry=RetryPolicy(retries=5)) as watched:
            pass
        assert watched.endings["a"].attempts == 1

    run()


@in_virtual_time
async def test_a_command_is_repeated_only_if_the_option_says_so() -> None:
    first = Behaviour(stdout=b"half a li", outcome=LOST.outcome)
    for repeat, attempts in ((False, 1), (True, 2)):
        transport = FakeTransport({"a": [first, Behaviour(stdout=b"whole\n")]})
        policy = RetryPolicy(retries=3, repeat_command=repeat)
        async with watching(transport, "a", retry=policy) as watched:
            pass
        assert watched.endings["a"].attempts == attempts
        assert sum(isinstance(event, Output) for event in watched.events) == attempts
        assert watched.endings["a"].stdout_bytes == (6 if repeat else 9), "of the last attempt"


@in_virtual_time
async def test_a_result_has_the_output_of_the_last_attempt() -> None:
    transport = FakeTransport(
        {"a": [Behaviour(stdout=b"half", outcome=LOST.outcome), Behaviour(stdout=b"whole\n")]}
    )
    async with Fleet([Host("a")], transports={TransportName.SSH: transport}) as fleet:
        results = await fleet.run("true", retry=RetryPolicy(retries=1, repeat_command=True)).gather()
    assert results["a"].stdout == b"whole\n"


@pytest.mark.parametrize("step", ["drain", "stop", "abandon"])
def test_a_host_that_waits_for_a_retry_ends_as_its_last_attempt_did(step: str) -> None:
    @in_virtual_time
    async def run() -> None:
        transport = FakeTransport({"a": Behaviour(fails=refused("a")), "b": never()})
        policy = RetryPolicy(retries=5, delay=100_000)
        async with watching(transport, "a b c", limits=Limits(fanout=1), retry=policy) as watched:
            assert watched.started == ["a", "b"]
            getattr(watched.run, step)()
            await idle(1)
            assert watched.statuses["a"] is Status.UNREACHABLE
            assert watched.statuses["c"] is Status.NOT_RUN
            watched.run.stop()
        assert watched.endings["a"].attempts == 1
        assert watched.endings["a"].closed_by is ClosedBy.REMOTE
        assert watched.endings["a"].seconds.close is not None

    run()


@in_virtual_time
async def test_a_host_given_up_while_its_last_socket_drains_is_reported_when_that_has_closed() -> None:
    transport = FakeTransport(
        {"a": Behaviour(fails=refused("a"), closes_after=after(20), closed_by=ClosedBy.RESET)}
    )
    policy = RetryPolicy(retries=5, delay=100_000)
    async with watching(transport, "a", retry=policy) as watched:
        await idle(10)
        watched.run.stop()
        await idle(5)
        assert not watched.statuses
    ending = watched.endings["a"]
    assert ending.closed_by is ClosedBy.RESET
    assert ending.seconds.close == pytest.approx(20)


class Behind(FakeTransport):
    """Hosts behind one hop, which the governor then knows."""

    def hop(self, host: Host) -> str:
        return "the bastion"


@in_virtual_time
async def test_a_busy_server_costs_no_retry() -> None:
    busy = Behaviour(fails=failing(Status.UNREACHABLE, ErrorKind.BUSY, Phase.HANDSHAKE))
    transport = Behind({name: [busy, busy, Behaviour()] for name in "ab"})
    async with watching(transport, "a b c", limits=Limits(start_rate=AUTO)) as watched:
        pass
    assert [watched.endings[name].attempts for name in "abc"] == [3, 3, 1]
    assert watched.finished.exit_code == 0


@in_virtual_time
async def test_without_the_governor_a_busy_server_is_a_failure_like_others() -> None:
    busy = Behaviour(fails=failing(Status.UNREACHABLE, ErrorKind.BUSY, Phase.HANDSHAKE))
    for retries, attempts in ((0, 1), (2, 3)):
        async with watching(
            Behind({"a": busy}),
            "a",
            limits=Limits(start_rate=StartRate(100)),
            retry=RetryPolicy(retries=retries),
        ) as watched:
            pass
        assert watched.endings["a"].attempts == attempts


@in_virtual_time
async def test_a_start_rate_and_handshakes_bound_what_begins() -> None:
    limits = Limits(start_rate=StartRate(0.5))
    async with watching(FakeTransport(), "a b c", limits=limits) as watched:
        assert watched.started == ["a"]
        await idle(2.1)
        assert watched.started == ["a", "b"]
    opens = asyncio.Event()
    transport = FakeTransport({"a": Behaviour(opens_after=opens, ends_after=after(10))})
    async with watching(transport, "a b c", limits=Limits(handshakes=1)) as watched:
        assert watched.started == ["a"]
        opens.set()
        await idle()
        assert watched.started == ["a", "b", "c"]


# The barrier.


@in_virtual_time
async def test_the_command_is_released_when_all_hosts_are_logged_in_or_have_failed() -> None:
    opens = asyncio.Event()
    transport = FakeTransport(
        {"c": Behaviour(opens_after=opens), "d": Behaviour(fails=refused("d"))}, default=Behaviour()
    )
    async with watching(transport, "a b c d", limits=Limits(fanout=1), barrier=True) as watched:
        assert watched.started == list("abcd"), "-j does not hold here"
        await idle(50)
        assert not any(connection.commands for connection in transport.connections)
        opens.set()
    assert watched.said[0] == "barrier: 3 of 4 hosts are ready; missing: d"
    assert watched.said[1] == "barrier: the command was sent to all within 0.0 ms"
    assert watched.statuses == dict.fromkeys("abc", Status.OK) | {"d": Status.UNREACHABLE}


@in_virtual_time
async def test_the_barrier_waits_for_retries() -> None:
    transport = FakeTransport({"a": [Behaviour(fails=refused("a")), Behaviour()]})
    async with watching(transport, "a b", barrier=True, retry=RetryPolicy(retries=1, delay=100)) as watched:
        pass
    assert watched.said[0] == "barrier: 2 of 2 hosts are ready"


@in_virtual_time
async def test_the_time_at_the_barrier_does_not_count_for_the_command() -> None:
    transport = FakeTransport({"a": Behaviour(opens_after=after(500))})
    async with watching(transport, "a b", barrier=True, timeouts=Timeouts(connect=900, command=1)) as watched:
        pass
    assert watched.finished.exit_code == 0


@pytest.mark.parametrize(
    "why", ["drain", "stop", "abandon", "deadline", "fail-fast", "max-fail", "slow start"]
)
def test_a_run_that_halts_before_the_barrier_is_open_sends_nothing(why: str) -> None:
    @in_virtual_time
    async def run() -> None:
        transport = FakeTransport(
            {
                "b": Behaviour(opens_after=asyncio.Event()),
                "c": Behaviour(opens_after=after(10), fails=refused("c")),
            }
        )
        async with watching(
            transport,
            "a b c d",
            barrier=True,
            timeouts=Timeouts(connect=None, run=10 if why == "deadline" else None),
            limits=Limits(start_rate=StartRate(0.001) if why == "slow start" else AUTO),
            fail_fast=why == "fail-fast",
            rolling=RollingPlan(max_fail=MaxFail.parse("1") if why == "max-fail" else None),
        ) as watched:
            await idle(5)
            if why in {"drain", "stop", "abandon"}:
                getattr(watched.run, why)()
            elif why == "slow start":
                watched.run.drain()
        assert not any(connection.commands for connection in transport.connections)
        assert Status.OK not in watched.statuses.values()
        assert [line for line in watched.said if line.startswith("barrier: ")] == [
            f"barrier: called off; {1 if why == 'slow start' else 2} of 4 hosts were ready"
        ]

    run()


# The library's words.


async def test_contradictory_options_are_refused() -> None:
    async with Fleet([Host("a")], transports={TransportName.SSH: FakeTransport()}) as fleet:
        with pytest.raises(UsageError, match="a barrier holds all hosts at once, and batches do not"):
            fleet.run("true", barrier=True, rolling=batches("1"))
        with pytest.raises(UsageError, match="not of this fleet: b"):
            fleet.run("true", hosts=[Host("a"), Host("b")])
        with pytest.raises(UsageError, match="more than once: a"):
            fleet.run("true", hosts=[Host("a"), Host("a")])


# Whatever happens.


@dataclass(frozen=True)
class Told:
    """A course that hypothesis thought of.

    Attributes:
        hosts: Of each, its attempts: each a way to open, to end and to close, with seconds.
        actions: Seconds, and what is done to the run then.
        plan: Of ``fleet.run``.
        gate: What the gate does, each time, and for how long.
        limits: Of the fleet.
        deadline: Of the run.
    """

    hosts: list[list[tuple[str, float, str, float, float]]]
    actions: list[tuple[float, str]]
    plan: dict[str, Any]
    gate: list[tuple[str, float]]
    limits: Limits
    deadline: float | None


SECONDS: Final = st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0, 7.0])
TRIES: Final = st.tuples(
    st.sampled_from(["in", "in", "refused", "reset", "busy", "auth", "never"]),
    SECONDS,
    st.sampled_from(["ok", "ok", "failed", "lost", "never", "bug"]),
    SECONDS,
    SECONDS,
)
PLAIN: Final = RollingPlan()


def without_batches(plan: dict[str, Any]) -> dict[str, Any]:
    return plan | {"rolling": PLAIN} if plan["barrier"] else plan


TOLD: Final = st.builds(
    Told,
    hosts=st.lists(st.lists(TRIES, min_size=1, max_size=3), min_size=1, max_size=6),
    actions=st.lists(st.tuples(SECONDS, st.sampled_from(["drain", "stop", "abandon", "cancel"])), max_size=3),
    plan=st.fixed_dictionaries(
        {
            "retry": st.builds(
                RetryPolicy, retries=st.integers(0, 2), delay=SECONDS, repeat_command=st.booleans()
            ),
            "rolling": st.builds(
                RollingPlan,
                batches=st.sampled_from(["100%", "1", "2", "1,50%"]).map(Batches.parse),
                max_fail=st.sampled_from([None, "1", "2", "50%"]).map(
                    lambda text: None if text is None else MaxFail.parse(text)
                ),
                delay=SECONDS,
            ),
            "fail_fast": st.booleans(),
            "barrier": st.booleans(),
        }
    ).map(without_batches),
    gate=st.lists(
        st.tuples(st.sampled_from(["pass", "pass", "fail", "raise", "stubborn", "timeout"]), SECONDS),
        max_size=3,
    ),
    limits=st.builds(
        Limits,
        fanout=st.integers(1, 4),
        handshakes=st.sampled_from([None, 1, 2]),
        start_rate=st.sampled_from([AUTO, AUTO, StartRate(1.0), StartRate(1000.0)]),
    ),
    deadline=st.sampled_from([None, None, 1.0, 6.0]),
)


@given(TOLD)
def test_every_host_is_reported_once_and_the_run_ends(told: Told) -> None:
    """``Watched.check`` and the virtual loop, which fails if a task waits for what will never happen."""

    @in_virtual_time
    async def run() -> None:
        random.seed(0)
        transport = Behind({f"h{number}": acted(tries) for number, tries in enumerate(told.hosts)})
        async with watching(
            transport,
            [f"h{number}" for number in range(len(told.hosts))],
            limits=told.limits,
            timeouts=Timeouts(connect=20, command=20, run=told.deadline, kill_after=1),
            gate=played(told.gate) if told.gate else None,
            **told.plan,
        ) as watched:
            for seconds, action in told.actions:
                if action != "cancel":
                    virtual_loop().call_later(seconds, getattr(watched.run, action))
        assert watched.finished.seconds < 1000

    run()


@given(TOLD)
def test_a_reader_that_leaves_leaves_nothing_behind(told: Told) -> None:
    """The same, while the reader is cancelled: all is closed once the cancellation has come through."""

    @in_virtual_time
    async def run() -> None:
        transport = Behind({f"h{number}": acted(tries) for number, tries in enumerate(told.hosts)})
        fleet = Fleet(
            [Host(f"h{number}") for number in range(len(told.hosts))],
            limits=told.limits,
            timeouts=Timeouts(connect=20, command=20, run=told.deadline, kill_after=1),
            transports={TransportName.SSH: transport},
            warn=lambda _line: None,
        )
        async with fleet:
            run = fleet.run("true", gate=played(told.gate) if told.gate else None, **told.plan)
            reading = asyncio.ensure_future(run.gather())  # noqa: TID251 - awaited below
            for seconds, action in told.actions:
                act = reading.cancel if action == "cancel" else getattr(run, action)
                virtual_loop().call_later(seconds, act)
            await asyncio.wait((reading,))
            assert run.is_over
            assert asyncio.all_tasks() == {asyncio.current_task()}
            if not reading.cancelled():
                assert len(reading.result()) == len(told.hosts)
        assert all(connection.close_calls == 1 for connection in transport.connections)
        assert transport.releases == 1

    run()


OPENINGS: Final = {
    "refused": refused(""),
    "reset": failing(Status.UNREACHABLE, ErrorKind.RESET, Phase.HANDSHAKE),
    "busy": failing(Status.UNREACHABLE, ErrorKind.BUSY, Phase.HANDSHAKE),
    "auth": failing(Status.AUTH, ErrorKind.DENIED, Phase.AUTH),
}
ENDINGS: Final = {
    "ok": Exited(0),
    "failed": Exited(1),
    "lost": LOST.outcome,
    "bug": ZeroDivisionError("a bug"),
    "never": Exited(0),
}


def acted(tries: Iterable[tuple[str, float, str, float, float]]) -> list[Behaviour]:
    """The scenario of a run; seconds count from the run's start, which is as good as any."""
    return [
        Behaviour(
            fails=OPENINGS.get(opening),
            opens_after=asyncio.Event() if opening == "never" else after(opens),
            outcome=ENDINGS[ending],
            ends_after=asyncio.Event() if ending == "never" else after(opens + ends),
            dies_after=after(opens + closes),
            closes_after=after(opens + ends + closes),
            closed_by=None if opening != "in" else ClosedBy.REMOTE,
        )
        for opening, opens, ending, ends, closes in tries
    ]


def played(turns: Sequence[tuple[str, float]]) -> Callable[[int, Sequence[str]], Awaitable[GateOutcome]]:
    """A gate that does as the scenario says."""

    async def gate(batch: int, hosts: Sequence[str]) -> GateOutcome:
        assert hosts
        how, seconds = turns[min(batch, len(turns)) - 1]
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            if how != "stubborn":
                raise
            await asyncio.sleep(1)
        if how == "raise":
            raise UsageError("it was told to")
        if how == "timeout":
            raise TimeoutError
        return GateOutcome(passed=how != "fail")

    return gate
