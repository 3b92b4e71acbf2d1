"""What failed connects mean, one and several."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import socket
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from multirsh.model import ErrorKind, Phase, Status
from multirsh.transports.resolver import Address
from multirsh.transports.tcp import (
    NoneConnected,
    Race,
    Spare,
    dial_error,
    first_to_connect,
    interleaved,
    local_error,
    none_connected,
)


def os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("number", "status", "kind"),
    [
        (errno.ECONNREFUSED, Status.UNREACHABLE, ErrorKind.REFUSED),
        (errno.ETIMEDOUT, Status.UNREACHABLE, ErrorKind.TIMEOUT),
        (errno.EHOSTUNREACH, Status.UNREACHABLE, ErrorKind.NO_ROUTE),
        (errno.ENOTCONN, Status.UNREACHABLE, ErrorKind.RESET),
        (errno.EMFILE, Status.LOCAL, ErrorKind.FILES),
        (errno.ENOBUFS, Status.LOCAL, ErrorKind.MEMORY),
    ],
)
def test_one_address_has_the_systems_words(number: int, status: Status, kind: ErrorKind) -> None:
    error = dial_error(os_error(number))
    assert (error.status, error.failure.kind, error.failure.phase) == (status, kind, Phase.CONNECT)
    alone = none_connected([("192.0.2.1", os_error(number))])
    assert (alone.status, alone.failure) == (error.status, error.failure)
    assert "192.0.2.1" not in alone.failure.message


def test_of_several_the_most_telling_counts_and_each_is_named() -> None:
    error = none_connected(
        [
            ("192.0.2.1", os_error(errno.ENETUNREACH)),
            ("2001:db8::1", os_error(errno.ECONNREFUSED)),
            ("192.0.2.2", os_error(errno.ENETUNREACH)),
            ("2001:db8::2", local_error(ErrorKind.PORTS, "no local port was free", Phase.PORT)),
        ]
    )
    assert (error.status, error.failure.kind, error.failure.phase) == (
        Status.UNREACHABLE,
        ErrorKind.REFUSED,
        Phase.CONNECT,
    )
    assert error.failure.message == (
        "192.0.2.1, 192.0.2.2: network is unreachable; 2001:db8::1: connection refused;"
        " 2001:db8::2: no local port was free"
    )


def test_a_family_without_a_route_says_less_than_a_machine_without_a_port() -> None:
    error = none_connected(
        [
            ("192.0.2.1", local_error(ErrorKind.PORTS, "no local port was free", Phase.PORT)),
            ("2001:db8::1", os_error(errno.ENETUNREACH)),
        ]
    )
    assert (error.status, error.failure.kind, error.failure.phase) == (
        Status.LOCAL,
        ErrorKind.PORTS,
        Phase.PORT,
    )


def test_of_many_addresses_four_are_named() -> None:
    error = none_connected([(f"192.0.2.{n}", os_error(errno.ECONNREFUSED)) for n in range(1, 10)])
    assert error.failure.message == (
        "192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4: connection refused; and 5 more"
    )


pytestmark = pytest.mark.usefixtures("no_leaks")

AT_ONCE = 0.0
"""A delay that is over when it begins."""


def v4(number: int) -> Address:
    return Address(socket.AF_INET, (f"192.0.2.{number}", 22))


def v6(number: int) -> Address:
    return Address(socket.AF_INET6, (f"2001:db8::{number}", 22, 0, 0))


def test_families_take_turns_and_the_first_addresss_begins() -> None:
    assert interleaved([v6(1), v6(2), v6(3), v4(1)]) == [v6(1), v4(1), v6(2), v6(3)]
    assert interleaved([v4(1), v6(1), v4(2)]) == [v4(1), v6(1), v4(2)]
    assert interleaved([v4(1), v4(1)]) == [v4(1)]
    assert interleaved([]) == []


@given(
    st.lists(st.builds(lambda is_v6, number: (v6 if is_v6 else v4)(number), st.booleans(), st.integers(1, 9)))
)
def test_nobody_is_lost_and_each_family_keeps_its_order(addresses: list[Address]) -> None:
    mixed = interleaved(addresses)
    assert sorted(map(repr, mixed)) == sorted(set(map(repr, addresses)))
    for family in (socket.AF_INET, socket.AF_INET6):
        own = list(dict.fromkeys(address for address in addresses if address.family is family))
        assert [address for address in mixed if address.family is family] == own


def test_the_next_begins_after_the_delay_or_at_once_after_a_failure() -> None:
    race = Race(3, delay=0.25)
    assert race.next_at is not None
    assert race.next_at <= 10.0
    assert race.begin(10.0) == 0
    assert race.next_at == 10.25
    race.failed(0)
    assert race.next_at == -math.inf
    assert race.begin(10.1) == 1
    assert race.next_at == 10.35
    assert race.begin(10.35) == 2
    assert race.next_at is None


def test_an_old_attempts_failure_does_not_hurry_the_next() -> None:
    race = Race(3, delay=0.25)
    race.begin(10.0)
    race.begin(10.25)
    race.failed(0)
    assert race.next_at == 10.5
    race.failed(1)
    assert race.next_at == -math.inf
    assert race.is_idle


class RaceMachine(RuleBasedStateMachine):
    """Any order of beginnings and failures: each address is tried once, in order; nothing stands still."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.race = Race(5, delay=1.0)
        self.begun = 0
        self.under_way: set[int] = set()

    @rule()
    def wait(self) -> None:
        self.now += 0.3

    @precondition(lambda self: self.race.next_at is not None)
    @rule()
    def begin(self) -> None:
        assert self.race.next_at is not None
        self.now = max(self.now, self.race.next_at)
        assert self.race.begin(self.now) == self.begun
        self.under_way.add(self.begun)
        self.begun += 1

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.under_way)))
        self.under_way.remove(number)
        self.race.failed(number)

    @invariant()
    def nothing_stands_still(self) -> None:
        assert self.race.is_idle == (not self.under_way)
        assert (self.race.next_at is None) == (self.begun == 5)
        if self.race.is_idle and self.race.next_at is not None:
            assert self.race.next_at <= self.now


