"""The files that describe a fleet, read back by the programs that use them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import asyncssh
import yaml

from multirsh.lab.plan import Addressing, LabPlan, plan_endpoints, plan_roster
from multirsh.lab.texts import hosts_yaml, known_hosts, ssh_config
from tests.servers.requirement import program

AWKWARD = Path("/tmp/with space/100%n/key")


def plan(count: int, addressing: Addressing, port: int) -> LabPlan:
    return LabPlan(
        roster=plan_roster(count), endpoints=plan_endpoints(count, addressing=addressing, port=port)
    )


def test_the_hosts_file_has_a_shared_port_once() -> None:
    text = hosts_yaml(plan(10, Addressing.ADDRESSES, 7722), user="ann", identity=AWKWARD)
    document = yaml.safe_load(text)
    assert document["defaults"] == {"user": "ann", "port": 7722, "identity": str(AWKWARD)}
    assert document["hosts"][0] == {"web01": {"address": "127.77.0.1"}}
    assert len(document["hosts"]) == 10
    assert document["groups"]["web"] == {"hosts": ["web[01-06]"]}
    assert document["groups"]["prod"] == {"groups": ["web", "db", "cache"]}


def test_the_hosts_file_has_each_port_if_they_differ() -> None:
    text = hosts_yaml(plan(3, Addressing.PORTS, 7722), user="ann", identity=AWKWARD)
    document = yaml.safe_load(text)
    assert "port" not in document["defaults"]
    assert document["hosts"][2] == {"web03": {"address": "127.0.0.1", "port": 7724}}


def test_a_user_name_of_digits_stays_text() -> None:
    text = hosts_yaml(plan(1, Addressing.ADDRESSES, 1), user="1000", identity=AWKWARD)
    assert yaml.safe_load(text)["defaults"]["user"] == "1000"


def test_ssh_understands_its_configuration(tmp_path: Path) -> None:
    text = ssh_config(
        plan(4, Addressing.PORTS, 7722), user="ann", identity=AWKWARD, known_hosts=AWKWARD.with_name("known")
    )
    file = tmp_path / "config"
    file.write_text(text)
    told = subprocess.run(
        [program("ssh", package="openssh-client"), "-G", "-F", file, "web02"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert {"user ann", "hostname 127.0.0.1", "port 7723", "identitiesonly yes"} <= set(told)
    assert "stricthostkeychecking true" in told
    # ssh -G expands what it has to open at once, and keys only when it opens them.
    assert "identityfile /tmp/with space/100%%n/key" in told
    assert "userknownhostsfile /tmp/with space/100%n/known" in told


def test_known_hosts_are_found_by_address_and_port() -> None:
    keys = {name: asyncssh.generate_private_key("ssh-ed25519") for name in ("web01", "web02")}
    lines = {name: key.export_public_key().decode().strip() for name, key in keys.items()}
    text = known_hosts(plan(2, Addressing.ADDRESSES, 7722), keys=lines)
    trusted, *_ = asyncssh.match_known_hosts(text.encode(), "127.77.0.2", "127.77.0.2", 7722)
    assert {key.public_data for key in trusted} == {keys["web02"].public_data}


def test_port_22_needs_no_brackets() -> None:
    text = known_hosts(plan(1, Addressing.ADDRESSES, 22), keys={"web01": "ssh-ed25519 AAAA"})
    assert text == "127.77.0.1 ssh-ed25519 AAAA\n"
