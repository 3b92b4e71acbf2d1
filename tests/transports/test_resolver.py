"""Names by a resolver that answers when it is told to: who waits for whom."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from multirsh.shortage import NO_MEMORY
from multirsh.transports.resolver import (
    BELIEVED_SECONDS,
    NOT_FOUND_SECONDS,
    SLOW_SECONDS,
    Address,
    Answer,
    Answers,
    Found,
    Lookups,
    Name,
    NameNotFound,
    NotFound,
    Resolver,
    look_up,
)


def names(text: str) -> list[Name]:
    return [Name(host, socket.AF_UNSPEC) for host in text.split()]


FOUND = Found(((socket.AF_INET, ("192.0.2.1", 0)),))


def test_a_name_is_looked_up_once_for_all_who_ask() -> None:
    lookups = Lookups(at_once=9)
    (web,) = names("web")
    lookups.prefetch(web)
    lookups.ask(web)
    lookups.ask(web)
    assert lookups.begin(0.0) == [web]
    lookups.ask(web)
    lookups.prefetch(web)
    assert lookups.begin(0.0) == []


def test_names_that_are_waited_for_go_before_those_that_are_not_yet() -> None:
    lookups = Lookups(at_once=2)
    a, b, c, d = names("a b c d")
    for name in (a, b, c):
        lookups.prefetch(name)
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
            self.lookups.prefetch(name)
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


pytestmark = pytest.mark.usefixtures("no_leaks")


class Gate:
    """A getaddrinfo(3) of which each name is let through by hand."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self._gates: dict[str, threading.Event] = {}
        self._answers: dict[str, Answer] = {}
        self._lock = threading.Lock()

    def __call__(self, name: Name) -> Answer:
        with self._lock:
            self.asked[name.host] += 1
            gate = self._gates.setdefault(name.host, threading.Event())
        gate.wait(10)
        return self._answers.get(name.host, Found(((socket.AF_INET, ("192.0.2.1", 0)),)))

    def let(self, host: str, answer: Answer | None = None) -> None:
        with self._lock:
            if answer is not None:
                self._answers[host] = answer
            self._gates.setdefault(host, threading.Event()).set()

    async def until_asked(self, *hosts: str) -> None:
        while not self.asked.keys() >= set(hosts):  # noqa: ASYNC110 - threads tell of it
            await asyncio.sleep(0.001)


async def test_a_slow_name_stalls_only_its_hosts() -> None:
    gate = Gate()
    resolver = Resolver(look_up=gate)
    async with asyncio.TaskGroup() as group:
        slow = [group.create_task(resolver.resolve("slow", 22)) for _ in range(3)]
        await gate.until_asked("slow")
        gate.let("quick")
        assert await resolver.resolve("quick", 22) == [Address(socket.AF_INET, ("192.0.2.1", 22))]
        assert not any(task.done() for task in slow)
        gate.let("slow")
    assert gate.asked == {"slow": 1, "quick": 1}


async def test_what_was_looked_up_ahead_is_there_at_once() -> None:
    gate = Gate()
    resolver = Resolver(look_up=gate)
    resolver.prefetch("web")
    resolver.prefetch("web")
    gate.let("web")
    await gate.until_asked("web")
    assert await resolver.resolve("web", 22)
    assert await resolver.resolve("web", 2022) == [Address(socket.AF_INET, ("192.0.2.1", 2022))]
    resolver.prefetch("web")
    assert gate.asked == {"web": 1}


async def test_a_failure_is_shared_and_every_asker_has_its_own_error() -> None:
    gate = Gate()
    resolver = Resolver(look_up=gate)
    gate.let("gone", NotFound("Name or service not known"))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_error(resolver, "gone")) for _ in range(3)]
    errors = [task.result() for task in tasks]
    assert [error.reason for error in errors] == ["Name or service not known"] * 3
    assert len(set(map(id, errors))) == 3
    assert gate.asked == {"gone": 1}


async def _error(resolver: Resolver, host: str) -> NameNotFound:
    with pytest.raises(NameNotFound) as caught:
        await resolver.resolve(host, 22)
    return caught.value


async def test_who_gives_up_takes_nothing_from_the_others() -> None:
    gate = Gate()
    resolver = Resolver(look_up=gate)
    async with asyncio.TaskGroup() as group:
        first, second = (group.create_task(resolver.resolve("web", 22)) for _ in range(2))
        await gate.until_asked("web")
        first.cancel()
        await asyncio.wait([first])
        gate.let("web")
    assert first.cancelled()
    assert second.result()


async def test_no_more_at_once_than_allowed_and_what_nobody_wants_is_dropped() -> None:
    gate = Gate()
    resolver = Resolver(at_once=1, look_up=gate)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(resolver.resolve("first", 22))
        await gate.until_asked("first")
        given_up, last = (group.create_task(resolver.resolve(host, 22)) for host in ("given-up", "last"))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
        assert gate.asked == {"first": 1}
        gate.let("first")
        gate.let("last")
    assert first.result()
    assert last.result()
    assert gate.asked == {"first": 1, "last": 1}


async def test_literals_need_no_look_up() -> None:
    gate = Gate()
    resolver = Resolver(look_up=gate)
    for literal in ("192.0.2.7", "::1", "fe80::1%lo"):
        resolver.prefetch(literal)
        ((family, sockaddr),) = [(each.family, each.sockaddr) for each in await resolver.resolve(literal, 22)]
        assert family is (socket.AF_INET6 if ":" in literal else socket.AF_INET)
        assert sockaddr[1] == 22
    assert not gate.asked


async def test_a_name_that_cannot_be_one_is_an_error_and_no_look_up() -> None:
    gate = Gate()
    resolver = Resolver(look_up=gate)
    resolver.prefetch("a" * 64)
    assert (await _error(resolver, "a" * 64)).reason == "not a valid name"
    assert not gate.asked


async def test_a_resolver_that_breaks_is_an_answer_too() -> None:
    def broken(_name: Name) -> Answer:
        raise ValueError("no idea")

    error = await _error(Resolver(look_up=broken), "web")
    assert (error.reason, error.is_ours) == ("ValueError: no idea", False)


async def test_a_look_up_that_there_is_no_memory_for_is_no_fault_of_the_name() -> None:
    def short(_name: Name) -> Answer:
        raise MemoryError

    error = await _error(Resolver(look_up=short), "web")
    assert (error.reason, error.is_ours) == (NO_MEMORY, True)


def test_the_systems_own_resolver_knows_localhost_and_no_such_name() -> None:
    found = look_up(Name("localhost", socket.AF_INET))
    assert found == Found(((socket.AF_INET, ("127.0.0.1", 0)),))
    assert isinstance(look_up(Name("no-such-name.invalid", socket.AF_UNSPEC)), NotFound)


async def test_names_that_take_long_are_counted() -> None:
    gate = Gate()
    resolver = Resolver(look_up=gate)
    now = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as group:
        for host in ("slow", "slow", "slower"):
            group.create_task(resolver.resolve(host, 22))
        await gate.until_asked("slow", "slower")
        assert resolver.slow(now) == 0
        assert resolver.slow(now + 60) == 2
        gate.let("slow")
        gate.let("slower")
    assert resolver.slow(now + 60) == 0
