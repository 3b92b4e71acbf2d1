"""TCP servers that do what no server should, each by a script of a few steps.

They stand on bare sockets, because streams and transports decide for
themselves when to read and how to close, and that is just what is scripted
here. A script that ends without ``Close`` or ``Reset`` keeps its socket until
the server is stopped.

What the kernel adds, and a test should expect: closing a socket with unread
input sends RST and not FIN (RFC 9293 section 3.10.4; RFC 2525 section 2.17),
and input that arrives after a close is answered with RST. Scripts that mean
FIN therefore read the client's banner first.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from tests.servers.accepting import accept
from tests.servers.loop_thread import LoopThread
from tests.servers.namespace import Namespace
from tests.servers.ports import free_port
from tests.servers.stoppable import Stoppable
from tests.waiting import HANG_GUARD_S

BANNER: Final = b"SSH-2.0-Scripted_1.0\r\n"
"""A good identification string (RFC 4253 section 4.2)."""

RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER that makes close(2) send RST; socket(7)."""


@dataclass(frozen=True, slots=True)
class Send:
    """Write all of ``text``."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Trickle:
    """Write ``text`` one byte at a time, with ``pause_s`` seconds before each."""

    text: bytes
    pause_s: float


@dataclass(frozen=True, slots=True)
class ReadLine:
    """Read until a line feed was among what came, or the client ended."""


@dataclass(frozen=True, slots=True)
class ReadSome:
    """Read until ``count`` bytes came in all, or the client ended."""

    count: int


@dataclass(frozen=True, slots=True)
class ReadOn:
    """Read until the client's FIN or RST."""


@dataclass(frozen=True, slots=True)
class Fin:
    """Send FIN and stay able to read (shutdown(2))."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close the socket; FIN, unless input is unread."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Close the socket with RST."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Neither read nor write nor close until the server is stopped."""


Step: TypeAlias = Send | Trickle | ReadLine | ReadSome | ReadOn | Fin | Close | Reset | Hold
Script: TypeAlias = tuple[Step, ...]

_JUNK_BYTES: Final = 20_000
_AFTER_BANNER: Final = len(b"SSH-2.0-\r\n") + 300
"""More than any client's banner, less than its banner and key exchange proposal together."""

