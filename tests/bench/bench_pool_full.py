"""All local ports are in TIME_WAIT, and it was somebody else: who waits, and who gives up.

    python -m tests.bench.bench_pool_full [--commands N] [--fanout N] [--ports N] [--only NAME]

Another program connects from every port of the pool and closes first. Then
each tool runs its commands there, in a namespace and on a server of its own;
what it says is printed. The kernel keeps TIME_WAIT for 60 seconds, and so a
run takes a little more than that. Needs root.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Final

from tests.bench.bench_close import SIGN, Setting, Tool, tools
from tests.bench.bench_ports import few_ports
from tests.bench.cheap_server import start_cheap_server
from tests.bench.observed import observe
from tests.few_ports import ADDRESS, OtherProgram

WITHIN_S: Final = 300.0


def measure(tool: Tool, given: argparse.Namespace) -> None:
    """Run ``tool`` once, and tell."""
    with (
        few_ports(given.ports) as namespace,
        start_cheap_server(namespace=namespace) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        names = [f"h{number:05}" for number in range(1, given.commands + 1)]
        setting = Setting(server, Path(folder), names, given.fanout, ADDRESS)
        setting.write()
        with OtherProgram(namespace, server.port, given.ports, address=ADDRESS) as others:
            others.close_first()
        seen = observe(namespace, tool.argv(setting), environ=tool.environ(setting), within_s=WITHIN_S)
        left = len(namespace.client_side([server.port], state="TIME-WAIT"))
    ok = seen.ok(SIGN.decode())
    print(f"\n{tool.name}: {ok}/{given.commands} ok, exit {seen.code}, after {seen.seconds:.1f} s")
    print(f"  in TIME_WAIT at the end: {left}")
    said = [f"{line.at:6.1f} s  {line.text}" for line in seen.lines if line.stream == "stderr"]
    print("\n".join(said[:3] if ok < given.commands else said), flush=True)


def main() -> None:
    """Measure every tool that is there."""
    parser = argparse.ArgumentParser(description="a pool of local ports that is full of others' TIME_WAIT")
    parser.add_argument("--commands", type=int, default=200)
    parser.add_argument("--fanout", type=int, default=64)
    parser.add_argument("--ports", type=int, default=100)
    parser.add_argument("--only", default="", help="one tool, by the beginning of its name")
    given = parser.parse_args()
    print(f"{given.ports} local ports, all in TIME_WAIT; {given.commands} commands, {given.fanout} at once")
    for tool in tools():
        if tool.program and tool.name.startswith(given.only):
            measure(tool, given)


if __name__ == "__main__":
    main()
