"""One rsh connection: it dials from a reserved port, accepts the connection for stderr, runs and closes."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from multirsh.errors import HostError
from multirsh.linux import keep_alive
from multirsh.model import ClosedBy, Fate, Host, Outcome, Phase, SourcePort
from multirsh.shortage import NO_MEMORY
from multirsh.transports.base import Sink, Stdin, Stream
from multirsh.transports.dialling import Dialler
from multirsh.transports.login_deadline import LoginDeadline
from multirsh.transports.passwords import Password
from multirsh.transports.remote_first import RemoteFirstTransport
from multirsh.transports.rsh import failures, wrapper
from multirsh.transports.rsh.back_channel import BackChannels, Expectation, NoStderr
from multirsh.transports.rsh.conversation import Conversation, Stage
from multirsh.transports.rsh.rcmd import request_command, request_stderr
from multirsh.transports.tcp import DialError

OTHER_STREAM_S: Final = 1.0
"""Seconds that one connection is still read after the other has died; no status can come after that."""

SAY_SO_S: Final = 0.02
"""Seconds before the connect timeout at which the wait for stderr ends, so that the error can name it."""

LAST_S: Final = 1.0
"""Seconds that the remote may take to close after KILL."""

KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_PROBES = 15, 5, 3
"""Keepalive probes, in seconds and in number: a remote that has vanished is detected within 30 s.

