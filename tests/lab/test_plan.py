"""The fleet's names, groups and places."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.lab.plan import (
    DEFAULT_PORT,
    MAX_HOSTS,
    MAX_PORT,
    ONE_ADDRESS,
    Addressing,
    choose_addressing,
    choose_ports,
    plan_endpoints,
    plan_roster,
)
from multirsh.ports.sockets import Endpoint

COUNTS = st.integers(1, 2000)


def test_ten_hosts_are_the_fleet_of_the_readme() -> None:
    roster = plan_roster(10)
    assert roster.names == (
        *("web01", "web02", "web03", "web04", "web05", "web06"),
        *("db1", "db2", "cache1", "bastion1"),
    )
    assert {name: group.hosts or group.groups for name, group in roster.groups.items()} == {
        "web": "web[01-06]",
        "db": "db[1-2]",
        "cache": "cache1",
        "bastion": "bastion1",
        "prod": ("web", "db", "cache"),
    }


def test_one_host_is_a_web_server() -> None:
    roster = plan_roster(1)
    assert roster.names == ("web01",)
    assert {name: group.hosts or group.groups for name, group in roster.groups.items()} == {
        "web": "web01",
        "prod": ("web",),
    }


def test_numbers_are_as_wide_as_the_largest() -> None:
    roster = plan_roster(500)
    assert roster.groups["web"].hosts == "web[001-334]"
    assert {"web001", "web334", "db001", "db110", "cache01", "cache55", "bastion1"} <= set(roster.names)


@given(COUNTS)
def test_every_host_has_its_own_name_and_is_in_one_group(count: int) -> None:
    roster = plan_roster(count)
    assert len(set(roster.names)) == count
    assert set(roster.names).isdisjoint(roster.groups)
    inner = {name: group for name, group in roster.groups.items() if group.hosts}
    assert all(any(name.startswith(role) for role in inner) for name in roster.names)
    assert set(roster.groups["prod"].groups) == inner.keys() - {"bastion"}


@pytest.mark.parametrize("count", [0, -1, MAX_HOSTS + 1])
def test_a_number_of_hosts_that_has_no_addresses_is_an_error(count: int) -> None:
    with pytest.raises(ValueError, match="a lab has 1 to"):
        plan_roster(count)


@given(COUNTS, st.integers(1, MAX_PORT))
def test_each_host_has_its_own_address_on_one_port(count: int, port: int) -> None:
    endpoints = plan_endpoints(count, addressing=Addressing.ADDRESSES, port=port)
    assert len(endpoints) == len(set(endpoints)) == count
    network = ipaddress.ip_network("127.77.0.0/16")
    for endpoint in endpoints:
        address = ipaddress.ip_address(endpoint.address)
        assert address in network
        assert address.packed[3] not in {0, 255}
        assert endpoint.port == port


def test_the_largest_lab_fits_its_network() -> None:
    last = plan_endpoints(MAX_HOSTS, addressing=Addressing.ADDRESSES, port=1)[-1]
    assert last == Endpoint("127.77.255.254", 1)


@given(COUNTS, st.integers(1, MAX_PORT))
def test_with_one_address_each_host_has_its_own_port(count: int, port: int) -> None:
    if port + count - 1 > MAX_PORT:
        with pytest.raises(ValueError, match="past 65535"):
            plan_endpoints(count, addressing=Addressing.PORTS, port=port)
        return
    endpoints = plan_endpoints(count, addressing=Addressing.PORTS, port=port)
    assert endpoints == tuple(Endpoint(ONE_ADDRESS, port + index) for index in range(count))


def test_port_0_is_left_to_the_kernel_for_each_host() -> None:
    assert plan_endpoints(2, addressing=Addressing.PORTS, port=0) == (Endpoint(ONE_ADDRESS, 0),) * 2


@pytest.mark.parametrize(
    ("forced", "has_range", "chosen"),
    [
        (None, True, Addressing.ADDRESSES),
        (None, False, Addressing.PORTS),
        (Addressing.PORTS, True, Addressing.PORTS),
        (Addressing.ADDRESSES, False, Addressing.ADDRESSES),
    ],
)
def test_addresses_are_used_if_there_are_some_unless_ports_are_chosen(
    forced: Addressing | None,
    has_range: bool,  # noqa: FBT001 - a table's column
    chosen: Addressing,
) -> None:
    assert choose_addressing(forced=forced, has_range=has_range) is chosen


def test_only_the_default_port_is_replaced_by_a_free_one() -> None:
    assert choose_ports(None) == (DEFAULT_PORT, 0)
    assert choose_ports(2200) == (2200,)
    assert choose_ports(0) == (0,)
