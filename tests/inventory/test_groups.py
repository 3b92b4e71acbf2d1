from __future__ import annotations

import pytest

from multirsh.inventory.groups import Group, GroupGraph

GRAPH = GroupGraph.of(
    [
        Group("all", ("lone",), ("prod", "web")),
        Group("prod", (), ("web", "db")),
        Group("web", ("w1", "w2")),
        Group("db", ("d1", "w2")),
    ]
)


def test_hosts_of_a_group_are_those_inside_it_too() -> None:
    assert list(GRAPH.hosts_of("web")) == ["w1", "w2"]
    assert set(GRAPH.hosts_of("prod")) == {"w1", "w2", "d1"}
    assert set(GRAPH.hosts_of("all")) == {"lone", "w1", "w2", "d1"}


def test_an_unknown_group_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        list(GRAPH.hosts_of("none"))


def test_levels_go_upwards_by_the_shorter_way() -> None:
    assert list(GRAPH.levels(["web"])) == [("web",), ("all", "prod")]
    assert list(GRAPH.levels(["db"])) == [("db",), ("prod",), ("all",)]
    assert list(GRAPH.levels([])) == []


def test_groups_of_a_host_come_nearest_first() -> None:
    assert GRAPH.groups_of("w2") == ("web", "db", "all", "prod")
    assert GRAPH.groups_of("nobody") == ()


def test_hosts_in_the_same_groups_share_the_tuple() -> None:
    graph = GroupGraph.of([Group("a", ("x", "y")), Group("b", ("x", "y"))])
    assert graph.listed_in["x"] == ("a", "b")
    assert graph.listed_in["x"] is graph.listed_in["y"]


def test_a_long_chain_of_groups_is_walked() -> None:
    length = 5_000
    chain = [Group(f"g{number}", (), (f"g{number + 1}",)) for number in range(length)]
    graph = GroupGraph.of([*chain, Group(f"g{length}", ("h",))])
    assert list(graph.hosts_of("g0")) == ["h"]
    assert len(graph.groups_of("h")) == length + 1
