"""Timeouts, and a process that stood still: what came meanwhile is not too late."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path
from typing import Final

import pytest

import multirsh
from multirsh.transports.awake import awake_timeout
from multirsh.transports.patience import Patience
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
            async with Patience(scope).for_a_port():
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
    *("files/destination.py", "files/sftp/pull.py", "transports/ssh/host_keys.py"),
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
