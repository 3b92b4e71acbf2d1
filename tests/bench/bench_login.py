"""What our way of using asyncssh costs, or saves: beside plain asyncssh, on the same sshd, in turns.

    python -m tests.bench.bench_login [HOSTS] [FANOUT] [ROUNDS]

Both log in, run a command and close, in this one process. Plain asyncssh is
given what it is quickest with: its options made once, keys loaded once, no
file to read, host keys unchecked. Processor time is ours alone, sshd's is not in it;
segments with data are the kernel's own count (tcpi_data_segs_out, tcp(7)),
taken when the command has ended and before the close; with TCP_NODELAY each
send(2) is one. Needs root, for a network namespace.
"""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from unittest.mock import patch

import asyncssh

from multirsh.model import Status
from multirsh.transports.ssh.connection import SshConnection
from tests.fleets import addresses, fleet_of, hosts_on, known, run_all, ssh_options
from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace
from tests.servers.sshd import start_sshd

COMMAND: Final = "true"
HOSTS: Final = 200
FANOUT: Final = 32
ROUNDS: Final = 3

DATA_SEGMENTS_OUT: Final = struct.Struct("156xI")
"""tcpi_data_segs_out in struct tcp_info, include/uapi/linux/tcp.h."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one round of one way came to.

    Attributes:
        seconds: By the clock.
        processor_seconds: Ours.
        segments: With data, sent by us, of each host.
    """

    seconds: float
    processor_seconds: float
    segments: Sequence[int]


class Segments(list[int]):
    """Collects each socket's count."""

    def note(self, sock: socket.socket) -> None:
        """Ask the kernel for one."""
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, DATA_SEGMENTS_OUT.size)
        self.append(DATA_SEGMENTS_OUT.unpack(info)[0])


@contextmanager
def counted(segments: Segments) -> Iterator[None]:
    """Note the segments of every ``SshConnection`` when it is told to close."""
    close = SshConnection.close

    def counting(connection: SshConnection) -> None:
        if connection._socket is not None:
            segments.note(connection._socket.get_extra_info("socket"))
        close(connection)

    with patch.object(SshConnection, "close", counting):
        yield


async def by_multirsh(server: Daemon, names: Sequence[str], fanout: int, folder: Path) -> Segments:
    """The whole of it: engine, host keys, close order."""
    segments = Segments()
    fleet = fleet_of(hosts_on(server, names), ssh_options(folder / "known_hosts"), fanout=fanout)
    with counted(segments):
        finished, _, _ = await run_all(fleet, COMMAND)
    if {ending.status for ending in finished.values()} != {Status.OK}:
        raise RuntimeError(f"not all are ok: {finished}")
    return segments


async def by_asyncssh(server: Daemon, names: Sequence[str], fanout: int, _folder: Path) -> Segments:
    """Its documentation's way, with a semaphore."""
    segments = Segments()
    places = asyncio.Semaphore(fanout)
    options = asyncssh.SSHClientConnectionOptions(
        username=server.user,
        client_keys=asyncssh.load_keypairs([str(server.client_key)]),
        known_hosts=None,
        config=None,
        agent_path=None,
    )

    async def one(name: str) -> None:
        async with places, asyncssh.connect(name, server.port, options=options) as connection:
            result = await connection.run(COMMAND, stdin=asyncssh.DEVNULL)
            if result.exit_status != 0:
                raise RuntimeError(f"{name}: {result.exit_status}")
            segments.note(connection.get_extra_info("socket"))

    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(one(name))
    return segments


Way = Callable[[Daemon, Sequence[str], int, Path], Awaitable[Segments]]

WAYS: Final[dict[str, Way]] = {"multirsh": by_multirsh, "asyncssh": by_asyncssh}


async def measure(way: Way, server: Daemon, names: Sequence[str], fanout: int, folder: Path) -> Figures:
    """One round."""
    began, processor = time.perf_counter(), time.process_time()
    segments = await way(server, names, fanout, folder)
    return Figures(time.perf_counter() - began, time.process_time() - processor, segments)


def main(hosts: int = HOSTS, fanout: int = FANOUT, rounds: int = ROUNDS) -> None:
    """Measure both ways in turns."""
    print(f"{hosts} hosts, {fanout} at once, {rounds} rounds, {os.cpu_count()} processors")
    names = addresses(hosts)
    figures: dict[str, list[Figures]] = {name: [] for name in WAYS}
    with (
        Namespace() as namespace,
        start_sshd(namespace=namespace) as server,
        tempfile.TemporaryDirectory() as folder,
        namespace.entered(),
    ):
        known(server, names, Path(folder))
        for _ in range(rounds):
            for name, way in WAYS.items():
                figures[name].append(asyncio.run(measure(way, server, names, fanout, Path(folder))))
    print(f"{'':10} {'logins/s':>9} {'ms of ours a host':>18} {'segments a host':>16}")
    for name, runs in figures.items():
        logins = hosts / statistics.median(run.seconds for run in runs)
        cost = 1000 * statistics.median(run.processor_seconds for run in runs) / hosts
        segments = statistics.mean(count for run in runs for count in run.segments)
        print(f"{name:10} {logins:9.1f} {cost:18.2f} {segments:16.1f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
