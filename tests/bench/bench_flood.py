"""Hosts that write byte by byte without an end: how late timers are, and how soon the run ends.

    python -m tests.bench.bench_flood [HOSTS] [SECONDS]

One sshd in a network namespace is every host, and each runs ``while :; do
printf x; done``. The client looks at the clock a hundred times a second. It
gets little of the processors, so that the hosts write faster than it reads, as
they do where they are machines of their own. Needs root.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

from multirsh.engine.fleet import Fleet
from multirsh.engine.options import Limits, Timeouts
from multirsh.events import HostFinished, Output
from multirsh.model import Status
from tests.fleets import addresses, hosts_on, known, ssh_options
from tests.servers.namespace import Namespace
from tests.servers.sshd import start_sshd

COMMAND: Final = "while :; do printf x; done"
HOSTS: Final = 60
SECONDS: Final = 5.0
LOOK_S: Final = 0.01
NICE: Final = 10


async def measure(fleet: Fleet) -> None:
    """Run, and print what was seen."""
    late: list[float] = []
    busy: list[float] = []
    is_over = False

    async def look() -> None:
        while not is_over:
            due, used = time.perf_counter() + LOOK_S, time.thread_time()
            await asyncio.sleep(LOOK_S)
            late.append(time.perf_counter() - due)
            busy.append(max(0.0, time.thread_time() - used - LOOK_S))

    async with fleet, asyncio.TaskGroup() as group:
        looking = group.create_task(look())
        began = time.perf_counter()
        count = 0
        statuses = Counter[Status]()
        ended: list[float] = []
        async for event in fleet.run(COMMAND).events():
            if isinstance(event, Output):
                count += len(event.data)
            elif isinstance(event, HostFinished):
                statuses[event.status] += 1
                ended.append(time.perf_counter() - began)
        seconds = time.perf_counter() - began
        is_over = True
        looking.cancel()
    late.sort()
    busy.sort()
    print(f"{dict(statuses)}, from {ended[0]:.1f} s on; over after {seconds:.1f} s; {count / 1e6:.2f} MB")
    for what, each in (("timers late by", late), ("of it, the loop's own processor time", busy)):
        figures = ", ".join(f"{each[int(len(each) * part) - 1] * 1e3:.0f} ms" for part in (0.5, 0.99, 1))
        print(f"{what} {figures} (median, 99 %, worst)")


def main() -> None:
    """Measure with the hosts and seconds that are named."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else HOSTS
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    names = addresses(count)
    with (
        tempfile.TemporaryDirectory() as folder,
        Namespace() as namespace,
        start_sshd(namespace=namespace, options={"MaxStartups": "2000"}) as sshd,
    ):
        os.nice(NICE)
        fleet = Fleet(
            hosts_on(sshd, names),
            limits=Limits(fanout=count),
            timeouts=Timeouts(connect=60, command=seconds),
            ssh=ssh_options(known(sshd, names, Path(folder))),
        )
        with namespace.entered():
            asyncio.run(measure(fleet))


if __name__ == "__main__":
    main()
