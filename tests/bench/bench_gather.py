"""Gathering beside clush -b and pdsh | dshbak -c: peak memory, time, and whether the output is exact.

    python -m tests.bench.bench_gather [HOSTS] [KILOBYTES] [FANOUT] [TOOLS]

Each host writes so much: in one run all the same, in another each its own. The
output of every tool is checked by its sum. Peak memory is the largest
resident set of any one process of the tool (ru_maxrss of wait4(2)); the ssh
processes that a tool starts are not added. One sshd is all hosts. Times are of
one run each, in turns, as ratios to multirsh's. TOOLS is how many of the tools; 1 is multirsh alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.bench_close import Setting
from tests.fleets import addresses
from tests.servers.namespace import Namespace
from tests.servers.sshd import start_sshd

HOSTS: Final = 1000
KILOBYTES: Final = 1000
FANOUT: Final = 32

SAME: Final = "yes 'the same line on every host' | head -c {size}; echo"
OWN: Final = 'set -- $SSH_CONNECTION; yes "this is $3" | head -c {size}; echo'

_HEADERS: Final = re.compile(rb"^(?:---- [^\n]*|-{4,}\n[^\n]*\n-{4,})\n", re.MULTILINE)
"""Of multirsh, and of clush and dshbak."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One way to gather.

    Attributes:
        name: For the table.
        programs: What must be there.
        shell: The command line, which prints the gathered outputs.
    """

    name: str
    programs: Sequence[str]
    shell: Callable[[Setting, str], str]


TOOLS: Final = (
    Tool(
        "multirsh -b",
        (sys.executable,),
        lambda s, command: (
            f"{sys.executable} -m multirsh -f {s.hosts} -F {s.config} -j {s.fanout} -b {_quoted(command)}"
        ),
    ),
    Tool(
        "clush -b",
        ("clush",),
        lambda s, command: (
            f"clush -q -b -f {s.fanout} -o '-F {s.config}' --hostfile {s.hosts} {_quoted(command)}"
        ),
    ),
    Tool(
        "pdsh | dshbak -c",
        ("pdsh", "dshbak"),
        lambda s, command: (
            f"PDSH_SSH_ARGS_APPEND='-F {s.config}' pdsh -R ssh -f {s.fanout} -w ^{s.hosts} {_quoted(command)}"
            " | dshbak -c"
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run came to.

    Attributes:
        seconds: From start to exit.
        megabytes: Of its largest process, resident at the peak.
        is_exact: Whether each output was there, to the byte.
    """

    seconds: float
    megabytes: float
    is_exact: bool


def measure(
    tool: Tool, setting: Setting, namespace: Namespace, command: str, expected: Counter[bytes]
) -> Figures:
    """Run ``tool`` once."""
    out = setting.folder / "out"
    began = time.perf_counter()
    with out.open("wb") as file:
        process = namespace.popen(
            ["/bin/sh", "-c", tool.shell(setting, command)], stdout=file, stderr=subprocess.DEVNULL
        )
        # Of the shell and, once waited for by it, of the largest of those that it started.
        _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return Figures(time.perf_counter() - began, usage.ru_maxrss / 1024, _outputs(out) == expected)


def _outputs(out: Path) -> Counter[bytes]:
    """The sums of the outputs between the headers."""
    blocks = _HEADERS.split(out.read_bytes())[1:]
    return Counter(hashlib.sha256(block.rstrip(b"\n") + b"\n").digest() for block in blocks)


def _written(line: bytes, size: int) -> bytes:
    """The sum of what one host writes."""
    text = (line * (size // len(line) + 1))[:size]
    return hashlib.sha256(text.rstrip(b"\n") + b"\n").digest()


def _quoted(command: str) -> str:
    return "'" + command.replace("'", "'\\''") + "'"


def main(
    hosts: int = HOSTS, kilobytes: int = KILOBYTES, fanout: int = FANOUT, first: int = len(TOOLS)
) -> None:
    """Measure every tool that is there, in turns."""
    size = kilobytes * 1000
    present = [tool for tool in TOOLS[:first] if all(map(shutil.which, tool.programs))]
    print(f"{hosts} hosts, {size} bytes each, {fanout} at once, {os.cpu_count()} processors")
    with (
        Namespace() as namespace,
        start_sshd(namespace=namespace) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        setting = Setting(server, Path(folder), addresses(hosts), fanout)
        setting.write()
        same = Counter({_written(b"the same line on every host\n", size): 1})
        own = Counter(_written(f"this is {name}\n".encode(), size) for name in setting.names)
        for title, command, expected in (("all the same", SAME, same), ("each its own", OWN, own)):
            ours = 0.0
            print(f"\n{title:24} {'seconds':>8} {'ratio':>6} {'MB':>8}  exact")
            for tool in present:
                run = measure(tool, setting, namespace, command.format(size=size), expected)
                ours = ours or run.seconds
                print(
                    f"{tool.name:24} {run.seconds:8.1f} {run.seconds / ours:6.2f} {run.megabytes:8.0f}"
                    f"  {'yes' if run.is_exact else 'no'}"
                )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
