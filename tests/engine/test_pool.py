"""Connections that stay open between runs, to real sshd in a namespace where TIME_WAIT shows."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from multirsh.engine.fleet import Fleet
from multirsh.engine.options import Limits, RetryPolicy, Timeouts
from multirsh.engine.resources import Descriptors
from multirsh.events import Event, HostFinished, HostStarted, Output, RunFinished
from multirsh.files.options import CopyOptions
from multirsh.model import ClosedBy, Host, HostKeyPolicy, Status
from multirsh.ports.ledger import PortBudget
from multirsh.ports.socket_table import read_table
from multirsh.ports.sockets import TcpState
from tests.conftest import StartHooked, StartServer
from tests.fleets import SshServer, addresses, endings, hosts_on, known, ssh_options
from tests.servers.daemon import Daemon
from tests.servers.hooked import AtClose, Conduct, goes_mute
from tests.servers.namespace import Namespace
from tests.servers.relay import SlowRelay
from tests.servers.rshd import PORT as RSH_PORT
from tests.servers.rshd import RshServer
from tests.transports.rsh.rsh_fleets import HERE, rsh_host
from tests.waiting import HANG_GUARD_S

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

LOGIN = r"Accepted publickey for"


class Kept:
    """A fleet that keeps its connections, and what it warned of."""

    def __init__(
        self,
        server: SshServer,
        names: Sequence[str],
        folder: Path,
        *,
        hosts: Sequence[Host] | None = None,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        overrides: Sequence[str] = (),
    ) -> None:
        self.warnings: list[str] = []
        self.fleet = Fleet(
            hosts_on(server, names) if hosts is None else hosts,
            limits=limits or Limits(),
            timeouts=timeouts or Timeouts(connect=HANG_GUARD_S, close=HANG_GUARD_S, kill_after=0.2),
            ssh=ssh_options(known(server, names, folder), *overrides),
            keep=True,
            warn=self.warnings.append,
        )


async def finished_run(
    fleet: Fleet, command: str, **course: object
) -> tuple[dict[str, HostFinished], RunFinished]:
    events = [event async for event in fleet.run(command, **course).events()]  # type: ignore[arg-type]  # of the tests
    last = events[-1]
    assert isinstance(last, RunFinished)
    return endings(events), last


def sessions(server: Daemon) -> set[int]:
    """The processes of the server that hold a client's connection, or wait on one that does."""
    return server.processes()


async def until_lost(fleet: Fleet, left: int) -> None:
    async with asyncio.timeout(HANG_GUARD_S):
        while len(fleet.connections()) != left:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)


async def test_a_second_run_does_not_log_in_and_the_remote_ends_close_at_the_end(
    sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
) -> None:
    server = sshd_here()
    names = addresses(5)
    kept = Kept(server, names, tmp_path)
    async with kept.fleet as fleet:
        first, first_run = await finished_run(fleet, "echo one")
        second, second_run = await finished_run(fleet, "exit 3")
        assert server.log.count(LOGIN) == 5
        assert {each.host for each in fleet.connections()} == set(names)
        assert {each.user for each in fleet.connections()} == {server.user}
        for name in names:
            assert (first[name].status, second[name].status) == (Status.OK, Status.FAILED)
            assert (first[name].closed_by, second[name].closed_by) == (None, None)
            assert first[name].local_port == second[name].local_port is not None
            assert first[name].seconds.auth is not None
            assert (second[name].seconds.connect, second[name].seconds.auth) == (None, None)
            assert second[name].seconds.run is not None
        for run in (first_run, second_run):
            assert run.ports is not None
            assert (run.ports.peak, dict(run.ports.closed_by), run.ports.time_wait_left) == (5, {}, 0)
        closed = await fleet.release(fleet.hosts[:2])
        assert closed == dict.fromkeys(names[:2], ClosedBy.REMOTE)
        assert {each.host for each in fleet.connections()} == set(names[2:])
    assert not kept.warnings
    assert not in_namespace.client_side([server.port])