TestRaceMachine = RaceMachine.TestCase


class Wire:
    """Connections by hand: each attempt waits until its address answers or refuses."""

    def __init__(self) -> None:
        self.tried: list[Address] = []
        self.thrown_away: list[Address] = []
        self.interrupted: list[Address] = []
        self._answers: dict[Address, asyncio.Future[None]] = {}

    async def connect(self, address: Address) -> Address:
        self.tried.append(address)
        try:
            await self._answer(address)
        except asyncio.CancelledError:
            self.interrupted.append(address)
            raise
        return address

    def answers(self, address: Address) -> None:
        self._answer(address).set_result(None)

    def refuses(self, address: Address, error: OSError | None = None) -> None:
        self._answer(address).set_exception(error or ConnectionRefusedError())

    def _answer(self, address: Address) -> asyncio.Future[None]:
        return self._answers.setdefault(address, asyncio.get_running_loop().create_future())

    async def race(
        self, addresses: Sequence[Address], *, delay: float = math.inf, spare: Spare | None = None
    ) -> Address:
        return await first_to_connect(
            addresses, self.connect, discard=self.thrown_away.append, spare=spare or Spare(), delay=delay
        )


async def soon() -> None:
    """Let everything that can go on do so; also what has a delay of nothing."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_one_address_is_just_tried() -> None:
    wire = Wire()
    wire.answers(v4(1))
    assert await wire.race([v4(1)]) == v4(1)
    wire.refuses(v4(2))
    with pytest.raises(NoneConnected) as caught:
        await wire.race([v4(2)])
    ((address, error),) = caught.value.failures
    assert address == v4(2)
    assert isinstance(error, ConnectionRefusedError)


async def test_the_first_that_refuses_gives_way_at_once_even_where_nobody_races() -> None:
    wire = Wire()
    wire.refuses(v6(1))
    wire.answers(v4(1))
    assert await wire.race([v6(1), v4(1), v4(2)]) == v4(1)
    assert wire.tried == [v6(1), v4(1)]


async def test_the_second_begins_beside_the_first_and_the_loser_is_interrupted() -> None:
    wire = Wire()
    async with asyncio.TaskGroup() as group:
        racing = group.create_task(wire.race([v6(1), v4(1)], delay=AT_ONCE))
        await soon()
        assert wire.tried == [v6(1), v4(1)]
        wire.answers(v4(1))
    assert racing.result() == v4(1)
    assert wire.interrupted == [v6(1)]
    assert not wire.thrown_away


async def test_of_two_that_connect_together_one_is_thrown_away_or_interrupted() -> None:
    wire = Wire()
    async with asyncio.TaskGroup() as group:
        racing = group.create_task(wire.race([v6(1), v4(1)], delay=AT_ONCE))
        await soon()
        wire.answers(v4(1))
        wire.answers(v6(1))
    assert [*wire.thrown_away, *wire.interrupted] == [{v6(1): v4(1), v4(1): v6(1)}[racing.result()]]


async def test_one_that_connects_in_spite_of_being_interrupted_is_thrown_away() -> None:
    thrown_away: list[Address] = []
    begun = asyncio.Event()

    async def connect(address: Address) -> Address:
        if address == v4(1):
            await begun.wait()
            return address
        begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            return address  # as if it had been connected just then
        raise AssertionError("nobody sets it")

    won = await first_to_connect(
        [v4(1), v6(1)], connect, discard=thrown_away.append, spare=Spare(), delay=AT_ONCE
    )
    assert (won, thrown_away) == (v4(1), [v6(1)])


async def test_all_that_fail_are_named_in_order() -> None:
    wire = Wire()
    for address, error in {
        v6(1): OSError(101, "no net"),
        v4(1): OSError(111, "no"),
        v6(2): OSError(5, "?"),
    }.items():
        wire.refuses(address, error)
    with pytest.raises(NoneConnected) as caught:
        await wire.race([v6(1), v4(1), v6(2)])
    assert [
        (address, error.errno) for address, error in caught.value.failures if isinstance(error, OSError)
    ] == [
        (v6(1), 101),
        (v4(1), 111),
        (v6(2), 5),
    ]


async def test_without_a_spare_socket_the_second_waits_for_a_failure() -> None:
    wire, spare = Wire(), Spare(1)
    assert spare.take()
    async with asyncio.TaskGroup() as group:
        racing = group.create_task(wire.race([v6(1), v4(1)], delay=0.001, spare=spare))
        await soon()
        assert wire.tried == [v6(1)]
        wire.refuses(v6(1))
        await soon()
        assert wire.tried == [v6(1), v4(1)]
        wire.answers(v4(1))
    assert racing.result() == v4(1)
    assert not spare.take(), "what was not taken is not given back"


async def test_a_spare_socket_comes_back_however_it_ends() -> None:
    for ending in ("wins", "loses", "fails", "cancelled"):
        wire, spare = Wire(), Spare(1)
        async with asyncio.TaskGroup() as group:
            racing = group.create_task(wire.race([v6(1), v4(1)], delay=AT_ONCE, spare=spare))
            await soon()
            assert not spare.take()
            match ending:
                case "wins":
                    wire.answers(v4(1))
                case "loses":
                    wire.answers(v6(1))
                case "fails":
                    wire.refuses(v4(1))
                    await soon()
                    wire.answers(v6(1))
                case _:
                    racing.cancel()
        assert spare.take(), ending


@pytest.mark.parametrize("steps", range(12))
async def test_cancelled_at_any_step_nothing_is_left(steps: int) -> None:
    """With two winners at hand, after so many turns of the loop."""
    wire, spare = Wire(), Spare(1)
    wire.answers(v4(1))
    async with asyncio.TaskGroup() as group:
        racing = group.create_task(wire.race([v6(1), v4(1)], delay=AT_ONCE, spare=spare))
        for _ in range(steps):
            await asyncio.sleep(0)
        racing.cancel()
    kept = [] if racing.cancelled() else [racing.result()]
    assert sorted(map(repr, [*kept, *wire.thrown_away, *wire.interrupted])) == sorted(map(repr, wire.tried))
    assert spare.take()
