"""100,000 made-up ssh_config look-ups, held against ``ssh -G``.

    python -m tests.bench.bench_ssh_config [COUNT [FIRST_SEED]]

Differences that docs/ssh-config.md names are counted by name; any other is
printed with its seed, and is an exit status of 1. It takes half an hour on two processors.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from pathlib import Path

from tests.transports.ssh.config.generated import difference, make, name_of

AT_ONCE = 500
SAME = "the same"


def compare(seeds: range) -> list[tuple[str | None, str]]:
    """What each seed's look-up comes to: a name of a difference, or ``None`` and the difference."""
    with tempfile.TemporaryDirectory() as folder:
        return list(_compare(seeds, Path(folder)))


def _compare(seeds: range, folder: Path) -> Iterator[tuple[str | None, str]]:
    for seed in seeds:
        found = difference(make(seed), folder)
        yield (SAME, "") if found is None else (name_of(found), f"seed {seed}: {found}")


def main(count: int = 100_000, first: int = 1_000_000) -> int:
    """Compare so many look-ups and tell what came of it."""
    version = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr.strip()
    print(f"{count:,} look-ups, {version}", flush=True)
    parts = [range(at, min(at + AT_ONCE, first + count)) for at in range(first, first + count, AT_ONCE)]
    names: Counter[str | None] = Counter()
    begun = time.monotonic()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for name, told in chain.from_iterable(pool.map(compare, parts)):
            names[name] += 1
            if not sum(names.values()) % 10_000:
                print(f"{sum(names.values()):,} after {time.monotonic() - begun:.0f} s", flush=True)
            if name is None:
                print(f"\n{told}\n", flush=True)
    for name, times in names.most_common():
        print(f"{times:>9,}  {name or 'NOT NAMED'}")
    print(f"{time.monotonic() - begun:.0f} s")
    return 1 if names[None] else 0


if __name__ == "__main__":
    raise SystemExit(main(*map(int, sys.argv[1:])))
