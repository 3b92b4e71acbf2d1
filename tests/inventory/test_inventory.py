from __future__ import annotations

import gc

import pytest

from multirsh.inventory import Inventory
from tests.inventory.reading import read

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
