"""rsh and its 512 reserved ports: real rsh in a loop, multirsh far beyond them, and many held from few.

    python -m tests.bench.bench_rsh loop [--commands N] [--fanout N] [--stderr HOW] [--apart]
    python -m tests.bench.bench_rsh rate [--commands N] [--fanout N] [--servers N] [--stderr HOW]
    python -m tests.bench.bench_rsh held [--hosts N] [--each N]

``loop``: ``rsh -n`` again and again, against the real in.rshd, until it
fails; then multirsh in the same namespace, against the same in.rshd.
``rate``: as fast as it goes, against light servers in another namespace,
over a pair of interfaces. ``held``: ``--each`` connections at once to each of
``--hosts`` hosts, from ``--each`` reserved ports, as ss sees them. Needs root.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.bench.observed import observe
from tests.few_ports import FromFewPorts, Told, light_rshd
from tests.servers.namespace import Namespace, SocketRow
from tests.servers.requirement import program
from tests.servers.rshd import GUEST, PORT, RshServer
from tests.waiting import wait_until

HERE, THERE = "10.8.0.1", "10.8.0.2"
NETWORK: Final = "10.9.0.0/16"
WITHIN_S: Final = 1800.0

LOOP: Final = """
i=0
while [ "$i" -lt "$1" ] && "$0" -n -l "$2" "$3" true; do i=$((i + 1)); done
echo "$i" >&2
"""


def states(rows: Iterable[SocketRow]) -> str:
    """How many sockets in which state."""
    return ", ".join(f"{count} {state}" for state, count in Counter(r.state for r in rows).items()) or "none"


def show(told: Told) -> None:
    """Print what a run of multirsh came to."""
    print(f"  {dict(told.run['counts'])}, exit {told.code}, {told.run['ports']}")
    print(f"  said: {told.errors.splitlines()[-1]}")


def show_rate(told: Told, seconds: float) -> None:
    """Print how fast it was: the run, and the program with its start and the reading of its hosts file."""
    ran = told.run["seconds"]
    print(f"  {ran:.1f} s, {len(told.finished) / ran:.0f} a second; {seconds:.1f} s from start to exit")


def loop(given: argparse.Namespace) -> None:
    """Real rsh, until it fails; then multirsh."""
    rsh = program("rsh-redone-rsh", package="rsh-redone-client")
    with ExitStack() as stack:
        here = there = stack.enter_context(Namespace())
        address = "127.0.0.1"
        if given.apart:
            there = stack.enter_context(Namespace())
            here.link(there, here=HERE, there=THERE)
            address = THERE
        server = stack.enter_context(RshServer(there))
        # in.rshd drops those whose address has no name.
        (server.directory / "etc" / "hosts").write_text(f"127.0.0.1 localhost\n{HERE} here\n{THERE} there\n")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        names = "".join(f"  - h{number:05}: {{address: {address}}}\n" for number in range(given.commands))
        arguments = ["-R", "rsh", "--rsh-stderr", given.stderr, "-j", str(given.fanout)]
        runs = FromFewPorts(here, folder, f"defaults: {{user: {GUEST}}}\nhosts:\n{names}", arguments)
        print(f"rsh -n, {given.commands} times at the most")
        argv = ["sh", "-c", LOOP, str(rsh), str(given.commands), GUEST, address]
        seen = observe(here, argv, within_s=WITHIN_S)
        *said, ok = (line.text for line in seen.lines)
        print(f"  {ok} ok in {seen.seconds:.1f} s, then: {' '.join(said)}")
        before = set(here.client_side([PORT]))
        print(f"  left on the client's side: {states(before)}")
        print(f"multirsh, at once after it, in what it has left: {given.commands} commands, {given.stderr}")
        began = time.perf_counter()
        told = runs.run("true", timeout_s=WITHIN_S)
        show_rate(told, time.perf_counter() - began)
        show(told)
        print(f"  left on the client's side: {states(set(here.client_side([PORT])) - before)}")


def rate(given: argparse.Namespace) -> None:
    """As fast as it goes."""
    with ExitStack() as stack:
        here, there = stack.enter_context(Namespace()), stack.enter_context(Namespace())
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        here.link(there, network=NETWORK)
        stack.enter_context(light_rshd(there))
        names = "".join(
            f"  - h{number:05}: {{address: 10.9.0.{number % given.servers + 1}}}\n"
            for number in range(given.commands)
        )
        arguments = ["-R", "rsh", "--rsh-stderr", given.stderr, "-j", str(given.fanout)]
        runs = FromFewPorts(here, Path(folder), f"hosts:\n{names}", arguments)
        print(f"{given.commands} commands, {given.fanout} at once, {given.servers} addresses, {given.stderr}")
        began = time.perf_counter()
        told = runs.run("true", timeout_s=WITHIN_S)
        show_rate(told, time.perf_counter() - began)
        show(told)
        print(f"  left here: {states(here.sockets())}; there: {states(there.sockets())}")


def held(given: argparse.Namespace) -> None:
    """Many at once from few ports."""
    count = given.hosts * given.each
    with (
        Namespace() as here,
        Namespace() as there,
        tempfile.TemporaryDirectory() as folder,
    ):
        here.link(there, network=NETWORK)
        names = "".join(
            f"  - h{host:03}-{number}: {{address: 10.9.{host // 250}.{host % 250 + 1}}}\n"
            for host in range(given.hosts)
            for number in range(given.each)
        )
        arguments = ["-R", "rsh", "--rsh-stderr", "merged", "--ports", str(given.each), "-j", str(count)]
        runs = FromFewPorts(here, Path(folder), f"hosts:\n{names}", arguments)
        print(f"{count} at once to {given.hosts} hosts, --ports {given.each}")
        with light_rshd(there) as server, runs.start("hold") as process:
            began = time.perf_counter()
            wait_until(lambda: len(here.sockets("ESTAB")) == count, what="all are connected")
            rows = here.sockets()
            ports, hosts = {row.local.port for row in rows}, {row.peer.address for row in rows}
            print(f"  {states(rows)} after {time.perf_counter() - began:.1f} s,")
            print(f"  from {len(ports)} ports ({min(ports)}-{max(ports)}) to {len(hosts)} hosts")
            server.send_signal(signal.SIGUSR1)
            told = runs.end(process)
            show(told)
            print(f"  left here: {states(here.sockets())}")


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description="rsh and its 512 reserved ports")
    kinds = parser.add_subparsers(required=True)
    kind = kinds.add_parser("loop")
    kind.add_argument("--commands", type=int, default=5000)
    kind.add_argument("--fanout", type=int, default=32)
    kind.add_argument("--stderr", choices=["merged", "separate"], default="merged")
    kind.add_argument("--apart", action="store_true", help="in.rshd in a namespace of its own")
    kind.set_defaults(measure=loop)
    kind = kinds.add_parser("rate")
    kind.add_argument("--commands", type=int, default=50_000)
    kind.add_argument("--fanout", type=int, default=64)
    kind.add_argument("--servers", type=int, default=1, help="addresses that the commands are spread over")
    kind.add_argument("--stderr", choices=["merged", "separate"], default="merged")
    kind.set_defaults(measure=rate)
    kind = kinds.add_parser("held")
    kind.add_argument("--hosts", type=int, default=60)
    kind.add_argument("--each", type=int, default=50)
    kind.set_defaults(measure=held)
    given = parser.parse_args()
    print(f"{os.cpu_count()} processors")
    given.measure(given)


if __name__ == "__main__":
    main()