async def test_a_second_command_costs_two_round_trips(
    sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
) -> None:
    server = sshd_here()
    with SlowRelay(server.port, delay_s=0.02, namespace=in_namespace) as relay:
        name = "127.0.0.1"
        hosts = hosts_on(server, [name], port=relay.port, host_keys=HostKeyPolicy.OFF)
        kept = Kept(server, [name], tmp_path, hosts=hosts)
        async with kept.fleet as fleet:
            await finished_run(fleet, "true")
            # Its channel is closed by both ends then, so nothing of the first command is counted below.
            await asyncio.to_thread(server.log.wait_for, "Close session")
            of_login = relay.turns
            finished, _ = await finished_run(fleet, "echo once more")
            assert finished[name].status is Status.OK
            of_second = relay.turns - of_login
        # To open a channel, and to ask for the command. To close the channel is said, and not waited for.
        assert of_second <= 2 + 1
        assert of_login >= 3 * of_second


async def test_a_connection_that_died_between_runs_is_opened_anew_and_reported(
    sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
) -> None:
    server = sshd_here()
    names = addresses(4)
    kept = Kept(server, names, tmp_path)
    async with kept.fleet as fleet:
        await finished_run(fleet, "true", hosts=fleet.hosts[:3])
        for pid in sessions(server):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await until_lost(fleet, 0)
        assert not kept.warnings
        finished, run = await finished_run(fleet, "true")
        assert {end.status for end in finished.values()} == {Status.OK}
        assert {end.attempts for end in finished.values()} == {1}
        assert kept.warnings == ["connections lost meanwhile, opened anew: 127.1.0.[1-3]"]
        assert run.ports is not None
        assert (run.ports.peak, run.ports.closed_by) == (4, {})
        assert server.log.count(LOGIN) == 3 + 4
    assert not in_namespace.client_side([server.port])


async def test_a_dead_connection_noticed_at_the_command_costs_an_attempt_but_not_the_run(
    sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
) -> None:
    server = sshd_here()
    (name,) = addresses(1)
    kept = Kept(server, [name], tmp_path)
    mark = tmp_path / "ran"
    async with kept.fleet as fleet:
        await finished_run(fleet, "true")
        old = sessions(server)
        for pid in old:
            os.kill(pid, signal.SIGSTOP)
        events: list[Event] = []
        async for event in fleet.run(f"echo x >>{mark}").events():
            events.append(event)
            if isinstance(event, HostStarted) and event.attempt == 1:
                for pid in old:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        end = endings(events)[name]
        assert (end.status, end.attempts) == (Status.OK, 2)
        assert mark.read_text() == "x\n"
        assert kept.warnings == [f"connections lost meanwhile, opened anew: {name}"]
        last = events[-1]
        assert isinstance(last, RunFinished)
        assert last.ports is not None
        assert sum(last.ports.closed_by.values()) == 1
    assert not in_namespace.client_side([server.port])


async def test_a_command_that_may_have_begun_is_lost_and_not_run_again(
    sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
) -> None:
    server = sshd_here()
    (name,) = addresses(1)
    kept = Kept(server, [name], tmp_path)
    mark = tmp_path / "ran"
    async with kept.fleet as fleet:
        await finished_run(fleet, "true")
        finished, run = await finished_run(
            fleet, f"echo x >>{mark}; kill -9 $PPID; sleep 600", retry=RetryPolicy(retries=3, delay=0.0)
        )
        assert (finished[name].status, finished[name].attempts) == (Status.LOST, 1)
        assert finished[name].closed_by is not None
        assert run.ports is not None
        assert sum(run.ports.closed_by.values()) == 1
        assert mark.read_text() == "x\n"
        assert not fleet.connections()
        again, _ = await finished_run(fleet, "true")
        assert again[name].status is Status.OK
        assert not kept.warnings  # the loss was reported as the host's ending


