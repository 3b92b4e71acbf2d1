"""Reserved ports: which one is bound, how, and when it may be had again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.ports.reserved import (
    ANYWHERE,
    LONGEST_RETRY_SECONDS,
    RESERVED_PORTS,
    REST_SECONDS,
    ReservedPool,
    parse_blacklist,
)
from multirsh.ports.sockets import Busy, Endpoint, Lease, Route, TcpSocket, TcpState

SOURCE = "10.0.0.1"
HOSTS = [Route(SOURCE, Endpoint(f"10.1.0.{number}", 514)) for number in range(1, 9)]
HOST, OTHER, THIRD = HOSTS[:3]


def lease(pool: ReservedPool, route: Route = HOST, now: float = 0.0) -> Lease:
    answer = pool.request(route, now)
    assert isinstance(answer, Lease)
    return answer


def visited(
    pool: ReservedPool, route: Route = HOST, now: float = 0.0, *, until: float | None = None
) -> Lease:
    """A connection that was open and is not any more."""
    one = lease(pool, route, now)
    pool.granted(one)
    pool.give_back(one, now, was_open=True, until=until)
    return one


def row(
    port: int, state: TcpState, left: float | None = None, *, route: Route = HOST, source: str = SOURCE
) -> TcpSocket:
    return TcpSocket(state, Endpoint(source, port), route.remote, left)


def test_from_1023_down_and_round_again() -> None:
    pool = ReservedPool()
    assert [visited(pool).port for _ in range(513)] == [*range(1023, 511, -1), 1023]


def test_one_port_serves_many_destinations_at_once() -> None:
    pool = ReservedPool([1023])
    found = [lease(pool, route) for route in HOSTS]
    assert [one.port for one in found] == [1023] * len(HOSTS)
    assert all(one.shared for one in found)
    assert pool.request(HOST, 0.0) == Busy(None)


def test_towards_where_it_has_just_been_a_port_is_bound_alone_and_shared_again_after_its_rest() -> None:
    pool = ReservedPool([1023])
    visited(pool)
    alone = lease(pool, HOST, 1.0)
    assert not alone.shared
    pool.give_back(alone, 1.0, was_open=True, until=None)
    assert lease(pool, HOST, 1.0 + REST_SECONDS).shared


def test_a_port_held_alone_is_nobody_elses() -> None:
    pool = ReservedPool([1023])
    visited(pool)
    alone = lease(pool)
    assert pool.request(OTHER, 0.0) == Busy(None)
    pool.give_back(alone, 0.0, was_open=True, until=None)
    assert lease(pool, OTHER).shared


def test_what_others_of_ours_hold_cannot_be_had_alone() -> None:
    pool = ReservedPool([1023])
    visited(pool)
    others = lease(pool, OTHER)
    assert pool.request(HOST, 0.0) == Busy(REST_SECONDS)
    pool.give_back(others, 0.0, was_open=True, until=None)
    assert not lease(pool).shared


def test_a_port_in_time_wait_is_not_handed_out_towards_the_same_destination() -> None:
    pool = ReservedPool([1023])
    visited(pool, until=60.0)
    assert pool.request(HOST, 59.9) == Busy(60.0)
    assert lease(pool, OTHER, 59.9).shared


def test_after_time_wait_it_is_bound_alone_first_since_the_kernels_timer_may_be_late() -> None:
    pool = ReservedPool([1023])
    visited(pool, until=60.0)
    assert not lease(pool, HOST, 60.0).shared


def test_a_port_on_which_anything_is_in_time_wait_is_not_tried_alone() -> None:
    pool = ReservedPool([1023])
    visited(pool, OTHER, until=60.0)
    visited(pool, HOST)
    assert pool.request(HOST, 1.0) == Busy(60.0)


def test_what_was_bound_alone_and_is_in_time_wait_blocks_the_port_for_all() -> None:
    pool = ReservedPool([1023])
    visited(pool)
    alone = visited(pool, until=60.0)
    assert not alone.shared
    assert pool.request(OTHER, 1.0) == Busy(60.0)


def test_what_never_was_open_has_not_visited_anybody() -> None:
    pool = ReservedPool([1023])
    pool.give_back(lease(pool), 0.0, was_open=False, until=None)
    assert pool.routes() == 0
    assert lease(pool).shared


def test_a_visit_is_not_forgotten_because_the_next_try_failed() -> None:
    pool = ReservedPool([1023])
    visited(pool)
    pool.give_back(lease(pool), 1.0, was_open=False, until=None)
    assert not lease(pool, HOST, 1.0).shared


def test_a_port_the_kernel_does_not_let_be_bound_is_left_alone_for_longer_each_time() -> None:
    pool, now, refusals = ReservedPool([1023]), 0.0, 0
    while now < 60:
        answer = pool.request(OTHER if refusals % 2 else HOST, now)
        if isinstance(answer, Lease):
            pool.refused(answer, now, four_tuple=False)
            refusals += 1
        else:
            assert answer.until is not None
            assert now < answer.until <= now + LONGEST_RETRY_SECONDS
            now = answer.until
    assert 50 < refusals < 70


def test_once_granted_the_next_refusal_is_a_first_one() -> None:
    pool = ReservedPool([1023])
    for _ in range(10):
        pool.refused(lease(pool, now=100.0), 99.0, four_tuple=False)
    granted = lease(pool, now=101.0)
    pool.granted(granted)
    pool.give_back(granted, 101.0, was_open=False, until=None)
    pool.refused(lease(pool, now=101.0), 101.0, four_tuple=False)
    assert pool.request(HOST, 101.0) == Busy(101.05)


def test_what_is_refused_alone_may_still_be_shared_with_others() -> None:
    pool = ReservedPool([1023])
    visited(pool)
    pool.refused(lease(pool), 1.0, four_tuple=False)
    assert isinstance(pool.request(HOST, 1.0), Busy)
    assert lease(pool, OTHER, 1.0).shared


def test_a_refused_four_tuple_says_nothing_of_other_destinations() -> None:
    pool = ReservedPool([1023])
    pool.refused(lease(pool), 0.0, four_tuple=True)
    assert pool.request(HOST, 0.0) == Busy(LONGEST_RETRY_SECONDS)
    assert lease(pool, OTHER).shared


def test_only_so_many_are_touched() -> None:
    pool = ReservedPool(limit=2)
    assert [lease(pool).port for _ in range(2)] == [1023, 1022]
    assert isinstance(pool.request(HOST, 0.0), Busy)
    assert lease(pool, OTHER).port in {1023, 1022}


def test_without_ports_there_is_nothing_to_wait_for() -> None:
    pool = ReservedPool([])
    assert pool.request(HOST, 0.0) == Busy(None)
    assert pool.request_listener(SOURCE, 0.0) == Busy(None)


def test_a_lease_is_given_back_once_even_where_the_next_one_has_the_same_port() -> None:
    pool = ReservedPool([1023])
    first = visited(pool)
    second = lease(pool)
    assert second.port == first.port
    with pytest.raises(KeyError):
        pool.give_back(first, 0.0, was_open=True, until=None)
    with pytest.raises(KeyError):
        pool.refused(first, 0.0, four_tuple=True)
    assert isinstance(pool.request(HOST, 0.0), Busy)


# Listeners, and what they accept.


def test_a_listener_has_its_port_to_itself_whatever_the_address() -> None:
    pool = ReservedPool([1023, 1022])
    lease(pool)
    listener = pool.request_listener(SOURCE, 0.0)
    assert listener != Busy(None)
    assert isinstance(listener, Lease)
    assert (listener.port, listener.shared, listener.route) == (1022, True, Route(SOURCE, ANYWHERE))
    assert pool.request_listener("10.0.0.2", 0.0) == Busy(None)
    assert lease(pool, OTHER).port == 1023
    assert isinstance(pool.request(OTHER, 0.0), Busy)
    pool.give_back(listener, 0.0, was_open=False, until=None)
    assert lease(pool, OTHER).port == 1022
    with pytest.raises(KeyError):
        pool.give_back(listener, 0.0, was_open=False, until=None)


def test_what_a_listener_has_accepted_outlives_it() -> None:
    pool = ReservedPool([1023])
    listener = pool.request_listener(SOURCE, 0.0)
    assert isinstance(listener, Lease)
    peer = Route(SOURCE, Endpoint("10.1.0.1", 1000))
    accepted = pool.adopt(peer, 1023)
    pool.give_back(listener, 0.0, was_open=False, until=None)
    assert isinstance(pool.request_listener(SOURCE, 0.0), Busy), "its port is in use"
    shared = lease(pool)
    pool.give_back(shared, 0.0, was_open=False, until=None)
    pool.give_back(accepted, 0.0, was_open=True, until=None)
    assert isinstance(pool.request_listener(SOURCE, 0.0), Lease)


def test_a_peer_that_resets_and_comes_back_at_once_is_counted_twice() -> None:
    pool = ReservedPool([1023])
    peer = Route(SOURCE, Endpoint("10.1.0.1", 1000))
    first, second = pool.adopt(peer, 1023), pool.adopt(peer, 1023)
    pool.give_back(first, 0.0, was_open=True, until=None)
    assert isinstance(pool.request_listener(SOURCE, 0.0), Busy)
    pool.give_back(second, 0.0, was_open=True, until=None)
    assert isinstance(pool.request_listener(SOURCE, 0.0), Lease)


def test_a_refused_listener_takes_another_port() -> None:
    pool = ReservedPool([1023, 1022])
    first = pool.request_listener(SOURCE, 0.0)
    assert isinstance(first, Lease)
    pool.refused(first, 0.0, four_tuple=False)
    second = pool.request_listener(SOURCE, 0.0)
    assert isinstance(second, Lease)
    assert second.port == 1022
    pool.refused(second, 0.01, four_tuple=False)
    assert pool.request_listener(SOURCE, 0.02) == Busy(0.05)


# The kernel's table.


def test_what_the_kernel_keeps_is_not_handed_out_and_all_else_is_shared_again() -> None:
    pool = ReservedPool([1023, 1022])
    visited(pool)
    visited(pool)
    pool.correct([row(1023, TcpState.TIME_WAIT, 20.0)], 0.0)
    free = lease(pool)
    assert (free.port, free.shared) == (1022, True)
    assert pool.request(HOST, 0.0) == Busy(20.0)
    assert lease(pool, OTHER).shared


@pytest.mark.parametrize("left", [0.0, 0.01])
def test_a_row_whose_timer_is_late_is_not_shared_into(left: float) -> None:
    pool = ReservedPool([1023])
    pool.correct([row(1023, TcpState.TIME_WAIT, left)], 0.0)
    busy = pool.request(HOST, 0.0)
    assert isinstance(busy, Busy)
    assert busy.until is not None
    assert busy.until > 0
    assert not lease(pool, HOST, busy.until).shared


@pytest.mark.parametrize("state", [TcpState.FIN_WAIT1, TcpState.CLOSING, TcpState.ESTABLISHED])
def test_what_may_yet_come_to_time_wait_is_not_shared_into_meanwhile(state: TcpState) -> None:
    pool = ReservedPool([1023])
    pool.correct([row(1023, state)], 0.0)
    for now in (5.0, 61.0, 120.0):
        answer = lease(pool, HOST, now)
        assert not answer.shared
        pool.refused(answer, now, four_tuple=False)


def test_our_own_rows_are_not_others() -> None:
    pool = ReservedPool([1023])
    held = lease(pool)
    pool.correct([row(1023, TcpState.ESTABLISHED)], 0.0)
    pool.give_back(held, 0.0, was_open=False, until=None)
    assert lease(pool).shared


def test_ports_that_others_listen_on_are_passed_over_until_they_do_not() -> None:
    pool = ReservedPool([1023, 1022])
    listening = TcpSocket(TcpState.LISTEN, Endpoint("0.0.0.0", 1023), Endpoint("0.0.0.0", 0))
    pool.correct([listening], 0.0)
    assert [lease(pool, route).port for route in (HOST, OTHER)] == [1022, 1022]
    pool.correct([], 1.0)
    assert lease(pool, THIRD, 1.0).port == 1023


def test_a_listener_of_ours_in_the_table_is_not_taken_for_somebody_elses() -> None:
    pool = ReservedPool([1023])
    listener = pool.request_listener(SOURCE, 0.0)
    assert isinstance(listener, Lease)
    pool.correct([TcpSocket(TcpState.LISTEN, Endpoint(SOURCE, 1023), Endpoint("0.0.0.0", 0))], 0.0)
    pool.give_back(listener, 0.0, was_open=False, until=None)
    assert lease(pool).port == 1023


def test_a_refused_port_is_left_alone_until_what_is_in_time_wait_on_it_is_gone() -> None:
    pool = ReservedPool([1023])
    pool.refused(lease(pool), 0.0, four_tuple=False)
    pool.correct([row(1023, TcpState.TIME_WAIT, 30.0, route=OTHER)], 0.0)
    assert pool.request(HOST, 0.0) == Busy(30.0)
    assert lease(pool, HOST, 30.0).shared


def test_a_block_goes_with_its_cause() -> None:
    pool = ReservedPool([1023])
    visited(pool)
    visited(pool, until=60.0)
    pool.correct([], 1.0)
    assert lease(pool, OTHER, 1.0 + LONGEST_RETRY_SECONDS).shared


def test_ports_that_are_not_in_the_pool_and_sockets_that_are_merely_bound_say_nothing() -> None:
    pool = ReservedPool([1023])
    bound = TcpSocket(TcpState.CLOSE, Endpoint(SOURCE, 1023), Endpoint("0.0.0.0", 0))
    pool.correct([row(1022, TcpState.TIME_WAIT, 60.0), bound], 0.0)
    assert pool.routes() == 0


# Memory.


def test_a_route_is_forgotten_when_its_ports_have_rested() -> None:
    pool = ReservedPool()
    for route in HOSTS:
        visited(pool, route)
    visited(pool, HOST, 30.0, until=90.0)
    assert pool.routes() == len(HOSTS)
    for now in (70.0, 140.0, 210.0):
        pool.give_back(lease(pool, THIRD, now), now, was_open=False, until=None)
    assert pool.routes() == 0


def test_being_corrected_again_and_again_costs_no_memory() -> None:
    pool = ReservedPool()
    rows = [row(port, TcpState.TIME_WAIT, 60.0, route=route) for route in HOSTS for port in RESERVED_PORTS]
    for now in range(60):
        pool.correct(rows, float(now))
    assert len(pool._queue) == pool.routes() == len(HOSTS)


def test_a_blacklist_has_a_port_a_line() -> None:
    text = "#\n# comment\n631   # cups\n\n  774\n1999999999\nx\n993x\n-5\n"
    assert parse_blacklist(text) == {631, 774}


@given(st.text(alphabet="0123456789# \nx٣"))
def test_any_text_is_a_blacklist(text: str) -> None:
    assert all(0 <= port < 100_000 for port in parse_blacklist(text))
