"""dropbear(8), the small server of routers and containers, on a high port."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.servers.daemon import Daemon, make_site
from tests.servers.namespace import Namespace
from tests.servers.ports import free_port
from tests.servers.requirement import program


def start_dropbear(
    *,
    namespace: Namespace | None = None,
    port: int | None = None,
    address: str = "0.0.0.0",
    arguments: Sequence[str] = (),
    shell: str | Path = "/bin/sh",
    replaced: Mapping[str, Path] | None = None,
) -> Daemon:
    """Start dropbear and wait until it listens.

    Args:
        namespace: Where; ``None`` is the machine's own network, and then only 127.0.0.1 listens.
        port: Where it listens; ``None`` picks one.
        address: The address it binds.
        arguments: More of its options, such as ``["-s"]`` to refuse passwords.
        shell: The guest's login shell.
        replaced: What it and its users see in place of some of the machine's files, by path.

    Raises:
        AssertionError: It did not start; its log is in the message.
    """
    dropbear = program("dropbear", package="dropbear-bin")
    dropbearkey = program("dropbearkey", package="dropbear-bin")
    site = make_site("dropbear", shell=shell)
    if namespace is None:
        address = "127.0.0.1"
    if port is None:
        port = free_port(namespace)
    host_key = site.directory / "host_key"
    made = subprocess.run(
        [dropbearkey, "-t", "ed25519", "-f", host_key],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    public = next(line for line in made.stdout.splitlines() if line.startswith("ssh-ed25519 "))
    pid_file = site.directory / "pid"
    return Daemon(
        [dropbear, "-F", "-E", "-m", "-r", host_key, "-p", f"{address}:{port}", "-P", pid_file, *arguments],
        site=site,
        port=port,
        host_key=" ".join(public.split()[:2]),
        namespace=namespace,
        replaced=replaced,
        # Written after it has bound its sockets and instead of forking.
        ready="Not backgrounding",
    )
