"""What a tenth of faulty hosts costs the others: two runs, with them and without, in turns.

    python -m tests.bench.bench_faulty [HOSTS] [ROUNDS] [FANOUT]

The healthy hosts are the same in both runs, on the same light SSH servers
(asyncssh's, in processes of their own), and each is a 127.x.y.z. In one run a
tenth more or less is in between: dead (no answer to a SYN), silent after
accept, reset after the banner, or junk; in the other their places are not
there at all. By the command line, in a network namespace; needs root.

Two figures of each healthy host, the 99th percentile of each:

- how long it took by itself, from the start of its attempt to its result
  (``seconds.total``): whether faulty hosts slow their neighbours down;
- when it was done, from the run's start (``host_finished.t``), set against
  the same in the other run: this holds the places that faulty hosts keep for
  the whole connect timeout, so it depends on the fanout.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fleets import addresses
from tests.servers.keys import known_hosts
from tests.servers.namespace import Namespace
from tests.servers.scripted import JUNK, RESET_AFTER_BANNER, SILENT, ScriptedServer

HOSTS: Final = 2000
ROUNDS: Final = 3
FANOUT: Final = 300
BAD_EVERY: Final = 10
CONNECT_TIMEOUT_S: Final = 5
VOID: Final = "10.9.0.0/16"
WITHIN_S: Final = 900.0

SERVER: Final = """
import sys
from pathlib import Path
from tests.servers.hooked import Conduct, HookedServer, answers
with HookedServer(Conduct(session=answers(b"done\\n")), address="0.0.0.0") as server:
    print(server.port, server.client_key, server.host_key, sep="\\t", flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True, slots=True)
class Light:
    """A light server in a process of its own.

    Attributes:
        port: Where it listens, as every 127.x.y.z.
        key: The private key that it accepts.
        host_key: Its own, the public half.
    """

    port: int
    key: str
    host_key: str


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run came to, in seconds.

    Attributes:
        own: Each healthy host's own time.
        done: When each was done.
        statuses: Of all hosts.
        whole: The run.
    """

    own: list[float]
    done: list[float]
    statuses: Counter[str]
    whole: float


@contextmanager
def light_servers(namespace: Namespace, count: int) -> Iterator[list[Light]]:
    """Start ``count`` of them."""
    started = [
        namespace.popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stderr=None)
        for _ in range(count)
    ]
    try:
        lights = []
        for process in started:
            if process.stdout is None:
                raise RuntimeError("the server was started without a pipe")
            port, key, host_key = process.stdout.readline().decode().rstrip("\n").split("\t")
            lights.append(Light(int(port), key, host_key))
        yield lights
    finally:
        for process in started:
            process.communicate()


def p99(figures: Sequence[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(figures, n=100)[98]


class Scene:
    """The hosts, and where they are."""

    def __init__(self, hosts: int, lights: Sequence[Light], faulty: Sequence[int], folder: Path) -> None:
        """Write the two hosts files.

        Args:
            hosts: How many, faulty ones included.
            lights: Healthy servers.
            faulty: Ports of the silent, the resetting and the junk server.
            folder: Where the files go.
        """
        self._folder = folder
        trusted, healthy, mixed = [], [], []
        faults = 0
        for number, address in enumerate(addresses(hosts)):
            if number % BAD_EVERY == BAD_EVERY - 1:
                kind = faults % (len(faulty) + 1)
                dead = f"10.9.{1 + faults // 250}.{faults % 250 + 1}"
                place = f"{dead}, port: 22" if kind == len(faulty) else f"{address}, port: {faulty[kind]}"
                mixed.append(f"  - bad{number}: {{address: {place}}}\n")
                faults += 1
                continue
            light = lights[number % len(lights)]
            line = f"  - well{number}: {{address: {address}, port: {light.port}, identity: {light.key}}}\n"
            healthy.append(line)
            mixed.append(line)
            trusted.append(known_hosts([address], port=light.port, host_key=light.host_key))
        for name, lines in {"without": healthy, "with": mixed}.items():
            (folder / name).write_text("defaults: {user: root}\nhosts:\n" + "".join(lines))
        (folder / "known_hosts").write_text("".join(trusted))

    def run(self, namespace: Namespace, name: str, fanout: int) -> Figures:
        """Run on the hosts of one file."""
        options = ("UserKnownHostsFile=known_hosts", "GlobalKnownHostsFile=/dev/null", "IdentityAgent=none")
        words = [word for option in options for word in ("-o", option)]
        limits = ["-j", str(fanout), "-t", str(CONNECT_TIMEOUT_S), "--close-timeout", "1"]
        began = time.monotonic()
        told = subprocess.run(
            namespace.argv(
                [
                    sys.executable,
                    "-m",
                    "multirsh",
                    "-f",
                    name,
                    "-F",
                    "none",
                    "--json",
                    *limits,
                    *words,
                    "true",
                ]
            ),
            cwd=self._folder,
            capture_output=True,
            timeout=WITHIN_S,
            check=False,
        )
        events = map(json.loads, told.stdout.splitlines())
        ends = [event for event in events if event["event"] == "host_finished"]
        well = [end for end in ends if end["host"].startswith("well")]
        if {end["status"] for end in well} != {"ok"}:
            raise RuntimeError(f"not all are ok: {Counter(end['status'] for end in well)} {told.stderr!r}")
        return Figures(
            own=[end["seconds"]["total"] for end in well],
            done=[end["t"] for end in well],
            statuses=Counter(end["status"] for end in ends),
            whole=time.monotonic() - began,
        )


def main(hosts: int = HOSTS, rounds: int = ROUNDS, fanout: int = FANOUT) -> None:
    """Measure both in turns."""
    with ExitStack() as stack:
        namespace = stack.enter_context(Namespace())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        namespace.add_void(VOID)
        lights = stack.enter_context(light_servers(namespace, 2))
        scripts = (SILENT, RESET_AFTER_BANNER, JUNK)
        faulty = [
            stack.enter_context(ScriptedServer(script, namespace=namespace, address="0.0.0.0")).port
            for script in scripts
        ]
        scene = Scene(hosts, lights, faulty, folder)
        runs: dict[str, list[Figures]] = {"without": [], "with": []}
        for _ in range(rounds):
            for name, found in runs.items():
                found.append(scene.run(namespace, name, fanout))
    print(f"{hosts} hosts, {fanout} at once, {rounds} rounds; medians of the rounds")
    print(f"{'':8} {'own, median':>12} {'own, p99':>10} {'done, p99':>10} {'whole':>8}  statuses")
    for name, found in runs.items():
        print(
            f"{name:8} {statistics.median(statistics.median(one.own) for one in found):12.3f}"
            f" {statistics.median(p99(one.own) for one in found):10.3f}"
            f" {statistics.median(p99(one.done) for one in found):10.2f}"
            f" {statistics.median(one.whole for one in found):8.2f}  {dict(found[-1].statuses)}"
        )
    pairs = list(zip(runs["with"], runs["without"], strict=True))
    own = [p99(one.own) / p99(other.own) for one, other in pairs]
    done = [p99(one.done) / p99(other.done) for one, other in pairs]
    print(f"p99 with against without: own {statistics.median(own):.3f}, done {statistics.median(done):.3f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
