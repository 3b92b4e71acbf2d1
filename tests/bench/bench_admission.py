"""What admission costs for 100,000 hosts: nothing held back, each its own hop, few hops, one bastion.

    python -m tests.bench.bench_admission [HOSTS] [ROUNDS]

Each host is admitted, logs in and ends, in simulated time; 64 or 1,000 are in
flight. What is printed is the time of a host from its admission to its end,
that of the longest single call, and what the governor keeps in the end. The
ways take turns; medians of all rounds.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from multirsh.engine.schedule.admission import Admission
from multirsh.engine.schedule.governor import Governor, Pace
from multirsh.model import Host

HOSTS: Final = 100_000
ROUNDS: Final = 7


@dataclass(frozen=True)
class Case:
    """What holds the hosts back.

    Attributes:
        name: For people.
        fanout: In flight at once.
        hop_of: Their hops; ``None`` for no governor.
        paced: Whether there is a start rate, one that is never reached.
    """

    name: str
    fanout: int
    hop_of: Callable[[Host], Hashable] | None = None
    paced: bool = False


CASES: Final = (
    Case("fanout 64", 64),
    Case("fanout 64, start rate", 64, paced=True),
    Case("fanout 64, a hop each", 64, lambda host: (host.name, 22)),
    Case("fanout 1000, a hop each", 1000, lambda host: (host.name, 22)),
    Case("fanout 1000, 100 hops", 1000, lambda host: int(host.name[1:]) % 100),
    Case("fanout 1000, one hop", 1000, lambda _host: "bastion"),
)


def run(case: Case, hosts: list[Host]) -> tuple[float, float, int]:
    """Run all of them.

    Returns:
        Seconds in all, seconds of the longest call of ``admit``, hops that the governor knows in the end.
    """
    governor = None if case.hop_of is None else Governor()
    admission = Admission(
        hosts,
        fanout=case.fanout,
        governor=governor,
        hop_of=case.hop_of or (lambda _host: None),
        pace=Pace(1e9) if case.paced else None,
        rng=random.Random(0),
    )
    in_flight: deque[Host] = deque()
    longest = now = 0.0
    began = time.perf_counter()
    while not admission.is_over:
        now += 0.001
        start = time.perf_counter()
        admitted = admission.admit(now)
        longest = max(longest, time.perf_counter() - start)
        in_flight += [host for host, _, _ in admitted]
        admission.next_at(now)
        if in_flight:
            host = in_flight.popleft()
            admission.logged_in(host, now)
            admission.ended(host, now)
    return time.perf_counter() - began, longest, 0 if governor is None else len(governor)


def main() -> None:
    """Measure each case, in turns."""
    count, rounds = ([int(word) for word in sys.argv[1:]] + [HOSTS, ROUNDS][len(sys.argv) - 1 :])[:2]
    hosts = [Host(f"h{number}") for number in range(count)]
    told: dict[str, list[tuple[float, float, int]]] = {case.name: [] for case in CASES}
    for _ in range(rounds):
        for case in CASES:
            told[case.name].append(run(case, hosts))
    print(f"{count:,} hosts, {rounds} rounds")
    for name, figures in told.items():
        each = statistics.median(seconds for seconds, _, _ in figures) / count
        longest = statistics.median(longest for _, longest, _ in figures)
        print(
            f"{name:26} {each * 1e6:5.2f} µs a host   longest call {longest * 1e3:5.2f} ms"
            f"   hops kept {figures[0][2]}"
        )


if __name__ == "__main__":
    main()
