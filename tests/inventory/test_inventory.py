from __future__ import annotations

import gc
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.errors import InventoryError, MultirshError, NodeSetError, UsageError
from multirsh.inventory import Inventory, fold
from multirsh.model import Settings
from tests.inventory.reading import expression_texts, read

INVENTORY = read("groups: {all: {groups: [a, b]}, a: {hosts: [x, y]}, b: {hosts: [y, z]}}")


def test_members_come_once_and_in_order() -> None:
    assert [host.name for host in INVENTORY.members("all")] == ["x", "y", "z"]
    assert [host.name for host in INVENTORY.members("b")] == ["y", "z"]
    with pytest.raises(KeyError):
        INVENTORY.members("c")


def test_it_says_which_groups_a_host_is_in() -> None:
    assert INVENTORY.groups_of("y") == ("a", "b", "all")
    assert INVENTORY.groups_of("w") == ()
    assert list(INVENTORY.groups) == ["all", "a", "b"]
    assert INVENTORY.groups["all"].groups == ("a", "b")


def test_its_repr_is_short() -> None:
    assert repr(INVENTORY) == "<Inventory of 3 hosts and 3 groups from hosts.yaml>"
    assert repr(Inventory()) == "<Inventory of 0 hosts and 0 groups from no file>"


def test_reading_leaves_the_garbage_collector_as_it_was() -> None:
    assert gc.isenabled()
    with pytest.raises(Exception, match="no such file"):
        Inventory.load("/nowhere")
    assert gc.isenabled()


LISTED = read("""\
defaults: {user: deploy}
hosts: [db1, "web[01-12]", db2: {port: 2222}]
groups:
  web: {hosts: ["web[01-12]"]}
  db: {hosts: [db1, db2]}
  prod: {groups: [web, db]}
  rack1: {hosts: [web01, db1]}
  rack2: {hosts: [web02, db2]}
  empty: {hosts: []}
""")
UNLISTED = Inventory()


def folded(inventory: Inventory, **options: Any) -> str:
    return fold(host.name for host in inventory.select(**options))


@pytest.mark.parametrize(
    ("options", "hosts"),
    [
        ({}, "db[1-2],web[01-12]"),
        ({"all_hosts": True}, "db[1-2],web[01-12]"),
        ({"all_hosts": True, "nodes": "db1"}, "db[1-2],web[01-12]"),
        ({"nodes": "web[01-03]"}, "web[01-03]"),
        ({"nodes": ["db1", "web01"]}, "db1,web01"),
        ({"nodes": "web0*"}, "web[01-09]"),
        ({"nodes": "db?"}, "db[1-2]"),
        ({"nodes": "*[1-2]"}, "db[1-2],web[01-02,11-12]"),
        ({"nodes": "@db"}, "db[1-2]"),
        ({"nodes": "@rack[1-2]"}, "db[1-2],web[01-02]"),
        ({"nodes": "@rack*&@db"}, "db[1-2]"),
        ({"nodes": "@*"}, "db[1-2],web[01-12]"),
        ({"nodes": "@prod!@web"}, "db[1-2]"),
        ({"nodes": "@rack1^@db"}, "db2,web01"),
        ({"nodes": "*!web*,web05"}, "db[1-2],web05"),
        ({"nodes": "@web,@empty"}, "web[01-12]"),
        ({"groups": "db"}, "db[1-2]"),
        ({"groups": "rack[1-2]"}, "db[1-2],web[01-02]"),
        ({"groups": ["rack1", "rack2"]}, "db[1-2],web[01-02]"),
        ({"groups": "rack?,db"}, "db[1-2],web[01-02]"),
        ({"groups": "db", "nodes": "web07"}, "db[1-2],web07"),
        ({"exclude": "web*"}, "db[1-2]"),
        ({"exclude": ["web*", "db1"]}, "db2"),
        ({"nodes": "@prod", "exclude": "@web!web03"}, "db[1-2],web03"),
        ({"nodes": "web01", "exclude": "db1"}, "web01"),
        ({"pick": 99}, "db[1-2],web[01-12]"),
        ({"exclude": "mail*"}, "db[1-2],web[01-12]"),
        ({"nodes": "@web!mail*!@x*!@empty"}, "web[01-12]"),
        ({"nodes": "@db!zzz", "missing_ok": True}, "db[1-2]"),
        ({"exclude": "web*,zzz", "missing_ok": True}, "db[1-2]"),
        ({"nodes": "db1,,db2,"}, "db[1-2]"),
        ({"groups": "db,,rack[1, 2],"}, "db[1-2],web[01-02]"),
    ],
)
def test_a_selection_from_a_file(options: dict[str, Any], hosts: str) -> None:
    assert folded(LISTED, **options) == hosts


