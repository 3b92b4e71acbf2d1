"""What a run by the command line told, and what holds however it went: what every fault leaves standing."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from multirsh.exit_code import exit_code
from multirsh.model import Status
from tests.program import Program
from tests.servers.namespace import Namespace
from tests.servers.processes import carrying, naming
from tests.waiting import HANG_GUARD_S

STRICTLY: Final = {"PYTHONWARNINGS": "always::ResourceWarning"}
"""Python then tells of each socket, transport and file that is dropped and was not closed."""

COMPLAINTS: Final = ("Traceback", "ResourceWarning", "never retrieved", "was destroyed", "internal error")
"""What Python and asyncio say of what was dropped or escaped."""


@dataclass(frozen=True, slots=True)
class Told:
    """How a run ended.

    Attributes:
        code: Its exit code.
        endings: Each host's ``host_finished``.
        run: ``run_finished``.
        outputs: What each host wrote to stdout.
        err: What multirsh wrote to stderr.
    """

    code: int
    endings: Mapping[str, Mapping[str, Any]]
    run: Mapping[str, Any]
    outputs: Mapping[str, str]
    err: str

    def kinds(self, prefix: str = "") -> Counter[tuple[str, str | None, str | None]]:
        """Status, kind and phase of the error, of the hosts whose names begin so."""
        found: Counter[tuple[str, str | None, str | None]] = Counter()
        for name, ending in self.endings.items():
            if name.startswith(prefix):
                error = ending["error"] or {}
                found[ending["status"], error.get("kind"), error.get("phase")] += 1
        return found

    def statuses(self, prefix: str = "") -> Counter[str]:
        """Statuses of the hosts whose names begin so."""
        return Counter(ending["status"] for name, ending in self.endings.items() if name.startswith(prefix))


def told_by(
    process: subprocess.Popen[bytes],
    multirsh: Program,
    namespace: Namespace,
    ports: Collection[int],
    *,
    signal: int | None = None,
) -> Told:
    """Wait for the end of a run with ``--json``, and assert what every fault leaves standing.

    One ending a host, of those that were announced; the exit code that the contract has for their statuses;
    neither a socket towards ``ports`` nor a child left; nothing dropped unclosed; no traceback.

    Args:
        process: What ``Program.start`` started.
        multirsh: Who did.
        namespace: Where it ran.
        ports: Where the servers are.
        signal: The one that ended it.
    """
    out, errors = process.communicate(timeout=HANG_GUARD_S)
    left = namespace.client_side(ports)
    err = errors.decode()
    events = [json.loads(line) for line in out.splitlines()]
    assert events, err
    first, last = events[0], events[-1]
    assert (first["event"], last["event"]) == ("run_started", "run_finished")
    finished = [event for event in events if event["event"] == "host_finished"]
    endings = {event["host"]: event for event in finished}
    assert len(finished) == len(endings) == len(first["hosts"]), "one ending a host"
    assert endings.keys() == set(first["hosts"])
    counts = Counter(Status(event["status"]) for event in finished)
    assert {Status(name): count for name, count in last["counts"].items() if count} == counts
    assert process.returncode == last["exit_code"] == exit_code(counts, signal=signal)
    assert not left
    assert not carrying(f"HOME={multirsh.home}"), "children"
    for complaint in COMPLAINTS:
        assert complaint not in err, err
    outputs: dict[str, str] = {}
    for event in events:
        if event["event"] == "stdout":
            outputs[event["host"]] = outputs.get(event["host"], "") + event.get("data", "")
    return Told(process.returncode, endings, last, outputs, err)


def start(
    multirsh: Program, *words: str, prefix: Collection[str] = (), file: str = "hosts.yaml"
) -> subprocess.Popen[bytes]:
    """Start a run with ``--json`` on the hosts of ``file``, strictly."""
    multirsh.environ.update(STRICTLY)
    return multirsh.start("-f", file, "--json", *words, prefix=list(prefix))


def sleeping(seconds: str) -> set[int]:
    """The processes that are ``sleep SECONDS``, and no shell or client that only names it."""
    found = set()
    for pid in naming(seconds):
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if words[:2] == [b"sleep", seconds.encode()]:
                found.add(pid)
    return found
