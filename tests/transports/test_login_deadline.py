"""Timeouts, and a process that stood still: what came meanwhile is not too late."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path
from typing import Final

import pytest

import multirsh
from multirsh.transports.login_deadline import LoginDeadline, PortWaitOver, awake_timeout
from tests.virtual_time import idle, in_virtual_time, virtual_loop


def now() -> float:
    return virtual_loop().time()


async def waiting(seconds: float | None, rest: float) -> None:
    async with awake_timeout(seconds):
        await asyncio.sleep(rest)


def stand_still(after: float, seconds: float) -> None:
    """As SIGSTOP and SIGCONT would have it: the clock goes on, and nothing of ours is called."""
    virtual_loop().call_at(now() + after, virtual_loop().spend, seconds)


@in_virtual_time
async def test_it_passes_in_its_time() -> None:
    with pytest.raises(TimeoutError):
        await waiting(5.5, 100)
    assert now() == 5.5


@in_virtual_time
async def test_without_a_bound_there_is_none() -> None:
    await waiting(None, 10_000)
    assert now() == 10_000


@pytest.mark.parametrize("after", [0.3, 1.5, 2.99])
@pytest.mark.parametrize("length", [5, 60, 100_000])
def test_what_took_less_of_its_own_time_is_no_timeout(after: float, length: float) -> None:
    """It wants half of what it had left, after we have gone on."""

    @in_virtual_time
    async def stopped() -> None:
        stand_still(after, length)
        await waiting(3, after + length + (3 - after) / 2)

    stopped()


@in_virtual_time
async def test_what_takes_too_long_does_so_afterwards() -> None:
    stand_still(1.5, 60)
    with pytest.raises(TimeoutError):
        await waiting(3, 1000)
    assert 62 < now() <= 64


@in_virtual_time
async def test_a_busy_machine_is_no_reason() -> None:
    for after in (0.5, 4, 8):
        stand_still(after, 2.9)
    with pytest.raises(TimeoutError):
        await waiting(12, 1000)
    assert now() == 12


@in_virtual_time
async def test_of_one_that_was_left_nothing_goes_on() -> None:
    await waiting(5, 1)
    await idle()
    assert not [handle for handle in virtual_loop()._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]  # asyncio tells of its timers nowhere else


@in_virtual_time
async def test_one_that_waits_for_a_port_is_left_alone() -> None:
    """Its deadline is put off anew when there is a port; standing still meanwhile changes nothing."""
    stand_still(1, 60)

    async def enter() -> None:
        async with awake_timeout(5) as scope:
            async with LoginDeadline(scope).for_a_port():
                await asyncio.sleep(100)
            await asyncio.sleep(100)

    with pytest.raises(TimeoutError):
        await enter()
    assert now() == pytest.approx(105)


WALL_CLOCKS: Final = {
    *("time.time", "time.time_ns", "time.CLOCK_REALTIME", "datetime.now", "datetime.today", "datetime.utcnow")
}
"""Who reads these is moved by whoever sets the clock: ntpd, an administrator, daylight saving."""


DATED: Final = {
    *("cli/report_file.py", "cli/runs/group.py", "journal/journal.py", "journal/recorder.py"),
    *("files/sftp/pull.py", "files/destination.py", "transports/ssh/login.py"),
}
"""What says when something was, which records and half files are old, whether a certificate is still valid;
nothing waits by these."""


def test_nothing_is_due_by_a_clock_that_may_be_set() -> None:
    """The loop's clock and ``time.monotonic`` cannot be; so a step is no timeout of all hosts at once."""
    (folder,) = multirsh.__path__
    found = [
        f"{file.name}: {ast.unparse(node)}"
        for file in Path(folder).rglob("*.py")
        if str(file.relative_to(folder)) not in DATED
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if ".".join(last_two(node)) in WALL_CLOCKS
        or (isinstance(node, ast.ImportFrom) and node.module == "time")  # then we would not know it
    ]
    assert not found
    assert last_two(ast.parse("dt.datetime.now()", mode="eval").body.func) == ("datetime", "now")  # type: ignore[attr-defined]  # a call


