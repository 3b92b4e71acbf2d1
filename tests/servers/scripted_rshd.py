"""rsh servers that do what no server should: each by a conduct of a few steps.

What needs no connection for stderr and no answer of the script is played by
``ScriptedServer``; this is for the rest.
"""

from __future__ import annotations

import asyncio
import enum
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from tests.servers.accepting import accept
from tests.servers.loop_thread import LoopThread
from tests.servers.namespace import Namespace
from tests.servers.ports import free_port
from tests.servers.stoppable import Stoppable
from tests.waiting import HANG_GUARD_S

RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER that makes close(2) send RST; socket(7)."""

BACK_PORTS: Final = range(601, 701)
"""Where its connections for stderr come from."""

FLOOD_BYTES: Final = 256 * 1024

Stream: TypeAlias = Literal["stdout", "stderr"]


class Back(enum.Enum):
    """How the connection for stderr is made."""

    GOOD = "good"
    WRONG_PORT = "from a port above 1023"
    OTHER_ADDRESS = "from another address"
    NONE = "not at all"
    TWICE = "twice"


@dataclass(frozen=True, slots=True)
class Write:
    """Write ``data``, in which KEY stands for the script's key."""

    data: bytes
    stream: Stream = "stdout"


@dataclass(frozen=True, slots=True)
class Flood:
    """Write to ``stream`` without end."""

    stream: Stream = "stdout"


class Act(enum.Enum):
    """What needs no parameter."""

    READ_ORDER = "read how much input there is, and the command"
    READ_ON = "read all that comes, to the client's end"
    AWAIT_SIGNAL = "read a byte from the stderr connection"
    CLOSE = "close both connections"
    CLOSE_STDERR = "close the one for stderr"
    RESET = "reset both"
    HOLD = "neither read nor write nor close until the server is stopped"


Step: TypeAlias = Write | Flood | Act


BEGIN: Final[tuple[Step, ...]] = (Write(b"\0KEY["), Write(b"KEY[", "stderr"))
"""Says yes, and is the script that has begun."""


def ends(status: int, stream: Stream) -> Write:
    """The marker of a command's end."""
    return Write(b"KEY]%d;" % status, stream)


@dataclass(slots=True)
class RshTalk:
    """One connection, as its server saw it.

    Attributes:
        line: The command for the login shell.
        order: The two lines that the script was sent.
        read: What ``READ_ON`` read.
        signal: What ``AWAIT_SIGNAL`` read.
        back_ended: How the stderr connection ended, as this end saw it first.
        finished: Whether all steps were done, or one of them met the client's end.
    """

    line: bytes = b""
    order: list[bytes] = field(default_factory=list)
    read: bytes = b""
    signal: bytes = b""
    back_ended: str = ""
    finished: bool = False


@dataclass(slots=True)
class _Ends:
    """A connection's sockets.

    Attributes:
        main: The one that was accepted.
        back: The one for stderr; ``None`` if there is none.
        key: The script's.
        held: What was read of ``main`` and not yet taken.
    """

    main: socket.socket
    back: socket.socket | None = None
    key: bytes = b""
    held: bytes = b""

    def of(self, stream: Stream) -> socket.socket:
        return self.main if stream == "stdout" or self.back is None else self.back

    async def line(self, end: bytes) -> bytes:
        while end not in self.held:
            came = await asyncio.get_running_loop().sock_recv(self.main, 65_536)
            if not came:
                raise ConnectionResetError("the client has closed")
            self.held += came
        taken, _, self.held = self.held.partition(end)
        return taken


