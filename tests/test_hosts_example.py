"""``hosts.example.yaml`` means what its comments say."""

from __future__ import annotations

from pathlib import Path

import pytest

from multirsh.inventory import Inventory, expand, fold
from multirsh.model import HostKeyPolicy, SourcePort, TransportName

INVENTORY = Inventory.load(Path(__file__).parents[1] / "hosts.example.yaml")


def test_its_hosts_are_all_there_in_order() -> None:
    listed = (
        "bastion.example.com,web[01-12].example.com,node[1-9/2],rack[1-2]blade[1-3,7],app[01-03],"
        "2001:db8::17,fe80::1%eth0,010,db1,cache[1-4],scratch,db2,sw[1-4]"
    )
    assert [host.name for host in INVENTORY.hosts] == expand(listed)


def test_the_host_with_settings_of_its_own() -> None:
    db1 = INVENTORY.by_name["db1"]
    assert db1.target == "db1.internal.example.com"
    assert (db1.settings.user, db1.settings.port) == ("postgres", 2222)
    assert dict(db1.vars) == {"role": "primary", "site": "hamburg", "tier": "none"}


def test_the_host_that_only_a_group_names() -> None:
    db2 = INVENTORY.by_name["db2"]
    assert (db2.target, db2.settings.user, db2.settings.port) == ("db2", "dba", 22)
    assert INVENTORY.groups_of("db2") == ("db", "prod")


def test_the_range_with_an_address_for_each() -> None:
    caches = [INVENTORY.by_name[name] for name in expand("cache[1-4]")]
    assert [host.address for host in caches] == expand("10.0.7.[11-14]")
    assert {host.settings.jump for host in caches} == {"admin@bastion.example.com:2200"}
    assert len({id(host.settings) for host in caches}) == 1


def test_groups_and_defaults() -> None:
    web = INVENTORY.by_name["web12.example.com"]
    assert (web.settings.user, web.settings.port, web.settings.identity) == ("www", 22, "~/.ssh/fleet")
    assert dict(web.vars) == {"site": "hamburg", "tier": "front"}
    switch = INVENTORY.by_name["sw1"].settings
    assert (switch.transport, switch.source_port) == (TransportName.RSH, SourcePort.RESERVED)
    assert INVENTORY.by_name["scratch"].settings.host_keys is HostKeyPolicy.ACCEPT_NEW
    assert dict(INVENTORY.by_name["app02"].vars) == {"site": "berlin"}


@pytest.mark.parametrize(
    ("nodes", "hosts"),
    [
        ("@prod!web03*", "db[1-2],web[01-02,04-12].example.com"),
        ("rack1*,@old&sw?", "sw[1-4]"),
        ("*blade7", "rack[1-2]blade7"),
    ],
)
def test_selections_from_it(nodes: str, hosts: str) -> None:
    assert fold(host.name for host in INVENTORY.select(nodes)) == hosts
