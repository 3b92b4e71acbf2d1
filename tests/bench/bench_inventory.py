"""What 100,000 hosts cost: reading, selecting, folding; time and memory.

    python tests/bench/bench_inventory.py

Expanding and folding are held against ClusterShell's where it is there: give
the bench an environment that has it (``python -m venv E; E/bin/pip install
ClusterShell -e .; E/bin/python tests/bench/bench_inventory.py``). Each
inventory is read in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import importlib
import random
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from multirsh.inventory import Inventory, expand, fold

HOSTS = 100_000
ROUNDS = 5


def one_range() -> str:
    return f'hosts: ["h[000001-{HOSTS}].example.com"]\n'


def yaml_items() -> str:
    return "hosts:\n" + "".join(f"  - h{number:06}.example.com\n" for number in range(HOSTS))


def yaml_settings() -> str:
    return "hosts:\n" + "".join(
        f"  - h{number:06}: {{address: 10.{number >> 16}.{number >> 8 & 255}.{number & 255}, user: deploy}}\n"
        for number in range(HOSTS)
    )


def yaml_groups() -> str:
    racks = "".join(
        f'  rack{rack}: {{hosts: ["r{rack}n[1-1000]"], vars: {{rack: {rack}}}}}\n'
        for rack in range(HOSTS // 1000)
    )
    return "defaults: {user: deploy}\ngroups:\n" + racks


def plain_lines() -> str:
    return "".join(f"h{number:06}.example.com\n" for number in range(HOSTS))


SHAPES: dict[str, Callable[[], str]] = {
    shape.__name__: shape for shape in (one_range, yaml_items, yaml_settings, yaml_groups, plain_lines)
}


def measure(shape: str) -> None:
    """Read and select once, and print what it took; run in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hosts"
        path.write_text(SHAPES[shape](), encoding="utf-8")
        before = _peak_kib()
        start = time.perf_counter()
        inventory = Inventory.load(path)
        read = time.perf_counter() - start
        start = time.perf_counter()
        hosts = inventory.select(nodes=["*"], exclude=[inventory.hosts[0].name])
        select = time.perf_counter() - start
        peak = _peak_kib() - before
        kept = _kept_bytes(path)
    print(
        f"{shape:14} {len(hosts) + 1:7,} hosts  read {read:5.2f} s  select {select:5.2f} s  "
        f"peak +{peak / 1024:4.0f} MiB  kept {kept / HOSTS:4.0f} bytes a host  "
        f"{len({id(host.settings) for host in hosts}):,} settings"
    )


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _kept_bytes(path: Path) -> int:
    tracemalloc.start()
    inventory = Inventory.load(path)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return kept if inventory.hosts else 0


def compare() -> None:
    """Expand and fold beside ClusterShell."""
    try:
        other: Any = importlib.import_module("ClusterShell.NodeSet")
    except ImportError:
        print("ClusterShell is not here: no comparison (see the docstring)")
        other = None
    text = f"h[000001-{HOSTS}].example.com"
    names = expand(text)
    random.Random(1).shuffle(names)
    grid = expand("r[1-300]n[1-300]")
    rows: list[tuple[str, Callable[[], object], Callable[[], object]]] = [
        (f"expand {HOSTS:,}", lambda: expand(text), lambda: other.expand(text)),
        (f"fold {HOSTS:,}, shuffled", lambda: fold(names), lambda: str(other.NodeSet.fromlist(names))),
        ("fold a grid of 300 x 300", lambda: fold(grid), lambda: str(other.NodeSet.fromlist(grid))),
    ]
    for title, ours, theirs in rows:
        here = _best(ours)
        line = f"{title:26} {here:6.3f} s"
        if other is not None:
            there = _best(theirs)
            line += f"  ClusterShell {there:6.3f} s  ({there / here:4.1f} times ours)"
        print(line)


def _best(call: Callable[[], object]) -> float:
    """The shortest of some rounds, in seconds: the others were disturbed."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Measure the shape named, or all of them."""
    if sys.argv[1:]:
        measure(sys.argv[1])
        return
    for shape in SHAPES:
        subprocess.run([sys.executable, __file__, shape], check=True)
    compare()


if __name__ == "__main__":
    main()
