"""One connection to a host by SSH: connect, check the host's key, log in, run commands, close in order."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, Protocol

import asyncssh

from multirsh.errors import HostError
from multirsh.model import ClosedBy, ErrorKind, Failure, Fate, Host, Outcome, Phase, SourcePort, Status
from multirsh.shortage import NoThreadError, relieve
from multirsh.transports.base import Sink, Stdin
from multirsh.transports.dialling import Dialler
from multirsh.transports.login_deadline import LoginDeadline
from multirsh.transports.messages import input_failure
from multirsh.transports.passwords import Password
from multirsh.transports.remote_first import RemoteFirstTransport
from multirsh.transports.ssh.asyncssh_internals import ClientConnection
from multirsh.transports.ssh.end_command import end_command
from multirsh.transports.ssh.failures import command_failure, login_failure
from multirsh.transports.ssh.login import Chain, HostKeyCheck, Plan
from multirsh.transports.ssh.session import FIRST_BYTES, CommandSession
from multirsh.transports.tcp import DialError

SHELL = "/bin/sh"


def start_proxy(command: str, dialler: Dialler) -> RemoteFirstTransport:
    """Start ``command`` with its standard input and output joined to a transport.

    Its end is closed like any other's: the client disconnects, the server closes, the program sees that and
    exits, and its end of the pair closes before the local one. A program that stays is ended with the pair.

    Args:
        command: The command, with its tokens expanded; run by ``/bin/sh -c exec ...``, as ssh does.
        dialler: Watches the socket pair.

    Raises:
        OSError: The program could not be started.
    """
    ours, theirs = socket.socketpair()
    try:
        ours.setblocking(False)
        with theirs:
            program = subprocess.Popen(  # noqa: S603 - the user's own command, from ssh_config or -o
                [SHELL, "-c", f"exec {command}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                start_new_session=True,
            )
    except BaseException:
        ours.close()
        raise
    # Not asyncio's subprocess: that belongs to the loop, and the program may briefly outlive the loop.
    try:
        threading.Thread(target=program.wait, name="multirsh-proxy", daemon=True).start()
    except (RuntimeError, MemoryError):
        relieve()
        ours.close()
        program.kill()
        program.wait()
        raise NoThreadError from None
    transport = dialler.adopt_pipe(ours)
    transport.closed.add_done_callback(lambda _closed_by: program.terminate())
    return transport


NO_TERMINAL: Final[dict[str, Any]] = {"request_pty": False}

TERMINAL: Final[dict[str, Any]] = {
    "request_pty": "force",
    "term_type": "dumb",
    "term_size": (80, 24),
    "term_modes": {asyncssh.PTY_ECHO: 0, asyncssh.PTY_ONLCR: 0},
}
"""The terminal modes to request (RFC 4254, section 6.2): an echo would serve no purpose, and output that is
split into lines needs no carriage returns."""

END_OF_INPUT: Final = b"\x04" * 64
"""The characters that end a terminal's input, which has no end of file of its own (termios(3), VEOF): each
process that reads it, one after the other, consumes one."""


class Surroundings(Protocol):
    """The services of the run's connector that a connection uses."""

    @property
    def dialler(self) -> Dialler:
        """Makes TCP connections."""

    def warn(self, message: str) -> None:
        """Show a warning to the user."""

    async def through(self, chain: Chain, login_deadline: LoginDeadline) -> SshConnection:
        """Return the shared, open connection to the last host of ``chain``.

        Raises:
            HostError: The connection cannot be opened.
        """