class ScriptedRshd(Stoppable):
    """Plays one conduct to every client, from a thread of its own. Ends as a context manager does.

    Args:
        steps: What to do once the request is read.
        back: How to connect for stderr, where the client asks for it.
        namespace: Where it listens.
        address: The address it binds.
        receive_buffer: SO_RCVBUF in bytes, so that a window fills soon; ``None`` leaves the kernel's.

    Attributes:
        address: As given.
        port: Where it listens.
    """

    def __init__(
        self,
        *steps: Step,
        back: Back = Back.GOOD,
        namespace: Namespace,
        address: str = "127.0.0.1",
        receive_buffer: int | None = None,
    ) -> None:
        self._steps = steps
        self._back = back
        self._changed = threading.Condition()
        self._talks: list[RshTalk] = []
        self._ended = asyncio.Event()
        self.address = address
        self.port = free_port(namespace, address=address)
        with namespace.entered():
            self._listener = socket.create_server((address, self.port), backlog=1024)
        if receive_buffer is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.setblocking(False)
        self._thread = LoopThread(namespace)
        self._serving = asyncio.run_coroutine_threadsafe(self._serve(), self._thread.loop)

    @property
    def talks(self) -> tuple[RshTalk, ...]:
        """The connections so far."""
        with self._changed:
            return tuple(self._talks)

    def wait_for(self, holds: Callable[[tuple[RshTalk, ...]], bool]) -> None:
        """Wait until ``holds`` is true of the connections. In an async test: ``asyncio.to_thread``.

        Raises:
            AssertionError: It was not in time; what was seen is in the message.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: holds(tuple(self._talks)), HANG_GUARD_S):
                raise AssertionError(f"not within {HANG_GUARD_S} s; seen: {self._talks}")

    def stop(self) -> None:
        """Close the listener and every connection."""
        self._serving.cancel()
        self._thread.call(self._ended.wait())
        self._listener.close()
        self._thread.stop()

    async def _serve(self) -> None:
        try:
            async with asyncio.TaskGroup() as players:
                while True:
                    main, peer = await accept(self._listener)
                    talk = RshTalk()
                    with self._changed:
                        self._talks.append(talk)
                    players.create_task(self._play(main, peer[0], talk))
        finally:
            self._ended.set()

    async def _play(self, main: socket.socket, peer: str, talk: RshTalk) -> None:
        ends = _Ends(main)
        spare: list[socket.socket] = []
        try:
            with suppress(ConnectionError):
                port = int(await ends.line(b"\0") or b"0")
                if port and self._back is not Back.NONE:
                    if self._back is Back.WRONG_PORT:
                        ends.back = await self._connect_wrongly(peer, port, talk)
                    else:
                        ends.back = await self._connect_back(peer, port)
                    if self._back is Back.TWICE:
                        # It is reset, and may be so before we have heard that it was there.
                        with suppress(ConnectionError):
                            spare.append(await self._connect_back(peer, port))
                for _ in range(2):
                    await ends.line(b"\0")
                talk.line = await ends.line(b"\0")
                ends.key = talk.line.rpartition(b" ")[2]
                for step in self._steps:
                    await self._do(step, ends, talk)
            self._note(talk)
            if main.fileno() >= 0:
                await asyncio.get_running_loop().create_future()  # open until the server is stopped
        finally:
            for sock in (main, ends.back, *spare):
                if sock is not None:
                    sock.close()

    async def _connect_back(self, peer: str, port: int) -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        address = "127.9.9.9" if self._back is Back.OTHER_ADDRESS else self.address
        if self._back is Back.WRONG_PORT:
            sock.bind((address, 0))
        else:
            for number in reversed(BACK_PORTS):
                with suppress(OSError):
                    sock.bind((address, number))
                    break
        try:
            await asyncio.get_running_loop().sock_connect(sock, (peer, port))
        except BaseException:
            sock.close()
            raise
        return sock

    async def _connect_wrongly(self, peer: str, port: int, talk: RshTalk) -> socket.socket | None:
        """Connect from where nobody is let in, and note how that ends."""
        back = None
        try:
            back = await self._connect_back(peer, port)
            came = await asyncio.get_running_loop().sock_recv(back, 1)
            talk.back_ended = "data" if came else "fin"
        except ConnectionResetError:
            talk.back_ended = "reset"
        with self._changed:
            self._changed.notify_all()
        return back

    async def _do(self, step: Step, ends: _Ends, talk: RshTalk) -> None:
        loop = asyncio.get_running_loop()
        match step:
            case Write(data, stream):
                await loop.sock_sendall(ends.of(stream), data.replace(b"KEY", ends.key))
            case Flood(stream):
                while True:
                    await loop.sock_sendall(ends.of(stream), b"x" * FLOOD_BYTES)
            case Act.READ_ORDER:
                talk.order = [await ends.line(b"\n"), await ends.line(b"\n")]
            case Act.READ_ON:
                talk.read, ends.held = ends.held, b""
                while came := await loop.sock_recv(ends.main, 65_536):
                    talk.read += came
            case Act.AWAIT_SIGNAL:
                talk.signal = await loop.sock_recv(ends.of("stderr"), 1)
            case Act.CLOSE | Act.CLOSE_STDERR | Act.RESET:
                self._close(step, ends)
            case Act.HOLD:
                await loop.create_future()

    def _close(self, how: Act, ends: _Ends) -> None:
        for sock in (ends.back, None if how is Act.CLOSE_STDERR else ends.main):
            if sock is not None:
                if how is Act.RESET:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                sock.close()

    def _note(self, talk: RshTalk) -> None:
        with self._changed:
            talk.finished = True
            self._changed.notify_all()
