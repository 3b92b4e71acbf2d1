"""One sshd that is many hosts with files of their own: each address begins in a folder that is its."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace
from tests.servers.sshd import start_sshd


@contextmanager
def many_homes(namespace: Namespace, root: Path, count: int) -> Iterator[Daemon]:
    """Start it: 127.1.0.1 begins in ``root/h01``, and so on; by SFTP only."""
    matches = []
    for number in range(1, count + 1):
        home = root / f"h{number:02}"
        home.mkdir(parents=True)
        matches.append(f"LocalAddress 127.1.0.{number}\n  ForceCommand internal-sftp -d {home}")
    options = {"Subsystem": "sftp internal-sftp", "Match": matches}
    with start_sshd(namespace=namespace, options=options) as server:
        yield server
