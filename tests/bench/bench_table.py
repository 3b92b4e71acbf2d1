"""What one look at the kernel's table of 10,000 sockets costs, by netlink, by /proc and by ss.

    python -m tests.bench.bench_table [SOCKETS] [ROUNDS]

The sockets are in a network namespace: connections of 50 destinations, nine
in ten of them in TIME_WAIT, the others open at both ends. The ways take
turns in one process; ss is started as a program, as a script would. Needs
root.
"""

from __future__ import annotations

import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from multirsh.ports.socket_table import dump, read_proc, read_table
from multirsh.ports.sockets import Endpoint, TcpState
from tests.servers.namespace import Namespace

SOCKETS: Final = 10_000
ROUNDS: Final = 25
DESTINATIONS: Final = 50
PORT: Final = 514


@contextmanager
def filled(sockets: int) -> Iterator[None]:
    """Have about so many sockets in this namespace."""
    resource.setrlimit(resource.RLIMIT_NOFILE, 2 * resource.getrlimit(resource.RLIMIT_NOFILE)[1:])
    with ExitStack() as kept:
        server = kept.enter_context(socket.create_server(("0.0.0.0", PORT)))
        for number in range(sockets * 10 // 11):
            client = kept.enter_context(socket.socket())
            client.connect((f"127.1.0.{number % DESTINATIONS + 1}", PORT))
            accepted = kept.enter_context(server.accept()[0])
            if number // DESTINATIONS % 10:
                client.close()
                accepted.recv(1)
                accepted.close()
        yield


def run_ss() -> bytes:
    """What a script does, but for the parsing."""
    return subprocess.run(["ss", "-Htan"], check=True, capture_output=True).stdout


def measure(rounds: int) -> None:
    """Time each way in turns, and print medians and ratios."""
    one = Endpoint("127.1.0.7", PORT)
    ways: dict[str, Callable[[], object]] = {
        "netlink": dump,
        "netlink, TIME_WAIT only": lambda: dump(states=[TcpState.TIME_WAIT]),
        "netlink, one destination": lambda: dump(towards=[one]),
        "/proc/net/tcp": read_proc,
        "ss -Htan": run_ss,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    base = statistics.median(seconds["netlink"])
    print(f"{len(read_table() or ()):,} sockets, {len(dump(towards=[one])):,} of them to {one.address}")
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"{name:26} {median * 1000:6.1f} ms  {median / base:5.2f}  (best {min(times) * 1000:5.1f} ms)")


def main() -> None:
    """Fill a namespace, and measure in it."""
    sockets, rounds = ([int(word) for word in sys.argv[1:]] + [SOCKETS, ROUNDS][len(sys.argv) - 1 :])[:2]
    with Namespace(local_ports=(1024, 65000)) as namespace, namespace.entered(), filled(sockets):
        measure(rounds)


if __name__ == "__main__":
    main()
