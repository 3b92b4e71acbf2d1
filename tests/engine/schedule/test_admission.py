"""Admission, each bound by itself, and all together against a simple model of it."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from multirsh.engine.schedule.admission import DETOUR, LOOKS, Admission, Start
from multirsh.engine.schedule.governor import FIRST_WINDOW, MOST_DROPS, Governor, Pace
from multirsh.model import Host
from multirsh.transports.base import Congestion


def hosts(count: int) -> list[Host]:
    return [Host(f"h{number}") for number in range(count)]


def of(starts: list[Start]) -> list[Host]:
    return [start.host for start in starts]


def even_and_odd(host: Host) -> str:
    """Two hops."""
    return "odd" if int(host.name[1:]) % 2 else "even"


class TestFanout:
    def test_it_admits_hosts_in_order_up_to_the_fanout_and_one_for_each_that_ends(self) -> None:
        everyone = hosts(5)
        admission = Admission(everyone, fanout=2)
        assert of(admission.admit(0.0)) == everyone[:2]
        assert admission.admit(0.0) == []
        assert admission.next_at(0.0) is None
        admission.ended(everyone[1], 0.0)
        assert admission.next_at(0.0) == 0.0
        assert of(admission.admit(0.0)) == everyone[2:3]
        admission.ended(everyone[0], 0.0)
        admission.ended(everyone[2], 0.0)
        assert of(admission.admit(0.0)) == everyone[3:]
        assert not admission.is_over
        admission.ended(everyone[3], 0.0)
        assert not admission.ended(everyone[4], 0.0)
        assert admission.is_over
        assert admission.next_at(0.0) is None

    @given(st.integers(0, 50), st.integers(1, 60))
    def test_every_host_runs_once(self, count: int, fanout: int) -> None:
        admission = Admission(hosts(count), fanout=fanout)
        ran: list[Host] = []
        while not admission.is_over:
            batch = of(admission.admit(0.0))
            assert batch
            ran += batch
            for host in batch:
                admission.ended(host, 0.0)
        assert ran == hosts(count)

    def test_after_stop_no_host_starts_and_the_remaining_hosts_are_returned(self) -> None:
        everyone = hosts(4)
        admission = Admission(everyone, fanout=1)
        admission.admit(0.0)
        assert admission.stop() == [Start(host, 1, 0) for host in everyone[1:]]
        assert admission.stop() == []
        assert not admission.is_over
        assert not admission.ended(everyone[0], 0.0, again_at=0.0), "not even again"
        assert admission.admit(0.0) == []
        assert admission.is_over

    def test_misuse_is_refused(self) -> None:
        with pytest.raises(ValueError, match="fanout"):
            Admission([], fanout=0)
        with pytest.raises(ValueError, match="handshakes"):
            Admission([], fanout=1, handshakes=0)
        (host,) = hosts(1)
        admission = Admission([host], fanout=1)
        with pytest.raises(ValueError, match="h0 is not in flight"):
            admission.ended(host, 0.0)
        with pytest.raises(ValueError, match="h0 is not logging in"):
            admission.logged_in(host, 0.0)
        admission.admit(0.0)
        admission.logged_in(host, 0.0)
        with pytest.raises(ValueError, match="h0 is not logging in"):
            admission.logged_in(host, 0.0)


class TestHandshakes:
    def test_only_logins_count(self) -> None:
        everyone = hosts(6)
        admission = Admission(everyone, fanout=4, handshakes=2)
        assert of(admission.admit(0.0)) == everyone[:2]
        admission.logged_in(everyone[1], 0.0)
        assert of(admission.admit(0.0)) == everyone[2:3]
        admission.ended(everyone[0], 0.0)  # it failed to log in
        assert of(admission.admit(0.0)) == everyone[3:4]
        assert (admission.in_flight, admission.logging_in) == (3, 2)
        admission.logged_in(everyone[2], 0.0)
        admission.logged_in(everyone[3], 0.0)
        assert of(admission.admit(0.0)) == everyone[4:5]  # the fanout is full


class TestPace:
    def test_it_says_when_the_next_may_start(self) -> None:
        everyone = hosts(3)
        admission = Admission(everyone, fanout=9, pace=Pace(2.0))
        assert of(admission.admit(1.0)) == everyone[:1]
        assert admission.next_at(1.0) == 1.5
        assert admission.admit(1.4) == []
        assert of(admission.admit(1.5)) == everyone[1:2]
        assert of(admission.admit(9.0)) == everyone[2:3]
        assert admission.next_at(9.0) is None

    def test_a_retry_waits_for_the_start_rate_too(self) -> None:
        (host,) = everyone = hosts(1)
        admission = Admission(everyone, fanout=9, pace=Pace(1.0))
        admission.admit(0.0)
        assert admission.ended(host, 0.0, again_at=0.3)
        assert admission.next_at(0.0) == 1.0
        assert admission.admit(0.5) == []
        assert admission.admit(1.0) == [Start(host, 2, 0)]


class TestRetries:
    def test_a_host_starts_again_when_it_is_due_and_holds_no_place_meanwhile(self) -> None:
        first, second, third = everyone = hosts(3)
        admission = Admission(everyone, fanout=1)
        admission.admit(0.0)
        assert admission.ended(first, 0.0, again_at=5.0)
        assert admission.admit(0.0) == [Start(second, 1, 0)]
        admission.ended(second, 5.0)
        assert admission.admit(5.0) == [Start(first, 2, 0)], "it goes before those behind it"
        assert admission.ended(first, 5.0, again_at=7.0)
        assert of(admission.admit(5.0)) == [third]
        admission.ended(third, 6.0)
        assert not admission.is_over
        assert admission.next_at(6.0) == 7.0
        assert admission.admit(7.0) == [Start(first, 3, 0)]
        assert not admission.ended(first, 7.0)
        assert admission.is_over

    def test_stop_returns_the_hosts_that_waited_and_how_often_they_were_tried(self) -> None:
        everyone = hosts(4)
        admission = Admission(everyone, fanout=2)
        admission.admit(0.0)
        admission.ended(everyone[1], 0.0, again_at=8.0)
        admission.ended(everyone[0], 0.0, again_at=9.0)
        assert admission.stop() == [
            Start(everyone[0], 2, 0),
            Start(everyone[1], 2, 0),
            Start(everyone[2], 1, 0),
            Start(everyone[3], 1, 0),
        ]


class TestHops:
    def governed(self, count: int, *, fanout: int = 100, one: bool = False) -> tuple[list[Host], Admission]:
        everyone = hosts(count)
        return everyone, Admission(
            everyone,
            fanout=fanout,
            governor=Governor(),
            hop_of=(lambda _host: "bastion") if one else even_and_odd,
            rng=random.Random(1),
        )

    def test_each_hop_has_its_own_window(self) -> None:
        everyone, admission = self.governed(100)
        assert of(admission.admit(0.0)) == everyone[: 2 * FIRST_WINDOW]
        assert admission.next_at(0.0) is None
        admission.logged_in(everyone[5], 0.1)
        assert of(admission.admit(0.1)) == [everyone[17]]
        admission.ended(everyone[4], 0.1)
        assert of(admission.admit(0.1)) == [everyone[16]]

    def test_a_host_that_is_held_back_holds_no_other_host_back(self) -> None:
        everyone, admission = self.governed(1000)
        admission.admit(0.0)
        ran = list(range(0, 16, 2))
        for number in range(0, 1000, 2):
            admission.logged_in(everyone[number], 1.0)
            admission.ended(everyone[number], 1.0)
            ran += [int(host.name[1:]) for host in of(admission.admit(1.0))]
        assert ran == list(range(0, 1000, 2)), "all the even ones, in order, and none of the odd"

    def test_a_dropped_host_starts_again_when_its_hop_accepts_a_login_and_spends_no_retry(self) -> None:
        everyone, admission = self.governed(20, one=True)
        assert of(admission.admit(0.0)) == everyone[:8]
        assert admission.ended(everyone[7], 0.0, congestion=Congestion.SAID)
        assert admission.admit(0.0) == []
        for host in everyone[:7]:
            admission.logged_in(host, 0.1)
        at = admission.next_at(0.1)
        assert at is not None
        assert 0.25 <= at <= 0.5
        assert admission.admit(0.2) == []
        ran: list[Start] = []
        while starts := admission.admit(at):
            ran += starts
            for host in of(starts):
                admission.logged_in(host, at)
                admission.ended(host, at)
        assert of(ran) == [*everyone[8:], everyone[7]], "others go before it: it may be its own fault"
        assert ran[-1] == Start(everyone[7], 2, 1)

    def test_a_drop_that_the_governor_gives_up_may_still_be_retried(self) -> None:
        (host,) = everyone = hosts(1)
        admission = Admission(everyone, fanout=1, governor=Governor(), hop_of=lambda _host: "hop")
        now = 0.0
        for drops in range(3):
            assert admission.admit(now) == [Start(host, drops + 1, drops)]
            assert admission.ended(host, now, congestion=Congestion.LIKELY)
            at = admission.next_at(now)
            assert at is None or at == now
            assert admission.admit(now) == []
            at = admission.next_at(now)
            assert at is not None
            assert at > now
            now = at
        assert admission.admit(now) == [Start(host, 4, 3)]
        assert admission.ended(host, now, congestion=Congestion.LIKELY, again_at=now + 9)
        assert admission.admit(now + 9) == [Start(host, 5, 3)]
        assert not admission.ended(host, now + 9, congestion=Congestion.LIKELY)
        assert admission.is_over

    def test_no_host_is_dropped_for_ever(self) -> None:
        everyone, admission = self.governed(10_000, one=True)
        unlucky, now, drops = everyone[0], 0.0, 0
        while True:
            now += 100.0
            for start in admission.admit(now):
                if start.host != unlucky:
                    admission.logged_in(start.host, now)
                    admission.ended(start.host, now)
                elif admission.ended(unlucky, now, congestion=Congestion.SAID):
                    drops += 1
                else:
                    assert drops == MOST_DROPS
                    return

    def test_without_a_governor_a_drop_is_a_failure_like_any_other(self) -> None:
        (host,) = everyone = hosts(1)
        admission = Admission(everyone, fanout=1, hop_of=even_and_odd)
        admission.admit(0.0)
        assert not admission.ended(host, 0.0, congestion=Congestion.SAID)

    def test_a_host_without_a_hop_is_not_governed(self) -> None:
        everyone = hosts(100)
        admission = Admission(everyone, fanout=100, governor=Governor())
        assert of(admission.admit(0.0)) == everyone

    def test_a_connection_lost_after_the_login_does_not_change_the_window(self) -> None:
        everyone, admission = self.governed(20, one=True)
        admission.admit(0.0)
        admission.logged_in(everyone[0], 0.1)
        assert not admission.ended(everyone[0], 0.2, congestion=Congestion.SAID)
        assert of(admission.admit(0.2)) == everyone[8:9]

    def test_one_call_sets_aside_a_bounded_number_and_says_to_ask_again(self) -> None:
        everyone = hosts(5 * LOOKS)
        asked: list[Host] = []

        def hop_of(host: Host) -> str:
            asked.append(host)
            return "last" if host is everyone[-1] else "bastion"

        admission = Admission(everyone, fanout=100, governor=Governor(), hop_of=hop_of)
        started = admission.admit(0.0)
        assert len(asked) == LOOKS + len(started)
        calls = 1
        while (at := admission.next_at(0.0)) is not None:
            assert at == 0.0
            started += admission.admit(0.0)
            calls += 1
        assert calls == 5
        assert of(started) == [*everyone[:FIRST_WINDOW], everyone[-1]], (
            "the last host is not held back by others"
        )


class Bastion:
    """A jump host that all hosts are behind, and a server each, or one for all, there."""

    def __init__(self, count: int, *, servers: int, fanout: int = 100) -> None:
        self.is_entered = False
        self.everyone = hosts(count)
        self.servers = servers
        self.admission = Admission(
            self.everyone, fanout=fanout, governor=Governor(), hop_of=self.hop_of, rng=random.Random(1)
        )

    def hop_of(self, host: Host) -> str:
        return f"server {int(host.name[1:]) % self.servers}" if self.is_entered else "bastion"


class TestJumpHosts:
    def test_until_a_bastion_is_logged_in_to_a_window_of_hosts_waits_for_it_and_then_all_continue(
        self,
    ) -> None:
        bastion = Bastion(100, servers=100)
        everyone, admission = bastion.everyone, bastion.admission
        assert of(admission.admit(0.0)) == everyone[:FIRST_WINDOW]
        assert admission.next_at(0.0) is None
        bastion.is_entered = True
        admission.passed(everyone[0], 0.5)
        assert admission.next_at(0.5) == 0.5
        assert of(admission.admit(0.5)) == everyone[FIRST_WINDOW:], "each at a server of its own"

    def test_behind_a_bastion_each_server_has_its_window(self) -> None:
        bastion = Bastion(100, servers=2)
        everyone, admission = bastion.everyone, bastion.admission
        admission.admit(0.0)
        bastion.is_entered = True
        for host in everyone[:FIRST_WINDOW]:
            admission.passed(host, 0.5)
        assert of(admission.admit(0.5)) == everyone[FIRST_WINDOW : 2 * FIRST_WINDOW]
        assert admission.admit(0.5) == []
        admission.logged_in(everyone[3], 0.6)
        assert of(admission.admit(0.6)) == [everyone[17]]

    def test_a_drop_counts_for_the_hop_where_the_host_was(self) -> None:
        bastion = Bastion(30, servers=3)
        everyone, admission = bastion.everyone, bastion.admission
        admission.admit(0.0)
        bastion.is_entered = True
        for host in everyone[:FIRST_WINDOW]:
            admission.passed(host, 0.5)
        assert admission.ended(everyone[1], 0.5, congestion=Congestion.SAID)
        started = of(admission.admit(0.5))
        assert started, "two of the servers, and the bastion, have dropped no login"
        assert {int(host.name[1:]) % 3 for host in started} == {0, 2}

    def test_a_busy_bastion_is_tried_in_rounds_and_its_hosts_start_again(self) -> None:
        """Hosts that waited for it together are dropped together: that is one round, and one drop."""
        bastion = Bastion(20, servers=20)
        everyone, admission = bastion.everyone, bastion.admission
        first = of(admission.admit(0.0))
        for host in first:
            assert admission.ended(host, 0.1, congestion=Congestion.SAID)
        assert admission.admit(0.1) == []
        at = admission.next_at(0.1)
        assert at is not None
        assert 0.35 <= at <= 0.6
        second = of(admission.admit(at))
        assert len(second) == 1, "the first of them was dropped with no other login under way"
        bastion.is_entered = True
        admission.passed(second[0], at)
        assert len(admission.admit(at)) == len(everyone) - len(second)

    def test_a_bastion_that_is_given_up_holds_no_host_back(self) -> None:
        bastion = Bastion(20, servers=20)
        admission = bastion.admission
        first, *_ = of(admission.admit(0.0))
        bastion.is_entered = (
            True  # or rather, no host will log in to it any more: there is nothing to wait for
        )
        assert not admission.ended(first, 0.1)
        assert len(admission.admit(0.1)) == 20 - FIRST_WINDOW

    def test_a_bastion_that_was_lost_is_waited_for_again(self) -> None:
        bastion = Bastion(20, servers=1)
        everyone, admission = bastion.everyone, bastion.admission
        bastion.is_entered = True
        assert of(admission.admit(0.0)) == everyone[:FIRST_WINDOW]
        bastion.is_entered = False
        for host in everyone[:FIRST_WINDOW]:
            admission.logged_in(host, 0.1)
        assert len(admission.admit(0.1)) == FIRST_WINDOW, "at the bastion, which the server's window is not"
        assert admission.admit(0.1) == []

    def test_a_host_that_is_not_logging_in_cannot_pass_a_hop(self) -> None:
        (host,) = everyone = hosts(1)
        admission = Admission(everyone, fanout=1)
        with pytest.raises(ValueError, match="not logging in"):
            admission.passed(host, 0.0)
        admission.admit(0.0)
        admission.passed(host, 0.0)
        admission.logged_in(host, 0.0)
        with pytest.raises(ValueError, match="not logging in"):
            admission.passed(host, 0.0)


class TestBatches:
    def test_only_hosts_that_are_allowed_start(self) -> None:
        everyone = hosts(5)
        admission = Admission(everyone, fanout=9, allowed=1)
        assert of(admission.admit(0.0)) == everyone[:1]
        assert not admission.is_batch_over
        assert admission.ended(everyone[0], 0.0, again_at=1.0)
        assert not admission.is_batch_over, "it is to be tried again"
        admission.admit(1.0)
        admission.ended(everyone[0], 1.0)
        assert admission.is_batch_over
        assert not admission.is_over
        assert admission.next_at(1.0) is None
        admission.allow(3)
        assert not admission.is_batch_over
        assert admission.next_at(1.0) == 1.0
        assert of(admission.admit(1.0)) == everyone[1:4]
        admission.allow(9)
        assert of(admission.admit(1.0)) == everyone[4:]

    def test_stop_returns_hosts_of_later_batches_too(self) -> None:
        everyone = hosts(5)
        admission = Admission(everyone, fanout=9, allowed=2)
        assert of(admission.stop()) == everyone
        assert admission.is_over
        admission.allow(3)
        assert admission.admit(0.0) == []


HOPS = 3
SOME = 24


class AdmissionMachine(RuleBasedStateMachine):
    """Any order of events, under any bounds, against a model that only counts."""

    @initialize(
        fanout=st.integers(1, 30),
        handshakes=st.one_of(st.none(), st.integers(1, 30)),
        rate=st.one_of(st.none(), st.floats(0.5, 100)),
        is_governed=st.booleans(),
        hops=st.lists(st.one_of(st.none(), st.integers(1, HOPS)), min_size=SOME, max_size=SOME),
        allowed=st.one_of(st.none(), st.integers(0, SOME)),
    )
    def begin(
        self,
        fanout: int,
        handshakes: int | None,
        rate: float | None,
        is_governed: bool,  # noqa: FBT001 - drawn
        hops: list[int | None],
        allowed: int | None,
    ) -> None:
        self.everyone = hosts(SOME)
        self.place = {host.name: place for place, host in enumerate(self.everyone)}
        self.hops = hops
        self.fanout = fanout
        self.handshakes = handshakes or fanout
        self.pace = None if rate is None else Pace(rate)
        self.governor = Governor() if is_governed else None
        self.allowed = SOME if allowed is None else allowed
        self.admission = Admission(
            self.everyone,
            fanout=fanout,
            handshakes=handshakes,
            pace=self.pace,
            governor=self.governor,
            hop_of=self.hop_of,
            rng=random.Random(0),
            allowed=allowed,
        )
        self.now = 0.0
        self.attempts = [0] * SOME
        self.drops = [0] * SOME
        self.due = dict.fromkeys(range(SOME), -math.inf)  # which hosts wait, and until when
        self.logging_in: list[int] = []
        self.commanding: list[int] = []
        self.is_stopped = False

    def hop_of(self, host: Host) -> int | None:
        return self.hops[self.place[host.name]]

    def may_start(self, place: int) -> bool:
        hop = self.hops[place]
        return (
            place in self.due
            and self.due[place] <= self.now
            and (self.attempts[place] > 0 or place < self.allowed)
            and (self.governor is None or hop is None or self.governor.may_start(hop, self.now))
        )

    def turn(self, place: int) -> int:
        return place + DETOUR * self.drops[place]

    def has_place(self) -> bool:
        in_flight = len(self.logging_in) + len(self.commanding)
        return in_flight < self.fanout and len(self.logging_in) < self.handshakes

    @rule()
    def admit(self) -> None:
        could = [place for place in range(SOME) if self.may_start(place)]
        for start in self.admission.admit(self.now):
            place = self.place[start.host.name]
            assert place in self.due
            del self.due[place]
            self.attempts[place] += 1
            assert start == Start(self.everyone[place], self.attempts[place], self.drops[place])
            self.logging_in.append(place)
            # No host that could have started, at the same hop or at none, is passed over.
            same = [other for other in could if self.hops[other] == self.hops[place] and other in self.due]
            assert all(self.turn(place) <= self.turn(other) for other in same)
        if self.has_place() and (self.pace is None or self.pace.next_at() <= self.now):
            assert not any(self.may_start(place) for place in range(SOME)), "no host waits without a reason"

    @precondition(lambda self: self.logging_in)
    @rule(which=st.integers(0))
    def log_in(self, which: int) -> None:
        place = self.logging_in.pop(which % len(self.logging_in))
        self.admission.logged_in(self.everyone[place], self.now)
        self.commanding.append(place)

    @precondition(lambda self: self.logging_in)
    @rule(which=st.integers(0), how=st.sampled_from(["fail", "again", "drop", "drop or again"]))
    def end_a_login(self, which: int, how: str) -> None:
        place = self.logging_in.pop(which % len(self.logging_in))
        congestion = Congestion.LIKELY if "drop" in how else None
        again_at = self.now + 1.5 if "again" in how else None
        comes_back = self.admission.ended(
            self.everyone[place], self.now, congestion=congestion, again_at=again_at
        )
        if self.is_stopped or how == "fail":
            assert not comes_back
        if not comes_back:
            assert self.is_stopped or again_at is None
            return
        starts_by_hop = how == "drop" or (how == "drop or again" and self.was_dropped(place))
        self.drops[place] += starts_by_hop
        self.due[place] = -math.inf if starts_by_hop else self.now + 1.5

    def was_dropped(self, place: int) -> bool:
        return any(
            waiting.place == place for waiting in self.admission._again if waiting.drops > self.drops[place]
        )

    @precondition(lambda self: self.commanding)
    @rule(which=st.integers(0), is_again=st.booleans())
    def end(self, which: int, is_again: bool) -> None:  # noqa: FBT001 - drawn
        place = self.commanding.pop(which % len(self.commanding))
        again_at = self.now + 0.5 if is_again else None
        assert self.admission.ended(self.everyone[place], self.now, again_at=again_at) == (
            is_again and not self.is_stopped
        )
        if is_again and not self.is_stopped:
            self.due[place] = self.now + 0.5

    @rule(seconds=st.floats(0, 2))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def wait_as_told(self) -> None:
        """If nothing else happens, a host starts at the returned time, or a later time is returned."""
        self.admit()
        at = self.admission.next_at(self.now)
        if at is None:
            assert self.is_stopped or not self.has_place() or all(map(self.is_held_by_others, self.due))
            return
        assert at > self.now, "called again at once, for nothing"
        self.now = at
        before = sum(self.attempts)
        self.admit()
        later = self.admission.next_at(self.now)
        assert sum(self.attempts) > before or (later is not None and later > at) or later is None

    def is_held_by_others(self, place: int) -> bool:
        hop = self.hops[place]
        is_full = self.governor is not None and hop is not None and self.governor.next_at(hop) is None
        return is_full or (self.attempts[place] == 0 and place >= self.allowed)

    @rule(count=st.integers(0, 9))
    def allow(self, count: int) -> None:
        self.admission.allow(count)
        self.allowed = min(SOME, self.allowed + count)

    @rule(sure=st.integers(0, 19))
    def stop(self, sure: int) -> None:
        if sure:
            return
        given_up = self.admission.stop()
        assert given_up == [
            Start(self.everyone[place], self.attempts[place] + 1, self.drops[place])
            for place in sorted(self.due)
        ]
        self.due.clear()
        self.is_stopped = True

    @invariant()
    def it_is_within_its_bounds(self) -> None:
        in_flight = len(self.logging_in) + len(self.commanding)
        assert self.admission.in_flight == in_flight <= self.fanout
        assert self.admission.logging_in == len(self.logging_in) <= self.handshakes
        assert self.admission.is_over == (not in_flight and not self.due)
        waits = any(self.attempts[place] or place < self.allowed for place in self.due)
        assert self.admission.is_batch_over == (not in_flight and not waits)

    def teardown(self) -> None:
        """Whatever happened, every host that waits gets its turn when the others have ended."""
        if not hasattr(self, "admission"):
            return
        self.admission.allow(SOME)
        self.allowed = SOME
        for _ in range(10 * SOME):
            if self.admission.is_over:
                break
            self.admit()
            while self.logging_in:
                self.log_in(0)
            while self.commanding:
                self.end(0, is_again=False)
            self.now = max(self.now, self.admission.next_at(self.now) or 0.0)
        assert self.admission.is_over
        assert not self.due


TestAdmissionMachine = AdmissionMachine.TestCase
