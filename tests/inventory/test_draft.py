from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.inventory.draft import Group, GroupGraph
from multirsh.model import NO_SETTINGS, NO_VARS
from tests.inventory.reading import place, read, refused


@pytest.mark.parametrize(
    ("said", "user"),
    [
        ("host group parent defaults", "host"),
        ("group parent defaults", "group"),
        ("parent defaults", "parent"),
        ("defaults", "defaults"),
        ("", None),
    ],
)
def test_the_nearest_word_wins(said: str, user: str | None) -> None:
    def user_of(owner: str) -> str:
        return f"user: {owner}" if owner in said.split() else "port: 1"

    inventory = read(
        f"defaults: {{{user_of('defaults')}}}\n"
        f"hosts: [h: {{{user_of('host')}}}]\n"
        f"groups:\n  parent: {{groups: [group], {user_of('parent')}}}\n"
        f"  group: {{hosts: [h], {user_of('group')}}}\n"
    )
    assert inventory.by_name["h"].settings.user == user


def test_settings_and_variables_are_merged_key_by_key() -> None:
    inventory = read(
        "defaults: {user: d, port: 1, vars: {a: d, b: d, c: d}}\n"
        "hosts: [h: {user: h, vars: {a: h}}]\n"
        "groups: {g: {hosts: [h], identity: g, vars: {b: g}}}\n"
    )
    (host,) = inventory.hosts
    assert (host.settings.user, host.settings.port, host.settings.identity) == ("h", 1, "g")
    assert dict(host.vars) == {"a": "h", "b": "g", "c": "d"}


def test_equal_settings_and_variables_are_one_object() -> None:
    inventory = read(
        "hosts:\n- a: {user: x, vars: {v: 1}}\n- b: {user: x, vars: {v: 1}}\n"
        "- c: {user: x, vars: {v: true}}\n- d\n"
        "groups: {g: {hosts: [e], user: x, vars: {v: 1}}}"
    )
    a, b, c, d, e = inventory.hosts
    assert a.settings is b.settings is c.settings is e.settings
    assert a.vars is b.vars is e.vars
    assert c.vars is not a.vars
    assert c.vars["v"] is True
    assert d.settings is NO_SETTINGS
    assert d.vars is NO_VARS


def test_variables_cannot_be_changed() -> None:
    (host,) = read("hosts: [a: {vars: {v: 1}}]").hosts
    with pytest.raises(TypeError):
        host.vars["v"] = 2  # type: ignore[index]  # the point of the test


TWO_GROUPS = "groups:\n  a: {hosts: [h], user: x}\n  b: {hosts: [h], user: y}\n"


def test_groups_equally_near_that_disagree_are_an_error_with_both_places() -> None:
    error = refused(TWO_GROUPS)
    assert place(error) == (3, 25)
    assert error.message == "user of h is y here and x at hosts.yaml:2:25"
    assert "set it for the host itself" in (error.hint or "")


def test_parents_equally_near_that_disagree_are_an_error() -> None:
    error = refused(
        "groups:\n  a: {groups: [g], vars: {v: 1}}\n  b: {groups: [g], vars: {v: 2}}\n  g: {hosts: [h]}\n"
    )
    assert place(error) == (3, 30)
    assert "v of h is 2 here and 1 at hosts.yaml:2:30" in error.message


def test_groups_may_agree_or_be_overruled_by_what_is_nearer() -> None:
    assert read(TWO_GROUPS.replace("user: y", "user: x")).hosts[0].settings.user == "x"
    assert read(TWO_GROUPS + "hosts: [h: {user: z}]").hosts[0].settings.user == "z"


