"""Who closes first: multirsh and the tools people have, on the same hosts, and what each leaves behind.

    python -m tests.bench.bench_close [HOSTS] [FANOUT] [ROUNDS]

One sshd in a network namespace with ``tcp_tw_reuse`` off is every host. The
tools take turns, so that what disturbs the machine disturbs all of them.
Times are medians of the rounds, as ratios to multirsh's. Tools that are not
there are named with how to get them; parallel-ssh is a library, for which
``PARALLEL_SSH_PYTHON`` names a Python that has it. ``MULTIRSH_BEFORE`` names
another checkout of multirsh, to compare this one with. Needs root.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.fleets import SshServer, addresses
from tests.servers.namespace import Namespace
from tests.servers.sshd import start_sshd

COMMAND: Final = "uptime"
SIGN: Final = b"load average"
"""In what each host prints, once."""

HOSTS: Final = 200
FANOUT: Final = 32
ROUNDS: Final = 3
TIMEOUT_S: Final = 300

SSH_CONFIG: Final = """Host *
  {host_name}
  User {user}
  Port {port}
  IdentityFile {key}
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {known_hosts}
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  ControlMaster no
  LogLevel ERROR
"""

PARALLEL_SSH: Final = """
import sys
from pssh.clients import ParallelSSHClient

hosts, fanout, user, port, key, command = sys.argv[1:]
client = ParallelSSHClient(
    open(hosts).read().split(), user=user, port=int(port), pkey=key, pool_size=int(fanout), allow_agent=False
)
for output in client.run_command(command, stop_on_errors=False):
    for line in output.stdout or ():
        print(line)
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """What every tool is given: the hosts, the way to them, how many at once.

    Attributes:
        server: What they all are.
        folder: For the files.
        names: The hosts.
        fanout: How many at once.
        address: What every name stands for; ``None`` where each is its own address.
    """

    server: SshServer
    folder: Path
    names: Sequence[str]
    fanout: int
    address: str | None = None

    @property
    def hosts(self) -> Path:
        """The hosts, one a line."""
        return self.folder / "hosts"

    @property
    def addresses(self) -> Path:
        """Their addresses, for a tool that reads no ssh_config."""
        return self.folder / "addresses"

    @property
    def config(self) -> Path:
        """The ssh_config that leads to them."""
        return self.folder / "ssh_config"

    def write(self) -> None:
        """Write the files."""
        addresses = [self.address or name for name in self.names]
        self.hosts.write_text("".join(f"{name}\n" for name in self.names))
        self.addresses.write_text("".join(f"{address}\n" for address in addresses))
        known_hosts = self.folder / "known_hosts"
        known_hosts.write_text(self.server.known_hosts(sorted(set(addresses))))
        self.config.write_text(
            SSH_CONFIG.format(
                host_name=f"HostName {self.address}" if self.address else "",
                user=self.server.user,
                port=self.server.port,
                key=self.server.client_key,
                known_hosts=known_hosts,
            )
        )


@dataclass(frozen=True, slots=True)
class Tool:
    """One way to run a command on many hosts.

    Attributes:
        name: For the table.
        program: What must be there; ``None`` where it is not.
        install: How to get it.
        argv: Words its command line.
        environ: Added to its environment.
    """

    name: str
    program: str | None
    install: str
    argv: Callable[[Setting], list[str]]
    environ: Callable[[Setting], Mapping[str, str]] = field(default=lambda _setting: {})


def multirsh(setting: Setting) -> list[str]:
    """Word our own command line."""
    return [
        *(sys.executable, "-P", "-m", "multirsh", "-f", str(setting.hosts), "-F", str(setting.config)),
        *("-j", str(setting.fanout), COMMAND),
    ]


