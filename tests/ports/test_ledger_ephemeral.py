"""Ports that the kernel chooses, counted by route."""

from __future__ import annotations

import pytest

from multirsh.ports.ledger import LONGEST_RETRY_SECONDS, EphemeralPool
from multirsh.ports.sockets import Busy, Endpoint, Lease, Route, TcpSocket, TcpState

SOURCE = "10.0.0.1"
BASTION = Endpoint("10.1.0.1", 22)
ROUTE = Route(SOURCE, BASTION)
ELSEWHERE = Route(SOURCE, Endpoint("10.1.0.2", 22))


def row(port: int, state: TcpState = TcpState.ESTABLISHED, left: float | None = None) -> TcpSocket:
    return TcpSocket(state, Endpoint(SOURCE, port), BASTION, left)


def lease(pool: EphemeralPool, now: float = 0.0, route: Route = ROUTE) -> Lease:
    answer = pool.request(route, now)
    assert isinstance(answer, Lease)
    return answer


def leases(pool: EphemeralPool, count: int) -> list[Lease]:
    """So many, connected from port 40000 on."""
    found = [lease(pool) for _ in range(count)]
    for number, each in enumerate(found):
        pool.connected(each, 40000 + number)
    return found


def test_each_route_has_the_whole_range_to_itself() -> None:
    pool = EphemeralPool(2)
    for route in (ROUTE, ELSEWHERE, Route("10.0.0.2", BASTION)):
        lease(pool, route=route)
        lease(pool, route=route)
        assert pool.request(route, 0.0) == Busy(None)


def test_the_kernel_chooses_the_port() -> None:
    assert lease(EphemeralPool(1)).port is None


def test_without_a_port_there_is_nothing_to_wait_for() -> None:
    pool = EphemeralPool(0)
    assert pool.request(ROUTE, 0.0) == Busy(None)
    assert pool.routes() == 0


def test_what_leaves_nothing_behind_is_free_at_once() -> None:
    pool = EphemeralPool(1)
    for now in range(100):
        (only,) = leases(pool, 1)
        pool.give_back(only, float(now), until=None)
    assert pool.routes() == 0


def test_what_the_kernel_keeps_is_free_when_it_lets_go_and_that_is_told() -> None:
    pool = EphemeralPool(2)
    first, second = leases(pool, 2)
    pool.give_back(second, 5.0, until=65.0)
    pool.give_back(first, 0.0, until=60.0)
    assert pool.request(ROUTE, 6.0) == Busy(60.0)
    lease(pool, 60.0)
    assert pool.request(ROUTE, 60.0) == Busy(65.0)


def test_what_never_connected_keeps_no_port() -> None:
    pool = EphemeralPool(1)
    pool.give_back(lease(pool), 0.0, until=60.0)
    lease(pool)


def test_a_lease_is_given_back_or_refused_or_connected_only_while_it_is_out() -> None:
    pool = EphemeralPool(2)
    first, second = leases(pool, 2)
    pool.give_back(first, 0.0, until=None)
    with pytest.raises(KeyError):
        pool.give_back(first, 0.0, until=None)
    with pytest.raises(KeyError):
        pool.refused(first, 0.0)
    with pytest.raises(KeyError):
        pool.connected(first, 40000)
    pool.give_back(second, 0.0, until=None)
    assert pool.routes() == 0


def test_after_a_refusal_that_nothing_explains_one_tries_and_the_others_wait() -> None:
    pool = EphemeralPool(10)
    pool.refused(lease(pool), 0.0)
    busy = pool.request(ROUTE, 0.0)
    assert isinstance(busy, Busy)
    assert busy.until is not None
    one = lease(pool, busy.until)
    assert isinstance(pool.request(ROUTE, busy.until), Busy)
    pool.connected(one, 40000)
    lease(pool, busy.until)


def test_refusals_become_rarer_and_stay_that_rare() -> None:
    pool, now, refusals = EphemeralPool(10), 0.0, 0
    while now < 60:
        answer = pool.request(ROUTE, now)
        if isinstance(answer, Lease):
            pool.refused(answer, now)
            refusals += 1
        else:
            assert answer.until is not None
            assert now < answer.until <= now + LONGEST_RETRY_SECONDS
            now = answer.until
    assert 50 < refusals < 70


