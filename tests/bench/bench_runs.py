"""What a full journal costs to look at: listing, showing one run, comparing two.

    python -m tests.bench.bench_runs [RUNS] [HOSTS] [ROUNDS]

Each record is a whole one: of every host a beginning, two lines of output and
an ending. Times are of the program from its start to its end, the best of some
rounds, beside ``multirsh --version``. "without an index" is the first listing
after the index was lost: what it said is learnt from the records.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from multirsh.events import Event
from multirsh.journal import Journal
from multirsh.journal.record import FORMAT, format_time, line_of
from multirsh.model import Status
from tests.journal.records import finished, host_finished, host_started, output, started
from tests.program import MULTIRSH

RUNS: Final = 1000
HOSTS: Final = 1000
ROUNDS: Final = 5
_ID: Final = b"20260101T000000-000000"
_BEGAN: Final = 1_780_000_000
_STAMP: Final = format_time(_BEGAN).encode()


def main(runs: int = RUNS, hosts: int = HOSTS, rounds: int = ROUNDS) -> None:
    """Make a journal, and look at it in each way."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = folder
        records = Path(folder, "multirsh", "runs")
        first, second = (_record(hosts, release) for release in (41, 42))
        records.mkdir(parents=True)
        for number in range(runs):
            run = b"20260101T000000-%06x" % number
            text = (second if number % 2 else first).replace(_ID, run)
            text = text.replace(_STAMP, format_time(_BEGAN + 60 * number).encode(), 1)
            (records / f"{run.decode()}.ndjson").write_bytes(text)
        print(f"{runs} runs of {hosts} hosts, {runs * len(first) / 1e6:.0f} MB, {os.cpu_count()} processors")
        _measure("--version", ["--version"], rounds)
        _measure("runs, without an index", ["runs"], 1)
        _measure("runs", ["runs"], rounds)
        _measure("runs --json", ["runs", "--json"], rounds)
        _measure("runs show last", ["runs", "show", "last"], rounds)
        _measure("runs show last h1", ["runs", "show", "last", "h1"], rounds)
        _measure("runs diff, all changed", ["runs", "diff", "000000", "000001"], rounds)
        _measure("runs diff, nothing changed", ["runs", "diff", "000000", "000002"], rounds)
        assert len(Journal().runs()) == runs


def _record(hosts: int, release: int) -> bytes:
    run, names = _ID.decode(), [f"h{number}" for number in range(1, hosts + 1)]
    events: list[Event] = [started(run, *names)]
    for name in names:
        text = f"kernel of {name}\nrelease {release}\n".encode()
        events += [host_started(run, name), output(run, name, text), host_finished(run, name)]
    events.append(finished(run, {Status.OK: hosts}))
    first = {"event": "record", "run": run, "t": 0, "format": FORMAT, "began": _STAMP.decode(), "plan": {}}
    return b"".join(map(line_of, [first, *(event.to_dict() for event in events)]))


def _measure(title: str, words: list[str], rounds: int) -> None:
    seconds = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        code = subprocess.run([*MULTIRSH, *words], capture_output=True, check=False).returncode
        seconds = min(seconds, time.perf_counter() - began)
        assert code in {0, 5}, code
    print(f"{title:34} {seconds:6.2f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
