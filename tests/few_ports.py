"""Many names of one server, run from a namespace that has few local ports: by the command line, as users do.

A local port is unique to a destination, so one address and port behind all
names, as a bastion, a NAT or a VIP is, makes every connection want one of the
same few.
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.fleets import SshServer
from tests.servers.namespace import Namespace
from tests.servers.stoppable import Stoppable
from tests.waiting import HANG_GUARD_S

ADDRESS: Final = "127.1.0.1"

KEEP_TIME_WAIT: Final = {"net.ipv4.tcp_rfc1337": "1"}
"""For a namespace in which TIME_WAIT is to be counted on: a reset would end it (RFC 1337; ip-sysctl.rst).

On a busy machine one or two in a hundred were missing now and then, as many as resets had been sent, and
nothing had been retransmitted. What makes the server send them is not known.
"""

RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER that makes close(2) send RST, which leaves no TIME_WAIT at either end; socket(7)."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a run of the command line told.

    Attributes:
        code: Its exit code.
        finished: The hosts' endings, as ``--json`` has them.
        run: The run's ending.
        errors: What it wrote to stderr.
    """

    code: int
    finished: tuple[Mapping[str, Any], ...]
    run: Mapping[str, Any]
    errors: str

    @classmethod
    def of(cls, code: int, out: bytes, err: bytes) -> Told:
        """Read the events."""
        events = [json.loads(line) for line in out.splitlines()]
        assert events, err.decode()
        finished = tuple(event for event in events if event["event"] == "host_finished")
        assert len({end["host"] for end in finished}) == len(finished), "a host ended twice"
        return cls(code, finished, events[-1], err.decode())

    @property
    def endings(self) -> Counter[tuple[str, str | None, str | None]]:
        """Status, phase of the error and who closed, of all hosts."""
        return Counter(
            (end["status"], end["error"] and end["error"]["phase"], end["closed_by"]) for end in self.finished
        )


class FromFewPorts:
    """Runs of the command line in a namespace.

    Args:
        namespace: Where it runs.
        folder: For its files.
        hosts: The hosts file's text.
        arguments: That all runs have.
    """

    def __init__(self, namespace: Namespace, folder: Path, hosts: str, arguments: Iterable[str] = ()) -> None:
        self._namespace = namespace
        file = folder / "hosts.yaml"
        file.write_text(hosts)
        self._argv = [sys.executable, "-m", "multirsh", "-f", str(file), "--json", *arguments]

    @classmethod
    def on(
        cls, server: SshServer, hosts: int, namespace: Namespace, folder: Path, *, address: str = ADDRESS
    ) -> FromFewPorts:
        """So many names of one SSH server."""
        trust = folder / "known_hosts"
        trust.write_text(server.known_hosts([address]))
        defaults = f"defaults: {{user: {server.user}, identity: {server.client_key}, port: {server.port}}}\n"
        names = "".join(f"  - h{number:04}: {{address: '{address}'}}\n" for number in range(hosts))
        settings = (f"UserKnownHostsFile={trust}", "GlobalKnownHostsFile=/dev/null", "IdentityAgent=none")
        options = [word for setting in settings for word in ("-o", setting)]
        return cls(namespace, folder, f"{defaults}hosts:\n{names}", ["-F", "none", *options])

    def run(self, *arguments: str, timeout_s: float = HANG_GUARD_S) -> Told:
        """Run it to its end."""
        done = self._namespace.run([*self._argv, *arguments], timeout_s=timeout_s, check=False)
        return Told.of(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start it; ``end`` waits for it."""
        return self._namespace.popen([*self._argv, *arguments])

    @staticmethod
    def end(process: subprocess.Popen[bytes], *, said: bytes = b"") -> Told:
        """Wait for what ``start`` started; ``said`` was read from its stderr already."""
        out, err = process.communicate(timeout=HANG_GUARD_S)
        return Told.of(process.returncode, out, said + err)


@contextmanager
def light_rshd(namespace: Namespace, *, port: int = 514) -> Iterator[subprocess.Popen[bytes]]:
    """The light rsh server, in a process of its own."""
    argv = [sys.executable, "-m", "tests.servers.light_rshd", "--port", str(port)]
    with namespace.popen(argv, stderr=None) as server:
        try:
            assert server.stdout is not None
            assert b"listening" in server.stdout.readline()
            yield server
        finally:
            server.kill()


@contextmanager
def every_reserved_port(namespace: Namespace) -> Iterator[ExitStack]:
    """Another program has bound all of them, and keeps them until the stack is closed."""
    with ExitStack() as stack:
        for port in range(512, 1024):
            with namespace.entered():
                sock = stack.enter_context(socket.socket())
                sock.bind(("0.0.0.0", port))
        yield stack


class OtherProgram(Stoppable):
    """Connections of somebody else's, from the namespace's ports to the same server.

    Args:
        namespace: From where.
        port: Of the server.
        count: How many.
        address: Of the server.
    """

    def __init__(self, namespace: Namespace, port: int, count: int, *, address: str = ADDRESS) -> None:
        self._namespace = namespace
        self._port = port
        self._open: list[socket.socket] = []
        with namespace.entered():
            for _ in range(count):
                self._open.append(socket.create_connection((address, port), timeout=HANG_GUARD_S))

    def close_first(self) -> None:
        """Close them before the server does, and wait until they are in TIME_WAIT."""
        count = len(self._open)
        for sock in self._open:
            # A plain close would be a reset: the server's banner is unread.
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):
                pass
        self._end()
        self._namespace.wait_client_side([self._port], ["TIME-WAIT"] * count)

    def reset(self) -> None:
        """End them so that their ports are free at once."""
        for sock in self._open:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._end()

    def stop(self) -> None:
        """End those that still are."""
        self.reset()

    def _end(self) -> None:
        """Close them; by then it is decided how."""
        while self._open:
            self._open.pop().close()
