"""The governor, verb by verb, and against sshd's MaxStartups in simulated time."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from multirsh.engine.schedule.governor import FIRST_WINDOW, PATIENCE, Governor, Login
from multirsh.transports.base import Congestion
from tests.engine.schedule.busy_server import BusyServer, simulate

RNG = random.Random(1)
HOP = ("bastion", 22)


def full(governor: Governor, now: float = 0.0) -> list[Login]:
    """Start as many as may."""
    logins: list[Login] = []
    while governor.may_start(HOP, now):
        logins.append(governor.started(HOP, now))
    return logins


def drop(governor: Governor, login: Login, now: float, how: Congestion = Congestion.SAID) -> bool:
    return governor.dropped(HOP, login, how, now, RNG)


def test_it_begins_below_the_usual_limit_and_grows_by_one_a_round() -> None:
    governor = Governor()
    logins = full(governor)
    assert len(logins) == FIRST_WINDOW < 10
    assert governor.next_at(HOP) is None
    for login in logins:
        governor.succeeded(HOP, login, 0.1)
        full(governor, 0.1)
    assert governor.window(HOP) == FIRST_WINDOW + 1


def test_a_window_that_is_not_used_does_not_grow() -> None:
    governor = Governor()
    for _ in range(1000):
        governor.succeeded(HOP, governor.started(HOP, 0.0), 0.1)
    assert governor.window(HOP) == FIRST_WINDOW
    assert not len(governor)


def test_the_window_is_cut_once_a_round_and_to_the_logins_that_succeeded() -> None:
    governor = Governor()
    logins = full(governor)
    assert drop(governor, logins[7], 0.1)
    assert governor.window(HOP) == 4  # halved
    drop(governor, logins[6], 0.1)
    assert governor.window(HOP) == 4  # the other 6 are still in
    for login in reversed(logins[2:6]):
        drop(governor, login, 0.11)
    assert governor.window(HOP) == 2  # 2 of 8 are


def test_it_grows_back_to_where_the_drop_was_and_stays_there() -> None:
    governor = Governor()
    *others, last = full(governor)
    drop(governor, last, 0.1)
    for login in others:
        governor.succeeded(HOP, login, 0.1)
    now, windows = 1.0, []
    for _ in range(8):
        for login in full(governor, now):
            governor.succeeded(HOP, login, now + 0.1)
        now += 1.0
        windows.append(governor.window(HOP))
    assert windows == sorted(windows)
    assert windows[-4:] == [FIRST_WINDOW - 1] * 4
    for _ in range(12):
        for login in full(governor, now):
            governor.succeeded(HOP, login, now + 0.1)
        now += 1.0
    assert governor.window(HOP) >= FIRST_WINDOW  # but not for ever


def test_after_a_drop_no_login_begins_for_about_the_duration_of_one() -> None:
    governor = Governor()
    *others, last = full(governor)
    for login in others:
        governor.succeeded(HOP, login, 0.2)
    drop(governor, last, 0.2)
    assert not governor.may_start(HOP, 0.2)
    at = governor.next_at(HOP)
    assert at is not None
    assert 0.3 <= at <= 0.4
    assert not governor.may_start(HOP, at - 1e-6)
    assert governor.may_start(HOP, at)


@pytest.mark.parametrize(
    ("how", "shortest", "longest"), [(Congestion.SAID, 15.75, 31.5), (Congestion.LIKELY, 1.75, 3.5)]
)
@given(seed=st.integers())
def test_while_no_login_succeeds_the_pauses_double_and_end(
    how: Congestion, shortest: float, longest: float, seed: int
) -> None:
    governor = Governor()
    rng = random.Random(seed)
    now, tries = 0.0, 0
    while True:
        tries += 1
        if not governor.dropped(HOP, governor.started(HOP, now), how, now, rng):
            break
        at = governor.next_at(HOP)
        assert at is not None
        now = at
    assert tries == PATIENCE[how]
    assert shortest <= now <= longest + 1e-6
    # Whoever comes later need not wait to hear no.
    assert governor.may_start(HOP, now)
    assert not governor.dropped(HOP, governor.started(HOP, now), how, now + 0.1, rng)
    assert governor.may_start(HOP, now + 0.1)


def test_a_server_where_a_login_has_succeeded_gets_the_longer_deadline() -> None:
    governor = Governor()
    login, other = governor.started(HOP, 0.0), governor.started(HOP, 0.0)
    governor.succeeded(HOP, other, 0.1)
    now, tries = 0.1, 1
    while drop(governor, login, now, Congestion.LIKELY):
        now = governor.next_at(HOP) or 0.0
        login = governor.started(HOP, now)
        tries += 1
    assert tries == PATIENCE[Congestion.SAID]


def test_other_failures_leave_the_window_as_it_is() -> None:
    governor = Governor()
    for _ in full(governor):
        governor.failed(HOP)
    assert governor.window(HOP) == FIRST_WINDOW
    assert not len(governor)


def test_a_login_that_has_not_begun_cannot_end() -> None:
    governor = Governor()
    with pytest.raises(KeyError):
        governor.failed(HOP)
    with pytest.raises(KeyError):
        governor.succeeded(HOP, Login(0.0, 1), 0.0)


def test_100_000_hosts_with_an_address_each_leave_nothing() -> None:
    governor = Governor()
    for number in range(100_000):
        assert governor.may_start(number, 0.0)
        governor.started(number, 0.0)
        if number >= 64:
            governor.succeeded(number - 64, Login(0.0, 1), 1.0)
            assert len(governor) == 64


class GovernorMachine(RuleBasedStateMachine):
    """Any order of events at one hop."""

    def __init__(self) -> None:
        super().__init__()
        self.governor = Governor()
        self.rng = random.Random(0)
        self.now = 0.0
        self.logins: list[Login] = []

    @rule(seconds=st.floats(0, 3))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.governor.may_start(HOP, self.now))
    @rule()
    def start(self) -> None:
        assert len(self.logins) < self.governor.window(HOP)
        self.logins.append(self.governor.started(HOP, self.now))

    @precondition(lambda self: self.logins)
    @rule(which=st.integers(0), how=st.sampled_from(["in", "dropped", "failed"]))
    def end(self, which: int, how: str) -> None:
        login = self.logins.pop(which % len(self.logins))
        window = self.governor.window(HOP)
        if how == "in":
            self.governor.succeeded(HOP, login, self.now)
            assert window <= self.governor.window(HOP) <= window + 1
        elif how == "failed":
            self.governor.failed(HOP)
            assert self.governor.window(HOP) == window
        else:
            self.governor.dropped(HOP, login, Congestion.SAID, self.now, self.rng)
            assert 1 <= self.governor.window(HOP) <= window

    @invariant()
    def its_word_is_consistent(self) -> None:
        assert self.governor.window(HOP) >= 1
        at = self.governor.next_at(HOP)
        is_free = len(self.logins) < self.governor.window(HOP)
        assert (at is not None) == is_free
        assert self.governor.may_start(HOP, self.now) == (at is not None and at <= self.now)
        assert at is None or at <= self.now + 60


TestGovernorMachine = GovernorMachine.TestCase


class TestAgainstMaxStartups:
    """What a run comes to, with the dice of ten seeds."""

    @pytest.mark.parametrize("seed", range(10))
    @pytest.mark.parametrize("login", [(0.01, 0.1), (0.01, 0.01), (0.1, 0.1)], ids=str)
    @pytest.mark.parametrize(
        ("hosts", "wasted", "speed"), [(200, 0.04, 0.70), (2000, 0.02, 0.80)], ids=["200", "2000"]
    )
    def test_all_hosts_log_in_to_a_stock_sshd_at_nearly_its_speed(
        self, hosts: int, wasted: float, speed: float, login: tuple[float, float], seed: int
    ) -> None:
        server = BusyServer(login=login, how=Congestion.LIKELY)
        outcome = simulate([server], hosts, seed=seed)
        assert outcome.ok == hosts
        assert outcome.wasted <= wasted
        assert max(outcome.attempts.values()) <= 4
        ten_at_once = hosts * sum(login) / 2 / 10
        assert ten_at_once / outcome.seconds >= speed
        assert server.peak < 20

    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("limit", [1, 2, 3, 5])
    def test_small_limits_are_found_in_a_few_rounds(self, limit: int, seed: int) -> None:
        server = BusyServer((limit, 100, limit))
        outcome = simulate([server], 300, seed=seed)
        assert outcome.ok == 300
        assert outcome.wasted <= 0.1
        assert max(outcome.attempts.values()) <= 4
        assert 300 * 0.055 / limit / outcome.seconds >= 0.75

    def test_a_large_limit_is_used(self) -> None:
        server = BusyServer((100, 30, 200), (0.1, 0.1))
        outcome = simulate([server], 2000, fanout=200)
        assert outcome.ok == 2000
        assert outcome.wasted <= 0.02
        assert server.peak >= 90
        assert outcome.seconds < 5

    def test_other_clients_that_log_in_all_the_time_get_their_share(self) -> None:
        outcome = simulate([BusyServer(others=9)], 300)
        assert outcome.ok == 300
        assert outcome.wasted <= 0.15
        assert max(outcome.attempts.values()) <= 6

    def test_it_follows_a_limit_that_falls_and_rises(self) -> None:
        server = BusyServer((60, 100, 60))
        peaks: list[int] = []

        def limit(startups: int) -> None:
            peaks.append(server.peak)
            server.peak = server.under_way
            server.startups = (startups, 100, startups)

        changes = [(1.0, lambda: limit(4)), (8.0, lambda: limit(60))]
        outcome = simulate([server], 3000, changes=changes)
        assert outcome.ok == 3000
        assert outcome.wasted <= 0.05
        assert max(outcome.attempts.values()) <= 6
        assert peaks[0] >= 10
        assert server.peak >= 10
        while_low = sum(2.0 <= at < 8.0 for at in outcome.ok_at.values())
        assert 0.8 * 6 * 4 / 0.055 <= while_low <= 1.1 * 6 * 4 / 0.055
        assert outcome.seconds < 8 + 3000 * 0.055 / 20

    def test_a_hop_that_drops_every_login_holds_no_other_hop_back(self) -> None:
        servers = [BusyServer() for _ in range(100)]
        alone = simulate(servers[1:], 1980, fanout=200, command=0.5)
        servers = [BusyServer(banned_until=1e9), *(BusyServer() for _ in range(99))]
        outcome = simulate(servers, 2000, fanout=200, command=0.5)
        assert (outcome.ok, outcome.given_up) == (1980, 20)
        assert max(outcome.ok_at.values()) <= 1.1 * alone.seconds
        assert outcome.seconds < 40

    @pytest.mark.parametrize("seed", range(10))
    def test_a_penalty_of_15_seconds_is_waited_for(self, seed: int) -> None:
        outcome = simulate([BusyServer(banned_until=15.0)], 200, seed=seed)
        assert outcome.ok == 200
        assert outcome.drops < 30
        assert outcome.seconds < 40

    def test_a_port_that_closes_every_connection_fails_soon(self) -> None:
        outcome = simulate([BusyServer(banned_until=1e9, how=Congestion.LIKELY)], 200)
        assert outcome.given_up == 200
        assert outcome.attempts.total() < 220
        assert outcome.seconds < 5

    def test_hosts_start_in_order_if_none_is_dropped(self) -> None:
        outcome = simulate([BusyServer((100, 30, 200))], 500)
        assert outcome.order == [f"h{place}" for place in range(500)]
