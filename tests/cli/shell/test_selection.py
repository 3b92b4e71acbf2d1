"""The selection of the hosts that the next command runs on."""

from __future__ import annotations

from pathlib import Path

import pytest

from multirsh.cli.shell.line import SelectionOperator
from multirsh.cli.shell.selection import Selection
from multirsh.errors import MultirshError
from multirsh.inventory import Inventory
from multirsh.model import Host


@pytest.fixture
def selection(tmp_path: Path) -> Selection:
    """web1-4 and db1 of a file that lists web5 as well."""
    file = tmp_path / "hosts.yaml"
    file.write_text(
        "hosts: ['web[1-5]', db1]\n"
        "groups: {web: {hosts: ['web[2-5]']}, odd: {hosts: [web1, web3, web5]}, all: {groups: [web, odd]}}\n"
    )
    inventory = Inventory.load(file)
    return Selection.of(inventory.select(exclude="web5"), inventory)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ("", "web1 web2 web3 web4 db1"),
        ("@web[3-4]", "web3 web4"),
        ("@db1,web1", "web1 db1"),
        ("@@odd", "web1 web3"),
        ("@odd", "web1 web3"),
        ("@@all", "web1 web2 web3 web4"),
        ("@web* -web2", "web1 web3 web4"),
        ("@web1 +db1 +@web", "web1 web2 web3 web4 db1"),
        ("@web1 @", "web1 web2 web3 web4 db1"),
        ("@web*!@odd", "web2 web4"),
    ],
)
def test_changes(selection: Selection, changes: str, names: str) -> None:
    for change in changes.split():
        selection = selection.changed(SelectionOperator(change[0]), change[1:])
    assert selection.names == tuple(names.split())
    assert selection.is_all == (len(names.split()) == 5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("@web5", "web5 is not in the hosts of this shell"),
        ("@mail9", "mail9 is not in the hosts of this shell.*-f, -w, -x and -g"),
        ("@wbe1", "did you mean web1"),
        ("@@wbe", "did you mean web"),
        ("-web*,db1", "no host would be selected"),
        ("@root@web1", "users and ports cannot be changed"),
        ("@web1:22", "users and ports cannot be changed"),
        ("@web[", "never closed"),
    ],
)
def test_selections_with_an_error(selection: Selection, change: str, words: str) -> None:
    with pytest.raises(MultirshError, match=words):
        selection.changed(SelectionOperator(change[0]), change[1:])


def test_without_a_file_the_hosts_are_the_names_of_w() -> None:
    selection = Selection.of([Host("a1"), Host("a2")], Inventory.load())
    assert selection.changed(SelectionOperator.SET, "a[1-1]").names == ("a1",)
    with pytest.raises(MultirshError, match="a group needs a hosts file"):
        selection.changed(SelectionOperator.SET, "@web")
