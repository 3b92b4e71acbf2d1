"""What is left behind is named, and what only takes a moment to go is not."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading

import pytest

from tests.servers import leaks
from tests.servers.leaks import Belongings, stray_tasks

pytest_plugins = ["pytester"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "SETTLE_WITHIN_S", 0.02)


def test_descriptors_and_children_are_named(impatient: None) -> None:
    before = Belongings.now()
    reader, writer = os.pipe()
    with subprocess.Popen(["cat"], stdin=reader) as child:
        left = before.added_since()
        os.close(reader)
        os.close(writer)
    assert sorted(line.partition(":")[0] for line in left) == [
        f"child {child.pid}",
        "descriptor pipe",
        "descriptor pipe",
    ]
    assert before.added_since() == []


def test_a_child_that_was_not_reaped_is_named(impatient: None) -> None:
    before = Belongings.now()
    with subprocess.Popen(["true"]) as child:
        assert before.added_since() == [f"child {child.pid}"]


def test_a_number_used_again_hides_nothing(impatient: None) -> None:
    held = os.open("/dev/null", os.O_RDONLY)
    before = Belongings.now()
    os.close(held)
    held = os.open("/dev/zero", os.O_RDONLY)
    assert before.added_since() == ["descriptor /dev/zero"]
    os.close(held)


def test_what_ends_in_time_is_not_named() -> None:
    before = Belongings.now()
    held = os.open("/dev/null", os.O_RDONLY)
    closing = threading.Timer(0.05, os.close, [held])
    closing.start()
    assert before.added_since() == []
    closing.join()


async def test_tasks_are_given_time() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(0.001))
        assert await stray_tasks() == set()


async def test_tasks_that_do_not_end_are_found(impatient: None) -> None:
    async with asyncio.TaskGroup() as group:
        stuck = group.create_task(asyncio.Event().wait())
        assert await stray_tasks() == {stuck}
        stuck.cancel()


def test_the_fixture_fails_a_test_that_leaks(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaks, "SETTLE_WITHIN_S", 1.0)
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(
        conftest="from tests.conftest import no_leaks, no_stray_tasks",
        test_leaking="""
            import asyncio, os, pytest

            pytestmark = pytest.mark.usefixtures("no_leaks")
            kept = []

            def test_descriptor():
                kept.append(os.open("/dev/null", os.O_RDONLY))

            async def test_task():
                kept.append(asyncio.create_task(asyncio.sleep(1000)))

            def test_tidy():
                os.close(kept[0])

            async def test_tidy_loop():
                await asyncio.to_thread(len, [])
        """,
    )
    pytester.runpytest().assert_outcomes(passed=4, errors=2)
