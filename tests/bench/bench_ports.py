"""More commands than local ports, to one destination: who gets through, and what the others say.

    python -m tests.bench.bench_ports [--commands N] [--peer-commands N] [--fanout N...] [--ports N]
                                      [--server sshd|cheap] [--only NAME] [--within SECONDS]

Every run has a network namespace of its own with so many local ports and
``tcp_tw_reuse`` off, and one server in it behind all names: sshd, or an
asyncssh server that starts no process (``cheap``), so that what is measured
is not how fast sshd can fork. Each tool runs the commands with each fanout:
one after another, and 64 at once. Needs root.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from tests.bench.bench_close import SIGN, Setting, Tool, tools
from tests.bench.cheap_server import start_cheap_server
from tests.bench.observed import Observed, observe
from tests.few_ports import ADDRESS, KEEP_TIME_WAIT
from tests.fleets import SshServer
from tests.servers.namespace import Namespace
from tests.servers.sshd import start_sshd

FIRST_PORT: Final = 40000

SERVERS: Final[dict[str, Callable[..., AbstractContextManager[SshServer]]]] = {
    "sshd": start_sshd,
    "cheap": start_cheap_server,
}


def few_ports(count: int) -> Namespace:
    """A namespace with so many local ports."""
    return Namespace(local_ports=(FIRST_PORT, FIRST_PORT + count - 1), sysctls=KEEP_TIME_WAIT)


def measure(tool: Tool, commands: int, given: argparse.Namespace, fanout: int) -> tuple[Observed, int]:
    """Run ``tool`` once in a namespace of its own: how it went, and how many TIME_WAIT it left."""
    with (
        few_ports(given.ports) as namespace,
        SERVERS[given.server](namespace=namespace) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        names = [f"h{number:05}" for number in range(1, commands + 1)]
        setting = Setting(server, Path(folder), names, fanout, ADDRESS)
        setting.write()
        seen = observe(namespace, tool.argv(setting), environ=tool.environ(setting), within_s=given.within)
        return seen, len(namespace.client_side([server.port], state="TIME-WAIT"))


def told(tool: Tool, commands: int, seen: Observed, left: int) -> str:
    """Word a row of the table, and below it what was said."""
    ok = seen.ok(SIGN.decode())
    first = next(iter(seen.complaints()), None)
    when = "" if first is None else f"{first.at:.1f} s"
    cut = " " if seen.code is not None else "+"
    row = f"{tool.name:24} {seen.seconds:7.1f}{cut} {ok:6}/{commands:<6} {commands - ok:6} {when:>9} {left:6}"
    last = seen.lines[-1].text if ok == commands and seen.lines else seen.worst()
    return f"{row}  {last}"


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description="more commands than local ports, to one destination")
    parser.add_argument("--commands", type=int, default=2000, help="of multirsh")
    parser.add_argument("--peer-commands", type=int, default=400, help="of the others")
    parser.add_argument("--fanout", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--ports", type=int, default=100)
    parser.add_argument("--server", choices=SERVERS, default="sshd")
    parser.add_argument("--only", help="one tool, by the beginning of its name")
    parser.add_argument("--within", type=float, default=300.0, help="seconds; then a run is ended (+)")
    given = parser.parse_args()
    every = [tool for tool in tools() if tool.name.startswith(given.only or "")]
    print(f"{given.ports} local ports, server {given.server}, {os.cpu_count()} processors")
    for fanout in given.fanout:
        print(f"\n{fanout} at once")
        print(f"{'':24} {'seconds':>8} {'ok':>13} {'failed':>6} {'first':>9} {'T_WAIT':>6}  most said")
        for tool in every:
            if tool.program:
                commands = given.commands if tool.name == "multirsh" else given.peer_commands
                print(told(tool, commands, *measure(tool, commands, given, fanout)), flush=True)
    for tool in every:
        if not tool.program:
            print(f"{tool.name}: not here ({tool.install})")


if __name__ == "__main__":
    main()
