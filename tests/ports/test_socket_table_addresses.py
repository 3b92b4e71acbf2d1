"""Packed addresses as ``ipaddress`` words them."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from multirsh.ports.socket_table import Memo, pack, word_ipv4, word_ipv6


@given(st.ip_addresses(v=4))
def test_ipv4(address: ipaddress.IPv4Address) -> None:
    assert word_ipv4(address.packed + bytes(12)) == str(address)
    assert pack(str(address)) == address.packed


@given(st.ip_addresses(v=6))
@example(ipaddress.IPv6Address("::"))
@example(ipaddress.IPv6Address("::1.2.3.4"))
@example(ipaddress.IPv6Address("1:0:2:3:4:5:6:7"))
def test_ipv6(address: ipaddress.IPv6Address) -> None:
    assert word_ipv6(address.packed) == str(address.ipv4_mapped or address)
    assert pack(str(address)) == address.packed


def test_an_ipv4_address_within_ipv6_is_ipv4() -> None:
    assert word_ipv6(ipaddress.ip_address("::ffff:127.1.2.3").packed) == "127.1.2.3"


def test_no_address() -> None:
    with pytest.raises(ValueError, match="localhost"):
        pack("localhost")


def test_a_memo_makes_each_value_once() -> None:
    asked: list[int] = []

    def double(number: int) -> int:
        asked.append(number)
        return 2 * number

    doubled = Memo(double)
    assert [doubled[2], doubled[3], doubled[2]] == [4, 6, 4]
    assert asked == [2, 3]
