from __future__ import annotations

import pytest

from multirsh.model import ClosedBy
from multirsh.ports import Endpoint, Ledger
from multirsh.ports.ledger import TIME_WAIT_SECONDS

HERE, THERE = Endpoint("127.0.0.1", 40000), Endpoint("127.0.0.2", 22)


def test_leases_are_counted_held_and_given_back() -> None:
    ledger = Ledger()
    first = ledger.take(HERE, THERE)
    second = ledger.take(Endpoint("127.0.0.1", 40001), THERE)
    assert (ledger.statistics().held, ledger.statistics().peak) == (2, 2)
    ledger.give_back(first, ClosedBy.REMOTE, now=1.0)
    ledger.give_back(second, ClosedBy.RESET, now=2.0)
    statistics = ledger.statistics()
    assert (statistics.held, statistics.peak) == (0, 2)
    assert statistics.closed_by == {ClosedBy.REMOTE: 1, ClosedBy.RESET: 1}


def test_a_lease_is_given_back_once() -> None:
    ledger = Ledger()
    lease = ledger.take(HERE, THERE)
    ledger.give_back(lease, ClosedBy.REMOTE, now=0.0)
    with pytest.raises(KeyError):
        ledger.give_back(lease, ClosedBy.REMOTE, now=0.0)
    assert ledger.statistics().closed_by == {ClosedBy.REMOTE: 1}


def test_two_leases_of_the_same_four_tuple_are_two() -> None:
    """The kernel gives a port again as soon as it may, perhaps before we have read of its end."""
    ledger = Ledger()
    one, two = ledger.take(HERE, THERE), ledger.take(HERE, THERE)
    ledger.give_back(one, ClosedBy.REMOTE, now=0.0)
    assert ledger.statistics().held == 1
    ledger.give_back(two, ClosedBy.REMOTE, now=0.0)


def test_what_no_kernel_keeps_any_more_is_forgotten() -> None:
    ledger = Ledger()
    ledger.give_back(ledger.take(HERE, THERE), ClosedBy.LOCAL, now=100.0)
    assert ledger.recent(100.0 + TIME_WAIT_SECONDS) == {(HERE, THERE)}
    assert ledger.recent(100.1 + TIME_WAIT_SECONDS) == frozenset()