def tools() -> list[Tool]:
    """All of them, multirsh first."""
    parallel_ssh = os.environ.get("PARALLEL_SSH_PYTHON")
    before = os.environ.get("MULTIRSH_BEFORE")
    return [
        Tool("multirsh", sys.executable, "", multirsh),
        Tool(
            "multirsh before",
            before,
            "MULTIRSH_BEFORE=another checkout",
            multirsh,
            lambda _: {"PYTHONPATH": str(before)},
        ),
        Tool(
            "xargs -P, ssh -n",
            shutil.which("ssh") and shutil.which("xargs"),
            "apt-get install openssh-client findutils",
            lambda s: [
                *("xargs", "-a", str(s.hosts), "-P", str(s.fanout), "-I{}"),
                *("ssh", "-n", "-F", str(s.config), "{}", COMMAND),
            ],
        ),
        Tool(
            "pdsh -R ssh",
            shutil.which("pdsh"),
            "apt-get install pdsh",
            lambda s: ["pdsh", "-R", "ssh", "-f", str(s.fanout), "-w", f"^{s.hosts}", COMMAND],
            lambda s: {"PDSH_SSH_ARGS_APPEND": f"-F {s.config}"},
        ),
        Tool(
            "clush",
            shutil.which("clush"),
            "apt-get install clustershell",
            lambda s: [
                *("clush", "-f", str(s.fanout), "-o", f"-F {s.config}", "-w", ",".join(s.names), COMMAND)
            ],
        ),
        Tool(
            "pssh",
            shutil.which("parallel-ssh"),
            "apt-get install pssh",
            lambda s: [
                *("parallel-ssh", "-i", "-h", str(s.hosts), "-p", str(s.fanout)),
                *("-x", f"-F {s.config}", COMMAND),
            ],
        ),
        Tool(
            "parallel-ssh (library)",
            parallel_ssh,
            "python3 -m venv V && V/bin/pip install parallel-ssh; PARALLEL_SSH_PYTHON=V/bin/python",
            lambda s: [
                *(str(parallel_ssh), "-c", PARALLEL_SSH, str(s.addresses), str(s.fanout), s.server.user),
                *(str(s.server.port), str(s.server.client_key), COMMAND),
            ],
        ),
    ]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run of one tool came to.

    Attributes:
        seconds: From start to exit.
        ok: Hosts whose output came.
        left: The client's sockets that it left, by state, right after its exit.
    """

    seconds: float
    ok: int
    left: Counter[str]


def measure(tool: Tool, setting: Setting, namespace: Namespace) -> Figures:
    """Run ``tool`` once."""
    before = set(namespace.client_side([setting.server.port]))
    began = time.perf_counter()
    done = namespace.run(
        tool.argv(setting),
        env={**os.environ, **tool.environ(setting)},
        timeout_s=TIMEOUT_S,
        check=False,
    )
    seconds = time.perf_counter() - began
    left = set(namespace.client_side([setting.server.port])) - before
    return Figures(seconds, done.stdout.count(SIGN), Counter(row.state for row in left))


def show(figures: Mapping[str, Sequence[Figures]], hosts: int) -> None:
    """Print the table."""
    medians = {name: statistics.median(run.seconds for run in runs) for name, runs in figures.items()}
    ours = medians["multirsh"]
    print(f"\n{'':24} {'seconds':>8} {'ratio':>6} {'ok':>10}  left on the client's side, a run")
    for name, runs in figures.items():
        left: Counter[str] = Counter()
        for run in runs:
            left.update(run.left)
        told = ", ".join(f"{count / len(runs):.0f} {state}" for state, count in left.most_common()) or "none"
        ok = f"{statistics.mean(run.ok for run in runs):.0f}/{hosts}"
        print(f"{name:24} {medians[name]:8.2f} {medians[name] / ours:6.2f} {ok:>10}  {told}")


def main(hosts: int = HOSTS, fanout: int = FANOUT, rounds: int = ROUNDS) -> None:
    """Measure every tool that is there, in turns."""
    every = tools()
    present = [tool for tool in every if tool.program]
    print(f"{hosts} hosts, {fanout} at once, {rounds} rounds, {os.cpu_count()} processors")
    with (
        Namespace() as namespace,
        start_sshd(namespace=namespace) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        setting = Setting(server, Path(folder), addresses(hosts), fanout)
        setting.write()
        figures: dict[str, list[Figures]] = {tool.name: [] for tool in present}
        for _ in range(rounds):
            for tool in present:
                figures[tool.name].append(measure(tool, setting, namespace))
    show(figures, hosts)
    for tool in every:
        if not tool.program:
            print(f"{tool.name}: not here ({tool.install})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
