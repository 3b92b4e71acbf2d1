"""Ports in trouble, made of real sockets, each in a namespace of its own.

``python -m tests.end_to_end.port_situations`` writes the examples of docs/ports.md from them.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.servers.namespace import Namespace
from tests.waiting import wait_until

PAGE: Final = Path(__file__).parents[2] / "docs" / "ports.md"

PORT: Final = 8080
BUSY_PORT: Final = 5432

SERVER: Final = """
import socket, sys
open("/proc/self/comm", "w").write(sys.argv[1])
listener = socket.create_server(("0.0.0.0", int(sys.argv[2])))
accepted = []
print("listening", flush=True)
for line in sys.stdin:
    accepted.append(listener.accept()[0])
    print("accepted", flush=True)
"""
"""A server that accepts a connection for each line it reads, and ends with its input."""


class Server:
    """A program of its own in a namespace, by the name of ``name``; Python sets SO_REUSEADDR for it."""

    def __init__(self, namespace: Namespace, *, name: str = "shopd", port: int = PORT) -> None:
        argv = [sys.executable, "-c", SERVER, name, str(port)]
        self._process = namespace.popen(argv, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._port = port
        self._read()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def client(self) -> socket.socket:
        """A connection to it that it has accepted; the caller stands in its namespace."""
        made = socket.create_connection(("127.0.0.1", self._port))
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        self._read()
        return made

    def end(self) -> None:
        """End it; the kernel closes what it had open."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait(10)

    def _read(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline()


@contextmanager
def called(name: str) -> Iterator[None]:
    """Let this process, whose sockets are the clients', go by ``name``: else it is as it was started."""
    comm = Path("/proc/self/comm")
    before = comm.read_text()
    comm.write_text(name)
    try:
        yield
    finally:
        comm.write_text(before)


@contextmanager
def listening(*, clients: int = 2) -> Iterator[Namespace]:
    """A server with clients."""
    with Namespace() as namespace, namespace.entered(), called("python"), ExitStack() as sockets:
        server = Server(namespace)
        sockets.callback(server.end)
        for _ in range(clients):
            sockets.enter_context(server.client())
        yield namespace


@contextmanager
def restarted() -> Iterator[Namespace]:
    """A server that has ended, and closed first."""
    with Namespace() as namespace, namespace.entered():
        server = Server(namespace)
        with server.client() as client:
            server.end()
            assert client.recv(1) == b""
        wait_until(lambda: len(namespace.sockets("TIME-WAIT")) == 1, what="TIME_WAIT")
        yield namespace


@contextmanager
def running_out() -> Iterator[Namespace]:
    """A client that closes first, again and again, towards one destination."""
    with Namespace(local_ports=(40000, 40099)) as namespace, namespace.entered():
        with socket.create_server(("127.0.0.1", BUSY_PORT)) as server:
            for _ in range(85):
                client = socket.create_connection(("127.0.0.1", BUSY_PORT))
                with server.accept()[0] as accepted:
                    client.close()
                    assert accepted.recv(1) == b""
        yield namespace


EXAMPLES: Final[dict[str, tuple[Callable[[], AbstractContextManager[Namespace]], list[str]]]] = {
    "listening": (listening, ["ports", str(PORT)]),
    "restarted": (restarted, ["ports", str(PORT)]),
    "running-out": (running_out, ["ports"]),
}
"""Name in the page → the situation, and what is typed."""

BLOCK: Final = re.compile(
    r"(?<=<!-- made by tests/end_to_end/port_situations\.py: )([\w-]+)( -->\n```console\n)(.*?)(?=```)",
    re.DOTALL,
)
"""An example in the page: its name, what stands between, and its text."""


def example(name: str) -> str:
    """What is typed, and what is printed."""
    situation, words = EXAMPLES[name]
    with situation() as namespace:
        printed = namespace.run([sys.executable, "-m", "multirsh", *words]).stdout.decode()
    return f"$ multirsh {' '.join(words)}\n{printed}"


def main() -> None:
    """Write each example of the page anew."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(BLOCK.sub(lambda found: found[1] + found[2] + example(found[1]), text), encoding="utf-8")


if __name__ == "__main__":
    main()
