"""Leases a second through the ledger, with ever more in its table.

    python -m tests.bench.bench_ledger [ROUNDS]

One lease is one whole use of a port: asked for, connected, given back. No
socket is made and the kernel is not asked: it is the ledger's own cost. Half
of the entries are leases that are out, the other half what the kernel keeps
in TIME_WAIT for somebody else; a correction by a table of so many rows is
timed apart. The sizes take turns, so that a busy moment is everybody's.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from multirsh.model import ClosedBy, SourcePort
from multirsh.ports.ledger import Ledger
from multirsh.ports.reserved import RESERVED_PORTS
from multirsh.ports.sockets import Endpoint, Lease, Route, TcpSocket, TcpState
from multirsh.ports.sysctls import KernelPorts

ROUNDS: Final = 15
SIZES: Final = (0, 1_000, 10_000, 28_000)
LEASES: Final = 5_000

SOURCE: Final = "10.0.0.1"
KERNEL: Final = KernelPorts()
ROUTE: Final = Route(SOURCE, Endpoint("10.1.0.1", 22))
FIRST: Final = KERNEL.ephemeral.start


class Bench:
    """One ledger, and a clock that goes on by a millisecond a lease."""

    def __init__(self) -> None:
        self.ledger = Ledger(KERNEL)
        self.now = 0.0

    def held(self, route: Route, kind: SourcePort, port: int) -> Lease:
        lease = self.ledger.request(route, kind, self.now)
        assert isinstance(lease, Lease), lease
        self.ledger.connected(lease, lease.port or port)
        return lease

    def use(self, routes: list[Route], kind: SourcePort) -> float:
        """Leases a second, of one after another to each of ``routes`` in turn."""
        began = time.perf_counter()
        for number in range(LEASES):
            self.now += 0.001
            lease = self.held(routes[number % len(routes)], kind, FIRST)
            self.ledger.give_back(lease, ClosedBy.REMOTE, self.now)
        return LEASES / (time.perf_counter() - began)

    def correct(self, kind: SourcePort, rows: list[TcpSocket]) -> float:
        """Milliseconds of one correction."""
        began = time.perf_counter()
        self.ledger.correct(ROUTE, kind, rows, self.now)
        return (time.perf_counter() - began) * 1000


def ephemeral(size: int) -> tuple[Bench, list[TcpSocket]]:
    """All entries on the one route that is used."""
    bench = Bench()
    ports = iter(KERNEL.ephemeral[1:])
    for port in islice(ports, size // 2):
        bench.held(ROUTE, SourcePort.EPHEMERAL, port)
    return bench, [kept(ROUTE, port) for port in islice(ports, size - size // 2)]


def reserved(size: int) -> tuple[Bench, list[TcpSocket]]:
    """On other destinations than those that are used: every other port of each."""
    bench = Bench()
    four_tuples = reserved_four_tuples()
    for route, port in islice(four_tuples, size // 2):
        bench.ledger.adopt(route, port)
    return bench, [kept(route, port) for route, port in islice(four_tuples, size - size // 2)]


def crowded(size: int) -> tuple[Bench, list[TcpSocket]]:
    """The same, and of the 512 ports towards the one that is used all but 12 are in TIME_WAIT."""
    bench, rows = reserved(size)
    free = RESERVED_PORTS[1:24:2]  # where none of the others are
    return bench, rows + [kept(ROUTE, port) for port in RESERVED_PORTS if port not in free]


def reserved_four_tuples() -> Iterator[tuple[Route, int]]:
    """Every other port: while others are on all of them, none can be bound alone."""
    for host in range(1, 255):
        for port in RESERVED_PORTS[::2]:
            yield Route(SOURCE, Endpoint(f"10.2.0.{host}", 514)), port


def kept(route: Route, port: int) -> TcpSocket:
    return TcpSocket(TcpState.TIME_WAIT, Endpoint(route.source, port), route.remote, 1e6)


HOSTS: Final = [Route(SOURCE, Endpoint(f"10.3.0.{number}", 514)) for number in range(1, 101)]

SHAPES: dict[str, tuple[Callable[[int], tuple[Bench, list[TcpSocket]]], SourcePort, list[Route]]] = {
    "ephemeral, one destination": (ephemeral, SourcePort.EPHEMERAL, [ROUTE]),
    "reserved, a hundred destinations": (reserved, SourcePort.RESERVED, HOSTS),
    "reserved, one destination": (reserved, SourcePort.RESERVED, [ROUTE]),
    "reserved, one destination, crowded": (crowded, SourcePort.RESERVED, [ROUTE]),
}


def measure(rounds: int) -> None:
    """Print medians, and how much the largest table costs beside the empty one."""
    for name, (make, kind, routes) in SHAPES.items():
        rates: dict[int, list[float]] = {size: [] for size in SIZES}
        corrections: dict[int, list[float]] = {size: [] for size in SIZES}
        for _ in range(rounds):
            for size in SIZES:
                bench, rows = make(size)
                corrections[size].append(bench.correct(kind, rows))
                rates[size].append(bench.use(routes, kind))
        medians = {size: statistics.median(rates[size]) for size in SIZES}
        print(name)
        for size in SIZES:
            print(
                f"  {size:6,} entries  {medians[size]:9,.0f} leases a second"
                f"  corrected in {statistics.median(corrections[size]):5.1f} ms"
            )
        print(f"  28,000 entries against none: {medians[0] / medians[SIZES[-1]]:.2f} times the cost")


def main() -> None:
    """Measure."""
    measure(int(sys.argv[1]) if sys.argv[1:] else ROUNDS)


if __name__ == "__main__":
    main()
