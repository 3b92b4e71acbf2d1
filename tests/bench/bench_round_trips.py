"""How many round trips one command on one host takes, beside ssh, parallel-ssh and a bare asyncssh script.

    python -m tests.bench.bench_round_trips [ROUNDS]

A relay on loopback holds back everything in both directions. Each tool runs
``echo hi`` through it with a short and with a long delay; the difference in
time by the difference in delay is the number of round trips, without what the
processors did meanwhile. They are counted from TCP's connect (RFC 9293) on:
to the first bytes of the tool's output, and to the end of its process, as the
median of the rounds. ``SSHD_PORT``, ``SSHD_USER``, ``SSHD_KEY`` and
``SSHD_HOST_KEY`` (a line without the host's name) name another server than this
machine's sshd; ``PARALLEL_SSH_PYTHON`` is a Python that has parallel-ssh.
Needs root.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.servers.loop_thread import LoopThread
from tests.servers.ports import free_port
from tests.servers.sshd import start_sshd

ROUNDS: Final = 5
SHORT_S: Final = 0.02
LONG_S: Final = 0.07
"""Seconds that each direction is held back."""

TIMEOUT_S: Final = 60

PARALLEL_SSH: Final = """
import sys
from pssh.clients import ParallelSSHClient
port, user, key = sys.argv[1:]
client = ParallelSSHClient(["127.0.0.1"], user=user, port=int(port), pkey=key, allow_agent=False)
for output in client.run_command("echo hi"):
    for line in output.stdout:
        print(line, flush=True)
"""

ASYNCSSH: Final = """
import asyncio, asyncssh, sys
port, user, key, known_hosts = sys.argv[1:]
async def main():
    async with asyncssh.connect(
        "127.0.0.1",
        int(port),
        username=user,
        client_keys=[key],
        known_hosts=known_hosts,
        config=None,
        agent_path=None,
    ) as connection:
        print((await connection.run("echo hi", stdin=asyncssh.DEVNULL)).stdout, end="", flush=True)
asyncio.run(main())
"""


@dataclass(frozen=True, slots=True)
class Server:
    """Where the tools log in.

    Attributes:
        port: Of 127.0.0.1.
        user: The login.
        key: The file of the key that is accepted.
        host_key: Type and key, as in known_hosts.
    """

    port: int
    user: str
    key: str
    host_key: str


@contextmanager
def server() -> Iterator[Server]:
    """The server that the environment names, or an sshd of our own."""
    if "SSHD_PORT" in os.environ:
        name = os.environ
        yield Server(int(name["SSHD_PORT"]), name["SSHD_USER"], name["SSHD_KEY"], name["SSHD_HOST_KEY"])
        return
    with start_sshd() as sshd:
        line = sshd.known_hosts(["127.0.0.1"]).split(" ", 1)[1].strip()
        yield Server(sshd.port, sshd.user, str(sshd.client_key), line)


class DelayLine:
    """A relay that passes everything on late, and as fast as it comes.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        connected: When the last connection was accepted, by ``time.monotonic``.
    """

    def __init__(self, target: int, delay_s: float) -> None:
        self.connected = 0.0
        self.port = free_port(None)
        self._target = target
        self._delay_s = delay_s
        self._thread = LoopThread()
        self._server = self._thread.call(asyncio.start_server(self._relay, "127.0.0.1", self.port))

    def stop(self) -> None:
        """Close the listener and end the thread."""
        self._server.close()
        self._thread.stop()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected = time.monotonic()
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        with suppress(asyncio.CancelledError):  # by the end of the thread
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, far_writer))
                group.create_task(self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                loop.call_later(self._delay_s, writer.write, data)
        loop.call_later(self._delay_s, writer.close)


def tools(server: Server, folder: Path, port: int) -> Mapping[str, Sequence[str]]:
    """The command line of each tool that is here, to run ``echo hi`` through ``port``."""
    known_hosts = folder / f"known_hosts.{port}"
    known_hosts.write_text(f"[127.0.0.1]:{port} {server.host_key}\n")
    config = folder / f"ssh_config.{port}"
    config.write_text(
        f"Host *\n User {server.user}\n Port {port}\n IdentityFile {server.key}\n IdentitiesOnly yes\n"
        f" IdentityAgent none\n UserKnownHostsFile {known_hosts}\n GlobalKnownHostsFile /dev/null\n"
        " StrictHostKeyChecking yes\n ControlMaster no\n"
    )
    login = [str(port), server.user, server.key]
    found: dict[str, Sequence[str]] = {
        "multirsh": [sys.executable, "-m", "multirsh", "-n", "-F", str(config), "-w", "127.0.0.1", "echo hi"],
        "asyncssh": [sys.executable, "-c", ASYNCSSH, *login, str(known_hosts)],
    }
    if shutil.which("ssh"):
        found["ssh"] = ["ssh", "-n", "-F", str(config), "127.0.0.1", "echo hi"]
    if python := os.environ.get("PARALLEL_SSH_PYTHON"):
        found["parallel-ssh"] = [python, "-c", PARALLEL_SSH, *login]
    return found


def times(argv: Sequence[str], line: DelayLine, folder: Path) -> tuple[float, float]:
    """Run one tool: seconds from the connection to its first output, and to its end.

    Raises:
        RuntimeError: It did not print what the host says.
    """
    environment = {**os.environ, "XDG_STATE_HOME": str(folder)}
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        if process.stdout is None or process.stderr is None:
            raise RuntimeError("started without pipes")
        output = os.read(process.stdout.fileno(), 4096)
        first = time.monotonic()
        process.wait(TIMEOUT_S)
        end = time.monotonic()
        if b"hi" not in output:
            raise RuntimeError(f"{argv[0]}: {output!r} {process.stderr.read().decode()}")
    return first - line.connected, end - line.connected


def main(rounds: int = ROUNDS) -> None:
    """Measure every tool in turns, and print a line for each."""
    with server() as target, tempfile.TemporaryDirectory() as name, ExitStack() as lines:
        delays = {delay: DelayLine(target.port, delay) for delay in (SHORT_S, LONG_S)}
        for line in delays.values():
            lines.callback(line.stop)
        argv = {delay: tools(target, Path(name), line.port) for delay, line in delays.items()}
        seen: dict[tuple[str, float], list[tuple[float, float]]] = {}
        for _ in range(rounds):
            for delay, line in delays.items():
                for tool, words in argv[delay].items():
                    seen.setdefault((tool, delay), []).append(times(words, line, Path(name)))
        print(f"{'round trips':14} {'to the result':>14} {'to the end':>11}")
        for tool in argv[SHORT_S]:
            found = []
            for part in range(2):
                short, long = (
                    statistics.median(run[part] for run in seen[tool, delay]) for delay in (SHORT_S, LONG_S)
                )
                found.append((long - short) / (2 * (LONG_S - SHORT_S)))
            print(f"{tool:14} {found[0]:14.1f} {found[1]:11.1f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
