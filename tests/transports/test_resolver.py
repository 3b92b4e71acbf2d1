"""Names by a resolver that answers when it is told to: who waits for whom."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter

import pytest

from multirsh.shortage import NO_MEMORY
from multirsh.transports.lookups import Answer, Found, Name, NotFound
from multirsh.transports.resolver import Address, NameNotFound, Resolver, look_up

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
    resolver.look_ahead("web")
    resolver.look_ahead("web")
    gate.let("web")
    await gate.until_asked("web")
    assert await resolver.resolve("web", 22)
    assert await resolver.resolve("web", 2022) == [Address(socket.AF_INET, ("192.0.2.1", 2022))]
    resolver.look_ahead("web")
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
        resolver.look_ahead(literal)
        ((family, sockaddr),) = [(each.family, each.sockaddr) for each in await resolver.resolve(literal, 22)]
        assert family is (socket.AF_INET6 if ":" in literal else socket.AF_INET)
        assert sockaddr[1] == 22
    assert not gate.asked


async def test_a_name_that_cannot_be_one_is_an_error_and_no_look_up() -> None:
    gate = Gate()
    resolver = Resolver(look_up=gate)
    resolver.look_ahead("a" * 64)
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
