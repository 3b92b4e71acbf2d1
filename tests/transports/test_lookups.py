"""Which names are looked up when, by a clock that is given; and how long answers last."""

from __future__ import annotations

import socket

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from multirsh.transports.lookups import (
    BELIEVED_SECONDS,
    NOT_FOUND_SECONDS,
    SLOW_SECONDS,
    Answers,
    Found,
    Lookups,
    Name,
    NotFound,
)


def names(text: str) -> list[Name]:
    return [Name(host, socket.AF_UNSPEC) for host in text.split()]


FOUND = Found(((socket.AF_INET, ("192.0.2.1", 0)),))


def test_a_name_is_looked_up_once_for_all_who_ask() -> None:
    lookups = Lookups(at_once=9)
    (web,) = names("web")
    lookups.look_ahead(web)
    lookups.ask(web)
    lookups.ask(web)
    assert lookups.begin(0.0) == [web]
    lookups.ask(web)
    lookups.look_ahead(web)
    assert lookups.begin(0.0) == []


def test_names_that_are_waited_for_go_before_those_that_are_not_yet() -> None:
    lookups = Lookups(at_once=2)
    a, b, c, d = names("a b c d")
    for name in (a, b, c):
        lookups.look_ahead(name)
    lookups.ask(d)
    lookups.ask(c)
    assert lookups.begin(0.0) == [d, c]
    lookups.ended(d)
    assert lookups.begin(0.0) == [a]


def test_slow_ones_give_way_to_others_and_go_on() -> None:
    lookups = Lookups(at_once=3, prompt_at_once=2)
    a, b, c, d = names("a b c d")
    for name in (a, b, c, d):
        lookups.ask(name)
    assert lookups.begin(0.0) == [a, b]
    assert lookups.next_begin(0.5) == SLOW_SECONDS
    assert lookups.begin(0.5) == []
    assert lookups.begin(SLOW_SECONDS) == [c], "no more than three in all"
    assert lookups.next_begin(SLOW_SECONDS) is None
    lookups.ended(a)
    assert lookups.begin(SLOW_SECONDS) == [d]


def test_nothing_that_waits_needs_no_look() -> None:
    lookups = Lookups(at_once=3)
    assert lookups.next_begin(0.0) is None
    lookups.ask(names("a")[0])
    lookups.begin(0.0)
    assert lookups.next_begin(0.0) is None


def test_what_nobody_wants_any_more_is_not_looked_up() -> None:
    lookups = Lookups(at_once=1)
    a, b = names("a b")
    lookups.ask(a)
    lookups.begin(0.0)
    lookups.ask(b)
    lookups.ask(b)
    assert not lookups.leave(b)
    assert lookups.leave(b)
    assert not lookups.leave(a), "it goes on"
    lookups.ended(a)
    assert lookups.begin(0.0) == []


class LookupsMachine(RuleBasedStateMachine):
    """Any order of asking, leaving, ending and time: the bounds hold, and no asker is forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.lookups = Lookups(at_once=3, prompt_at_once=2)
        self.asked: list[Name] = []
        self.under_way: dict[Name, float] = {}
        self.answered: set[Name] = set()

    def begin(self) -> None:
        for name in self.lookups.begin(self.now):
            assert name not in self.under_way
            self.under_way[name] = self.now

    @rule(host=st.sampled_from("abcdefgh"), ahead=st.booleans())
    def want(self, host: str, *, ahead: bool) -> None:
        name = Name(host, socket.AF_UNSPEC)
        if ahead:
            self.lookups.look_ahead(name)
        else:
            self.lookups.ask(name)
            self.asked.append(name)
            self.answered.discard(name)
        self.begin()

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        name = self.asked.pop(data.draw(st.integers(0, len(self.asked) - 1)))
        self.lookups.leave(name)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.under_way)))
        self.lookups.ended(name)
        del self.under_way[name]
        self.answered.add(name)
        self.begin()

    @rule(seconds=st.floats(0, 2))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        when = self.lookups.next_begin(self.now)
        self.begin()
        if when is not None:
            assert when > self.now - seconds

    @invariant()
    def bounded(self) -> None:
        assert len(self.under_way) <= 3
        waiting = set(self.asked) - set(self.under_way) - self.answered
        if waiting:
            prompt = sum(self.now < began + SLOW_SECONDS for began in self.under_way.values())
            assert len(self.under_way) == 3 or prompt == 2


TestLookupsMachine = LookupsMachine.TestCase


def test_answers_last_a_while_and_failures_a_short_one() -> None:
    answers = Answers()
    good, bad = names("good bad")
    answers.put(good, FOUND, 0.0)
    answers.put(bad, NotFound("no such name"), 0.0)
    assert answers.get(good, NOT_FOUND_SECONDS) == FOUND
    assert answers.get(bad, NOT_FOUND_SECONDS - 0.1) == NotFound("no such name")
    assert answers.get(bad, NOT_FOUND_SECONDS) is None
    assert answers.get(good, BELIEVED_SECONDS) is None


def test_old_answers_are_forgotten_and_newer_ones_of_the_same_name_are_not() -> None:
    answers = Answers()
    for second in range(1000):
        answers.put(Name(f"h{second}", 0), FOUND, float(second))
    assert len(answers) == BELIEVED_SECONDS
    (again,) = names("again")
    answers.put(again, NotFound("not yet"), 1000.0)
    answers.put(again, FOUND, 1004.0)
    answers.put(Name("other", 0), FOUND, 1000.0 + NOT_FOUND_SECONDS)
    assert answers.get(again, 1010.0) == FOUND
