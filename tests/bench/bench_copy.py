"""Copies: a large file, and a tree of many small ones, to and from several hosts, beside scp and pscp.

    python -m tests.bench.bench_copy [--hosts N] [--megabytes N] [--files N] [--folder PATH]

One sshd is all hosts, each with a folder of its own; so disk and ciphers of
both ends share this machine. Prints seconds, and the most memory that the
client's processes held at once (``VmHWM``, its children's added). Needs root.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.files.homes import many_homes
from tests.files.trees import leftovers
from tests.program import MULTIRSH, Program
from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace
from tests.servers.processes import descendants

EVERY_S = 0.05


def held(pid: int) -> int:
    """The most memory that a process has held so far, in bytes."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def measured(argv: Sequence[str | Path], environ: dict[str, str], cwd: Path) -> tuple[float, int, int]:
    """Run it: seconds, bytes of memory, exit code."""
    began = time.perf_counter()
    process = subprocess.Popen(argv, env=environ, cwd=cwd, stdin=subprocess.DEVNULL)
    peaks: dict[int, int] = {}
    while process.poll() is None:
        for pid in {process.pid, *descendants(process.pid)}:
            peaks[pid] = max(peaks.get(pid, 0), held(pid))
        time.sleep(EVERY_S)
    return time.perf_counter() - began, sum(peaks.values()), process.returncode


def digest(path: Path) -> str:
    """A file's sum."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(root: Path, source: Path, hosts: int) -> str:
    """Whether every host has what ``source`` is; then it is removed."""
    files = [source] if source.is_file() else [path for path in source.rglob("*") if path.is_file()]
    sums = {path.relative_to(source.parent): digest(path) for path in files}
    wrong = 0
    for number in range(1, hosts + 1):
        home = root / f"h{number:02}"
        wrong += sum(
            not (home / path).is_file() or digest(home / path) != want for path, want in sums.items()
        )
        wrong += len(leftovers(home))
        for path in home.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return "sums right" if not wrong else f"{wrong} FILES WRONG"


def ways(server: Daemon, home: Path, hosts: int) -> dict[str, list[str | Path]]:
    """How each program pushes; the source's path is to be appended, then it is told where to."""
    common = f"-F {home}/.ssh/config -o UserKnownHostsFile={home}/.ssh/known_hosts"
    scp = f"xargs -P {hosts} -I HOST scp -q -r {common}"
    names = " ".join(f"127.1.0.{number}" for number in range(1, hosts + 1))
    found: dict[str, list[str | Path]] = {
        "multirsh": [*MULTIRSH, "push", "-q", "-r", "-j", str(hosts), "-f", "hosts.yaml"],
        "scp in xargs -P": ["sh", "-c", f'printf "%s\\n" {names} | {scp} "$0" HOST:.'],
    }
    pscp = shutil.which("parallel-scp") or shutil.which("pscp.pssh")
    if pscp:
        hosts_words = " ".join(f"-H 127.1.0.{number}" for number in range(1, hosts + 1))
        line = f'exec {pscp} -p {hosts} -t 0 -r {hosts_words} -x "{common}" "$0" . >/dev/null'
        found["pscp"] = ["sh", "-c", line]
    return found


def main() -> None:
    """Copy, measure and check."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--hosts", type=int, default=10)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name, Namespace() as namespace:
        root = Path(name)
        large = root / "large"
        with large.open("wb") as file:
            for _ in range(given.megabytes):
                file.write(os.urandom(1_000_000))
        tree = root / "tree"
        for number in range(given.files):
            path = tree / f"d{number % 50:02}" / f"f{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(10_000))
        with many_homes(namespace, root / "homes", given.hosts) as server, namespace.entered():
            multirsh = Program(root / "user")
            multirsh.knows(server, given.hosts)
            for what, source in ((f"{given.megabytes} MB", large), (f"{given.files} files", tree)):
                print(f"{what} to {given.hosts} hosts")
                for who, argv in ways(server, multirsh.home, given.hosts).items():
                    words = [*argv, source, "."] if who == "multirsh" else [*argv, source]
                    seconds, memory, code = measured(words, multirsh.environ, multirsh.home)
                    right = check(root / "homes", source, given.hosts)
                    print(
                        f"  {who}: {seconds:.1f} s, {memory / 1e6:.0f} MB at the most, exit {code}, {right}"
                    )


if __name__ == "__main__":
    main()
