"""Runs that are killed at any moment, and gone on with: many in little time.

``python -m tests.end_to_end.killed_runs FOLDER POINTS SEED`` imports multirsh
once and forks for each run, so that a point costs no start. Each host is this
machine (``-R local``) and writes its name to a file when its command begins. A
line of JSON holds for each point what the test judges.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from multirsh.cli.main import main
from multirsh.journal import Journal, RunState
from multirsh.journal.resuming import Standing, hosts_standing, standings

HOSTS = [f"h{number:02}" for number in range(24)]
COMMAND = "echo $MULTIRSH_HOST >> $BEGUN; exec sleep 0.01"
OPTIONS = ["-R", "local", "-w", "h[00-23]", "-j", "4", "-q"]
ALWAYS = 5
"""Kills of one point, at the most; what is resumed then is let to its end."""


def start(words: Path, *args: str) -> int:
    """Begin a run of the command line in a process of its own; its id."""
    child = os.fork()
    if child:
        return child
    try:
        descriptor = os.open(words, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        main(args)
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else 1)
    finally:
        os._exit(70)


def wait(child: int) -> int:
    """Its exit code, or less than 0 for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def lines_that_are_none(path: Path) -> int:
    """Whole lines of a record that are no JSON."""
    wrong = 0
    for line in path.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            try:
                json.loads(line)
            except ValueError:
                wrong += 1
    return wrong


def point(folder: Path, rng: random.Random, longest: float) -> dict[str, object]:
    """One run, killed and gone on with, killed again maybe, until it is over."""
    folder.mkdir()
    begun, words = folder / "begun", folder / "words"
    begun.touch()
    os.environ |= {"XDG_STATE_HOME": str(folder), "BEGUN": str(begun)}
    journal = Journal()
    doubt: set[str] = set()
    done: set[str] = set()
    refusals: list[tuple[int, str, list[str]]] = []
    garbage = kills = 0
    args: Sequence[str] = (*OPTIONS, COMMAND)
    while True:
        child = start(words, *args)
        is_let = kills == ALWAYS or (kills > 0 and rng.random() < 0.5)
        if not is_let:
            kills += 1
            time.sleep(rng.uniform(0, longest))
            os.kill(child, signal.SIGKILL)
        code = wait(child)
        records = journal.runs()
        garbage += sum(lines_that_are_none(journal.folder / f"{one.run}.ndjson") for one in records)
        if records:
            found = standings(journal.plan(records[0]), journal.outcomes(records[0]))
            if list(found) != HOSTS:
                garbage += 1
            done |= set(hosts_standing(found, Standing.OK))
            doubt |= set(hosts_standing(found, Standing.UNKNOWN))
            if records[0].state is RunState.FINISHED:
                code = records[0].exit_code or 0  # killed after its end, it had no other
                break
            if hosts_standing(found, Standing.UNKNOWN) and not refusals:
                refused = wait(start(words, *OPTIONS, "--resume", "last"))
                refusals.append((refused, words.read_text(), sorted(hosts_standing(found, Standing.UNKNOWN))))
            args = (*OPTIONS, "--resume", "last", "--retry-command")
        if is_let:
            break
    time.sleep(0.05)  # what the killed ones have started writes its name at once, or not at all
    return {
        "code": code,
        "kills": kills,
        "counts": Counter(begun.read_text().split()),
        "doubt": sorted(doubt),
        "done": sorted(done),
        "refusals": refusals,
        "garbage": garbage,
        "words": words.read_text(),
    }


def import_all() -> None:
    """Import what a run imports when it needs it, so that forked ones have it."""
    for name in (
        "cli.prior_run",
        "cli.cli_run",
        "cli.cli_run",
        "cli.run",
        "cli.signals",
        "transports.local.transport",
    ):
        importlib.import_module(f"multirsh.{name}")


def points(folder: Path, number: int, seed: int) -> None:
    """Print a line for each."""
    import_all()
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    os.environ |= {"XDG_STATE_HOME": str(folder / "first"), "BEGUN": str(folder / "begun")}
    began = time.monotonic()
    wait(start(folder / "words", *OPTIONS, COMMAND))
    longest = time.monotonic() - began
    for each in range(number):
        print(json.dumps(point(folder / str(each), rng, longest)), flush=True)  # noqa: T201


if __name__ == "__main__":
    points(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
