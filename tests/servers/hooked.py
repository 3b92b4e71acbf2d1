"""asyncssh's own server, made to misbehave where the real ones cannot be.

Everything here is a session of genuine SSH up to the point of misbehaviour.
The server runs in a thread of its own. What it does at the end of a
connection is decided by a transport put between asyncssh and the socket.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import tempfile
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import asyncssh
from asyncssh.agent import SSH_AGENT_IDENTITIES_ANSWER, SSH_AGENTC_REQUEST_IDENTITIES
from asyncssh.constants import MSG_REQUEST_SUCCESS
from asyncssh.packet import Byte, String, UInt32
from asyncssh.stream import SSHUNIXStreamSession

from tests.servers import keys
from tests.servers.accounts import PASSWORD
from tests.servers.loop_thread import LoopThread
from tests.servers.namespace import Namespace
from tests.servers.ports import free_port
from tests.servers.scripted import RESET_ON_CLOSE
from tests.servers.stoppable import Stoppable

_CHUNK: Final = 65_536


class AtClose(Enum):
    """What becomes of the socket when asyncssh's server would close it, as it does at a DISCONNECT."""

    CLOSES = "closes it at once, like sshd"
    IGNORES = "keeps it open and reads on"
    RESETS = "sends RST"


class Link(asyncio.Transport):
    """The server's end of one connection, which a session may also close by itself.

    Attributes:
        closes_asked: How often asyncssh wanted the socket closed.
        peer_ended: Set at the client's FIN or RST where ``AtClose.IGNORES`` made us read on.
    """

    def __init__(self, transport: asyncio.Transport, at_close: AtClose) -> None:
        super().__init__()
        self._transport = transport
        self._at_close = at_close
        self._is_mute = False
        self.closes_asked = 0
        self.peer_ended = threading.Event()

    def fin(self) -> None:
        """Close the socket without a word of SSH."""
        self._transport.abort()

    def reset(self) -> None:
        """Reset the connection, unless the client was quicker to end it."""
        if not self._transport.is_closing():
            _socket_of(self._transport).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._transport.abort()

    def mute(self) -> None:
        """Say nothing any more, not even to keepalives, and keep the socket open."""
        self._is_mute = True

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Write, unless mute."""
        if not self._is_mute:
            self._transport.write(data)

    def close(self) -> None:
        """Do what ``AtClose`` says."""
        self.abort()

    def abort(self) -> None:
        """Do what ``AtClose`` says."""
        self.closes_asked += 1
        match self._at_close:
            case AtClose.CLOSES:
                self._transport.abort()
            case AtClose.RESETS:
                self.reset()
            case AtClose.IGNORES:
                self._transport.set_protocol(_Sink(self.peer_ended))

    def end(self) -> None:
        """Close the socket whatever ``AtClose`` says; the server is being stopped."""
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether the socket is on its way to be closed."""
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Ask the transport below."""
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Pass on."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Pass on."""
        self._transport.resume_reading()


class _Sink(asyncio.Protocol):
    """Reads on after SSH is over, and keeps its side open at the client's FIN."""

    def __init__(self, peer_ended: threading.Event) -> None:
        self._peer_ended = peer_ended

    def eof_received(self) -> bool:
        self._peer_ended.set()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._peer_ended.set()


Connection: TypeAlias = asyncssh.SSHServerConnection
Process: TypeAlias = "asyncssh.SSHServerProcess[bytes]"
Session: TypeAlias = Callable[[Process, Link], Awaitable[None]]
"""What happens once a command was accepted."""


def answers(stdout: bytes = b"", *, stderr: bytes = b"", status: int = 0) -> Session:
    """Print this and exit; standard input is not read."""

    async def session(process: Process, _link: Link) -> None:
        process.stdout.write(stdout)
        process.stderr.write(stderr)
        process.exit(status)

    return session


