"""The kernel's settings of ports, as text and as they are."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.ports.sysctls import KernelPorts, parse_ports, parse_range, read_kernel_ports
from tests.servers.namespace import Namespace


def as_the_kernel_words(ports: set[int]) -> str:
    """Ranges and single ports, in order, as lib/bitmap does."""
    words = []
    for first in sorted(port for port in ports if port - 1 not in ports):
        last = first
        while last + 1 in ports:
            last += 1
        words.append(str(first) if first == last else f"{first}-{last}")
    return ",".join(words) + "\n"


def test_a_range_includes_its_last_port() -> None:
    assert parse_range("32768\t60999\n") == range(32768, 61000)
    assert parse_range("5000 5000") == range(5000, 5001)


@pytest.mark.parametrize("text", ["", "1", "1 2 3", "60999 32768", "a b", "1 65536", "-1 5"])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - int() has its own words
        parse_range(text)


@given(st.sets(st.integers(1, 65535)))
def test_reserved_ports_are_read_back(ports: set[int]) -> None:
    assert parse_ports(as_the_kernel_words(ports)) == ports


@pytest.mark.parametrize("text", ["9100-9000", "1-65536", "-80", "x"])
def test_what_is_no_list_of_ports(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - int() has its own words
        parse_ports(text)


@given(st.text())
def test_any_text_is_ports_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert all(0 <= port <= 65535 for port in parse_ports(text))


def test_reserved_ports_within_the_range_are_not_to_be_had() -> None:
    ports = KernelPorts(ephemeral=range(9000, 9100), reserved_by_admin=frozenset({8999, 9000, 9099, 9100}))
    assert ports.ephemeral_ports == 98


def test_what_cannot_be_read_is_named_and_the_default(tmp_path: Path) -> None:
    nothing = read_kernel_ports(tmp_path / "absent")
    assert len(nothing.unread) == 7
    assert nothing == KernelPorts(unread=nothing.unread)

    (tmp_path / "ip_local_port_range").write_text("100\t200\n", encoding="ascii")
    (tmp_path / "tcp_tw_reuse").write_text("junk\n", encoding="ascii")
    some = read_kernel_ports(tmp_path)
    assert some.ephemeral == range(100, 201)
    assert some.tw_reuse == KernelPorts().tw_reuse
    assert "tcp_tw_reuse" in some.unread
    assert "ip_local_port_range" not in some.unread
    assert "tcp_tw_reuse_delay" not in some.unread, "a kernel without it is no mystery"


@pytest.mark.root
def test_odd_settings_of_a_namespace() -> None:
    settings = {
        "net.ipv4.ip_local_reserved_ports": "8080,9000-9002,40000",
        "net.ipv4.ip_unprivileged_port_start": "512",
        "net.ipv4.tcp_fin_timeout": "7",
        "net.ipv4.tcp_max_tw_buckets": "1234",
        "net.ipv4.tcp_timestamps": "0",
        "net.ipv4.tcp_tw_reuse": "1",
    }
    with Namespace(local_ports=(39999, 40003), sysctls=settings) as namespace, namespace.entered():
        ports = read_kernel_ports()
        assert ports == KernelPorts(
            ephemeral=range(39999, 40004),
            reserved_by_admin=frozenset({8080, 9000, 9001, 9002, 40000}),
            unprivileged_start=512,
            tw_reuse=1,
            fin_timeout=7,
            max_tw_buckets=1234,
            timestamps=False,
        )
        assert ports.ephemeral_ports == 4


@pytest.mark.root
def test_defaults_are_those_of_a_fresh_namespace(in_namespace: Namespace) -> None:
    in_namespace.set_sysctl("net.ipv4.tcp_tw_reuse", "2")  # The test's namespaces turn it off.
    ports = read_kernel_ports()
    default = KernelPorts()
    assert ports.unread == ()
    assert ports.max_tw_buckets <= default.max_tw_buckets
    assert KernelPorts(max_tw_buckets=ports.max_tw_buckets) == ports


@pytest.mark.root
def test_a_list_longer_than_a_page_is_read_in_full(in_namespace: Namespace) -> None:
    odd = range(1, 65535, 2)
    in_namespace.set_sysctl("net.ipv4.ip_local_reserved_ports", ",".join(map(str, odd)))
    assert read_kernel_ports().reserved_by_admin == frozenset(odd)
