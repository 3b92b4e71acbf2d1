"""Faults of the network and of servers, by the command line: who is well runs, and who is not is told apart.

What every one of them leaves standing is asserted by ``told_by``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import StartScripted, StartServer
from tests.end_to_end.finished_run import STRICTLY, sleeping, start, told_by
from tests.end_to_end.remotes import Remotes
from tests.program import Program
from tests.servers.banning import BanningRelay
from tests.servers.daemon import Daemon
from tests.servers.keys import make_key
from tests.servers.namespace import Namespace
from tests.servers.processes import children_of, kill
from tests.servers.requirement import program
from tests.servers.scripted import CLOSE_AT_ONCE
from tests.waiting import HANG_GUARD_S, wait_until

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

ONE = "127.1.0.1"

MEASURED = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
sys.stderr.write(f"peak {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}\\n")
sys.exit(code)
"""
"""Runs a program and tells the most memory that it had, in KiB (getrusage(2))."""


def crowd(multirsh: Program, server: Daemon, hosts: int, *, port: int | None = None) -> None:
    """Let ``h001`` ... all be one address of ``server``, as containers behind one sshd are."""
    multirsh.knows(server, 1)
    port = server.port if port is None else port
    listed = "".join(
        f"  - h{number:03}: {{address: {ONE}, port: {port}}}\n" for number in range(1, hosts + 1)
    )
    multirsh.write("hosts.yaml", f"hosts:\n{listed}")
    known = "".join(line for line in server.known_hosts([ONE]))
    multirsh.write(".ssh/known_hosts", known.replace(f":{server.port} ", f":{port} "))