def test_a_group_reached_by_two_ways_is_as_near_as_the_shorter() -> None:
    error = refused(
        "groups:\n  top: {groups: [mid, low], user: t}\n"
        "  mid: {groups: [low], user: m}\n  low: {hosts: [h]}\n"
    )
    assert error.message == "user of h is m here and t at hosts.yaml:2:35"


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("- h: {user: a}\n- h: {user: b}", (3, 13), "user of h is b here and a at hosts.yaml:2:13"),
        ("- h: {address: a}\n- h: {address: b}", (3, 16), "address of h is b here and a at hosts.yaml:2:16"),
        ("- h[1-2]: {port: 1}\n- h2: {port: 2}", (3, 14), "port of h2 is 2 here and 1 at hosts.yaml:2:18"),
        (
            "- h: {vars: {v: 1}}\n- h: {vars: {v: true}}",
            (3, 17),
            "v of h is True here and 1 at hosts.yaml:2:17",
        ),
    ],
)
def test_a_host_listed_twice_that_contradicts_itself_is_an_error(
    text: str, where: tuple[int, int], message: str
) -> None:
    error = refused("hosts:\n" + text)
    assert place(error) == where
    assert message == error.message


def test_a_host_listed_twice_is_one() -> None:
    inventory = read("hosts:\n- b\n- h: {user: a}\n- h\n- h: {port: 1}\n- h: {user: a}\n- b")
    assert [host.name for host in inventory.hosts] == ["b", "h"]
    assert (inventory.hosts[1].settings.user, inventory.hosts[1].settings.port) == ("a", 1)


def test_several_files_are_one() -> None:
    inventory = read(
        "hosts: [b]\ngroups: {g: {hosts: [x], user: u}}",
        "defaults: {port: 1}\nhosts: [a, b: {user: v}]\ngroups: {g: {hosts: [b]}, all: {groups: [g]}}",
    )
    assert [host.name for host in inventory.hosts] == ["b", "x", "a"]
    assert [(host.settings.user, host.settings.port) for host in inventory.hosts] == [
        ("v", 1),
        ("u", 1),
        (None, 1),
    ]
    assert inventory.groups["g"].hosts == ("x", "b")
    assert inventory.groups_of("b") == ("g", "all")


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("defaults: {user: b}", "user of defaults is b here and a at hosts.yaml:1:18"),
        ("hosts: [h: {port: 2}]", "port of h is 2 here and 1 at hosts.yaml:2:19"),
        ("groups: {g: {user: y}}", "user of the group g is y here and x at hosts.yaml:3:20"),
    ],
)
def test_files_that_contradict_each_other_are_an_error(second: str, message: str) -> None:
    first = "defaults: {user: a}\nhosts: [h: {port: 1}]\ngroups: {g: {user: x}}"
    assert message in refused(first, second).message


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"a": "a"}, "a > a"),
        ({"a": "b", "b": "a"}, "a > b > a"),
        ({"a": "b", "b": "c", "c": "b"}, "b > c > b"),
    ],
)
def test_a_group_that_contains_itself_is_an_error(groups: dict[str, str], message: str) -> None:
    lines = "".join(f"  {name}: {{groups: [{inner}]}}\n" for name, inner in groups.items())
    error = refused("hosts: [h]\ngroups:\n" + lines)
    rotations = message.split(" > ")[:-1]
    cycles = [" > ".join([*rotations[at:], *rotations[:at], rotations[at]]) for at in range(len(rotations))]
    assert any(error.message == f"a group cannot contain itself: {cycle}" for cycle in cycles)
    assert error.column == 16
    closing, inner = error.message.removeprefix("a group cannot contain itself: ").split(" > ")[-2:]
    assert groups[closing] == inner
    assert error.line == 3 + list(groups).index(closing)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_groups_without_a_cycle_are_let_in_and_no_others(edges: list[tuple[int, int]]) -> None:
    inner = {outer: sorted({b for a, b in edges if a == outer}) for outer in range(6)}
    lines = "".join(
        f"  g{outer}: {{groups: [{','.join(f'g{n}' for n in names)}]}}\n" for outer, names in inner.items()
    )
    text = "hosts: [h]\ngroups:\n" + lines
    reach = {outer: set(names) for outer, names in inner.items()}
    for middle, outer in itertools.product(range(6), repeat=2):
        if middle in reach[outer]:
            reach[outer] |= reach[middle]
    if any(outer in names for outer, names in reach.items()):
        assert "contain itself" in refused(text).message
    else:
        assert len(read(text).groups) == 6


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