async def test_a_connection_with_a_command_that_was_given_up_serves_the_next_run(
    sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
) -> None:
    server = sshd_here()
    (name,) = addresses(1)
    kept = Kept(server, [name], tmp_path)
    async with kept.fleet as fleet:
        run = fleet.run("echo up; sleep 600")
        async for event in run.events():
            if isinstance(event, Output):
                run.stop()
        finished, _ = await finished_run(fleet, "echo next")
        assert finished[name].status is Status.OK
        assert server.log.count(LOGIN) == 1
    assert not in_namespace.client_side([server.port])


async def test_a_run_that_is_abandoned_leaves_the_connections_of_others(
    sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
) -> None:
    server = sshd_here()
    names = addresses(3)
    kept = Kept(server, names, tmp_path)
    async with kept.fleet as fleet:
        await finished_run(fleet, "true")
        run = fleet.run("trap '' TERM; echo up; sleep 600", hosts=fleet.hosts[:1])
        async for event in run.events():
            if isinstance(event, Output):
                run.abandon()
            if isinstance(event, HostFinished):
                assert (event.status, event.closed_by) == (Status.CANCELLED, None)
        assert {each.host for each in fleet.connections()} == set(names[1:])
    assert not in_namespace.client_side([server.port])


async def test_what_an_abandoned_run_left_to_drain_is_waited_for_at_the_end(
    hooked: StartHooked, sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
) -> None:
    mute = hooked(Conduct(session=goes_mute(b"up\n"), at_close=AtClose.IGNORES))
    well = sshd_here()
    hosts = [
        *hosts_on(mute, ["127.0.0.1"], host_keys=HostKeyPolicy.OFF),
        *hosts_on(well, ["127.0.0.2"], host_keys=HostKeyPolicy.OFF),
    ]
    timeouts = Timeouts(connect=HANG_GUARD_S, close=0.3, kill_after=0.2)
    kept = Kept(well, ["127.0.0.2"], tmp_path, hosts=hosts, timeouts=timeouts)
    async with kept.fleet as fleet:
        run = fleet.run("sleep", hosts=hosts[:1])
        async for event in run.events():
            if isinstance(event, Output):
                run.abandon()
            if isinstance(event, HostFinished):
                assert (event.status, event.closed_by) == (Status.CANCELLED, None)
        assert in_namespace.client_side([mute.port])
        await finished_run(fleet, "true", hosts=hosts[1:])
    assert not in_namespace.client_side([mute.port, well.port])


async def test_hosts_behind_a_jump_host_keep_its_connection_open(
    sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
) -> None:
    server = sshd_here()
    names = addresses(3)
    jump = f"{server.user}@127.9.9.9:{server.port}"
    kept = Kept(
        server,
        [*names, "127.9.9.9"],
        tmp_path,
        hosts=hosts_on(server, names, jump=jump),
        overrides=[f"IdentityFile={server.client_key}"],
    )

    def left_towards(bastion: str) -> list[str]:
        rows = in_namespace.client_side([server.port])  # the bastion's own connections are among them
        return [row.state for row in rows if row.peer.address == bastion]

    async with kept.fleet as fleet:
        for _ in range(3):
            finished, _ = await finished_run(fleet, "true")
            assert {end.status for end in finished.values()} == {Status.OK}
        assert server.log.count(LOGIN) == 1 + 3
        assert await fleet.release() == dict.fromkeys(names)
        assert not left_towards("127.9.9.9")
        await finished_run(fleet, "true")
        assert server.log.count(LOGIN) == 2 * (1 + 3)
    assert not left_towards("127.9.9.9")


async def test_two_runs_at_once_have_two_connections_to_a_host_and_one_stays(
    sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
) -> None:
    server = sshd_here()
    (name,) = addresses(1)
    kept = Kept(server, [name], tmp_path)
    async with kept.fleet as fleet:
        (one, _), (other, _) = await asyncio.gather(  # noqa: TID251 - two runs of one fleet
            finished_run(fleet, "cat /proc/uptime"), finished_run(fleet, "cat /proc/uptime")
        )
        assert (one[name].status, other[name].status) == (Status.OK, Status.OK)
        assert {one[name].closed_by, other[name].closed_by} == {None, ClosedBy.REMOTE}
        assert len(fleet.connections()) == 1
    assert not in_namespace.client_side([server.port])