def amid(multirsh: Program, server: Daemon, *, bad: list[str], well: int) -> None:
    """``well`` hosts that are ``server``, spread among the addresses ``bad``; all in hosts.yaml."""
    multirsh.knows(server, 1)
    addresses = [f"127.2.0.{number}" for number in range(1, well + 1)]
    every = max(1, len(bad) // well)
    lines = []
    for number, address in enumerate(bad):
        if number % every == 0 and number // every < well:
            lines.append(f"  - well{number // every:03}: {{address: {addresses[number // every]}}}\n")
        lines.append(f"  - bad{number:04}: {{address: {address}}}\n")
    multirsh.write("hosts.yaml", f"hosts:\n{''.join(lines)}")
    multirsh.write(".ssh/known_hosts", server.known_hosts(addresses))


@pytest.mark.parametrize(
    "late_s",
    [HANG_GUARD_S, pytest.param(0.8, marks=pytest.mark.bench)],
    ids=["on any machine", "on a quiet machine"],
)
def test_a_thousand_black_holes_are_timeouts_in_time_and_the_others_run(
    late_s: float, sshd_here: StartServer, namespace: Namespace, in_namespace: Namespace, multirsh: Program
) -> None:
    """All in flight together: a thousand SYNs that nobody answers, and 25 hosts that are well."""
    namespace.add_void("10.9.0.0/16")
    server = sshd_here()
    amid(multirsh, server, bad=[f"10.9.{n // 250 + 1}.{n % 250 + 1}" for n in range(1000)], well=25)
    words = ["-j", "1100", "--start-rate", "400", "-t", "15"]
    told = told_by(start(multirsh, *words, "true"), multirsh, namespace, [server.port])
    assert told.kinds("bad") == {("timeout", "timeout", "connect"): 1000}
    assert told.statuses("well") == {"ok": 25}
    waited = [ending["seconds"]["total"] for name, ending in told.endings.items() if name.startswith("bad")]
    assert min(waited) >= 14.99
    assert max(waited) <= 15 + late_s
    times = [ending["seconds"]["total"] for name, ending in told.endings.items() if name.startswith("well")]
    assert max(times) < min(waited)


def test_a_server_that_closes_on_everybody_is_asked_a_few_times_and_then_told(
    scripted: StartScripted, in_namespace: Namespace, multirsh: Program
) -> None:
    """It may be busy, so it is asked again, with pauses; what *says* that it is busy is asked for longer."""
    server = scripted(CLOSE_AT_ONCE)
    multirsh.environ.update(STRICTLY)
    nodes = ["-w", "127.0.0.1", "-p", str(server.port), "--host-keys", "off", "-F", "none"]
    told = told_by(multirsh.start(*nodes, "--json", "true"), multirsh, in_namespace, [server.port])
    (ending,) = told.endings.values()
    assert ending["status"] == "unreachable"
    assert ending["attempts"] == len(server.conversations) == 4


@pytest.mark.parametrize(
    ("startups", "hosts"), [("2:100:2", 50), ("10:30:100", 200)], ids=["tiny", "as sshd comes"]
)
def test_hosts_at_one_address_all_get_past_max_startups(
    startups: str,
    hosts: int,
    sshd_here: StartServer,
    in_namespace: Namespace,
    multirsh: Program,
) -> None:
    """Without a flag, where the fanout alone would be six or thirty times what this sshd takes."""
    server = sshd_here(options={"MaxStartups": startups})
    crowd(multirsh, server, hosts)
    told = told_by(start(multirsh, "echo in"), multirsh, in_namespace, [server.port])
    assert told.statuses() == {"ok": hosts}
    assert told.run["ports"]["closed_by"]["local"] == 0
    assert told.outputs == {f"h{number:03}": "in\n" for number in range(1, hosts + 1)}


BASTION = "127.9.9.9"

STOCK = {"MaxStartups": "10:30:100"}
"""As sshd comes."""


def behind(multirsh: Program, server: Daemon, bastion: Daemon, hosts: int, *, port: int) -> list[str]:
    """Let ``h001`` ... all be one address of ``server``, which is reached through ``bastion`` at ``port``.

    Returns:
        The words that say so.
    """
    crowd(multirsh, server, hosts)
    known = bastion.known_hosts([BASTION]).replace(f":{bastion.port} ", f":{port} ")
    multirsh.write(".ssh/known_hosts", server.known_hosts([ONE]) + known)
    config = (multirsh.home / ".ssh" / "config").read_text()
    multirsh.write(".ssh/config", f"Host {BASTION}\n  IdentityFile {bastion.client_key}\nHost *\n{config}")
    return ["-J", f"{bastion.user}@{BASTION}:{port}"]


class TestBehindABastion:
    """One login at the bastion is for all; those at the servers behind it are each host's own."""

    def test_hosts_get_past_its_max_startups_and_that_of_the_server_behind_it(
        self, sshd_here: StartServer, in_namespace: Namespace, multirsh: Program
    ) -> None:
        """Without a flag; all are names of one server there, which is as little as there can be."""
        bastion, server = sshd_here(options=STOCK), sshd_here(options=STOCK)
        words = behind(multirsh, server, bastion, 200, port=bastion.port)
        process = start(multirsh, *words, "echo in")
        told = told_by(process, multirsh, in_namespace, [bastion.port])
        assert told.statuses() == {"ok": 200}
        assert told.outputs == {f"h{number:03}": "in\n" for number in range(1, 201)}
        assert told.run["ports"]["closed_by"] == {"remote": 1, "local": 0, "reset": 0}
        again = sum(ending["attempts"] - 1 for ending in told.endings.values())
        assert again <= 20, "few are dropped: its window is learnt"

    def test_a_busy_one_is_waited_for_and_not_condemned(
        self, sshd_here: StartServer, namespace: Namespace, in_namespace: Namespace, multirsh: Program
    ) -> None:
        bastion, server = sshd_here(), sshd_here()
        with BanningRelay(bastion.port, address=BASTION, ban_s=1, namespace=namespace) as relay:
            words = behind(multirsh, server, bastion, 40, port=relay.port)
            relay.ban()
            began = time.monotonic()
            told = told_by(start(multirsh, *words, "true"), multirsh, in_namespace, [relay.port])
            assert told.statuses() == {"ok": 40}
            assert relay.let_in == 1
            assert relay.turned_away <= 4, "one for all, at the most three pauses, and what the start took"
            assert told.run["ports"]["closed_by"]["local"] == 0
            assert sum(told.run["ports"]["closed_by"].values()) == relay.turned_away + 1
            assert time.monotonic() - began > 1

    def test_a_busy_one_keeps_nobody_back_who_is_elsewhere(
        self, sshd_here: StartServer, namespace: Namespace, in_namespace: Namespace, multirsh: Program
    ) -> None:
        """Neither by the fanout: who waits for a bastion is not in flight."""
        bastion, server = sshd_here(), sshd_here()
        with BanningRelay(bastion.port, address=BASTION, ban_s=600, namespace=namespace) as relay:
            behind(multirsh, server, bastion, 20, port=relay.port)
            jump = f"jump: {bastion.user}@{BASTION}:{relay.port}"
            listed = (multirsh.home / "hosts.yaml").read_text().replace("{address", f"{{{jump}, address")
            elsewhere = [f"127.3.0.{number}" for number in range(1, 6)]
            well = [f"  - well{number}: {{address: {address}}}\n" for number, address in enumerate(elsewhere)]
            multirsh.write("hosts.yaml", listed + "".join(well))
            known = (multirsh.home / ".ssh" / "known_hosts").read_text()
            multirsh.write(".ssh/known_hosts", known + server.known_hosts(elsewhere))
            been = multirsh.home / "been"
            been.mkdir()
            relay.ban()
            process = start(multirsh, "-j", "4", f"touch {been}/$$")
            wait_until(lambda: len(list(been.iterdir())) == len(elsewhere), what="those elsewhere")
            relay.lift()
            told = told_by(process, multirsh, in_namespace, [relay.port])
            assert told.statuses() == {"ok": 25}

    def test_one_that_closes_on_everybody_is_asked_a_few_times_for_all(
        self, scripted: StartScripted, in_namespace: Namespace, multirsh: Program
    ) -> None:
        bastion = scripted(CLOSE_AT_ONCE)
        listed = "".join(f"  - h{number:03}: {{address: 127.1.1.1}}\n" for number in range(1, 201))
        multirsh.write("hosts.yaml", f"hosts:\n{listed}")
        words = ["--host-keys", "off", "-F", "none", "-J", f"root@127.0.0.1:{bastion.port}"]
        told = told_by(start(multirsh, *words, "true"), multirsh, in_namespace, [bastion.port])
        assert {(status, kind) for status, kind, _ in told.kinds()} == {("unreachable", "jump")}
        assert 4 <= len(bastion.conversations) <= 8


class TestPenalties:
    """A server that shuts our address out for a while, as sshd does from 9.8 on (PerSourcePenalties)."""

    def test_a_ban_is_waited_for_and_not_run_against(
        self, sshd_here: StartServer, namespace: Namespace, in_namespace: Namespace, multirsh: Program
    ) -> None:
        server = sshd_here()
        with BanningRelay(server.port, address=ONE, ban_s=2, namespace=namespace) as relay:
            crowd(multirsh, server, 40, port=relay.port)
            relay.ban()
            told = told_by(start(multirsh, "true"), multirsh, in_namespace, [relay.port])
            assert told.statuses() == {"ok": 40}
            assert relay.turned_away <= 24, "a first window, and one at a time then"
            assert relay.let_in == 40

    def test_a_refused_login_is_one_connection_whatever_the_retries(
        self,
        sshd_here: StartServer,
        namespace: Namespace,
        in_namespace: Namespace,
        multirsh: Program,
    ) -> None:
        server = sshd_here()
        stranger = make_key(multirsh.home / "stranger")
        with BanningRelay(server.port, address=ONE, ban_s=1, namespace=namespace) as relay:
            crowd(multirsh, server, 10, port=relay.port)
            config = (multirsh.home / ".ssh" / "config").read_text()
            multirsh.write(".ssh/config", config.replace(str(server.client_key), str(stranger)))
            process = start(multirsh, "--retries", "3", "true")
            told = told_by(process, multirsh, in_namespace, [relay.port])
            assert told.kinds() == {("auth", "denied", "auth"): 10}
            assert relay.let_in == 10


def test_packets_that_vanish_for_a_while_cost_attempts_which_are_told(
    sshd_here: StartServer, in_namespace: Namespace, multirsh: Program
) -> None:
    """As where a table of neighbours is full: some hosts cannot be reached at first, and then can."""
    nft = program("nft", package="nftables")
    server = sshd_here()
    multirsh.knows(server, 10)
    lost = [f"127.1.0.{number}" for number in (2, 5, 9)]
    in_namespace.run([nft, "add table ip faults"])
    in_namespace.run([nft, "add chain ip faults out { type filter hook output priority 0; }"])
    in_namespace.run([nft, f"add rule ip faults out ip daddr {{ {', '.join(lost)} }} drop"])
    process = start(multirsh, "-t", "1", "--retries", "9", "--retry-delay", "0.5", "true")
    used: dict[str, set[int]] = {address: set() for address in lost}

    def all_tried_twice() -> bool:
        for row in in_namespace.client_side([server.port], state="SYN-SENT"):
            used[row.peer.address].add(row.local.port)
        return all(len(ports) >= 2 for ports in used.values())

    wait_until(all_tried_twice, what="second attempts")
    in_namespace.run([nft, "delete table ip faults"])
    told = told_by(process, multirsh, in_namespace, [server.port])
    assert told.statuses() == {"ok": 10}
    attempts = {name: ending["attempts"] for name, ending in told.endings.items()}
    assert {name for name, count in attempts.items() if count > 1} == {"h02", "h05", "h09"}
    assert min(attempts[name] for name in ("h02", "h05", "h09")) >= 2


class TestMidCommand:
    """What happens to a host whose command runs."""

    def test_packets_that_vanish_both_ways_are_a_loss_within_the_keepalives_budget(
        self, sshd_here: StartServer, in_namespace: Namespace, multirsh: Program, remotes: Remotes
    ) -> None:
        """Of one host in five; the kernel is told to drop what comes from it and goes to it."""
        nft = program("nft", package="nftables")
        server = sshd_here()
        multirsh.knows(server, 5)
        alive = ["-o", "ServerAliveInterval=2", "-o", "ServerAliveCountMax=2", "--close-timeout", "0.5"]
        process = start(multirsh, *alive, f"echo partial; {remotes.waiting}")
        remotes.wait_for(5)
        in_namespace.run([nft, "add table ip faults"])
        in_namespace.run([nft, "add chain ip faults out { type filter hook output priority 0; }"])
        for way in ("saddr", "daddr"):
            in_namespace.run([nft, f"add rule ip faults out ip {way} 127.1.0.3 drop"])
        remotes.let_go()
        told = told_by(process, multirsh, in_namespace, [server.port])
        assert told.kinds("h03") == {("lost", "keepalive", "run"): 1}
        assert told.outputs["h03"] == "partial\n"
        assert told.statuses() == {"ok": 4, "lost": 1}
        assert told.endings["h03"]["closed_by"] == "reset"

    def test_a_server_process_that_is_killed_is_a_loss_and_no_result(
        self, sshd_here: StartServer, in_namespace: Namespace, multirsh: Program
    ) -> None:
        server = sshd_here()
        multirsh.knows(server, 1)
        nap = f"6{os.getpid()}.5"
        process = start(multirsh, f"echo partial; sleep {nap}")
        wait_until(lambda: bool(sleeping(nap)), what="the command")
        orphans = sleeping(nap)
        kill(children_of(server.pid))
        told = told_by(process, multirsh, in_namespace, [server.port])
        assert told.statuses() == {"lost": 1}
        assert told.outputs == {"h01": "partial\n"}
        kill(orphans)

    def test_a_child_that_holds_the_output_ends_with_the_commands_time_and_is_told(
        self, sshd_here: StartServer, in_namespace: Namespace, multirsh: Program
    ) -> None:
        """The shell has ended at once; sshd waits for whoever has its output open, and so do we, for -u."""
        server = sshd_here()
        multirsh.knows(server, 5)
        nap = f"9{os.getpid()}.25"
        process = start(multirsh, "-u", "3", f"echo begun; sleep {nap} & exit 7")
        told = told_by(process, multirsh, in_namespace, [server.port])
        assert told.statuses() == {"timeout": 5}
        assert "its processes are dead" in told.err
        assert set(told.outputs.values()) == {"begun\n"}
        assert not sleeping(nap)


class TestThisMachine:
    """Too little of something here."""

    @pytest.mark.bench
    def test_5000_hosts_in_128_mib(
        self, sshd_here: StartServer, in_namespace: Namespace, multirsh: Program
    ) -> None:
        """All but 200 refuse, so that it takes seconds: what a host costs is its name, plan and ending."""
        server = sshd_here()
        bad = [f"127.{30 + n // 62500}.{n // 250 % 250}.{n % 250 + 1}" for n in range(4800)]
        amid(multirsh, server, bad=bad, well=200)
        lines = (multirsh.home / "hosts.yaml").read_text().splitlines()
        listed = [line.replace("}", ", port: 9}") if "bad" in line else line for line in lines]
        multirsh.write("hosts.yaml", "\n".join(listed))
        measured = [sys.executable, "-c", MEASURED]
        process = start(multirsh, "head -c 100000 /dev/zero | tr '\\0' x", prefix=measured)
        told = told_by(process, multirsh, in_namespace, [server.port])
        assert told.statuses("well") == {"ok": 200}
        assert told.kinds("bad") == {("unreachable", "refused", "connect"): 4800}
        peak = int(told.err.splitlines()[-1].removeprefix("peak "))
        assert peak < 128 * 1024, f"{peak} KiB"

    @pytest.mark.bench
    def test_a_gigabyte_for_all_with_one_that_is_slow_in_128_mib(
        self, sshd_here: StartServer, in_namespace: Namespace, multirsh: Program
    ) -> None:
        """It comes by a pipe, to be read once only; one host begins to read when another has it all."""
        server = sshd_here()
        multirsh.knows(server, 3)
        flag = multirsh.home / "read"
        waits = f"until [ -e {flag} ]; do sleep 0.1; done; cksum"
        command = f"case $SSH_CONNECTION in *' 127.1.0.1 '*) {waits};; *) cksum; touch {flag};; esac"
        words = ["-f", "hosts.yaml", "--json", "-I", "--", command]
        multirsh.environ.update(STRICTLY)
        with subprocess.Popen(["head", "-c", str(2**30), "/dev/zero"], stdout=subprocess.PIPE) as zeros:
            process = multirsh.start(*words, prefix=(sys.executable, "-c", MEASURED), stdin=zeros.stdout)
            told = told_by(process, multirsh, in_namespace, [server.port])
        assert told.statuses() == {"ok": 3}
        assert {out.split()[1] for out in told.outputs.values()} == {str(2**30)}
        assert len(set(told.outputs.values())) == 1
        peak = int(told.err.splitlines()[-1].removeprefix("peak "))
        assert peak < 128 * 1024, f"{peak} KiB"

    def test_reserved_ports_without_the_capability_name_what_is_needed(
        self, in_namespace: Namespace, multirsh: Program
    ) -> None:
        less = [str(program("setpriv", package="util-linux")), "--bounding-set", "-net_bind_service", "--"]
        nodes = ["-w", "127.1.0.[1-20]", "-R", "rsh", "-F", "none"]
        process = multirsh.start(*nodes, "--json", "true", prefix=less)
        told = told_by(process, multirsh, in_namespace, [514])
        assert told.kinds() == {("local", "privilege", "port"): 20}
        assert told.code == 4
        assert "CAP_NET_BIND_SERVICE" in told.err


class TestStoppedAndContinued:
    """SIGSTOP for longer than any timeout, then SIGCONT: a laptop's lid, a debugger, a paused machine."""

    def test_commands_that_ended_meanwhile_are_no_timeouts(
        self, sshd_here: StartServer, in_namespace: Namespace, multirsh: Program, remotes: Remotes
    ) -> None:
        server = sshd_here()
        multirsh.knows(server, 8)
        process = start(multirsh, "-u", "10", remotes.waiting)
        remotes.wait_for(8)
        process.send_signal(signal.SIGSTOP)
        remotes.let_go()
        time.sleep(12)
        process.send_signal(signal.SIGCONT)
        told = told_by(process, multirsh, in_namespace, [server.port])
        assert told.statuses() == {"ok": 8}, told.kinds()

    def test_logins_that_were_under_way_are_no_timeouts(
        self, sshd_here: StartServer, in_namespace: Namespace, multirsh: Program
    ) -> None:
        server = sshd_here()
        multirsh.knows(server, 8)
        process = start(multirsh, "-t", "10", "true")
        wait_until(lambda: bool(in_namespace.client_side([server.port])), what="a connection")
        process.send_signal(signal.SIGSTOP)
        time.sleep(12)
        process.send_signal(signal.SIGCONT)
        told = told_by(process, multirsh, in_namespace, [server.port])
        assert told.statuses() == {"ok": 8}, told.kinds()
