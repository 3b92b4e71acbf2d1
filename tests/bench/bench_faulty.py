"""What a tenth of faulty hosts costs the others: two runs side by side, with them and without.

    python -m tests.bench.bench_faulty [HOSTS] [ROUNDS] [RATE] [FANOUT]

Nine hosts in ten are the same in both runs, on light SSH servers (asyncssh's,
in processes of their own); each is a 127.x.y.z. The tenth is well in one run,
and in the other dead (no answer to a SYN), silent after accept, reset after
the banner, or junk, in turn. Both runs begin together, so that what else the
machine has to do hits both. By the command line, in a network namespace; needs
root.

Two figures of the nine in ten, their 99th percentiles, with against without:

- how long each took by itself, from the start of its attempt to its result
  (``seconds.total``): whether faulty hosts slow their neighbours down;
- when each was done, from the run's start (``host_finished.t``): this holds
  the turns that they waited for, too.

RATE is ``--start-rate``, so that a run is no race for the processor: where
that is short, a faulty host, which needs none, makes its neighbours quicker.
FANOUT has room for those that are silent until the connect timeout: if it has
not, they keep others waiting, by the user's own word.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
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
ROUNDS: Final = 2
RATE: Final = 30
FANOUT: Final = 200
BAD_EVERY: Final = 10
CONNECT_TIMEOUT_S: Final = 15
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
    """

    own: list[float]
    done: list[float]
    statuses: Counter[str]


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
            light = lights[number % len(lights)]
            place = f"{address}, port: {light.port}, identity: {light.key}"
            trusted.append(known_hosts([address], port=light.port, host_key=light.host_key))
            if number % BAD_EVERY != BAD_EVERY - 1:
                healthy.append(f"  - well{number}: {{address: {place}}}\n")
                mixed.append(healthy[-1])
                continue
            healthy.append(f"  - bad{number}: {{address: {place}}}\n")
            kind = faults % (len(faulty) + 1)
            dead = f"10.9.{1 + faults // 250}.{faults % 250 + 1}"
            place = f"{dead}, port: 22" if kind == len(faulty) else f"{address}, port: {faulty[kind]}"
            mixed.append(f"  - bad{number}: {{address: {place}}}\n")
            faults += 1
        for name, lines in {"without": healthy, "with": mixed}.items():
            (folder / name).write_text("defaults: {user: root}\nhosts:\n" + "".join(lines))
        (folder / "known_hosts").write_text("".join(trusted))

    def start(self, namespace: Namespace, name: str, *, rate: int, fanout: int) -> subprocess.Popen[bytes]:
        """Start a run on the hosts of one file; its events go to a file."""
        options = ("UserKnownHostsFile=known_hosts", "GlobalKnownHostsFile=/dev/null", "IdentityAgent=none")
        words = [word for option in options for word in ("-o", option)]
        limits = ["-j", str(fanout), "--start-rate", str(rate), "-t", str(CONNECT_TIMEOUT_S)]
        argv = [sys.executable, "-m", "multirsh", "-f", name, "-F", "none", "--json", *limits, *words, "true"]
        with (self._folder / f"{name}.json").open("wb") as events:
            return subprocess.Popen(
                namespace.argv(argv), cwd=self._folder, stdout=events, stderr=subprocess.DEVNULL
            )

    def figures(self, name: str) -> Figures:
        """What the run on the hosts of one file came to."""
        lines = (self._folder / f"{name}.json").read_bytes().splitlines()
        ends = [event for event in map(json.loads, lines) if event["event"] == "host_finished"]
        well = [end for end in ends if end["host"].startswith("well")]
        if {end["status"] for end in well} != {"ok"}:
            raise RuntimeError(f"not all are ok: {Counter(end['status'] for end in well)}")
        return Figures(
            own=[end["seconds"]["total"] for end in well],
            done=[end["t"] for end in well],
            statuses=Counter(end["status"] for end in ends),
        )


def main(hosts: int = HOSTS, rounds: int = ROUNDS, rate: int = RATE, fanout: int = FANOUT) -> None:
    """Measure both side by side."""
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
            started = [scene.start(namespace, name, rate=rate, fanout=fanout) for name in runs]
            for process in started:
                process.wait(WITHIN_S)
            for name, found in runs.items():
                found.append(scene.figures(name))
    print(f"{hosts} hosts, {rate} a second, {rounds} rounds; medians of the rounds, in seconds")
    print(f"{'':8} {'own, median':>12} {'own, p99':>10} {'done, p99':>10}  statuses")
    for name, found in runs.items():
        print(
            f"{name:8} {statistics.median(statistics.median(one.own) for one in found):12.3f}"
            f" {statistics.median(p99(one.own) for one in found):10.3f}"
            f" {statistics.median(p99(one.done) for one in found):10.2f}"
            f"  {dict(found[-1].statuses)}"
        )
    pairs = list(zip(runs["with"], runs["without"], strict=True))
    own = [p99(one.own) / p99(other.own) for one, other in pairs]
    done = [p99(one.done) / p99(other.done) for one, other in pairs]
    print(f"p99 with against without: own {statistics.median(own):.3f}, done {statistics.median(done):.3f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
