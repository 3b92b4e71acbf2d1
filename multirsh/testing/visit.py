"""One test's visit to a host, for the conformance suite: what goes in, what comes out, what is left."""

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
"""Seconds for what is on its way out: a child to be reaped, a callback to run."""

STILL_S: Final = 0.5
"""Seconds without output after which a host that is held back is taken to be so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a transport can; the interface leaves these open.

    Attributes:
        separate_stderr: stderr comes apart from stdout, and is not part of it.
        tells_signals: A command that a signal ended is told so, and not as shells do: 128 and its number.
        ends_commands: ``end_command`` ends all that the command started.
        tells_fate: And it can tell: ``DEAD`` then, and else ``UNKNOWN``.
        streams_input: A command begins before all of its input is there.
        takes_any_bytes: A command may hold bytes that are no UTF-8; else such a one is a ``HostError``.
        longest_command: What a command may have in bytes, at the least.
        has_socket: A connection is a TCP connection of ours, which has a port and is closed by the remote.
    """

    separate_stderr: bool = True
    tells_signals: bool = True
    ends_commands: bool = True
    tells_fate: bool = True
    streams_input: bool = True
    takes_any_bytes: bool = True
    longest_command: int = 100_000
    has_socket: bool = True


@dataclass(frozen=True, slots=True)
class Reached:
    """A transport, and whom it reaches.

    Attributes:
        transport: Not yet prepared; the suite closes it.
        host: Where commands run.
        unreachable: One that cannot be opened or run on, or ``None`` where there can be none.
    """

    transport: Transport
    host: Host
    unreachable: Host | None = None


@dataclass(slots=True)
class Collected:
    """A ``Sink`` that keeps everything.

    Attributes:
        stdout: What came.
        stderr: Likewise.
        stamp: When the last of it came, on the loop's clock.
    """

    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    stamp: float = 0.0
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, stream: Stream, data: bytes) -> None:
        """Keep it."""
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
        """Wait until nothing has come for a while."""
        loop = asyncio.get_running_loop()
        while (left := self.stamp + STILL_S - loop.time()) > 0:  # noqa: ASYNC110 - nobody tells of silence
            await asyncio.sleep(left)


@dataclass(slots=True)
class Input:
    """A ``Stdin`` of bytes that are there; it tells how much was asked for.

    Attributes:
        data: All of it.
        read_to: How far it was read.
        error: Raised where it ends.
        ends: Waited for there.
    """

    data: bytes
    read_to: int = 0
    error: OSError | None = None
    ends: asyncio.Event | None = None

    async def read(self, offset: int) -> bytes:
        """Up to 64 KiB from ``offset``."""
        data = self.at(offset)
        if not data and self.ends is not None:
            await self.ends.wait()
        if not data and self.error is not None:
            raise self.error
        return data

    async def size(self) -> int:
        """How much there is."""
        if self.ends is not None:
            await self.ends.wait()
        if self.error is not None:
            raise self.error
        return len(self.data)

    def at(self, offset: int) -> bytes:
        """The same as ``read``."""
        self.read_to = max(self.read_to, offset)
        return self.data[offset : offset + 64 * 1024]


@dataclass(slots=True)
class Visit:
    """One test's use of a transport.

    Attributes:
        reached: The transport and its host.
        connector: Its run.
    """

    reached: Reached
    connector: Connector

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Connection]:
        """A connection that is logged in; closed afterwards."""
        connection = self.connector.connection(self.reached.host)
        try:
            await connection.open(LoginDeadline())
            yield connection
        finally:
            connection.close()
            await connection.closed()

    async def run(self, command: str, stdin: Stdin | None = None) -> tuple[Outcome, Collected]:
        """Run ``command`` on a connection of its own."""
        sink = Collected()
        async with self.opened() as connection:
            return await connection.run(command, sink, stdin), sink

    @asynccontextmanager
    async def begun(self, command: str) -> AsyncIterator[tuple[Connection, Collected]]:
        """A connection whose command has said that it has begun, and was given up on then."""
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
        """The states of those of ``pids`` that run on the host; a zombie has ended."""
        looks = "; ".join(f"ps -o stat= -p {pid}" for pid in pids)
        _, sink = await self.run(f"{{ {looks}; }} | grep -v '^Z'")
        return bytes(sink.stdout)


def belongings() -> Counter[str]:
    """The descriptors and children of this process, where /proc shows them."""
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
    """See to it that nothing more is held than before, once it has settled."""
    loop = asyncio.get_running_loop()
    until = loop.time() + SETTLE_S
    for pause in itertools.repeat(0.01):
        more = [*(belongings() - before).elements(), *map(repr, asyncio.all_tasks() - tasks)]
        if not more:
            return
        assert loop.time() < until, f"left behind: {more}"
        await asyncio.sleep(pause)
