"""An SSH server that runs nothing, in a process of its own: several logins for the price of one of sshd's.

    python -m tests.bench.cheap_server

It answers every command with one line, prints where it is as JSON, and
serves until its standard input ends.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.bench_close import SIGN
from tests.servers import keys
from tests.servers.hooked import Conduct, HookedServer, answers
from tests.servers.namespace import Namespace


@dataclass(frozen=True, slots=True)
class CheapServer:
    """What is told of it; an ``SshServer``."""

    port: int
    user: str
    client_key: Path
    host_key: str

    def known_hosts(self, names: Sequence[str]) -> str:
        """The known_hosts lines by which ``names`` are this server."""
        return keys.known_hosts(names, port=self.port, host_key=self.host_key)


@contextmanager
def start_cheap_server(*, namespace: Namespace) -> Iterator[CheapServer]:
    """Start it and wait until it listens."""
    argv = [sys.executable, "-m", __name__]
    with namespace.popen(argv, stdin=subprocess.PIPE, stderr=sys.stderr.fileno()) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("started without pipes")
        told = json.loads(process.stdout.readline())
        yield CheapServer(told["port"], told["user"], Path(told["client_key"]), told["host_key"])
        process.stdin.close()


def main() -> None:
    """Serve."""
    conduct = Conduct(session=answers(SIGN + b"\n"))
    with HookedServer(conduct, address="0.0.0.0") as server:
        told = {"port": server.port, "user": server.user, "client_key": str(server.client_key)}
        print(json.dumps({**told, "host_key": server.host_key}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
