"""Descriptors, parted: enough for everybody, or one line for people."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.engine.resources import (
    BESIDE,
    PER_LOOKUP,
    SPARE_PER_HOST,
    Descriptors,
    DescriptorUse,
    look,
    share_of,
    warning,
)


@given(
    free=st.integers(0, 100_000),
    hosts=st.integers(1, 50_000),
    fanout=st.integers(1, 50_000),
    per_host=st.integers(1, 4),
)
def test_shares_do_not_exceed_the_free_descriptors(free: int, hosts: int, fanout: int, per_host: int) -> None:
    wanted = min(fanout, hosts)
    share = share_of(free, hosts=hosts, fanout=fanout, per_host=per_host)
    assert min(share.hosts, share.lookups, share.spare) >= 1
    assert share.descriptors == BESIDE + PER_LOOKUP * share.lookups + share.spare + per_host * share.hosts
    if share.hosts > 1:
        assert share.descriptors <= free
    if share.hosts < wanted:
        assert free - share.descriptors < per_host, "nobody waits while there is room"


@given(free=st.integers(0, 100_000), hosts=st.integers(1, 100), fanout=st.integers(1, 100))
def test_a_run_claims_no_more_than_its_hosts_can_use(free: int, hosts: int, fanout: int) -> None:
    share = share_of(free, hosts=hosts, fanout=fanout, per_host=1)
    assert max(share.hosts, share.lookups) <= hosts
    assert share.spare <= hosts * SPARE_PER_HOST


def test_sixteen_runs_of_six_hosts_keep_their_fanout() -> None:
    descriptors = Descriptors(lambda: DescriptorUse(limit=1024, in_use=40))
    claims = [descriptors.claim(hosts=6, fanout=64, per_host=1) for _ in range(16)]
    assert [(share.hosts, line) for share, line in claims] == [(6, None)] * 16


def test_an_ordinary_limit_is_enough_for_the_default_fanout() -> None:
    assert share_of(1000, hosts=64, fanout=64, per_host=1).hosts >= 64
    assert share_of(1000, hosts=64, fanout=64, per_host=3).hosts >= 64


@pytest.mark.parametrize("free", [-5, 0, 10])
def test_with_next_to_nothing_one_host_is_tried(free: int) -> None:
    assert share_of(free, hosts=64, fanout=64, per_host=1).hosts == 1


def test_the_warning_says_how_many_why_and_what_to_do() -> None:
    use = DescriptorUse(limit=64, in_use=12)
    share = share_of(52, hosts=500, fanout=500, per_host=1)
    line = warning(share, use, wanted=500)
    assert line is not None
    assert line.startswith(f"a fanout of {share.hosts} and not 500: this process may have 64 files open")
    for words in ("has 12", "ulimit -n", f"-j {share.hosts}"):
        assert words in line
    assert warning(share, use, wanted=share.hosts) is None


def test_runs_of_one_fleet_share_the_descriptors() -> None:
    use = DescriptorUse(limit=1000, in_use=20)
    descriptors = Descriptors(lambda: use)
    first, _ = descriptors.claim(hosts=64, fanout=64, per_host=1)
    use = DescriptorUse(limit=1000, in_use=60)  # of these, forty are the first run's
    second, _ = descriptors.claim(hosts=64, fanout=64, per_host=1)
    assert second.hosts >= 64
    assert first.descriptors + second.descriptors + 20 <= 1000
    third, line = descriptors.claim(hosts=500, fanout=500, per_host=1)
    assert line is not None
    assert first.descriptors + second.descriptors + third.descriptors + 20 <= 1000
    for share in (first, second, third):
        descriptors.give_back(share)
    use = DescriptorUse(limit=1000, in_use=20)
    assert descriptors.claim(hosts=64, fanout=64, per_host=1)[0] == first


def test_open_descriptors_are_counted() -> None:
    before = look()
    descriptors = [os.open(os.devnull, os.O_RDONLY) for _ in range(7)]
    try:
        assert look().in_use == before.in_use + 7
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    assert look() == before


def test_at_most_half_of_the_free_descriptors_is_set_aside_and_not_for_runs() -> None:
    open_now = 40
    descriptors = Descriptors(lambda: DescriptorUse(1024, open_now))
    assert descriptors.set_aside(1000, per_host=2) == (1024 - 40) // 2 // 2
    share, words = descriptors.claim(hosts=1000, fanout=1000, per_host=1)
    assert share.descriptors <= 1024 - 40 - 492
    assert words is not None
    descriptors.give_back(share)
    descriptors.take_back(492 // 2, per_host=2)
    assert descriptors.claim(hosts=1000, fanout=1000, per_host=1)[0].descriptors > 1024 - 40 - 10
    assert Descriptors(lambda: DescriptorUse(1024, open_now)).set_aside(7, per_host=1) == 7
    assert Descriptors(lambda: DescriptorUse(20, open_now)).set_aside(7, per_host=1) == 0
