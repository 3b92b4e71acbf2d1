"""What a host costs: processor time and memory, beside parallel-ssh and a bare asyncssh script.

    python -m tests.bench.bench_cost [HOSTS] [FANOUT] [ROUNDS]

An SSH server that runs nothing, in a process of its own, is every host, so
that a processor is left to the client. The tools take turns; figures are
medians of the rounds: milliseconds of processor time a host, user and system,
start-up included (getrusage(2)), seconds by the clock, and the largest memory
in MiB. The ratios are to multirsh's. Parallel-ssh and another checkout of
multirsh are named as for ``bench_close``. Needs root.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.bench_close import COMMAND, SIGN, Setting, Tool, tools
from tests.bench.cheap_server import start_cheap_server
from tests.fleets import addresses
from tests.servers.namespace import Namespace

HOSTS: Final = 2000
FANOUT: Final = 64
ROUNDS: Final = 3

ASYNCSSH: Final = """
import asyncio, asyncssh, sys
hosts, fanout, user, port, key, known_hosts, command = sys.argv[1:]

async def main():
    places = asyncio.Semaphore(int(fanout))
    options = asyncssh.SSHClientConnectionOptions(
        username=user,
        client_keys=asyncssh.load_keypairs([key]),
        known_hosts=asyncssh.read_known_hosts(known_hosts),
        config=None,
        agent_path=None,
    )

    async def one(host):
        async with places, asyncssh.connect(host, int(port), options=options) as connection:
            print((await connection.run(command, stdin=asyncssh.DEVNULL)).stdout, end="")

    async with asyncio.TaskGroup() as group:
        for host in open(hosts).read().split():
            group.create_task(one(host))

asyncio.run(main())
"""

SCRIPT: Final = Tool(
    "asyncssh, bare script",
    sys.executable,
    "",
    lambda setting: [
        *(sys.executable, "-c", ASYNCSSH, str(setting.hosts), str(setting.fanout), setting.server.user),
        *(str(setting.server.port), str(setting.server.client_key), str(setting.folder / "known_hosts")),
        COMMAND,
    ],
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run of one tool came to.

    Attributes:
        processor_ms: Milliseconds a host.
        seconds: By the clock.
        memory: MiB at the most.
    """

    processor_ms: float
    seconds: float
    memory: float


def measure(tool: Tool, setting: Setting, namespace: Namespace) -> Cost:
    """Run ``tool`` once.

    Raises:
        RuntimeError: Not every host's output came.
    """
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        process = namespace.popen(
            tool.argv(setting),
            stdin=subprocess.DEVNULL,
            stdout=output,
            env={**os.environ, "XDG_STATE_HOME": str(setting.folder), **tool.environ(setting)},
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - began
        output.seek(0)
        came = output.read().count(SIGN)
    if came != len(setting.names):
        raise RuntimeError(
            f"{tool.name}: {came} of {len(setting.names)} hosts, exit code {process.returncode}"
        )
    spent = usage.ru_utime + usage.ru_stime
    return Cost(1000 * spent / len(setting.names), seconds, usage.ru_maxrss / 1024)


def show(costs: Mapping[str, Sequence[Cost]]) -> None:
    """Print the table."""
    print(f"\n{'':24} {'ms a host':>10} {'ratio':>6} {'seconds':>8} {'MiB':>6}")
    ours = statistics.median(cost.processor_ms for cost in costs["multirsh"])
    for name, runs in costs.items():
        processor, seconds, memory = (
            statistics.median(getattr(run, figure) for run in runs)
            for figure in ("processor_ms", "seconds", "memory")
        )
        print(f"{name:24} {processor:10.2f} {processor / ours:6.2f} {seconds:8.2f} {memory:6.0f}")


def main(hosts: int = HOSTS, fanout: int = FANOUT, rounds: int = ROUNDS) -> None:
    """Measure every tool that is there and is a client of its own, in turns."""
    every = [*(tool for tool in tools() if "multirsh" in tool.name or "library" in tool.name), SCRIPT]
    print(f"{hosts} hosts, {fanout} at once, {rounds} rounds, {os.cpu_count()} processors")
    with (
        Namespace() as namespace,
        start_cheap_server(namespace=namespace) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        setting = Setting(server, Path(folder), addresses(hosts), fanout)
        setting.write()
        costs: dict[str, list[Cost]] = {tool.name: [] for tool in every if tool.program}
        for _ in range(rounds):
            for tool in every:
                if tool.program:
                    costs[tool.name].append(measure(tool, setting, namespace))
    show(costs)
    for tool in every:
        if not tool.program:
            print(f"{tool.name}: not here ({tool.install})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