def last_two(node: ast.AST) -> tuple[str, ...]:
    """The names of ``b.c`` in ``a.b.c``; none of anything else."""
    if not isinstance(node, ast.Attribute):
        return ()
    owner = node.value
    name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
    return (name, node.attr)


async def wait_for_a_port(login_deadline: LoginDeadline, seconds: float) -> None:
    async with login_deadline.for_a_port():
        await asyncio.sleep(seconds)


async def forever() -> None:
    await asyncio.Event().wait()


@in_virtual_time
async def test_a_deadline_passes_in_its_time() -> None:
    async def enter() -> None:
        async with asyncio.timeout(5) as scope:
            LoginDeadline(scope)
            await asyncio.sleep(10)

    with pytest.raises(TimeoutError):
        await enter()
    assert now() == 5


@in_virtual_time
async def test_a_pause_does_not_count_for_those_beside_it_either() -> None:
    async def enter() -> None:
        async with asyncio.timeout(5) as first, asyncio.timeout(7) as second:
            opener, follower = LoginDeadline(first), LoginDeadline(second)
            with follower.beside(opener):
                with opener.paused():
                    await asyncio.sleep(100)
                await forever()

    with pytest.raises(TimeoutError):
        await enter()
    assert now() == 105


@in_virtual_time
async def test_waiting_for_a_port_does_not_count() -> None:
    async def enter() -> None:
        async with asyncio.timeout(5) as scope:
            login_deadline = LoginDeadline(scope)
            await asyncio.sleep(3)
            await wait_for_a_port(login_deadline, 100)
            await asyncio.sleep(1)
            await wait_for_a_port(login_deadline, 100)
            await asyncio.sleep(10)

    with pytest.raises(TimeoutError):
        await enter()
    assert now() == pytest.approx(205)


@in_virtual_time
async def test_every_deadline_of_the_way_stands_still() -> None:
    async def connect(login_deadline: LoginDeadline) -> None:
        async with login_deadline.within(5):
            await asyncio.sleep(4)
            await wait_for_a_port(login_deadline, 100)
            await asyncio.sleep(2)

    async with asyncio.timeout(20) as scope:
        with pytest.raises(TimeoutError):
            await connect(LoginDeadline(scope))
        assert now() == pytest.approx(105)
        assert scope.when() == pytest.approx(120)


@in_virtual_time
async def test_no_deadline_is_none_afterwards_either() -> None:
    async with asyncio.timeout(None) as scope:
        login_deadline = LoginDeadline(scope)
        async with login_deadline.within(None):
            await wait_for_a_port(login_deadline, 1000)
            await asyncio.sleep(1000)
        assert scope.when() is None
    await wait_for_a_port(LoginDeadline(), 1000)


@in_virtual_time
async def test_the_wait_for_ports_has_a_bound_of_its_own_over_all_waits() -> None:
    login_deadline = LoginDeadline(port_seconds=10)
    await wait_for_a_port(login_deadline, 6)
    await asyncio.sleep(100)
    with pytest.raises(PortWaitOver):
        await wait_for_a_port(login_deadline, 5)
    assert now() == pytest.approx(110)
    with pytest.raises(PortWaitOver):
        await wait_for_a_port(login_deadline, 1)
    assert now() == pytest.approx(110)


@in_virtual_time
async def test_who_need_not_wait_may_have_a_port_though_its_deadline_has_passed() -> None:
    login_deadline = LoginDeadline(port_seconds=0)
    async with login_deadline.for_a_port():
        pass


@in_virtual_time
async def test_a_deadline_that_passed_as_the_wait_began_is_not_revived() -> None:
    """Both in one turn of the loop: the deadline's callback comes first, then the host finds no port."""

    async def enter() -> None:
        async with asyncio.timeout(5) as scope:
            connected = virtual_loop().create_future()
            virtual_loop().call_at(5, connected.set_result, None)
            await connected
            await wait_for_a_port(LoginDeadline(scope, port_seconds=100), 50)

    with pytest.raises(TimeoutError):
        await enter()
    assert now() == 5


