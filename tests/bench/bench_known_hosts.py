"""Whether 100,000 look-ups in generated known_hosts files end as with ssh-keygen -F.

    python -m tests.bench.bench_known_hosts [LOOKUPS] [PROCESSES]

Every difference is printed. The tests do the first 2,000 of them.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.transports.ssh.known_hosts_lookups import differences

LOOKUPS: Final = 100_000
BATCH: Final = 500


def compare(first: int) -> list[str]:
    """Compare one batch."""
    with tempfile.TemporaryDirectory() as folder:
        return differences(range(first, first + BATCH), Path(folder))


def main(lookups: int, processes: int) -> int:
    """Compare all; the exit code."""
    began = time.monotonic()
    differ = 0
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for told in pool.imap_unordered(compare, range(0, lookups, BATCH)):
            differ += len(told)
            print(*told, sep="\n", end="\n" if told else "", flush=True)
    print(f"{lookups} look-ups, {differ} differences, {time.monotonic() - began:.0f} s")
    return 1 if differ else 0


if __name__ == "__main__":
    asked = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*[*asked, *(LOOKUPS, os.cpu_count() or 1)[len(asked) :]]))