def test_all_hosts_are_also_those_in_no_group() -> None:
    some = read("hosts: [a, b, c]\ngroups: {few: {hosts: [a]}}")
    for options in ({"nodes": "@*"}, {"groups": "*"}, {"nodes": "@few,@*"}):
        assert folded(some, **options) == "a,b,c"
    assert folded(some, nodes="@*!a") == "b,c"
    assert folded(read("hosts: [a, b]"), nodes="@*") == "a,b"  # no group at all


def test_hosts_come_in_the_order_of_the_file() -> None:
    names = [host.name for host in LISTED.select(["db2", "web[02-03]", "db1"])]
    assert names == ["db1", "web02", "web03", "db2"]


@pytest.mark.parametrize(
    ("options", "source", "column", "message", "hint"),
    [
        ({"nodes": "db3"}, "-w", 1, "db3 is not in hosts.yaml", "did you mean db"),
        ({"nodes": "zzzzzz"}, "-w", 1, "zzzzzz is not in hosts.yaml", "drop -f"),
        ({"nodes": "web01,web[11-15]"}, "-w", 7, "web[13-15] are not in hosts.yaml", "drop -f"),
        ({"nodes": "x[1-100]"}, "-w", 1, "x[1-20] and 80 more are not in", None),
        ({"nodes": "prod"}, "-w", 1, "prod is not in hosts.yaml", "@prod is a group"),
        ({"nodes": "web01!db9"}, "-w", 7, "db9 is not in", "--missing-ok ignores excluded names"),
        ({"nodes": "mail*"}, "-w", 1, "no host of hosts.yaml matches mail*", None),
        ({"nodes": "@prd"}, "-w", 1, "there is no group prd in hosts.yaml", "did you mean prod?"),
        ({"nodes": "@zzzzz"}, "-w", 1, "there is no group zzzzz", "its groups are web, db, prod, rack1"),
        ({"nodes": "@x*"}, "-w", 1, "no group of hosts.yaml matches x*", None),
        ({"groups": "wbe"}, "-g", 1, "there is no group wbe", "did you mean web?"),
        ({"groups": "db,wbe"}, "-g", 4, "there is no group wbe", "did you mean web?"),
        ({"exclude": "web13"}, "-x", 1, "web13 is not in", "--missing-ok ignores excluded names"),
        ({"exclude": "wbe01"}, "-x", 1, "wbe01 is not in", "did you mean web01? --missing-ok ignores"),
        ({"nodes": "@web!zzz*", "exclude": "web01,zzz"}, "-x", 7, "zzz is not in", "--missing-ok"),
        ({"nodes": "web13", "missing_ok": True}, "-w", 1, "web13 is not in", None),
        ({"exclude": "@prd", "missing_ok": True}, "-x", 1, "there is no group prd", None),
        ({"exclude": "@prd"}, "-x", 1, "there is no group prd", "did you mean prod?"),
        ({"exclude": "root@db1"}, "-x", 1, "no meaning in -x", None),
        ({"nodes": "a@db1,b@db1"}, "-w", 7, "db1 was given another user or port before", None),
    ],
)
def test_what_is_not_in_the_file_is_an_error(
    options: dict[str, Any], source: str, column: int, message: str, hint: str | None
) -> None:
    with pytest.raises(NodeSetError) as caught:
        LISTED.select(**options)
    assert (caught.value.source, caught.value.column) == (source, column)
    assert message in caught.value.message
    assert hint is None or hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    "options",
    [
        {"nodes": "@empty"},
        {"groups": "empty"},
        {"exclude": "*"},
        {"nodes": "db1!db1"},
        {"pick": 0},
        {"pick": -1},
    ],
)
def test_nothing_selected_is_an_error(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        LISTED.select(**options)


def test_a_short_name_suggests_the_long_one() -> None:
    with pytest.raises(NodeSetError, match=r"did you mean web01\.example\.com"):
        read('hosts: ["web[01-02].example.com"]').select("web01")


def test_a_login_stands_in_place_of_the_files() -> None:
    db1, web01, web02, db2 = LISTED.select(["root@db?", "web[01-02]:99", "bob@web02"])
    assert db1.settings == Settings(user="root")
    assert db2.settings == Settings(user="root", port=2222)
    assert web01.settings == Settings(user="deploy", port=99)
    assert web02.settings == Settings(user="bob", port=99)
    assert LISTED.by_name["db1"].settings == Settings(user="deploy")


def test_hosts_given_the_same_login_share_their_settings() -> None:
    hosts = LISTED.select("root@web*")
    assert len(hosts) == 12
    assert len({id(host.settings) for host in hosts}) == 1


@pytest.mark.parametrize(
    ("options", "hosts"),
    [
        ({"nodes": "b,a,b"}, "b a"),
        ({"nodes": ["b[1-2]", "a"]}, "b1 b2 a"),
        ({"nodes": "a[1-4]!a2&a[2-9]"}, "a3 a4"),
        ({"nodes": "a[1-4]", "exclude": "a[2-3]"}, "a1 a4"),
        ({"nodes": "a[1-4],b", "exclude": "a*"}, "b"),
        ({"nodes": "a,b", "exclude": "c*"}, "a b"),
        ({"nodes": "a,b!c", "missing_ok": True}, "a b"),
        ({"nodes": "a,b", "exclude": "b,c", "missing_ok": True}, "a"),
        ({"nodes": "rack[a-c]!rackb"}, "racka rackc"),
        ({"nodes": "::1,[fe80::1%eth0]"}, "::1 fe80::1%eth0"),
    ],
)
def test_without_a_file_names_are_hosts_in_the_order_of_mention(options: dict[str, Any], hosts: str) -> None:
    assert [host.name for host in UNLISTED.select(**options)] == hosts.split()


def test_without_a_file_a_name_may_have_a_login() -> None:
    hosts = UNLISTED.select("ann@web[1-2]:22,[::1]:2222,db")
    assert [(host.name, host.settings.user, host.settings.port) for host in hosts] == [
        ("web1", "ann", 22),
        ("web2", "ann", 22),
        ("::1", None, 2222),
        ("db", None, None),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no hosts are named; give a hosts file with -f or names with -w"),
        ({"groups": "web"}, "-g needs a hosts file"),
        ({"all_hosts": True}, "-a needs a hosts file"),
        ({"nodes": "web*"}, "-w:1: a wildcard needs a hosts file; name one with -f"),
        ({"nodes": "a,@web"}, "-w:3: a group needs a hosts file; name one with -f"),
        ({"nodes": "a!a"}, "no host is selected"),
        ({"nodes": "a", "exclude": "a"}, "no host is selected"),
        (
            {"nodes": "a", "exclude": "b"},
            "-x:1: b is not in -w; --missing-ok ignores excluded names that do not",
        ),
        ({"nodes": "web[1-3]!wbe2"}, "-w:10: wbe2 is not in -w; did you mean web2? --missing-ok ignores"),
        ({"nodes": "a", "exclude": "@b"}, "-x:1: there is no group b in -w; a group needs a hosts file"),
        ({"nodes": "a", "exclude": "a:22"}, "-x:1: a user or a port has no meaning in -x"),
    ],
)
def test_without_a_file_these_are_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MultirshError) as caught:
        UNLISTED.select(**options)
    assert str(caught.value).startswith(message)


@given(st.integers(1, 20), st.integers())
def test_some_are_picked_at_random_in_their_order(pick: int, seed: int) -> None:
    picked = LISTED.select(pick=pick, rng=random.Random(seed))
    assert picked == LISTED.select(pick=pick, rng=random.Random(seed))
    assert len(picked) == min(pick, len(LISTED.hosts))
    assert list(picked) == [host for host in LISTED.hosts if host in picked]


def test_picking_reaches_every_host() -> None:
    rng = random.Random(1)
    assert len({LISTED.select(pick=1, rng=rng)[0].name for _ in range(300)}) == len(LISTED.hosts)


@given(expression_texts, expression_texts)
def test_any_expressions_make_a_selection_or_an_error(nodes: str, exclude: str) -> None:
    for inventory in (LISTED, UNLISTED):
        try:
            hosts = inventory.select(nodes, exclude=exclude)
        except (InventoryError, UsageError) as error:
            hosts = ()
            words = str(error)
            assert words.isprintable()
        assert len({host.name for host in hosts}) == len(hosts)
