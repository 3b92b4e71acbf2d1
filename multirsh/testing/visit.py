"""Tools for the tests of the conformance suite: connections, standard input, output, and leak checks."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from multirsh.linux import PROC
from multirsh.model import Host, Outcome, Phase
from multirsh.transports.base import Connection, Connector, Stdin, Stream, Transport
from multirsh.transports.login_deadline import LoginDeadline

SETTLE_S: Final = 2.0
"""Seconds that remaining resources have to disappear: a child to be reaped, a callback to run."""

STILL_S: Final = 0.5
"""Seconds without output after which a paused host is taken to be held back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a transport can do; its interface leaves these open.

    Attributes:
        separate_stderr: Whether stderr is separate from stdout.
        reports_signals: Whether the name of the signal that ended a command is known; otherwise the exit
            status is 128 + its number, as shells have it.
        ends_commands: Whether ``end_command`` ends all processes that the command started.
        reports_fate: Whether ``end_command`` returns ``DEAD`` then, and not ``UNKNOWN``.
        streams_input: Whether a command starts before its input is complete.
        takes_any_bytes: Whether a command may hold bytes that are not UTF-8; otherwise it is a ``HostError``.
        longest_command: The length that a command may have at least, in bytes.
        has_socket: Whether a connection is a TCP connection of ours, which has a local port and is closed by
            the remote.
    """

    separate_stderr: bool = True
    reports_signals: bool = True
    ends_commands: bool = True
    reports_fate: bool = True
    streams_input: bool = True
    takes_any_bytes: bool = True
    longest_command: int = 100_000
    has_socket: bool = True


@dataclass(frozen=True, slots=True)
class Reached:
    """A transport and the hosts that it is tested with.

    Attributes:
        transport: The transport, not yet prepared; the suite closes it.
        host: The host that commands run on.
        unreachable: A host that cannot be reached; ``None`` if there is no such host.
    """

    transport: Transport
    host: Host
    unreachable: Host | None = None


@dataclass(slots=True)
class Collected:
    """A ``Sink`` that keeps everything.

    Attributes:
        stdout: The stdout so far.
        stderr: The stderr so far.
        stamp: When the last output came, in seconds of the loop's clock.
    """

    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    stamp: float = 0.0
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, stream: Stream, data: bytes) -> None:
        """Keep ``data``."""
        if stream == "stdout":
            self.stdout += data
        else:
            self.stderr += data
        self.stamp = asyncio.get_running_loop().time()
        self._more.set()

    async def until(self, word: bytes) -> None:
        """Wait until ``word`` is on stdout."""
        while word not in self.stdout:
            self._more.clear()
            await self._more.wait()

    async def until_still(self) -> None:
        """Wait until no output has come for a while."""
        loop = asyncio.get_running_loop()
        while (left := self.stamp + STILL_S - loop.time()) > 0:  # noqa: ASYNC110 - silence sets no event
            await asyncio.sleep(left)


@dataclass(slots=True)
class Input:
    """A ``Stdin`` of given bytes; it records how far it was read.

    Attributes:
        data: The bytes.
        read_to: The largest offset that was read.
        error: The error to raise at the end of the bytes; ``None`` for end of file.
        ends: The event to wait for at the end of the bytes.
    """

    data: bytes
    read_to: int = 0
    error: OSError | None = None
    ends: asyncio.Event | None = None

    async def read(self, offset: int) -> bytes:
        """Return up to 64 KiB from ``offset``."""
        data = self.at(offset)
        if not data and self.ends is not None:
            await self.ends.wait()
        if not data and self.error is not None:
            raise self.error
        return data

    async def size(self) -> int:
        """Return the number of bytes."""
        if self.ends is not None:
            await self.ends.wait()
        if self.error is not None:
            raise self.error
        return len(self.data)

    def at(self, offset: int) -> bytes:
        """Return the same as ``read``, without waiting."""
        self.read_to = max(self.read_to, offset)
        return self.data[offset : offset + 64 * 1024]


@dataclass(slots=True)
class Visit:
    """One test's use of a transport.

    Attributes:
        reached: The transport and its host.
        connector: The connector of the test's run.
    """

    reached: Reached
    connector: Connector

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Connection]:
        """Open a connection, and close it afterwards."""
        connection = self.connector.connection(self.reached.host)
        try:
            await connection.open(LoginDeadline())
            yield connection
        finally:
            connection.close()
            await connection.closed()

    async def run(self, command: str, stdin: Stdin | None = None) -> tuple[Outcome, Collected]:
        """Run ``command`` on a new connection."""
        sink = Collected()
        async with self.opened() as connection:
            return await connection.run(command, sink, stdin), sink

    @asynccontextmanager
    async def begun(self, command: str) -> AsyncIterator[tuple[Connection, Collected]]:
        """Open a connection, run ``command`` on it, and cancel the run after the first line of output."""
        sink = Collected()
        async with self.opened() as connection:
            running = asyncio.ensure_future(connection.run(command, sink))  # noqa: TID251 - cancelled just below
            await sink.until(b"\n")
            assert connection.phase is Phase.RUN
            running.cancel()
            await asyncio.wait([running])
            assert running.cancelled(), "run() swallowed its cancellation"
            yield connection, sink

    async def alive(self, pids: Iterable[str]) -> bytes:
        """Return the states of those of ``pids`` that still run on the host; a zombie has ended."""
        looks = "; ".join(f"ps -o stat= -p {pid}" for pid in pids)
        _, sink = await self.run(f"{{ {looks}; }} | grep -v '^Z'")
        return bytes(sink.stdout)


def belongings() -> Counter[str]:
    """Return the descriptors and children of this process, as far as /proc shows them."""
    found: Counter[str] = Counter()
    with suppress(OSError):
        for entry in (PROC / "self" / "fd").iterdir():
            with suppress(OSError):
                found[f"descriptor {entry.readlink()}"] += 1
    with suppress(OSError):
        for entry in (PROC / "self" / "task").iterdir():
            with suppress(OSError):
                found.update(f"child {pid}" for pid in (entry / "children").read_text().split())
    return found


async def left_nothing(before: Counter[str], tasks: set[asyncio.Task[object]]) -> None:
    """Assert that, within ``SETTLE_S``, nothing more is held than before."""
    loop = asyncio.get_running_loop()
    until = loop.time() + SETTLE_S
    for pause in itertools.repeat(0.01):
        more = [*(belongings() - before).elements(), *map(repr, asyncio.all_tasks() - tasks)]
        if not more:
            return
        assert loop.time() < until, f"left behind: {more}"
        await asyncio.sleep(pause)