async def test_a_host_that_waits_for_a_local_port_gets_that_of_an_idle_connection(
    sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
) -> None:
    server = sshd_here()
    names = [f"web{number}" for number in range(6)]
    hosts = [
        replace(host, address="127.0.0.1") for host in hosts_on(server, names, host_keys=HostKeyPolicy.OFF)
    ]
    kept = Kept(server, names, tmp_path, hosts=hosts, limits=Limits(fanout=3, ports=PortBudget(count=2)))
    async with kept.fleet as fleet:
        for _ in range(2):
            finished, run = await finished_run(fleet, "true")
            assert {end.status for end in finished.values()} == {Status.OK}
            assert run.ports is not None
            assert run.ports.peak <= 2
            assert set(run.ports.closed_by) <= {ClosedBy.REMOTE}
    assert not in_namespace.client_side([server.port])


async def test_no_more_connections_are_kept_than_there_are_descriptors_for(
    sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Descriptors, "set_aside", lambda _self, _wanted, per_host: 2 * per_host)
    server = sshd_here()
    names = addresses(4)
    kept = Kept(server, names, tmp_path)
    async with kept.fleet as fleet:
        for kept_already in (0, 2):
            _, run = await finished_run(fleet, "true")
            assert run.ports is not None
            assert run.ports.closed_by == {ClosedBy.REMOTE: 2}
            assert len(fleet.connections()) == 2
            assert server.log.count(LOGIN) == 4 + kept_already
        (warning,) = kept.warnings
        assert "2 connections at most are kept open" in warning
    assert not in_namespace.client_side([server.port])


async def test_files_are_copied_over_open_connections(
    sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
) -> None:
    server = sshd_here()
    (name,) = addresses(1)
    kept = Kept(server, [name], tmp_path)
    (tmp_path / "a").write_text("content")
    async with kept.fleet as fleet:
        await finished_run(fleet, "true")
        results = await fleet.push([tmp_path / "a"], tmp_path / "b", CopyOptions()).gather()
        assert results.is_ok
        assert (tmp_path / "b").read_text() == "content"
        await finished_run(fleet, "true")
        assert server.log.count(LOGIN) == 1


async def test_rsh_connects_for_each_run_while_ssh_connections_are_kept(
    sshd: Daemon, rshd: RshServer, in_module_namespace: Namespace, tmp_path: Path
) -> None:
    (name,) = addresses(1)
    logins = sshd.log.count(LOGIN)
    kept = Kept(sshd, [name], tmp_path, hosts=[rsh_host(), *hosts_on(sshd, [name])])
    async with kept.fleet as fleet:
        for _ in range(2):
            finished, run = await finished_run(fleet, "true")
            assert {host: (end.status, end.closed_by) for host, end in finished.items()} == {
                HERE: (Status.OK, ClosedBy.REMOTE),
                name: (Status.OK, None),
            }
            assert run.ports is not None
            assert run.ports.closed_by == {ClosedBy.REMOTE: 2}  # rsh's own, and that for stderr
            listening = read_table(states=[TcpState.LISTEN])
            assert listening is not None
            assert {row.local.port for row in listening} == {sshd.port, RSH_PORT}
        assert {each.host for each in fleet.connections()} == {name}
        assert sshd.log.count(LOGIN) == logins + 1
    assert not in_module_namespace.client_side([sshd.port, RSH_PORT])


async def test_without_keep_no_connection_stays_open(
    sshd_here: StartServer, namespace: Namespace, tmp_path: Path
) -> None:
    server = sshd_here()
    (name,) = addresses(1)
    with namespace.entered():
        async with Fleet(hosts_on(server, [name]), ssh=ssh_options(known(server, [name], tmp_path))) as fleet:
            await finished_run(fleet, "true")
            assert fleet.connections() == ()
            assert await fleet.release() == {}
            assert not namespace.client_side([server.port])