SILENT: Final[Script] = (ReadOn(), Hold())
NEVER_READS: Final[Script] = (Hold(),)
BANNER_THEN_SILENT: Final[Script] = (Send(BANNER), ReadOn(), Hold())
BANNER_THEN_NEVER_READS: Final[Script] = (Send(BANNER), Hold())
HTTP: Final[Script] = (
    Send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    ReadLine(),
    Close(),
)
JUNK: Final[Script] = (Send(b"x" * _JUNK_BYTES), ReadOn(), Close())
JUNK_LINES: Final[Script] = (Send(b"more junk\r\n" * (_JUNK_BYTES // 11)), ReadOn(), Close())
BINARY: Final[Script] = (Send(bytes(range(256)) * (_JUNK_BYTES // 256)), ReadOn(), Close())
RESET_AT_ONCE: Final[Script] = (Reset(),)
RESET_AFTER_BANNER: Final[Script] = (Send(BANNER), ReadLine(), Reset())
RESET_MID_HANDSHAKE: Final[Script] = (Send(BANNER), ReadSome(_AFTER_BANNER), Reset())
CLOSE_AT_ONCE: Final[Script] = (Close(),)
CLOSE_AFTER_BANNER: Final[Script] = (Send(BANNER), ReadLine(), Close())
THROTTLED: Final[Script] = (Send(b"Not allowed at this time\r\n"), ReadLine(), Close())
"""What sshd says beyond MaxStartups, and after it has read the client's banner, so that the end is a FIN."""
THROTTLED_AT_ONCE: Final[Script] = (Send(b"Not allowed at this time\r\n"), Close())
"""As sshd does it: a client that has written already may see RST, and lose the text."""
GREETS_AND_CLOSES: Final[Script] = (Send(b"Authorised use only.\r\n" + BANNER), ReadLine(), Close())
"""What a server may write before its version (RFC 4253, section 4.2) is no reason for its end."""
FIN_THEN_READS_ON: Final[Script] = (Fin(), ReadOn(), Close())
FIN_AFTER_BANNER_THEN_HOLDS: Final[Script] = (Send(BANNER), ReadLine(), Fin(), ReadOn(), Hold())
CLOSES_AFTER_CLIENT: Final[Script] = (Send(BANNER), ReadOn(), Close())
NEVER_CLOSES: Final[Script] = BANNER_THEN_SILENT


def slow_banner(pause_s: float) -> Script:
    """A good banner, one byte every ``pause_s`` seconds, then silence."""
    return (Trickle(BANNER, pause_s), ReadOn(), Hold())


class Seen(Enum):
    """What happened at the server's end of a connection, in the order in which it saw it."""

    PEER_FIN = "the client's FIN"
    PEER_RESET = "the client's RST"
    OUR_FIN = "our FIN"
    OUR_RESET = "our RST"


@dataclass(slots=True)
class Conversation:
    """One connection, as its server saw it.

    Attributes:
        peer: The client's address and port.
        received: All that was read; what a script does not read is not here.
        seen: Ends, in order. A client's FIN is only seen by a script that reads to it.
        finished: Whether all steps were done, or one of them met the client's RST.
    """

    peer: tuple[str, int]
    received: bytearray = field(default_factory=bytearray)
    seen: list[Seen] = field(default_factory=list)
    finished: bool = False


class ScriptedServer(Stoppable):
    """Plays one script to every client, from a thread of its own. Ends as a context manager does.

    Args:
        script: What to do with each connection.
        namespace: Where it listens; ``None`` is where the calling thread stands.
        address: The address it binds.
        port: Where it listens; ``None`` picks one.
        loop_thread: Where it runs; ``None`` starts a thread for it alone.
        receive_buffer: SO_RCVBUF in bytes, so that a window fills soon; ``None`` leaves the kernel's.

    Attributes:
        address: As given.
        port: Where it listens.
    """

    def __init__(
        self,
        script: Script,
        *,
        namespace: Namespace | None = None,
        address: str = "127.0.0.1",
        port: int | None = None,
        loop_thread: LoopThread | None = None,
        receive_buffer: int | None = None,
    ) -> None:
        self._script = script
        self._changed = threading.Condition()
        self._conversations: list[Conversation] = []
        self._ended = asyncio.Event()
        self.address = address
        self.port = free_port(namespace, address=address) if port is None else port
        with namespace.entered() if namespace is not None else nullcontext():
            self._listener = socket.socket()
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if receive_buffer is not None:
                self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self._listener.setblocking(False)
            self._listener.bind((address, self.port))
            self._listener.listen(1024)
        except BaseException:
            self._listener.close()
            raise
        self._owns_thread = loop_thread is None
        self._thread = LoopThread(namespace) if loop_thread is None else loop_thread
        self._serving = asyncio.run_coroutine_threadsafe(self._serve(), self._thread.loop)

    @property
    def conversations(self) -> tuple[Conversation, ...]:
        """The connections so far, in the order in which they were accepted."""
        with self._changed:
            return tuple(self._conversations)

    def wait_for(self, holds: Callable[[tuple[Conversation, ...]], bool]) -> tuple[Conversation, ...]:
        """Wait until ``holds`` is true of the conversations. In an async test: ``asyncio.to_thread``.

        Raises:
            AssertionError: It was not in time; what was seen is in the message.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: holds(tuple(self._conversations)), HANG_GUARD_S):
                raise AssertionError(f"not within {HANG_GUARD_S} s; seen: {self._conversations}")
            return tuple(self._conversations)

    def wait_seen(self, *ends: Seen) -> None:
        """Wait until the first conversation has seen exactly ``ends``, in this order."""
        self.wait_for(lambda talks: bool(talks) and tuple(talks[0].seen) == ends)

    def stop(self) -> None:
        """Close the listener and every connection that a script kept."""
        self._serving.cancel()
        self._thread.call(self._ended.wait())
        self._listener.close()
        if self._owns_thread:
            self._thread.stop()

    async def _serve(self) -> None:
        try:
            async with asyncio.TaskGroup() as players:
                while True:
                    connection, peer = await accept(self._listener)
                    conversation = Conversation((peer[0], peer[1]))
                    with self._changed:
                        self._conversations.append(conversation)
                        self._changed.notify_all()
                    players.create_task(self._play(connection, conversation))
        finally:
            self._ended.set()

    async def _play(self, connection: socket.socket, conversation: Conversation) -> None:
        with connection:
            try:
                for step in self._script:
                    await self._do(step, connection, conversation)
            except ConnectionError:
                self._note(conversation, Seen.PEER_RESET)
            conversation.finished = True
            self._notify()
            if connection.fileno() >= 0:
                # The script left it open: so it stays until the server is stopped, which cancels this.
                await asyncio.get_running_loop().create_future()

    async def _do(self, step: Step, connection: socket.socket, conversation: Conversation) -> None:
        loop = asyncio.get_running_loop()
        match step:
            case Send(text):
                await loop.sock_sendall(connection, text)
            case Trickle(text, pause_s):
                for byte in text:
                    await asyncio.sleep(pause_s)
                    await loop.sock_sendall(connection, bytes([byte]))
            case ReadLine() | ReadSome() | ReadOn():
                await self._read(connection, conversation, step)
            case Fin():
                # Noted first, here and below: a client that has met the end finds it in the record.
                self._note(conversation, Seen.OUR_FIN)
                connection.shutdown(socket.SHUT_WR)
            case Close():
                if Seen.OUR_FIN not in conversation.seen:
                    self._note(conversation, Seen.OUR_FIN)
                connection.close()
            case Reset():
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                self._note(conversation, Seen.OUR_RESET)
                connection.close()
            case Hold():
                await loop.create_future()

    async def _read(
        self, connection: socket.socket, conversation: Conversation, step: ReadLine | ReadSome | ReadOn
    ) -> None:
        loop = asyncio.get_running_loop()
        while not _has_enough(step, conversation.received):
            chunk = await loop.sock_recv(connection, 65_536)
            if not chunk:
                self._note(conversation, Seen.PEER_FIN)
                return
            with self._changed:
                conversation.received += chunk
                self._changed.notify_all()

    def _note(self, conversation: Conversation, end: Seen) -> None:
        with self._changed:
            conversation.seen.append(end)
            self._changed.notify_all()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()


def _has_enough(step: ReadLine | ReadSome | ReadOn, received: bytearray) -> bool:
    match step:
        case ReadLine():
            return b"\n" in received
        case ReadSome(count):
            return len(received) >= count
        case ReadOn():
            return False


class RefusingPort(Stoppable):
    """A port that refuses: bound, so that nobody else takes it, and not listened on.

    Args:
        namespace: Where; ``None`` is where the calling thread stands.
        address: The address it binds.

    Attributes:
        address: As given.
        port: The port.
    """

    def __init__(self, *, namespace: Namespace | None = None, address: str = "127.0.0.1") -> None:
        self.address = address
        self.port = free_port(namespace, address=address)
        with namespace.entered() if namespace is not None else nullcontext():
            self._socket = socket.socket()
        try:
            # Old connections of a server on this port may be in TIME_WAIT.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((address, self.port))
        except BaseException:
            self._socket.close()
            raise

    def stop(self) -> None:
        """Give the port back."""
        self._socket.close()