@in_virtual_time
async def test_a_wait_that_ends_as_its_bound_does_is_one_or_the_other() -> None:
    login_deadline = LoginDeadline(port_seconds=5)
    with pytest.raises(PortWaitOver):
        await wait_for_a_port(login_deadline, 5)
    assert not login_deadline.stands_still
    assert now() == 5


@in_virtual_time
async def test_a_timeout_within_the_wait_is_not_taken_for_its_end() -> None:
    login_deadline = LoginDeadline(port_seconds=5)
    with pytest.raises(TimeoutError, match="of its own"):
        async with login_deadline.for_a_port():
            raise TimeoutError("of its own")
    assert not login_deadline.stands_still


@in_virtual_time
async def test_a_cancelled_wait_is_cancelled_and_the_deadlines_go_on() -> None:
    async with asyncio.timeout(5) as scope:
        login_deadline = LoginDeadline(scope, port_seconds=50)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(wait_for_a_port(login_deadline, 100))
            await asyncio.sleep(20)
            waiting.cancel()
        assert waiting.cancelled()
        assert scope.when() == pytest.approx(25)
        with pytest.raises(PortWaitOver):
            await wait_for_a_port(login_deadline, 100)
    assert now() == pytest.approx(50), "30 s of 50 were left"


# Beside others.


@in_virtual_time
async def test_who_needs_what_another_opens_stands_still_while_that_one_waits() -> None:
    opener = LoginDeadline()

    async def follow() -> None:
        async with asyncio.timeout(5) as scope:
            with LoginDeadline(scope).beside(opener):
                await forever()

    async def gave_up_at() -> float:
        with pytest.raises(TimeoutError):
            await follow()
        return now()

    async with asyncio.TaskGroup() as group:
        early = group.create_task(gave_up_at())
        await asyncio.sleep(2)
        waiting = group.create_task(wait_for_a_port(opener, 100))
        await asyncio.sleep(50)
        late = group.create_task(gave_up_at())
        await waiting
        assert not opener.stands_still
    assert early.result() == pytest.approx(105)
    assert late.result() == pytest.approx(107)
    assert opener.followers == []


@in_virtual_time
async def test_who_goes_beside_nobody_goes_on() -> None:
    login_deadline = LoginDeadline()
    with login_deadline.beside(None):
        assert not login_deadline.stands_still


@in_virtual_time
async def test_a_followers_follower_stands_still_too() -> None:
    first, second, third = LoginDeadline(), LoginDeadline(), LoginDeadline()
    with second.beside(first), third.beside(second):
        async with first.for_a_port():
            assert third.stands_still
        assert not third.stands_still
    async with first.for_a_port():
        with second.beside(first):
            with third.beside(second):
                assert third.stands_still
            assert not third.stands_still
        assert not second.stands_still


@in_virtual_time
async def test_who_waits_itself_beside_one_that_waits_goes_on_when_both_do() -> None:
    opener = LoginDeadline()
    async with asyncio.timeout(5) as scope:
        login_deadline = LoginDeadline(scope)
        with login_deadline.beside(opener):
            async with asyncio.TaskGroup() as group:
                group.create_task(wait_for_a_port(opener, 30))
                await asyncio.sleep(1)
                await wait_for_a_port(login_deadline, 100)
            assert not login_deadline.stands_still
        assert scope.when() == pytest.approx(106)


@in_virtual_time
async def test_a_part_that_begins_while_all_stands_still_has_its_full_time_afterwards() -> None:
    opener, login_deadline = LoginDeadline(), LoginDeadline()

    async def part() -> None:
        with login_deadline.beside(opener), pytest.raises(TimeoutError):
            async with login_deadline.within(5):
                await forever()

    async with asyncio.TaskGroup() as group:
        group.create_task(wait_for_a_port(opener, 30))
        await asyncio.sleep(20)
        group.create_task(part())
    assert now() == pytest.approx(35)


@in_virtual_time
async def test_a_part_that_ends_while_all_stands_still_is_not_touched_again() -> None:
    opener, login_deadline = LoginDeadline(), LoginDeadline()
    with login_deadline.beside(opener):
        async with login_deadline.within(5):
            opener.stop()
        opener.go_on()
        assert not login_deadline.stands_still
