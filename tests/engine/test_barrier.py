"""The barrier: which hosts it waits for, when it releases the command, and its messages."""

from __future__ import annotations

from multirsh.engine.barrier import MISSING_CHARACTERS, Barrier


def test_it_releases_the_command_when_the_last_host_is_ready() -> None:
    barrier = Barrier(["a", "b"])
    assert barrier.reached("a") is None
    assert not barrier.is_released
    assert barrier.waiting == 1
    assert barrier.reached("b") == "barrier: 2 of 2 hosts are ready"
    assert barrier.is_released
    assert barrier.waiting == 0


def test_a_host_that_has_failed_is_not_waited_for_and_named() -> None:
    barrier = Barrier(f"web{number}" for number in range(1, 6))
    messages = [barrier.reached("web1"), barrier.reached("web5")]
    messages += [barrier.ended(name) for name in ("web2", "web3")]
    assert messages == [None] * 4
    assert barrier.ended("web4") == "barrier: 2 of 5 hosts are ready; missing: web[2-4]"


def test_a_host_that_ends_after_it_was_ready_is_not_missing() -> None:
    barrier = Barrier(["a"])
    assert barrier.reached("a") == "barrier: 1 of 1 hosts are ready"
    barrier.left(5.0)
    assert barrier.ended("a") is None
    assert barrier.skew == 0.0


def test_where_all_have_failed_nothing_was_sent() -> None:
    barrier = Barrier(["a", "b"])
    assert barrier.ended("a") is None
    assert barrier.ended("b") == "barrier: 0 of 2 hosts are ready; missing: a,b"
    assert barrier.skew is None


def test_a_long_list_of_missing_hosts_is_cut() -> None:
    names = [f"{number:x}a{'b' * number}" for number in range(100)]
    barrier = Barrier(names)
    *earlier, line = [barrier.ended(name) for name in names]
    assert earlier == [None] * 99
    assert line is not None
    assert line.endswith("...")
    assert len(line) < MISSING_CHARACTERS + 60


def test_the_skew_is_from_the_first_start_to_the_last() -> None:
    barrier = Barrier(["a", "b"])
    barrier.reached("a")
    barrier.reached("b")
    barrier.left(7.0)
    barrier.left(7.25)
    assert barrier.skew == 0.25


def test_called_off_it_releases_nothing_and_says_so_once() -> None:
    barrier = Barrier(["a", "b"])
    barrier.reached("a")
    assert barrier.call_off() == "barrier: called off; 1 of 2 hosts were ready"
    assert barrier.call_off() is None
    assert barrier.ended("b") is None
    assert not barrier.is_released
    assert barrier.waiting == 0


def test_once_released_it_cannot_be_called_off() -> None:
    barrier = Barrier(["a"])
    barrier.reached("a")
    assert barrier.call_off() is None
    assert not barrier.is_called_off
