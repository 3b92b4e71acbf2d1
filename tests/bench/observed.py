"""A program that is run and watched: what it says, and when."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Final

from tests.servers.namespace import Namespace

_VARYING: Final = re.compile(r"\[\d+\] \d\d:\d\d:\d\d |\bh\d+\b:? ?|pdsh@\w+: ")
"""What differs between two errors that are the same: pssh's count and time, the host, who says it."""


@dataclass(frozen=True, slots=True)
class Line:
    """Something it said.

    Attributes:
        at: Seconds from its start to when we had it.
        stream: ``stdout`` or ``stderr``.
        text: Without the line feed.
    """

    at: float
    stream: str
    text: str


@dataclass(frozen=True, slots=True)
class Observed:
    """How a run went.

    Attributes:
        code: Its exit code; ``None`` where it was ended because its time was over.
        seconds: From start to exit.
        lines: All that it said, as it came.
    """

    code: int | None
    seconds: float
    lines: Sequence[Line]

    def ok(self, sign: str) -> int:
        """How many times ``sign`` came."""
        return sum(line.text.count(sign) for line in self.lines if line.stream == "stdout")

    def complaints(self) -> Iterator[Line]:
        """What it said of hosts that failed."""
        return (line for line in self.lines if _COMPLAINT.search(line.text))

    def worst(self) -> str:
        """What it complained of most, hosts and times left out; the system's reason rather than a status."""
        complaints = list(self.complaints())
        reasons = [line for line in complaints if _REASON.search(line.text)]
        counts = Counter(_VARYING.sub("", line.text).strip() for line in reasons or complaints)
        return counts.most_common(1)[0][0] if counts else ""


_REASON: Final = re.compile(
    r"cannot assign|address already in use|could not bind|not available|reset by peer|timed out",
    re.IGNORECASE,
)

_COMPLAINT: Final = re.compile(f"{_REASON.pattern}|FAILURE|exited with exit code|error", re.IGNORECASE)


def observe(
    namespace: Namespace,
    argv: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    within_s: float,
) -> Observed:
    """Run a program in ``namespace`` to its end, or kill it after ``within_s`` seconds."""
    lines: list[Line] = []
    began = time.perf_counter()

    def read(stream: str, pipe: IO[bytes]) -> None:
        for line in pipe:
            text = line.decode(errors="replace").rstrip("\n")
            lines.append(Line(time.perf_counter() - began, stream, text))

    with namespace.popen(argv, env={**os.environ, **(environ or {})}) as process:
        pipes = {"stdout": process.stdout, "stderr": process.stderr}
        readers = [
            threading.Thread(target=read, args=(name, pipe), daemon=True)
            for name, pipe in pipes.items()
            if pipe is not None
        ]
        for reader in readers:
            reader.start()
        code: int | None = None
        try:
            code = process.wait(within_s)
        except subprocess.TimeoutExpired:
            process.kill()
        seconds = time.perf_counter() - began
        for reader in readers:
            reader.join()
    return Observed(code, seconds, sorted(lines, key=lambda line: line.at))
