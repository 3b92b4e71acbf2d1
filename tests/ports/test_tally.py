"""What a run does to the local ports, in figures."""

from __future__ import annotations

from multirsh.model import ClosedBy
from multirsh.ports.sockets import Endpoint
from multirsh.ports.tally import PortStatistics, SharedTally, Tally

SSHD = Endpoint("10.1.0.1", 22)


def ours(port: int) -> Endpoint:
    return Endpoint("10.0.0.1", port)


def test_nothing_has_happened() -> None:
    assert Tally().statistics() == PortStatistics(closed_by={})


def test_the_peak_is_of_those_held_at_once() -> None:
    tally = Tally()
    for _ in range(3):
        tally.leased()
    tally.given_back()
    tally.given_back()
    tally.leased()
    assert (tally.statistics().held, tally.statistics().peak) == (2, 3)


def test_connections_are_counted_by_who_closed_them() -> None:
    tally = Tally()
    tally.closed(ours(40000), SSHD, ClosedBy.REMOTE, 1.0)
    tally.closed(ours(40001), SSHD, ClosedBy.REMOTE, 2.0)
    tally.closed(ours(40002), SSHD, ClosedBy.RESET, 3.0)
    assert tally.statistics().closed_by == {ClosedBy.REMOTE: 2, ClosedBy.RESET: 1}


def test_a_snapshot_does_not_change_afterwards() -> None:
    tally = Tally()
    tally.closed(ours(40000), SSHD, ClosedBy.REMOTE, 1.0)
    before = tally.statistics()
    tally.closed(ours(40000), SSHD, ClosedBy.REMOTE, 2.0)
    assert before.closed_by == {ClosedBy.REMOTE: 1}


def test_who_is_told_again_waits_once() -> None:
    tally = Tally()
    first, second = object(), object()
    tally.waits(first, 10.0)
    tally.waits(first, 8.0)
    tally.waits(second, None)
    assert (tally.statistics().waiting, tally.statistics().waited) == (2, 2)
    assert tally.statistics().next_free == 8.0


def test_the_longest_wait_is_kept_and_who_is_served_waits_no_more() -> None:
    tally = Tally()
    waiting = object()
    tally.waits(waiting, None)
    assert tally.statistics().next_free is None
    tally.waits_no_more(waiting, 5.0)
    tally.waits(waiting, 3.0)
    tally.waits_no_more(waiting, 2.0)
    after = tally.statistics()
    assert (after.waiting, after.waited, after.longest_wait, after.next_free) == (0, 2, 5.0, None)


def test_who_was_served_before_it_was_told_to_wait_has_not_waited() -> None:
    tally = Tally()
    tally.waits_no_more(object(), 0.001)
    assert tally.statistics() == PortStatistics(closed_by={})


def test_what_the_kernel_may_still_keep_is_remembered_so_long_and_no_longer() -> None:
    tally = Tally()
    tally.closed(ours(40000), SSHD, ClosedBy.REMOTE, 0.0)
    tally.closed(ours(40001), SSHD, ClosedBy.LOCAL, 30.0)
    assert tally.recent(62.0) == {(ours(40000), SSHD), (ours(40001), SSHD)}, "timers may be late"
    assert tally.recent(70.0) == {(ours(40001), SSHD)}
    assert tally.recent(100.0) == frozenset()


def test_it_stays_small_however_many_have_come_and_gone() -> None:
    tally = Tally()
    for second in range(1000):
        tally.closed(ours(40000 + second), SSHD, ClosedBy.REMOTE, float(second))
    assert len(tally.recent(1000.0)) < 70


def test_a_runs_tally_counts_what_happened_to_kept_connections_in_its_time() -> None:
    waits: list[str] = []
    shared = SharedTally(lambda: waits.append("waits"))
    first, second = Tally(), Tally()
    shared.attach(first)
    shared.leased()
    shared.leased()
    shared.detach(first)
    shared.attach(second)
    shared.given_back()
    shared.closed(Endpoint("::1", 1), Endpoint("::1", 2), ClosedBy.RESET, 0.0)
    shared.leased()
    shared.waits("a", 5.0)
    shared.waits_no_more("a", 2.0)
    shared.detach(second)
    shared.detach(second)
    shared.leased()
    told = {name: tally.statistics() for name, tally in (("1", first), ("2", second), ("all", shared))}
    assert {name: (use.held, use.peak) for name, use in told.items()} == {
        "1": (2, 2),
        "2": (2, 2),
        "all": (3, 3),
    }
    assert {name: use.closed_by for name, use in told.items()} == {
        "1": {},
        "2": {ClosedBy.RESET: 1},
        "all": {ClosedBy.RESET: 1},
    }
    assert (told["2"].waited, told["2"].longest_wait, waits) == (1, 2.0, ["waits"])