def test_the_kernels_table_is_believed() -> None:
    pool = EphemeralPool(4)
    leases(pool, 1)
    pool.correct(ROUTE, [row(40000), row(40001), row(40002, TcpState.TIME_WAIT, 20.0)], 100.0)
    lease(pool, 100.0)
    assert pool.request(ROUTE, 100.0) == Busy(120.0)
    pool.correct(ROUTE, [], 101.0)
    lease(pool, 101.0)
    lease(pool, 101.0)
    assert isinstance(pool.request(ROUTE, 101.0), Busy)


def test_a_row_may_be_that_of_a_lease_whose_port_is_not_known_yet() -> None:
    pool = EphemeralPool(2)
    connecting = lease(pool)
    pool.correct(ROUTE, [row(40000, TcpState.SYN_SENT)], 0.0)
    lease(pool)
    pool.connected(connecting, 40000)
    assert pool.request(ROUTE, 0.0) == Busy(None)


def test_a_refusal_is_explained_by_a_table_that_shows_all_taken() -> None:
    pool = EphemeralPool(1)
    pool.refused(lease(pool), 0.0)
    pool.correct(ROUTE, [row(40000, TcpState.TIME_WAIT, 30.0)], 0.0)
    assert pool.request(ROUTE, 0.0) == Busy(30.0)
    lease(pool, 30.0)


def test_a_row_whose_time_is_over_does_not_live_on_from_reading_to_reading() -> None:
    """As where a TIME_WAIT may be taken over after a second, and its row is still there."""
    pool = EphemeralPool(1)
    pool.correct(ROUTE, [row(40000, TcpState.TIME_WAIT, 0.1)], 0.0)
    assert pool.request(ROUTE, 0.0) == Busy(0.1)
    pool.correct(ROUTE, [row(40000, TcpState.TIME_WAIT, 0.0)], 0.1)
    assert isinstance(pool.request(ROUTE, 0.1), Lease)


def test_a_timer_that_is_late_is_not_asked_about_in_a_hot_loop() -> None:
    pool = EphemeralPool(1)
    pool.refused(lease(pool), 0.0)
    refusals, now = 1, 0.0
    while now < 10:
        pool.correct(ROUTE, [row(40000, TcpState.TIME_WAIT, 0.0)], now)
        answer = pool.request(ROUTE, now)
        if isinstance(answer, Lease):
            pool.refused(answer, now)
            refusals += 1
        else:
            assert answer.until is not None
            now = answer.until
    assert refusals < 20


def test_a_pool_is_low_when_a_tenth_is_left() -> None:
    pool = EphemeralPool(20)
    assert not pool.is_low(ROUTE, 0.0)
    leases(pool, 17)
    assert not pool.is_low(ROUTE, 0.0)
    lease(pool)
    assert pool.is_low(ROUTE, 0.0)
    assert not pool.is_low(ELSEWHERE, 0.0)


def test_what_nobody_asks_about_any_more_is_forgotten() -> None:
    pool = EphemeralPool(10)
    (closed,) = leases(pool, 1)
    pool.give_back(closed, 0.0, until=60.0)
    refused = Route(SOURCE, Endpoint("10.1.0.3", 22))
    pool.refused(lease(pool, route=refused), 0.0)
    others = Route(SOURCE, Endpoint("10.1.0.4", 22))
    pool.correct(others, [row(40009)], 0.0)
    assert pool.routes() == 3
    pool.give_back(lease(pool, 50.0, ELSEWHERE), 50.0, until=None)
    assert pool.routes() == 3
    for now in (70.0, 140.0):
        pool.give_back(lease(pool, now, ELSEWHERE), now, until=None)
    assert pool.routes() == 0


def test_what_is_held_is_not_forgotten() -> None:
    pool = EphemeralPool(2)
    first, second = leases(pool, 2)
    pool.give_back(first, 0.0, until=60.0)
    for now in (70.0, 700.0):
        pool.give_back(lease(pool, now, ELSEWHERE), now, until=None)
    lease(pool, 700.0)
    assert isinstance(pool.request(ROUTE, 700.0), Busy)
    pool.give_back(second, 700.0, until=None)
    lease(pool, 700.0)
