"""Who is a neighbour, by tables of routes as kernels print them; and when there are too many."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.engine.resources import (
    Neighbours,
    NeighbourTable,
    RouteRow,
    Routes,
    parse_ipv6_route,
    parse_route,
    watch,
)
from tests.servers.namespace import Namespace

ROUTE = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth0\t0000000A\t050200C0\t0003\t0\t0\t0\t000000FF\t0\t0\t0
eth1\t0001000A\t00000000\t0001\t0\t0\t9\t00FFFFFF\t0\t0\t0
tun0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
*\t0003000A\t00000000\t0200\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
"""192.0.2/24 and 10.0.1/24 on link, 10/8 by a gateway, 10.0.2/24 by a tunnel, 10.0.3/24 refused."""

IPV6_ROUTE = """\
fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 \
00000100 00000001 00000000 00000001     eth0
fd000000000000010000000000000000 40 00000000000000000000000000000000 00 fd000000000000000000000000000009 \
00000100 00000001 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 \
00000400 00000002 00000000 00000003     eth0
fd000000000000000000000000000002 80 00000000000000000000000000000000 00 00000000000000000000000000000000 \
00000000 00000003 00000000 80200001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 \
ffffffff 00000001 00000000 00200200       lo
"""


def routes(rows: list[RouteRow], bits: int = 32) -> Routes:
    return Routes(rows, bits=bits, has_neighbours=lambda interface: interface.startswith("eth"))


def number(address: str) -> int:
    return int(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("address", "is_neighbour"),
    [
        ("192.0.2.77", True),
        ("10.0.1.1", True),
        ("10.9.9.9", False),
        ("10.0.2.1", False),
        ("8.8.8.8", False),
        ("127.0.0.1", False),
    ],
)
def test_a_neighbour_is_an_address_that_is_reached_without_a_gateway(
    address: str, *, is_neighbour: bool
) -> None:
    rows = parse_route(ROUTE.splitlines())
    assert len(rows) == 5, "neither the heading nor what is not in use"
    assert routes(rows).is_neighbour(number(address)) is is_neighbour


@pytest.mark.parametrize(
    ("address", "is_neighbour"),
    [
        ("fd00::77", True),
        ("fd00:0:0:1::77", False),
        ("fd00::2", False),
        ("2001:db8::1", False),
        ("::1", False),
    ],
)
def test_neighbours_by_ipv6_are_found_likewise(address: str, *, is_neighbour: bool) -> None:
    rows = parse_ipv6_route(IPV6_ROUTE.splitlines())
    assert routes(rows, bits=128).is_neighbour(number(address)) is is_neighbour


def test_of_two_routes_to_one_network_the_better_counts() -> None:
    direct = RouteRow(number("10.0.0.0"), 24, "eth0", is_on_link=True, metric=5)
    by_gateway = RouteRow(number("10.0.0.0"), 24, "eth0", is_on_link=False, metric=9)
    for rows in ([direct, by_gateway], [by_gateway, direct]):
        assert routes(rows).is_neighbour(number("10.0.0.1"))
        worse = [row._replace(metric=14 - row.metric) for row in rows]
        assert not routes(worse).is_neighbour(number("10.0.0.1"))


@given(st.lists(st.text(alphabet="0123456789abcdefF \t*lo", max_size=120)))
def test_any_text_is_parsed_without_an_error(lines: list[str]) -> None:
    parse_route(lines)
    parse_ipv6_route(lines)


@given(
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32), st.booleans()), max_size=8),
    st.integers(0, 2**32 - 1),
)
def test_the_most_exact_route_decides(networks: list[tuple[int, int, bool]], address: int) -> None:
    rows = [
        RouteRow(network >> (32 - length) << (32 - length), length, "eth0", on_link, metric)
        for metric, (network, length, on_link) in enumerate(networks)
    ]
    matching = [row for row in rows if address >> (32 - row.length) == row.network >> (32 - row.length)]
    best = min(matching, key=lambda row: (-row.length, row.metric), default=None)
    assert routes(rows).is_neighbour(address) is (best is not None and best.is_on_link)


def test_too_many_neighbours_are_reported_once_and_each_address_counts_once() -> None:
    said: list[str] = []
    table = NeighbourTable(100, routes(parse_route(ROUTE.splitlines())))
    neighbours = Neighbours({4: table}, said.append)
    for address in [
        *(f"192.0.2.{n}" for n in range(95)),
        "192.0.2.1",
        "10.9.9.9",
        "fd00::1",
        "web01",
        "192.0.2.1",
    ]:
        neighbours.note(address)
    assert not said
    for n in range(95, 250):
        neighbours.note(f"192.0.2.{n}")
    (line,) = said
    assert line.startswith("more than 95 hosts are on this machine's own networks")
    assert "sysctl net.ipv4.neigh.default.gc_thresh3=16384" in line


def test_few_hosts_are_not_checked() -> None:
    assert watch(500, lambda _line: None) is None


@pytest.mark.root
def test_an_interface_pair_has_neighbours_but_loopback_and_an_empty_namespace_have_none(
    in_namespace: Namespace,
) -> None:
    for command in (
        "link add near type veth peer name far",
        "address add 10.7.0.1/16 dev near",
        "address add fd07::1/64 dev near nodad",
        "link set near up",
        "link set far up",
    ):
        in_namespace.run(["ip", *command.split()])
    in_namespace.add_void("10.8.0.0/16")
    said: list[str] = []
    neighbours = watch(100_000, said.append)
    assert neighbours is not None
    for high in range(100):
        for low in range(1, 100):
            for network in ("127.0", "10.8", "10.99"):
                neighbours.note(f"{network}.{high}.{low}")
    assert not said
    for n in range(1, 100_000):
        neighbours.note(f"10.7.{n // 250}.{n % 250 + 2}") if n < 60_000 else None
        neighbours.note(f"fd07::{n:x}" if n < 0x10000 else f"fd07::{n // 0x10000:x}:{n % 0x10000:x}")
    assert ["ipv4" in said[0], "ipv6" in said[1]] == [True, True]
    assert len(said) == 2
