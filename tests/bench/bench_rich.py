"""What rich would cost in place of our own code, where we do not use it: live lines and the progress line.

    python -m tests.bench.bench_rich

Processor time, in one process, best of three: for a megabyte of live lines on a terminal, for one drawing of
the progress line with its details, and for importing rich.
"""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final

from rich.console import Console
from rich.text import Text

from multirsh.output.live import LiveLines
from multirsh.output.options import OutputOptions, Stdio
from multirsh.output.progress import RunProgress
from multirsh.output.store import OutputStore
from tests.output.events import host_started, output, run_started

LINE: Final = b"2026-11-20 16:30:00 web01 systemd[1]: Started Daily apt upgrade activities.\n"
LINES: Final = 10_000
DRAWINGS: Final = 1_000
IMPORT: Final = (
    "import time, multirsh.output.printer; t = time.process_time(); "
    "import rich.console, rich.table; print(time.process_time() - t)"
)


def seconds(work: Callable[[], object]) -> float:
    """The processor time of the fastest of three."""
    taken = []
    for _ in range(3):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


def console() -> Console:
    """A console that writes to memory as to a terminal of 100 columns."""
    return Console(
        file=io.StringIO(),
        width=100,
        force_terminal=True,
        color_system="standard",
        highlight=False,
        markup=False,
    )


def own_lines() -> None:
    """Chunks of 100 lines, as a host sends them."""
    live = LiveLines(OutputOptions(stdio=Stdio(stdout_is_terminal=True), stdout_color=True), OutputStore)
    for _ in range(LINES // 100):
        list(live.feed(output("web01", LINE * 100)))


def rich_lines() -> None:
    """The same lines."""
    shown = console()
    for _ in range(LINES):
        line = Text("web01: ", style="cyan")
        line.append(LINE[:-1].decode(), style="default")
        shown.print(line, soft_wrap=True)


def progress() -> RunProgress:
    """Of 500 hosts, 64 are in flight, some for long."""
    made = RunProgress(began=0.0)
    names = [f"web{number:03}" for number in range(500)]
    made.feed(run_started(*names))
    for name in names[:64]:
        made.feed(host_started(name))
    return made


def own_drawings() -> None:
    """The line and its details."""
    made = progress()
    for _ in range(DRAWINGS):
        made.render(100, 30.0, color=True)
        made.details(100, 30.0)


def rich_drawings() -> None:
    """The same words, already worded."""
    made = progress()
    line, details = made.render(100, 30.0), made.details(100, 30.0)
    shown = console()
    for _ in range(DRAWINGS):
        text = Text.assemble(
            *((part + "  ", "green") for part in line.split("  ")), no_wrap=True, overflow="crop"
        )
        shown.print(text)
        for detail in details:
            shown.print(Text(detail, style="dim", no_wrap=True, overflow="crop"))


def main() -> None:
    """Print the figures."""
    megabytes = LINES * len(LINE) / 1e6
    for name, work in (("own", own_lines), ("rich", rich_lines)):
        print(f"{seconds(work) / megabytes * 1e3:>9,.1f} ms for a megabyte of live lines, {name}")
    for name, work in (("own", own_drawings), ("rich", rich_drawings)):
        print(f"{seconds(work) / DRAWINGS * 1e6:>9,.0f} us for a drawing of the progress line, {name}")
    imports = [float(subprocess.check_output([sys.executable, "-c", IMPORT])) for _ in range(3)]
    print(f"{min(imports) * 1e3:>9,.0f} ms to import rich")


if __name__ == "__main__":
    main()