async def echoes(process: Process, _link: Link) -> None:
    """Print a JSON object of what was asked for: ``command``, ``env``, and ``stdin`` read to its end."""
    stdin = await process.stdin.read()
    asked = {"command": process.command, "env": dict(process.env), "stdin": stdin.decode("latin-1")}
    process.stdout.write(json.dumps(asked).encode() + b"\n")
    process.exit(0)


def closes_without_status(stdout: bytes = b"") -> Session:
    """Print this and close the channel; neither exit-status nor exit-signal is sent."""

    async def session(process: Process, _link: Link) -> None:
        process.stdout.write(stdout)
        process.close()

    return session


def exits_by_signal(name: str = "KILL", *, stdout: bytes = b"") -> Session:
    """Print this and end by a signal; its name is without ``SIG`` (RFC 4254 section 6.10)."""

    async def session(process: Process, _link: Link) -> None:
        process.stdout.write(stdout)
        process.exit_with_signal(name)

    return session


def drops(stdout: bytes = b"", *, reset: bool = False) -> Session:
    """Print this, then lose the connection mid-command, by FIN or by RST."""

    async def session(process: Process, link: Link) -> None:
        process.stdout.write(stdout)
        await process.stdout.drain()
        if reset:
            link.reset()
        else:
            link.fin()

    return session


def goes_mute(stdout: bytes = b"") -> Session:
    """Print this, then say nothing ever again: what a host that lost power looks like."""

    async def session(process: Process, link: Link) -> None:
        process.stdout.write(stdout)
        await process.stdout.drain()
        link.mute()
        await _forever()

    return session


async def ignores_eof(process: Process, _link: Link) -> None:
    """Read standard input to its end, say ``eof``, and go on for ever."""
    await process.stdin.read()
    process.stdout.write(b"eof\n")
    await _forever()


async def never_ends(_process: Process, _link: Link) -> None:
    """Neither read, print nor exit."""
    await _forever()


def tears(text: str, *, pieces: int = 1) -> Session:
    """Print ``text`` as UTF-8 in packets of ``pieces`` bytes, which tears its characters, and exit."""

    async def session(process: Process, _link: Link) -> None:
        encoded = text.encode()
        for start in range(0, len(encoded), pieces):
            process.stdout.write(encoded[start : start + pieces])
            await process.stdout.drain()
        process.exit(0)

    return session


