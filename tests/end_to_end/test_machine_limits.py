"""Few descriptors, and many neighbours: everybody runs all the same, and one line tells of it."""

from __future__ import annotations

import json
import resource
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from multirsh.engine.fleet import Fleet
from multirsh.model import Host, TransportName
from multirsh.testing import FakeTransport
from tests.conftest import StartHooked
from tests.program import Ended, Program, ended
from tests.servers.daemon import Daemon
from tests.servers.hooked import AtClose, Conduct, answers
from tests.servers.mounts import with_files
from tests.servers.namespace import Namespace
from tests.servers.requirement import program

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

HOSTS = 200


def limited(soft: int, hard: int) -> list[str]:
    return [str(program("prlimit", package="util-linux")), f"--nofile={soft}:{hard}", "--"]


def run(multirsh: Program, *words: str, soft: int, hard: int) -> Ended:
    return ended(multirsh.start("-f", "hosts.yaml", "-j", "500", *words, prefix=limited(soft, hard)))


def fanout_of(out: str) -> int:
    return int(json.loads(out.splitlines()[0])["fanout"])


def statuses(out: str) -> Counter[str]:
    events = map(json.loads, out.splitlines())
    return Counter(event["status"] for event in events if event["event"] == "host_finished")


def test_with_64_descriptors_and_a_fanout_of_500_all_of_200_run(
    sshd: Daemon, in_module_namespace: Namespace, multirsh: Program
) -> None:
    multirsh.knows(sshd, HOSTS)
    told = run(multirsh, "--json", "true", soft=64, hard=64)
    assert (told.code, statuses(told.out)) == (0, {"ok": HOSTS})
    assert 10 <= fanout_of(told.out) < 64
    (line,) = [line for line in told.err.splitlines() if "files open" in line]
    assert line.startswith(f"a fanout of {fanout_of(told.out)} and not {HOSTS}: this process may have 64")
    assert "Traceback" not in told.err
    assert not in_module_namespace.client_side([sshd.port])


def test_hosts_that_do_not_close_hold_descriptors_and_are_waited_for(
    hooked: StartHooked, namespace: Namespace, in_namespace: Namespace, multirsh: Program
) -> None:
    """Each keeps its socket for the whole close timeout, which here is longer than its command took."""
    server = hooked(Conduct(session=answers(), at_close=AtClose.IGNORES), address="0.0.0.0")
    multirsh.knows(server, HOSTS)
    told = run(multirsh, "--json", "--close-timeout", "0.5", "true", soft=64, hard=64)
    assert (told.code, statuses(told.out)) == (0, {"ok": HOSTS})
    last = json.loads(told.out.splitlines()[-1])
    assert last["ports"]["closed_by"] == {"remote": 0, "local": 0, "reset": HOSTS}
    assert last["ports"]["peak"] <= fanout_of(told.out)
    assert told.err.count("files open") == 1
    assert not in_namespace.client_side([server.port])


def test_the_soft_limit_is_raised_to_the_hard_one_and_that_is_not_worth_a_word(
    sshd: Daemon, in_module_namespace: Namespace, multirsh: Program
) -> None:
    multirsh.knows(sshd)
    told = run(multirsh, "--json", "true", soft=32, hard=2000)
    assert (told.code, statuses(told.out)) == (0, {"ok": 20})
    assert fanout_of(told.out) == 500
    assert "files open" not in told.err


def test_a_limit_that_is_enough_is_left_alone(multirsh: Program) -> None:
    code = (
        "import resource\n"
        "from multirsh.cli.process import raise_descriptor_limit\n"
        "for limits in [(100, 200), (200, 200)]:\n"
        "    raise_descriptor_limit()\n"
        "    print(resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )
    shown = subprocess.run(
        [*limited(100, 200), "python", "-c", code], env=multirsh.environ, capture_output=True, check=True
    )
    assert shown.stdout == b"(200, 200)\n(200, 200)\n"


async def test_the_library_leaves_its_programs_limit_alone() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with Fleet([Host("a")], transports={TransportName.SSH: FakeTransport()}) as fleet:
        await fleet.run("true").gather()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


NEIGHBOURS = (
    "-w",
    "10.7.[0-1].[2-251]",
    "-p",
    "9",
    "--host-keys",
    "off",
    "-F",
    "none",
    "-j",
    "100",
    "--json",
)
"""500 hosts that refuse."""


@pytest.fixture
def two_machines() -> Iterator[Namespace]:
    """Stand on one of two machines with a cable between them; the other is every 10.7.x.y."""
    with Namespace() as far, Namespace() as near:
        for command in (
            f"link add cable type veth peer name end netns /proc/{far.pid}/ns/net",
            "address add 10.7.255.1/16 dev cable",
            "link set cable up",
        ):
            near.run(["ip", *command.split()])
        for command in (
            "address add 10.7.255.2/16 dev end",
            "link set end up",
            "route add local 10.7.0.0/17 dev lo",
        ):
            far.run(["ip", *command.split()])
        with near.entered():
            yield near


def test_more_neighbours_than_the_kernel_keeps_are_told_before_anything_begins(
    two_machines: Namespace, multirsh: Program, tmp_path: Path
) -> None:
    """The table is the whole machine's, so the figure is only shown to the program, and not really set."""
    folder = tmp_path / "neigh"
    (folder / "default").mkdir(parents=True)
    (folder / "default" / "gc_thresh3").write_text("128\n")
    shown = with_files(
        {"/proc/sys/net/ipv4/neigh": folder}
    )  # without ours, a namespace has no "default" in it
    told = ended(multirsh.start(*NEIGHBOURS, "true", prefix=shown))
    (line,) = [line for line in told.err.splitlines() if "link-layer" in line]
    assert line.startswith("more than 122 hosts are on this machine's own networks")
    assert "sysctl net.ipv4.neigh.default.gc_thresh3=16384" in line
    assert (told.code, statuses(told.out)) == (4, {"unreachable": 500})
    kinds = [json.loads(line) for line in told.out.splitlines()]
    assert {event["error"]["kind"] for event in kinds if event["event"] == "host_finished"} == {"refused"}


def test_as_many_behind_a_gateway_are_no_neighbours(two_machines: Namespace, multirsh: Program) -> None:
    two_machines.run(["ip", "route", "add", "10.6.0.0/16", "via", "10.7.255.2"])
    told = ended(multirsh.start("-w", "10.6.[0-4].[2-251]", *NEIGHBOURS[2:], "-t", "0.2", "true"))
    assert "link-layer" not in told.err
    assert sum(statuses(told.out).values()) == 1250
