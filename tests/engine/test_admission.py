"""Admission, by itself and against a simple model of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from multirsh.engine.admission import Admission
from multirsh.model import Host


def hosts(count: int) -> list[Host]:
    return [Host(f"h{number}") for number in range(count)]


def test_it_admits_in_order_up_to_the_fanout_and_one_for_each_that_ends() -> None:
    everyone = hosts(5)
    admission = Admission(everyone, fanout=2)
    assert admission.admit() == everyone[:2]
    assert admission.admit() == []
    admission.ended()
    assert admission.admit() == everyone[2:3]
    admission.ended()
    admission.ended()
    assert admission.admit() == everyone[3:]
    assert not admission.is_over
    admission.ended()
    admission.ended()
    assert admission.is_over


def test_after_stop_nobody_starts_and_those_left_are_named() -> None:
    everyone = hosts(4)
    admission = Admission(everyone, fanout=1)
    admission.admit()
    assert admission.stop() == everyone[1:]
    assert admission.stop() == []
    assert not admission.is_over
    admission.ended()
    assert admission.admit() == []
    assert admission.is_over


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="fanout"):
        Admission([], fanout=0)
    with pytest.raises(ValueError, match="in flight"):
        Admission(hosts(1), fanout=1).ended()
    with pytest.raises(ValueError, match="open_at_most"):
        Admission([], fanout=1, open_at_most=0)
    with pytest.raises(ValueError, match="drains"):
        Admission(hosts(1), fanout=1).closed()


def test_those_whose_sockets_drain_hold_no_place_in_the_fanout_but_a_descriptor() -> None:
    everyone = hosts(5)
    admission = Admission(everyone, fanout=2, open_at_most=3)
    assert admission.admit() == everyone[:2]
    admission.ended()
    assert admission.admit() == everyone[2:3]
    admission.ended()
    assert admission.in_flight == 1
    assert admission.admit() == [], "three are open"
    admission.closed()
    assert admission.admit() == everyone[3:4]
    for _ in range(2):
        admission.ended()
    assert admission.admit() == []
    for _ in range(3):
        admission.closed()
    assert admission.admit() == everyone[4:]


def test_those_who_come_next_are_told_once() -> None:
    everyone = hosts(6)
    admission = Admission(everyone, fanout=2)
    assert admission.coming(2) == everyone[:2]
    assert admission.coming(2) == []
    admission.admit()
    assert admission.coming(2) == everyone[2:4]
    admission.ended()
    admission.admit()
    assert admission.coming(2) == everyone[4:5]
    assert admission.coming(9) == everyone[5:]
    admission.stop()
    assert admission.coming(9) == []


class AdmissionMachine(RuleBasedStateMachine):
    """Any order of admitting, ending, closing and stopping: each host leaves the queue once."""

    def __init__(self) -> None:
        super().__init__()
        self.everyone = hosts(20)
        self.fanout = 3
        self.admission = Admission(self.everyone, fanout=self.fanout, open_at_most=5)
        self.seen: list[Host] = []
        self.announced: list[Host] = []
        self.in_flight = 0
        self.draining = 0

    @rule()
    def admit(self) -> None:
        admitted = self.admission.admit()
        self.seen += admitted
        self.in_flight += len(admitted)

    @precondition(lambda self: self.in_flight)
    @rule()
    def end(self) -> None:
        self.admission.ended()
        self.in_flight -= 1
        self.draining += 1

    @precondition(lambda self: self.draining)
    @rule()
    def close(self) -> None:
        self.admission.closed()
        self.draining -= 1

    @rule(count=st.integers(0, 9))
    def announce(self, count: int) -> None:
        self.announced += self.admission.coming(count)

    @rule(sure=st.integers(0, 9))
    def stop(self, sure: int) -> None:
        if not sure:
            self.seen += self.admission.stop()

    @invariant()
    def in_order_and_bounded(self) -> None:
        assert self.seen == self.everyone[: len(self.seen)]
        assert self.admission.in_flight == self.in_flight <= self.fanout
        assert self.in_flight + self.draining <= 5
        assert len(set(self.announced)) == len(self.announced)
        assert sorted(self.announced, key=self.everyone.index) == self.announced
        assert self.admission.is_over == (len(self.seen) == len(self.everyone) and not self.in_flight)


TestAdmissionMachine = AdmissionMachine.TestCase


@given(st.integers(0, 50), st.integers(1, 60))
def test_everyone_runs_once(count: int, fanout: int) -> None:
    admission = Admission(hosts(count), fanout=fanout)
    ran: list[Host] = []
    while not admission.is_over:
        batch = admission.admit()
        assert batch
        ran += batch
        for _ in batch:
            admission.ended()
            admission.closed()
    assert ran == hosts(count)
