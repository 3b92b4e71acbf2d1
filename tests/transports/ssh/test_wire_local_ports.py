"""SSH from local ports of our choosing, and from few of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from multirsh.engine.fleet import Fleet
from multirsh.engine.options import Limits, Timeouts
from multirsh.events import Output
from multirsh.model import ClosedBy, Host, SourcePort, Status
from tests.conftest import StartServer
from tests.fleets import addresses, fleet_of, hosts_on, known, run_all, ssh_options
from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

TELL_THE_SOURCE = "set -- $SSH_CLIENT; echo $1 $2"
"""sshd(8): the client's address, its port, and ours."""


async def test_a_host_may_ask_for_a_reserved_port(
    sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path
) -> None:
    names = addresses(20)
    hosts = hosts_on(sshd, names, source_port=SourcePort.RESERVED)
    fleet = fleet_of(hosts, ssh_options(known(sshd, names, tmp_path)))
    finished, run, events = await run_all(fleet, TELL_THE_SOURCE)
    told = {event.host: int(event.data.split()[1]) for event in events if isinstance(event, Output)}
    assert told == {name: ending.local_port for name, ending in finished.items()}
    assert set(told.values()) == set(range(1004, 1024))
    assert run.ports.closed_by == {ClosedBy.REMOTE: 20}
    assert not in_module_namespace.client_side([sshd.port])


async def test_a_wait_for_a_port_is_no_part_of_the_connect_timeout(
    sshd_here: StartServer, tmp_path: Path
) -> None:
    """Four hosts behind one address, as behind a NAT, and one port: the last waits longer than -t."""
    with Namespace(local_ports=(40000, 40000)) as narrow, narrow.entered():
        server = sshd_here(namespace=narrow)
        names = ["a", "b", "c", "d"]
        hosts = [replace(host, address="127.0.0.1") for host in hosts_on(server, names)]
        ssh = ssh_options(known(server, ["127.0.0.1"], tmp_path))
        finished, run, _ = await run_all(fleet_of(hosts, ssh, connect_s=3), "sleep 1.2")
        assert {name: ending.status for name, ending in finished.items()} == dict.fromkeys(names, Status.OK)
        assert {ending.local_port for ending in finished.values()} == {40000}
        assert (run.ports.peak, run.ports.waited) == (1, 3)
        assert run.ports.longest_wait > 3
        assert not narrow.client_side([server.port])


async def test_all_leave_from_the_address_that_was_chosen(
    sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path
) -> None:
    names = addresses(3)
    fleet = Fleet(
        hosts_on(sshd, names),
        limits=Limits(),
        timeouts=Timeouts(),
        ssh=ssh_options(known(sshd, names, tmp_path), "BindAddress=127.4.4.4"),
        bind_address="127.5.5.5",
    )
    _, _, events = await run_all(fleet, TELL_THE_SOURCE)
    assert [event.data.split()[0] for event in events if isinstance(event, Output)] == [b"127.5.5.5"] * 3


async def test_two_runs_of_a_fleet_share_its_ports_and_not_its_counts(
    sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path
) -> None:
    host = Host("h", address="127.0.0.1", settings=hosts_on(sshd, ["h"])[0].settings)
    fleet = fleet_of([host], ssh_options(known(sshd, ["127.0.0.1"], tmp_path)))
    async with fleet:
        first, second = fleet.run("true"), fleet.run("true")
        await first.gather()
        await second.gather()
        assert [run.statistics().closed_by for run in (first, second)] == [{ClosedBy.REMOTE: 1}] * 2