class SshConnection:
    """A ``Connection`` (``transports.base``) by asyncssh."""

    def __init__(self, surroundings: Surroundings, host: Host, *, plan: Callable[[], Plan]) -> None:
        """Store the arguments; nothing is opened yet.

        Args:
            surroundings: The run's connector.
            host: The host to reach.
            plan: Returns how to reach it; called when the connection is opened.
        """
        self._around = surroundings
        self._host = host
        self._plan = plan
        self._link: ClientConnection | None = None
        self._socket: RemoteFirstTransport | None = None
        self._session: CommandSession | None = None
        self._is_talking = False
        self._phase = Phase.RESOLVE
        self._user: str | None = None
        self._local_port: int | None = None
        self._connected_at: float | None = None
        self._authenticated_at: float | None = None

    @property
    def phase(self) -> Phase:
        """The current phase."""
        return self._phase

    @property
    def local_port(self) -> int | None:
        """The local port that is used; ``None`` through a jump host or a proxy command."""
        return self._local_port

    @property
    def user(self) -> str | None:
        """The login name; ``None`` before the login is attempted."""
        return self._user

    @property
    def connected_at(self) -> float | None:
        """The time when bytes could first reach the host's SSH server, on the loop's clock."""
        return self._connected_at

    @property
    def authenticated_at(self) -> float | None:
        """The time when the login succeeded, on the loop's clock."""
        return self._authenticated_at

    @property
    def is_open(self) -> bool:
        """Whether the connection is logged in and has not ended."""
        return self._authenticated_at is not None and self._link is not None and not self._link.is_closed()

    @property
    def is_idle(self) -> bool:
        """Whether the connection is open and its last channel, if there was one, is closed."""
        return self.is_open and (self._session is None or self._session.ended.done())

    def reset(self) -> None:
        """Forget the last command, so that it is not taken for the next one."""
        self._session = None
        self._enter(Phase.AUTH)

    async def open(self, login_deadline: LoginDeadline) -> None:
        """Resolve the name, connect, check the host's key and log in.

        Raises:
            HostError: One of these steps failed.
        """
        loop = asyncio.get_running_loop()
        check: HostKeyCheck | None = None
        link: ClientConnection | None = None
        if_denied = ""
        try:
            plan = self._plan()
            if_denied = plan.if_denied
            self._user = plan.prepared.settings.user
            check = plan.host_key_check(login_deadline)
            waiter: asyncio.Future[None] = loop.create_future()
            options = plan.options(waiter=waiter, check=check)
            link = self._link = ClientConnection(
                loop, options, judge=check.judge, on_phase=self._enter, warn=self._warn
            )
            try:
                await self._carry(link, plan, login_deadline)
                self._connected_at = loop.time()
                self._enter(Phase.HANDSHAKE)
                await check.settled(waiter)
                await waiter
            finally:
                waiter.cancel()  # if it is done, asyncio then logs no exception that was never retrieved
        except DialError as error:
            raise HostError(self._host.name, error.status, error.failure) from error
        except NoThreadError:
            raise
        except (asyncssh.Error, OSError, ValueError) as error:
            status, failure = login_failure(error, self._phase, said=b"" if link is None else link.said)
            if check is not None and check.refusal is not None:
                status, failure = Status.HOSTKEY, check.refusal
            elif if_denied and failure.kind is ErrorKind.DENIED:
                failure = replace(failure, message=f"{failure.message}; {if_denied}")
            raise HostError(self._host.name, status, failure) from error
        self._authenticated_at = loop.time()

    async def run(
        self, command: str, sink: Sink, stdin: Stdin | None = None, *, tty: bool = False
    ) -> Outcome:
        """Run ``command`` in a channel of its own.

        Its pseudo-terminal, if one is requested, does not echo and leaves line feeds unchanged.

        Raises:
            HostError: The command was refused, the connection died, or the input cannot be read.
        """
        return await self._talk({"command": _as_bytes(command)}, sink, stdin, tty=tty)

    async def subsystem(self, name: str, sink: Sink, stdin: Stdin) -> Outcome:
        """Run a subsystem (RFC 4254, section 6.5) in a channel of its own.

        Raises:
            HostError: As for ``run``.
        """
        return await self._talk({"subsystem": name}, sink, stdin)

    async def _talk(
        self, request: Mapping[str, Any], sink: Sink, stdin: Stdin | None, *, tty: bool = False
    ) -> Outcome:
        """Open a session with ``request``, and wait until it has ended."""
        link = self._opened()
        self._enter(Phase.SESSION)
        session = CommandSession(sink, link.when_read)
        is_first = not self._is_talking
        if is_first:  # a further session is auxiliary, and ends with its input
            self._is_talking, self._session = True, session
        try:
            channel, _ = await link.create_session(
                lambda: session,
                encoding=None,
                window=FIRST_BYTES,
                **request,
                **(TERMINAL if tty else NO_TERMINAL),
            )
            self._enter(Phase.RUN)
            if stdin is None:
                if tty:
                    with suppress(BrokenPipeError):  # the session has ended already
                        channel.write(END_OF_INPUT)
                channel.write_eof()
                await asyncio.shield(
                    session.ended
                )  # a caller that gives up on the command may still wait for its end
            else:
                await self._feed_until_end(session, stdin, link, ending=END_OF_INPUT if tty else b"")
        except (asyncssh.Error, OSError) as error:
            status, failure = command_failure(error, requested=session.requested)
            raise HostError(self._host.name, status, failure) from error
        finally:
            self._is_talking = self._is_talking and not is_first
        if session.outcome is None or (session.error is not None and not session.output_ended):
            status, failure = command_failure(session.error, requested=True)
            raise HostError(self._host.name, status, failure)
        return session.outcome

    async def _feed_until_end(
        self, session: CommandSession, stdin: Stdin, link: ClientConnection, *, ending: bytes
    ) -> None:
        """Send the command its input until the command ends, whether or not it reads all of it.

        Raises:
            HostError: The input cannot be read; the command goes on, and may wait for more input.
        """
        failure: asyncio.Future[OSError] = asyncio.get_running_loop().create_future()

        async def feed() -> None:
            try:
                await session.feed(stdin, link.may_write, ending=ending)
            except OSError as error:
                failure.set_result(error)

        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(feed())
            ends: list[asyncio.Future[Any]] = [session.ended, failure]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            feeding.cancel()
        if failure.done():
            raise HostError(self._host.name, Status.LOCAL, input_failure(failure.result()))

    def kill_command(self) -> bool:
        """Request that the server send the command KILL (RFC 4254, section 6.9)."""
        if self._session is None or self._link is None or self._link.is_forced:
            return False
        try:
            self._session.signal("KILL")
        except (asyncssh.Error, OSError):
            return False
        return True

    async def end_command(self, *, kill_after: float, password: Password | None = None) -> Fate:
        """End the abandoned command, with all processes that it started."""
        link, session = self._link, self._session
        if link is None or session is None or not session.requested:
            return Fate.DEAD  # it was never requested
        if session.outcome is not None and session.ended.done():
            return Fate.DEAD
        if link.is_forced:  # a second channel would only run the forced command once more
            return Fate.UNKNOWN
        return await end_command(link, session, kill_after=kill_after, password=password)

    def pause_output(self) -> None:
        """Stop passing output to the sink."""
        if self._session is not None:
            self._session.pause()

    def resume_output(self) -> None:
        """Resume passing output to the sink."""
        if self._session is not None:
            self._session.resume()

    def close(self) -> None:
        """Disconnect, and leave the socket to drain."""
        if self._link is not None:
            self._link.close()

    async def closed(self) -> ClosedBy | None:
        """Wait until the socket is closed; return ``None`` if the host was reached through a jump host."""
        if self._socket is None:
            return None
        return await asyncio.shield(self._socket.closed)

    async def carry(self, link: asyncssh.SSHClientConnection, host: str, port: int) -> None:
        """Tunnel ``link`` through this connection, as a jump host does.

        Raises:
            HostError: The jump host could not reach ``host``.
        """
        opened = self._opened()

        async def tunnel() -> None:
            await opened.create_connection(lambda: link, host, port)  # type: ignore[arg-type,return-value]  # asyncssh itself tunnels this way, but its types allow only sessions

        # A requested channel opens even if it is no longer wanted, and cannot be closed before that: so this
        # task continues when the host is given up on, at the longest until the jump host's connection closes.
        tunnelling = asyncio.create_task(tunnel())  # noqa: TID251 - see above
        try:
            await asyncio.shield(tunnelling)
        except asyncio.CancelledError:
            tunnelling.add_done_callback(lambda _: _leave(tunnelling, link))
            raise
        except (asyncssh.Error, OSError) as error:
            message = f"{self._host.name} could not reach {host} port {port}: {error}"
            failure = Failure(ErrorKind.JUMP, Phase.CONNECT, message)
            raise HostError(host, Status.UNREACHABLE, failure) from error

    async def _carry(self, link: ClientConnection, plan: Plan, login_deadline: LoginDeadline) -> None:
        """Give ``link`` its transport: a jump host's channel, a proxy command's socket pair, or a socket."""
        if plan.jump:
            self._enter(Phase.CONNECT)
            try:
                bastion = await self._around.through(plan.jump, login_deadline)
                login_deadline.passed()
                await bastion.carry(link, plan.address, plan.port)
            except HostError as error:
                raise _behind(self._host, plan.jump, error) from error
        elif plan.proxy_command is not None:
            self._enter(Phase.CONNECT)
            start_proxy(plan.proxy_command, self._around.dialler).attach(link)
        else:
            self._socket = await self._dialled(plan, login_deadline)
            self._local_port = self._socket.get_extra_info("sockname")[1]
            self._socket.attach(link)

    async def _dialled(self, plan: Plan, login_deadline: LoginDeadline) -> RemoteFirstTransport:
        """Open a TCP connection, within ssh_config's ConnectTimeout; ``-t`` limits the whole login."""
        try:
            async with login_deadline.within(plan.connect_timeout):
                return await self._around.dialler.dial(
                    plan.address,
                    plan.port,
                    on_phase=self._enter,
                    login_deadline=login_deadline,
                    family=plan.family,
                    bind_address=plan.bind_address,
                    source_port=self._host.settings.source_port or SourcePort.EPHEMERAL,
                )
        except TimeoutError:
            message = f"not connected within {plan.connect_timeout} s (ConnectTimeout)"
            raise DialError(Status.TIMEOUT, Failure(ErrorKind.TIMEOUT, self._phase, message)) from None

    def _warn(self, message: str) -> None:
        self._around.warn(f"{self._host.name}: {message}")

    def _enter(self, phase: Phase) -> None:
        self._phase = phase

    def _opened(self) -> ClientConnection:
        if self._link is None or self._authenticated_at is None:
            raise RuntimeError("the connection is not open")
        return self._link


def _leave(tunnelling: asyncio.Task[None], link: asyncssh.SSHClientConnection) -> None:
    """Close ``link`` if its channel was opened after all."""
    if not tunnelling.cancelled() and tunnelling.exception() is None:
        link.close()


def _as_bytes(command: str) -> bytes:
    """Encode the command as it was typed: bytes that are no text were decoded to surrogates (PEP 383)."""
    return command.encode("utf-8", "surrogateescape")


def _behind(host: Host, jump: Chain, error: HostError) -> HostError:
    """Reword a jump host's failure for a host behind it."""
    failure = error.failure
    if failure is None or failure.kind is ErrorKind.JUMP:
        return HostError(host.name, error.status, failure)
    worded = f"jump host {jump[-1]}: {failure.message}"
    behind = Failure(ErrorKind.JUMP, failure.phase, worded, of_jump=failure)
    return HostError(host.name, Status.UNREACHABLE, behind)
