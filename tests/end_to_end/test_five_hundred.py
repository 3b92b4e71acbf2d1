"""The promise, at the size it was made for: 500 hosts through the command line, and nothing left behind.

Every 127.x.y.z of the namespace is a host of one sshd. ``-s`` shows the figures.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartScripted, StartServer
from tests.servers.daemon import Daemon
from tests.servers.keys import known_hosts, make_key, public
from tests.servers.namespace import Namespace
from tests.servers.scripted import JUNK, RESET_AFTER_BANNER, SILENT, RefusingPort
from tests.waiting import HANG_GUARD_S

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

HOSTS = 500
MIXED = 200
"""Where some misbehave."""
BAD_EVERY = 10
"""One host in ten misbehaves, spread over the list, so that good and bad are in flight together."""

LINGERING = {"TIME-WAIT", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "LAST-ACK", "CLOSING"}
"""What ss(8) calls the states of a connection that is being closed, or was closed by us first."""

"""Seconds for a run, on a machine with other work to do."""

Finished = Mapping[str, Any]
"""A ``host_finished`` as ``--json`` prints it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a host of the test's hosts file is."""

    name: str
    address: str
    port: int

    def line(self) -> str:
        return f"  - {self.name}: {{address: {self.address}, port: {self.port}}}\n"


@dataclass(frozen=True, slots=True)
class Told:
    """What one run of the command line told.

    Attributes:
        code: Its exit code.
        finished: Each host's ending.
        outputs: Hosts that printed something.
        run: The run's ending.
        seconds: From start to exit, the interpreter's start included.
        left: Client-side sockets by state, right after the exit.
        errors: What it wrote to stderr.
    """

    code: int
    finished: dict[str, Finished]
    outputs: set[str]
    run: Mapping[str, Any]
    seconds: float
    left: Counter[str]
    errors: str

    def endings(self, kind: str) -> Counter[tuple[str, str | None, str | None]]:
        """Status, kind of error and who closed, of the hosts whose name begins with ``kind``."""
        return Counter(
            (end["status"], end["error"] and end["error"]["kind"], end["closed_by"])
            for name, end in self.finished.items()
            if name.startswith(kind)
        )


def run_cli(
    namespace: Namespace, server: Daemon, places: Iterable[Place], trusted: str, folder: Path, *arguments: str
) -> Told:
    """Run ``uptime`` on ``places`` by the command line, in the namespace; then look at the kernel's table."""
    places = list(places)
    inventory, trust = folder / "hosts.yaml", folder / "known_hosts"
    defaults = f"defaults: {{user: {server.user}, identity: {server.client_key}}}\n"
    inventory.write_text(defaults + "hosts:\n" + "".join(place.line() for place in places))
    trust.write_text(trusted)
    ssh = [f"UserKnownHostsFile={trust}", "GlobalKnownHostsFile=/dev/null", "IdentityAgent=none"]
    argv: list[str | Path] = [
        sys.executable,
        "-m",
        "multirsh",
        "-f",
        inventory,
        "-F",
        "none",
        "--json",
        *arguments,
    ]
    began = time.monotonic()
    done = namespace.run(
        [*argv, *(word for setting in ssh for word in ("-o", setting)), "uptime"],
        timeout_s=HANG_GUARD_S,
        check=False,
    )
    seconds = time.monotonic() - began
    rows = namespace.client_side({place.port for place in places})
    events = [json.loads(line) for line in done.stdout.splitlines()]
    finished = [event for event in events if event["event"] == "host_finished"]
    assert len({end["host"] for end in finished}) == len(finished) == len(places), "each host ends once"
    return Told(
        code=done.returncode,
        finished={end["host"]: end for end in finished},
        outputs={event["host"] for event in events if event["event"] == "stdout"},
        run=events[-1],
        seconds=seconds,
        left=Counter(row.state for row in rows),
        errors=done.stderr.decode(),
    )


def address(number: int) -> str:
    return f"127.1.{number // 250}.{number % 250 + 1}"


def mixed(bad: Mapping[str, int], *, healthy_port: int) -> Iterator[Place]:
    """``MIXED`` places: every tenth is one of the ``bad`` kinds in turn, which are given with their ports."""
    kinds = list(bad)
    for number in range(MIXED):
        turn, place_in_ten = divmod(number, BAD_EVERY)
        kind = kinds[turn % len(kinds)] if place_in_ten == BAD_EVERY - 1 else "web"
        yield Place(f"{kind}{number:03}", address(number), bad.get(kind, healthy_port))


def show(title: str, told: Told) -> None:
    """Print the figures, for ``-s``."""
    print(f"\n{title}: {told.seconds:.1f} s, exit {told.code}, {dict(told.run['counts'])},")  # noqa: T201
    print(f"  {told.run['ports']}, sockets left: {dict(told.left) or 'none'}")  # noqa: T201


def test_all_of_500_are_ok_and_closed_by_the_remote(
    sshd_here: StartServer, namespace: Namespace, tmp_path: Path
) -> None:
    server = sshd_here()
    places = [Place(f"web{number:03}", address(number), server.port) for number in range(HOSTS)]
    trusted = server.known_hosts([place.address for place in places])
    told = run_cli(namespace, server, places, trusted, tmp_path)
    show("500 healthy", told)
    assert told.endings("web") == {("ok", None, "remote"): HOSTS}
    assert len(told.outputs) == HOSTS
    assert not told.left.keys() & LINGERING
    assert not told.left, "not even an established one"
    assert told.run["ports"]["closed_by"] == {"remote": HOSTS, "local": 0, "reset": 0}
    assert told.run["ports"]["time_wait_left"] == 0
    assert told.code == 0


def test_a_tenth_misbehaves_and_the_others_do_not_notice(
    sshd_here: StartServer,
    scripted: StartScripted,
    namespace: Namespace,
    tmp_path: Path,
) -> None:
    server = sshd_here()
    silent, resetting, junk = (
        scripted(script, address="0.0.0.0") for script in (SILENT, RESET_AFTER_BANNER, JUNK)
    )
    # Last, for a port that is bound and not listened on looks free to a server that wants one.
    with RefusingPort(namespace=namespace) as refusing:
        bad = {
            "refusing": refusing.port,
            "silent": silent.port,
            "resetting": resetting.port,
            "junk": junk.port,
            "impostor": server.port,
        }
        places = list(mixed(bad, healthy_port=server.port))
        healthy = [place.address for place in places if place.name.startswith("web")]
        impostors = [place.address for place in places if place.name.startswith("impostor")]
        other_key = public(make_key(tmp_path / "other"))
        trusted = server.known_hosts(healthy) + known_hosts(impostors, port=server.port, host_key=other_key)
        told = run_cli(namespace, server, places, trusted, tmp_path, "-t", "6", "--close-timeout", "1")
    show("180 healthy, 20 not", told)
    each = MIXED // BAD_EVERY // len(bad)
    assert told.endings("web") == {("ok", None, "remote"): MIXED - each * len(bad)}
    assert told.endings("refusing") == {("unreachable", "refused", None): each}
    assert told.endings("silent") == {("timeout", "timeout", "reset"): each}
    assert told.endings("resetting") == {("unreachable", "reset", "reset"): each}
    assert told.endings("junk") == {("unreachable", "protocol", "reset"): each}
    assert told.endings("impostor") == {("hostkey", "hostkey_changed", "remote"): each}
    assert not told.left, "the bad ones leave nothing here either: what did not close was reset"
    assert told.run["ports"]["time_wait_left"] == 0
    assert told.code == 3
    for kind in bad:
        assert f"{kind}[" in told.errors, "the summary names them, folded"
