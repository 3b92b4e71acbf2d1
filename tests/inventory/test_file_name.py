"""Hosts' names as names of files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.inventory.file_name import LONGEST, file_name


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("web1.example.com", "web1.example.com"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1%25eth0"),
        ("..", "%2E."),
        (".hidden", "%2Ehidden"),
        ("a/b", "a%2Fb"),
        ("täst", "t%C3%A4st"),
    ],
)
def test_what_is_plain_stays(host: str, name: str) -> None:
    assert file_name(host) == name


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_no_two_are_the_same_and_none_leads_elsewhere(one: str, other: str) -> None:
    try:
        names = [file_name(one), file_name(other)]
    except UnicodeEncodeError:  # of surrogates that stand for no byte; no host's name has them
        return
    assert (one == other) == (names[0] == names[1])
    for name in names:
        assert name not in {"", ".", ".."}
        assert "/" not in name
        assert len(name.encode()) <= LONGEST


@given(
    st.text(st.sampled_from("/.%2Fa"), min_size=1, max_size=5), st.text(st.sampled_from("/.%2Fa"), min_size=1)
)
def test_nor_are_two_odd_ones(one: str, other: str) -> None:
    assert (file_name(one) == file_name(other)) == (one == other)