def floods(count: int, *, line: bytes = b"y\n") -> Session:
    """Print ``count`` bytes made of ``line`` as fast as they are taken, and exit."""

    async def session(process: Process, _link: Link) -> None:
        chunk = line * (_CHUNK // len(line))
        left = count
        while left > 0:
            process.stdout.write(chunk[:left])
            left -= len(chunk)
            await process.stdout.drain()
        process.exit(0)

    return session


OPENED: Final = "opened"

CHANNELS: Final[dict[str, tuple[bytes, ...]]] = {
    "auth-agent@openssh.com": (),
    "auth-agent": (),
    "x11": (String("127.0.0.1"), UInt32(1)),
    "forwarded-tcpip": (String("127.0.0.1"), UInt32(1), String("127.0.0.1"), UInt32(1)),
    "forwarded-streamlocal@openssh.com": (String("/socket"), String("")),
    "direct-tcpip": (String("127.0.0.1"), UInt32(22), String("127.0.0.1"), UInt32(1)),
    "direct-streamlocal@openssh.com": (String("/socket"), String(""), UInt32(0)),
    "tun@openssh.com": (UInt32(1), UInt32(0)),
    "session": (),
}
"""Every kind of channel that either side may open, with what opens it (RFC 4254, OpenSSH's PROTOCOL)."""

REQUESTS: Final[dict[str, bytes]] = {
    "tcpip-forward": String("127.0.0.1") + UInt32(0),
    "cancel-tcpip-forward": String("127.0.0.1") + UInt32(1),
    "streamlocal-forward@openssh.com": String("/tmp/multirsh-never"),
    "hostkeys-00@openssh.com": b"",
    "no-more-sessions@openssh.com": b"",
}
"""Requests that concern the whole connection."""


async def opens_what_it_can(connection: Connection) -> dict[str, str]:
    """Ask the client for all that a server may ask for by itself: ``OPENED`` or why not, by kind."""
    found: dict[str, str] = {}
    for kind, details in CHANNELS.items():
        channel = connection.create_tcp_channel()
        try:
            # asyncssh opens no channel of a kind that is not its own role's.
            await channel._open_forward(asyncssh.SSHTCPSession, kind.encode(), *details)
        except asyncssh.ChannelOpenError as error:
            found[kind] = error.reason
        else:
            found[kind] = OPENED
            channel.close()
    for kind, argument in REQUESTS.items():
        answer, _ = await connection._make_global_request(kind.encode(), argument)
        found[kind] = OPENED if answer == MSG_REQUEST_SUCCESS else "refused"
    return found


async def keys_of_agent(connection: Connection) -> int | str:
    """Ask the client's agent how many keys it has; or say why it cannot be asked.

    By hand: asyncssh's server opens no channel to an agent that it was not offered.
    """
    channel = connection.create_agent_channel()
    try:
        session = await channel.open(SSHUNIXStreamSession)
    except asyncssh.ChannelOpenError as error:
        return error.reason
    streams = cast("SSHUNIXStreamSession[bytes]", session)
    asyncssh.SSHWriter[bytes](streams, channel).write(UInt32(1) + Byte(SSH_AGENTC_REQUEST_IDENTITIES))
    reader = asyncssh.SSHReader[bytes](streams, channel)
    answer = await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
    channel.close()
    kind, count = answer[0], int.from_bytes(answer[1:5], "big")
    return count if kind == SSH_AGENT_IDENTITIES_ANSWER else "no answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """How a server behaves.

    Attributes:
        session: What happens once a command was accepted.
        replies_to_exec: Whether the request to run a command gets an answer at all.
        replies_to_auth: Whether authentication gets anywhere; if not, it waits for ever.
        at_close: What becomes of the socket at the end.
        takes_keys: Whether a key may get in; a password does in any case.
        before_forwarding: Makes a jump host of the server: connections are forwarded, but this comes first.
    """

    session: Session = field(default=echoes)
    replies_to_exec: bool = True
    replies_to_auth: bool = True
    at_close: AtClose = AtClose.CLOSES
    takes_keys: bool = True
    before_forwarding: Callable[[Connection], Awaitable[None]] | None = None


class HookedServer(Stoppable):
    """An asyncssh server with a ``Conduct``, in a thread. Ends as a context manager does, or by ``stop()``.

    Args:
        conduct: How it behaves.
        namespace: Where it listens; ``None`` is where the calling thread stands.
        address: The address it binds; ``0.0.0.0`` in a namespace makes every 127.x.y.z a host.
        port: Where it listens; ``None`` picks one.

    Attributes:
        user: Who may log in; any name may.
        password: The password, for those who come with one.
        client_key: Path of the private key that is accepted.
        host_key: The public half of the host's key: kind and base64.
        port: Where it listens.
        passwords: The user and password of each attempt to log in with one.
        lost: What ended each connection by asyncssh's account; ``None`` is a DISCONNECT or FIN in good order.
    """

    user = "root"
    password = PASSWORD

    def __init__(
        self,
        conduct: Conduct | None = None,
        *,
        namespace: Namespace | None = None,
        address: str = "127.0.0.1",
        port: int | None = None,
    ) -> None:
        self._conduct = Conduct() if conduct is None else conduct
        self.port = free_port(namespace, address=address) if port is None else port
        self._by_connection: dict[Connection, Link] = {}
        self.passwords: list[tuple[str, str]] = []
        self.lost: list[Exception | None] = []
        self.directory = Path(tempfile.mkdtemp(prefix="multirsh-hooked-"))
        self.client_key = keys.make_key(self.directory / "client_key")
        self._host_key_file = keys.make_key(self.directory / "host_key")
        self.host_key = keys.public(self._host_key_file)
        self._thread = LoopThread(namespace)
        self._acceptor: asyncssh.SSHAcceptor | None = None
        try:
            self._thread.call(self._listen(address))
        except BaseException:
            self.stop()
            raise

    @property
    def links(self) -> tuple[Link, ...]:
        """The connections so far, in the order in which they were accepted."""
        return tuple(self._by_connection.values())

    def known_hosts(self, names: Sequence[str]) -> str:
        """Word the known_hosts lines by which ``names`` are this server."""
        return keys.known_hosts(names, port=self.port, host_key=self.host_key)

    def stop(self) -> None:
        """Close the listener and every connection, and end the thread."""
        try:
            self._thread.call(self._end())
        finally:
            self._thread.stop()
            shutil.rmtree(self.directory, ignore_errors=True)

    async def _listen(self, address: str) -> None:
        self._acceptor = await asyncssh.listen(
            address,
            self.port,
            server_factory=lambda: _Server(self._conduct, self._by_connection, self.passwords, self.lost),
            process_factory=self._run_session if self._conduct.replies_to_exec else None,
            server_host_keys=[self._host_key_file],
            authorized_client_keys=f"{self.client_key}.pub" if self._conduct.takes_keys else None,
            config=[],
            encoding=None,
            backlog=1024,
            reuse_address=True,
            login_timeout=0,
        )

    async def _run_session(self, process: Process) -> None:
        link = self._by_connection[process.get_extra_info("connection")]
        # The client may go away in the middle, which is what many tests are about.
        with suppress(asyncssh.BreakReceived, ConnectionError):
            await self._conduct.session(process, link)

    async def _end(self) -> None:
        # Connections that have been accepted get their transports before the listener is closed: asyncio's
        # server takes none afterwards, and their sockets would stay open.
        await _turns()
        if self._acceptor is not None:
            # Not waited for: from Python 3.12 on that includes connections, which may stay open on purpose.
            self._acceptor.close()
        for link in self.links:
            link.end()
        # The transports' own closing callbacks have run before the loop ends.
        await _turns()


async def _turns() -> None:
    """Let the loop do what it has begun."""
    for _ in range(10):
        await asyncio.sleep(0)


class _Server(asyncssh.SSHServer):
    """One connection's decisions."""

    def __init__(
        self,
        conduct: Conduct,
        links: dict[Connection, Link],
        passwords: list[tuple[str, str]],
        lost: list[Exception | None],
    ) -> None:
        self._conduct = conduct
        self._links = links
        self._passwords = passwords
        self._connection: Connection | None = None
        self._lost = lost

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        link = Link(cast("asyncio.Transport", conn._transport), self._conduct.at_close)
        # asyncssh has no hook for its transport on the server's side; everything it writes goes by here.
        conn._transport = link
        self._links[conn] = link
        self._connection = conn

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost.append(exc)

    async def begin_auth(self, username: str) -> bool:
        if not self._conduct.replies_to_auth:
            await _forever()
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        self._passwords.append((username, password))
        return password == PASSWORD

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> bool | Awaitable[asyncssh.SSHTCPSession[bytes]]:
        connection, before = self._connection, self._conduct.before_forwarding
        if connection is None or before is None:
            return False

        async def forward() -> asyncssh.SSHTCPSession[bytes]:
            await before(connection)
            forwarder = await connection.forward_connection(dest_host, dest_port)
            return cast("asyncssh.SSHTCPSession[bytes]", forwarder)  # it is asyncssh's own, and typed as less

        return forward()

    def session_requested(self) -> asyncssh.SSHServerSession[bytes]:
        # Only asked where there is no process factory.
        return _Unanswering()


class _Unanswering(asyncssh.SSHServerSession[bytes]):
    """Takes a command and sends neither success nor failure."""

    def exec_requested(self, command: str) -> bool:
        # None is how a channel's request is left open in asyncssh; the annotation knows only yes and no.
        return cast("bool", None)


def _socket_of(transport: asyncio.Transport) -> socket.socket:
    return cast("socket.socket", transport.get_extra_info("socket"))


async def _forever() -> None:
    await asyncio.get_running_loop().create_future()