TCP_USER_TIMEOUT is not set: it would also end connections whose remote lives but does not read for a while.
"""

_ASKED: Final = frozenset({Phase.AUTH, Phase.SESSION, Phase.RUN})
"""The phases in which the request has been sent to the server."""


class Around(Protocol):
    """The part of the connector that a connection uses."""

    dialler: Dialler
    back_channels: BackChannels


@dataclass(frozen=True, slots=True, kw_only=True)
class RshPlan:
    """How one host is reached by rsh, with all settings considered.

    Attributes:
        address: A name or an IP literal.
        port: Where in.rshd listens.
        local_user: The user name that is sent as the local one.
        remote_user: The user that the command runs as.
        is_merged: Whether stderr comes with stdout, on one connection.
    """

    address: str
    port: int
    local_user: bytes
    remote_user: bytes
    is_merged: bool


class RshConnection:
    """A ``Connection`` (``transports.base``) by rcmd."""

    def __init__(self, around: Around, host: Host, *, plan: Callable[[], RshPlan]) -> None:
        """Make a connection that is not open yet.

        Args:
            around: Dials, and has the listeners for stderr.
            host: The host to connect to.
            plan: Returns how to reach the host.
        """
        self._around = around
        self._host = host
        self._plan = plan
        self._phase = Phase.RESOLVE
        self._user: str | None = None
        self._connected_at: float | None = None
        self._authenticated_at: float | None = None
        self._main: RemoteFirstTransport | None = None
        self._stderr: RemoteFirstTransport | None = None
        self._conversation: Conversation | None = None
        self._expectation: Expectation | None = None
        self._changed = asyncio.Event()
        self._giving_up: asyncio.TimerHandle | None = None
        self._sink: Sink | None = None
        self._stdin: Stdin | None = None
        self._stdin_left = range(0)
        self._draining: asyncio.TimerHandle | None = None
        self._is_writable = True

    @property
    def phase(self) -> Phase:
        """The phase that the connection is in, or was in when it failed."""
        return self._phase

    @property
    def local_port(self) -> int | None:
        """The reserved local port that it uses."""
        return None if self._main is None else self._main.get_extra_info("sockname")[1]

    @property
    def user(self) -> str | None:
        """The user that the command runs as; ``None`` before ``open``."""
        return self._user

    @property
    def connected_at(self) -> float | None:
        """When the TCP connection was open, on the loop's clock."""
        return self._connected_at

    @property
    def authenticated_at(self) -> float | None:
        """When the script on the remote had begun, on the loop's clock."""
        return self._authenticated_at

    async def open(self, login_deadline: LoginDeadline) -> None:
        """Connect, accept the connection for stderr, log in, and wait until the script begins.

        Args:
            login_deadline: Bounds the wait for a reserved port.

        Raises:
            HostError: Any of these steps failed.
        """
        loop = asyncio.get_running_loop()
        plan = self._plan()
        self._user = plan.remote_user.decode("utf-8", "surrogateescape")
        key = wrapper.make_key()
        conversation = self._conversation = Conversation(key, is_merged=plan.is_merged)
        try:
            if not plan.is_merged:
                await self._around.back_channels.make_ready(login_deadline)
            main = self._main = await self._around.dialler.dial(
                plan.address,
                plan.port,
                on_phase=self._enter,
                login_deadline=login_deadline,
                source_port=SourcePort.RESERVED,
            )
            self._connected_at = loop.time()
            self._attach(main, "stdout")
            if plan.is_merged:
                main.write(request_stderr(None))
            else:
                self._enter(Phase.HANDSHAKE)
                self._stderr = await self._connected_back(main, login_deadline)
                self._attach(self._stderr, "stderr")
        except DialError as error:
            raise HostError(self._host.name, error.status, error.failure) from error
        except NoStderr as error:
            raise HostError(self._host.name, *error.reason) from error
        self._enter(Phase.AUTH)
        main.write(request_command(plan.local_user, plan.remote_user, wrapper.line(key)))
        await self._until(Stage.READY)
        self._check(conversation)
        self._authenticated_at = loop.time()
        self._enter(Phase.SESSION)

    async def run(
        self, command: str, sink: Sink, stdin: Stdin | None = None, *, tty: bool = False
    ) -> Outcome:
        """Run ``command``, once.

        Args:
            command: The command, as the user gave it.
            sink: Takes all output before this returns.
            stdin: What the command reads, up to end of file; it is sent once its size is known. The command
                need not read all of it, and its result does not wait for that.
            tty: Must be false, as rsh has no terminals.

        Raises:
            HostError: The command cannot be sent, the input cannot be read, or the connection died.
        """
        main, conversation = self._main, self._conversation
        if main is None or conversation is None or self._authenticated_at is None:
            raise RuntimeError("the connection is not open")
        if tty:
            raise ValueError("rsh has no terminals")
        self._check(conversation)
        size = 0 if stdin is None else await self._size_of(stdin)
        try:
            order = wrapper.order(command.encode("utf-8", "surrogateescape"), size)
        except ValueError as error:
            raise HostError(self._host.name, *failures.command_refused(str(error))) from error
        conversation.order()
        self._enter(Phase.RUN)
        self._sink = sink
        main.write(order)
        self._stdin, self._stdin_left = stdin, range(size)
        self._feed()
        await self._until(Stage.OVER)
        self._check(conversation)
        if conversation.outcome is None:
            raise RuntimeError("a conversation that is over has an outcome or a reason")
        return conversation.outcome

    async def end_command(self, *, kill_after: float, password: Password | None = None) -> Fate:  # noqa: ARG002 - it would go in clear
        """Have the server signal the command's process group (rshd(8)), which reports no result."""
        conversation = self._conversation
        if conversation is None or self._phase is not Phase.RUN:
            return Fate.DEAD  # it was never sent
        if conversation.stage is Stage.OVER:
            return Fate.UNKNOWN if conversation.outcome is None else Fate.DEAD
        if self._stderr is not None:
            for number, seconds in ((signal.SIGTERM, kill_after), (signal.SIGKILL, LAST_S)):
                self._stderr.write(bytes([number]))
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._until(Stage.OVER)
                        break
        return Fate.UNKNOWN

    def pause_output(self) -> None:
        """Stop reading both connections; the remote's writes block once TCP's windows are full."""
        for transport in self._transports():
            transport.pause_reading()

    def resume_output(self) -> None:
        """Read both connections again."""
        for transport in self._transports():
            transport.resume_reading()

    def close(self) -> None:
        """Make the remote end its command, and so close first; the sockets are left to drain."""
        if self._giving_up is not None:
            self._giving_up.cancel()
        self._say_goodbye()
        if self._main is not None and self._has_unwanted_input:
            # The script reads all input before it exits; the close timeout bounds how long it is sent.
            loop = asyncio.get_running_loop()
            self._draining = loop.call_later(self._around.dialler.close_timeout, self._main.abandon)
            self._feed()
        elif self._main is not None:
            self._main.close()
        if self._stderr is not None:
            self._stderr.close()
        if self._main is not None and self._phase is Phase.HANDSHAKE and not self._is_refused:
            self._main.abandon()  # the server waits for names, and nothing can be sent to make it close

    async def closed(self) -> ClosedBy | None:
        """Wait until both sockets are closed.

        Returns:
            ``REMOTE`` only if the remote closed both first.
        """
        ends = [await asyncio.shield(transport.closed) for transport in self._transports()]
        if not ends:
            return None
        return next((end for end in ends if end is not ClosedBy.REMOTE), ClosedBy.REMOTE)

    @property
    def _is_refused(self) -> bool:
        """Whether the server has refused the request, and so is about to close."""
        return self._conversation is not None and self._conversation.reason is not None

    def _say_goodbye(self) -> None:
        """Send what makes the remote close at this stage; nothing before the request was sent."""
        main, conversation = self._main, self._conversation
        if main is None or conversation is None or self._phase not in _ASKED:
            return
        if conversation.stage is Stage.RUNNING:
            if self._stderr is not None:
                self._stderr.write(bytes([signal.SIGTERM]))
        elif conversation.stage is not Stage.OVER:
            main.write(wrapper.GOODBYE)

    @property
    def _has_unwanted_input(self) -> bool:
        """Whether the command has ended before all of its input was sent."""
        conversation = self._conversation
        return conversation is not None and conversation.outcome is not None and bool(self._stdin_left)

    async def _size_of(self, stdin: Stdin) -> int:
        try:
            return await stdin.size()
        except OSError as error:
            raise HostError(self._host.name, *failures.no_input(error)) from None

    async def _connected_back(
        self, main: RemoteFirstTransport, login_deadline: LoginDeadline
    ) -> RemoteFirstTransport:
        """Send the port of a listener to the server, and wait for its connection.

        Raises:
            DialError: There is no port to listen on.
            NoStderr: The server did not connect.
        """
        source, remote = main.get_extra_info("sockname")[0], main.get_extra_info("peername")[0]
        channels = self._around.back_channels
        async with channels.turn(remote, login_deadline):
            deadline, now = login_deadline.deadline, asyncio.get_running_loop().time()
            try:
                async with login_deadline.within(None if deadline is None else deadline - now - SAY_SO_S):
                    others = self._around.dialler.known_addresses(self._plan().address)
                    expectation = self._expectation = await channels.expect(
                        source, remote, login_deadline, others=others
                    )
                    try:
                        main.write(request_stderr(expectation.port))
                        self._fail_expectation()
                        if main.is_closing():  # it was closed during the wait for a place
                            expectation.main_ended(None)
                        return await expectation.connection()
                    finally:
                        self._expectation = None
                        expectation.leave()
            except TimeoutError:
                raise NoStderr(failures.no_stderr_in_time()) from None

    async def _until(self, stage: Stage) -> None:
        """Wait until the conversation has reached ``stage``, or is over."""
        while self._conversation is not None and self._conversation.stage not in {stage, Stage.OVER}:
            self._changed.clear()
            await self._changed.wait()

    def _check(self, conversation: Conversation) -> None:
        if conversation.reason is not None:
            raise HostError(self._host.name, *conversation.reason)

    def _attach(self, transport: RemoteFirstTransport, stream: Stream) -> None:
        _keep_alive(transport.get_extra_info("socket"))
        transport.attach(_StreamProtocol(self, stream))

    def _transports(self) -> list[RemoteFirstTransport]:
        return [transport for transport in (self._main, self._stderr) if transport is not None]

    def _enter(self, phase: Phase) -> None:
        self._phase = phase

    # Called by the two connections.

    def received(self, stream: Stream, data: bytes) -> None:
        """Take bytes that one of the connections received."""
        if self._conversation is not None:
            self._pass_on(stream, self._conversation.receive(stream, data))

    def ended(self, stream: Stream, error: OSError | None) -> None:
        """Note that one of the connections is closed."""
        if stream == "stdout" and self._draining is not None:
            self._draining.cancel()
        conversation = self._conversation
        if conversation is None:
            return
        self._pass_on(stream, conversation.end(stream, error))
        if self._expectation is not None and stream == "stdout":
            self._expectation.main_ended(error)
        if conversation.is_broken and self._giving_up is None:
            self._giving_up = asyncio.get_running_loop().call_later(OTHER_STREAM_S, self._give_up)

    def may_write(self, *, now: bool) -> None:
        """Note whether the main connection takes more input now."""
        self._is_writable = now
        self._feed()

    def _pass_on(self, stream: Stream, output: bytes) -> None:
        if output and self._sink is not None:
            self._sink.write(stream, output)
        self._changed.set()
        self._fail_expectation()

    def _fail_expectation(self) -> None:
        """Fail the wait for stderr if the server has refused: it does not connect then."""
        reason = None if self._conversation is None else self._conversation.reason
        if self._expectation is not None and reason is not None:
            self._expectation.fail(reason)

    def _give_up(self) -> None:
        if self._conversation is not None:
            self._conversation.give_up()
        self._changed.set()

    def _feed(self) -> None:
        """Write input as long as the socket takes it."""
        while self._is_writable and self._stdin is not None and self._stdin_left and self._main is not None:
            self._write_some(self._main, self._stdin)
        if self._draining is not None and self._main is not None and not self._stdin_left:
            self._draining.cancel()
            self._main.close()

    def _write_some(self, main: RemoteFirstTransport, stdin: Stdin) -> None:
        """Write a part of the input; if the file has shrunk since it was measured, end the conversation."""
        left, shrunk = self._stdin_left, OSError(errno.EIO, "it has become shorter")
        try:
            data, error = stdin.at(left.start)[: len(left)], shrunk
        except OSError as unreadable:
            data, error = b"", unreadable
        if data:
            main.write(data)
            self._stdin_left = range(left.start + len(data), left.stop)
            return
        self._stdin_left = range(0)
        if self._conversation is not None:
            self._conversation.fail(failures.no_input(error))
        self._changed.set()
        main.abandon()


class _StreamProtocol(asyncio.Protocol):
    """The protocol of one of a host's two TCP connections."""

    def __init__(self, connection: RshConnection, stream: Stream) -> None:
        self._connection = connection
        self._stream = stream

    def data_received(self, data: bytes) -> None:
        """Pass on received bytes."""
        self._connection.received(self._stream, data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Report that the connection is closed."""
        if isinstance(exc, MemoryError):
            exc = OSError(errno.ENOMEM, NO_MEMORY)
        self._connection.ended(self._stream, exc if isinstance(exc, OSError) else None)

    def pause_writing(self) -> None:
        """Stop writing, since the socket's buffer is full."""
        if self._stream == "stdout":
            self._connection.may_write(now=False)

    def resume_writing(self) -> None:
        """Write again."""
        if self._stream == "stdout":
            self._connection.may_write(now=True)


def _keep_alive(sock: socket.socket) -> None:
    """Have the kernel detect that the remote is gone, since rsh has no message for it."""
    with suppress(OSError):  # some systems refuse options of a socket that was reset; reading reports it
        keep_alive(sock, idle=KEEPALIVE_IDLE_S, interval=KEEPALIVE_INTERVAL_S, probes=KEEPALIVE_PROBES)
