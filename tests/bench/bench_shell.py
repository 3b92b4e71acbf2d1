"""A second command in the shell, beside a fresh run: the same hosts, the same command.

    python -m tests.bench.bench_shell [--hosts N] [--fanout N] [--lines N]

One sshd is all hosts, on this machine. Prints seconds, the median of several, and how many logins sshd has
counted. Needs root.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from tests.fleets import addresses
from tests.program import MULTIRSH, Program
from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace
from tests.servers.sshd import start_sshd

LOGIN = r"Accepted publickey for"
COMMAND = "true"


def one_run(process: subprocess.Popen[bytes]) -> float:
    """Have the shell run the command; seconds from the line's end to the run's."""
    assert process.stdin is not None
    assert process.stdout is not None
    began = time.perf_counter()
    process.stdin.write(f"{COMMAND}\n".encode())
    process.stdin.flush()
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "run_finished":
            assert set(event["counts"]) == {"ok"}, event
            return time.perf_counter() - began
    raise AssertionError("the shell has ended")


def fresh(program: Program, options: list[str]) -> tuple[float, float]:
    """A run of its own: seconds of the process, and of those the run's."""
    began = time.perf_counter()
    done = program(*options, "--json", COMMAND)
    took = time.perf_counter() - began
    assert done.code == 0, done.err
    return took, json.loads(done.out.splitlines()[-1])["seconds"]


def measure(program: Program, server: Daemon, options: list[str], lines: int) -> None:
    """Both ways, and print."""
    runs = [fresh(program, options) for _ in range(3)]
    logins = server.log.count(LOGIN)
    with subprocess.Popen(
        [*MULTIRSH, "shell", *options, "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=program.environ,
        cwd=program.home,
    ) as process:
        first = one_run(process)
        later = [one_run(process) for _ in range(lines)]
        began = time.perf_counter()
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        leaving = time.perf_counter() - began
    total, of_run = (statistics.median(times) for times in zip(*runs, strict=True))
    print(f"a fresh run           {total:7.3f} s, {of_run:.3f} s of it the run's own")
    print(f"the shell's first     {first:7.3f} s, with the program's start")
    print(f"every later one       {statistics.median(later):7.3f} s  (worst of {lines}: {max(later):.3f} s)")
    print(f"leaving               {leaving:7.3f} s")
    print(f"logins of the shell   {server.log.count(LOGIN) - logins:7}")


def main() -> None:
    """Measure as the options say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--fanout", type=int, default=64)
    parser.add_argument("--lines", type=int, default=20)
    asked = parser.parse_args()
    names = addresses(asked.hosts)
    with (
        tempfile.TemporaryDirectory() as folder,
        Namespace() as namespace,
        namespace.entered(),
        start_sshd(namespace=namespace) as server,
    ):
        program = Program(Path(folder))
        known = program.write("known_hosts", server.known_hosts(names))
        program.write("hosts", "".join(f"{name}\n" for name in names))
        options = [
            *("-f", "hosts", "-F", "none", "-l", server.user, "-p", str(server.port)),
            *("-i", str(server.client_key), "-j", str(asked.fanout), "-o", "IdentityAgent=none"),
            *("-o", f"UserKnownHostsFile={known}", "-o", "GlobalKnownHostsFile=/dev/null"),
        ]
        measure(program, server, options, asked.lines)
        assert not namespace.client_side([server.port])


if __name__ == "__main__":
    main()
