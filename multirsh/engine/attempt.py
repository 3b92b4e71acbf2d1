"""One attempt at one host: connected, logged in, run, each within its time; every way it ends, as data."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Final, TypeAlias

from multirsh.engine.emitter import EventEmitter
from multirsh.engine.options import Timeouts
from multirsh.engine.results import HostResult
from multirsh.errors import HostError
from multirsh.model import (
    ClosedBy,
    ErrorKind,
    Exited,
    Failure,
    Fate,
    Host,
    Outcome,
    Phase,
    Seconds,
    Signalled,
    Status,
)
from multirsh.shortage import NoThreadError, no_memory, relieve
from multirsh.transports.base import Connection, Stream
from multirsh.transports.login_deadline import LoginDeadline, awake_timeout
from multirsh.transports.passwords import Password

if TYPE_CHECKING:
    from multirsh.files.results import CopyObserver, FileResult

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an attempt ended.

    Attributes:
        status: The status of the host.
        exit_status: 0-255 if the command exited; else ``None``.
        signal: The signal that ended the command; else ``None``.
        failure: Why the command has no ending of its own; ``None`` if it has one.
        is_given_up: Whether the command may go on, and has to be ended.
    """

    status: Status
    exit_status: int | None = None
    signal: str | None = None
    failure: Failure | None = None
    is_given_up: bool = False


def no_password() -> None:
    """Return no password."""


Work: TypeAlias = "Callable[[Connection, CopyObserver], Awaitable[Outcome]]"
"""What is done on a host after the login, such as running a command; raises what ``Connection.run`` does."""


class StopSwitch:
    """Ends all attempts of a run at once, in two steps; it is never turned back.

    Attributes:
        reason: How attempts that go on end; ``None`` while the switch is off.
        is_final: Whether attempts do not even wait for remote commands to end.
    """

    def __init__(self) -> None:
        self.reason: Ending | None = None
        self.is_final = False
        self._scopes: set[asyncio.Timeout] = set()
        self._last_scopes: set[asyncio.Timeout] = set()

    def turn_on(self, reason: Ending) -> None:
        """End every attempt that goes on, and each that begins later; the first reason holds."""
        if self.reason is None:
            self.reason = reason
            _expire(self._scopes)

    def turn_final(self) -> None:
        """Wait for nothing more; call ``turn_on`` first."""
        if not self.is_final:
            self.is_final = True
            _expire(self._last_scopes)

    def guard(self) -> AbstractAsyncContextManager[asyncio.Timeout]:
        """Raise ``_Stopped`` inside when the switch is turned on."""
        scope = asyncio.timeout(None if self.reason is None else 0)
        return _Expiring(scope, _Stopped(), among=self._scopes)

    def last_guard(self) -> AbstractAsyncContextManager[asyncio.Timeout]:
        """Raise ``_Stopped`` inside when the switch is turned to its second step."""
        return _Expiring(asyncio.timeout(0 if self.is_final else None), _Stopped(), among=self._last_scopes)


class HostAttempt:
    """One attempt at one host: what its command writes, on the way to the run's reader, and its result.

    Output that there is no memory for is dropped, and the attempt's task is cancelled for that: no transport
    has to handle it.

    Attributes:
        stdout_bytes: The bytes of standard output so far.
        stderr_bytes: The bytes of standard error so far.
        close_seconds: Seconds from the result to the end of the connection; ``None`` until then.
    """

    __slots__ = (
        "_began",
        "_closing",
        "_connection",
        "_emitter",
        "_ended",
        "_host",
        "_is_short",
        "_number",
        "_result",
        "_task",
        "close_seconds",
        "stderr_bytes",
        "stdout_bytes",
    )

    def __init__(self, host: Host, number: int, emitter: EventEmitter) -> None:
        """Begin the attempt; the current task makes it.

        Args:
            host: The host.
            number: The number of the attempt, from 1.
            emitter: Takes the output.
        """
        self.stdout_bytes = 0
        self.stderr_bytes = 0
        self.close_seconds: float | None = None
        self._host = host
        self._number = number
        self._emitter = emitter
        self._task = asyncio.current_task()
        self._connection: Connection | None = None
        self._closing: asyncio.Future[ClosedBy | None] | None = None
        self._result: HostResult | None = None
        self._is_short = False
        self._began = self._ended = _now()

    @property
    def result(self) -> HostResult:
        """The host's result, if no other attempt follows; after ``end``."""
        if self._result is None:
            raise AssertionError(f"{self._host.name}: the attempt has not ended")
        return self._result

    def write(self, stream: Stream, data: bytes) -> None:
        """Take output of the command."""
        if stream == "stdout":
            self.stdout_bytes += len(data)
        else:
            self.stderr_bytes += len(data)
        try:
            self._emitter.output(self._host, stream, data, self._connection)
        except MemoryError:
            self._give_up()

    def copied(self, copy: FileResult) -> None:
        """Take note of a file that was copied."""
        try:
            self._emitter.copied(self._host, copy, self._connection)
        except MemoryError:
            self._give_up()

    async def run(
        self,
        connection: Connection,
        work: Work,
        *,
        timeouts: Timeouts,
        stop: StopSwitch,
        hop_passed: Callable[[], None] = lambda: None,
        logged_in: Callable[[], Awaitable[None]] | None = None,
        sudo_password: Callable[[], Password | None] = no_password,
    ) -> Ending:
        """Open ``connection`` and do the work; the caller closes the connection.

        Work that is given up is ended on the remote, too.

        Args:
            connection: A connection that is not open yet.
            work: What to do after the login.
            timeouts: How long each part may take.
            stop: Ends the attempt when it is turned on.
            hop_passed: Called each time a jump host has let the connection through.
            logged_in: Awaited after the login, before the work: it may hold the host back.
            sudo_password: Returns the password to end a command of sudo with.

        Returns:
            The ending. Nothing but a cancellation of this very task is raised.
        """
        self._connection = connection
        try:
            ending = await self._until_given_up(connection, work, timeouts, stop, hop_passed, logged_in)
            failure = ending.failure
            if failure is None or failure.phase not in _STARTED or not ending.is_given_up:
                return ending
            fate = await _fate_of(connection, stop, timeouts.kill_after, sudo_password)
            return replace(ending, failure=replace(failure, fate=fate))
        except HostError as error:
            return Ending(status=error.status, failure=error.failure)
        except (MemoryError, NoThreadError) as error:
            return _short(error, connection.phase)
        except Exception as error:
            logger.exception("internal error")
            failure = Failure(ErrorKind.INTERNAL, connection.phase, f"{type(error).__name__}: {error}")
            return Ending(status=Status.LOCAL, failure=failure)

    def end(self, ending: Ending) -> None:
        """Make the result, now that the attempt has ended and its connection is being closed."""
        connection = self._connection
        self._ended = _now()
        self._closing = asyncio.get_running_loop().create_future()
        self._result = HostResult(
            host=self._host,
            status=ending.status,
            exit_status=ending.exit_status,
            signal=ending.signal,
            error=ending.failure,
            attempts=self._number,
            local_port=None if connection is None else connection.local_port,
            seconds=self._seconds(),
            closing=self._closing,
        )

    async def closed(self) -> None:
        """Wait until the connection is closed, within the close timeout; it is part of the result then."""
        if self._closing is None:
            raise AssertionError(f"{self._host.name}: the attempt has not ended")
        try:
            self._closing.set_result(None if self._connection is None else await self._connection.closed())
        except MemoryError:
            relieve()
            self._closing.set_result(None)
        finally:
            self._closing.cancel()  # does nothing to a result
            self.close_seconds = _now() - self._ended
            self._connection = self._task = None  # a host that waits to be tried again keeps neither

    async def _until_given_up(
        self,
        connection: Connection,
        work: Work,
        timeouts: Timeouts,
        stop: StopSwitch,
        hop_passed: Callable[[], None],
        logged_in: Callable[[], Awaitable[None]] | None,
    ) -> Ending:
        """Take the steps of the attempt, until one of them takes too long or the run is stopped.

        Raises:
            HostError: A step has failed.
        """
        try:
            async with stop.guard():
                return await self._steps(connection, work, timeouts, hop_passed, logged_in)
        except _DeadlinePassed as passed:
            failure = Failure(ErrorKind.TIMEOUT, connection.phase, str(passed))
            return Ending(status=Status.TIMEOUT, failure=failure, is_given_up=True)
        except _Stopped:
            return _in_phase(stop.reason, connection.phase)
        except HostError as error:
            if error.failure is None or error.failure.kind is not ErrorKind.STDIN:
                raise
            return Ending(status=error.status, failure=error.failure, is_given_up=True)
        except (MemoryError, asyncio.CancelledError) as error:
            if not self._is_for_memory(error):
                raise
            return replace(_short(error, connection.phase), is_given_up=True)

    async def _steps(
        self,
        connection: Connection,
        work: Work,
        timeouts: Timeouts,
        hop_passed: Callable[[], None],
        logged_in: Callable[[], Awaitable[None]] | None,
    ) -> Ending:
        """Take the steps of an attempt, each within its time."""
        async with _within(timeouts.connect, "not logged in") as scope:
            login_deadline = LoginDeadline(scope, port_seconds=timeouts.port, passed=hop_passed)
            await connection.open(login_deadline)
        if logged_in is not None:
            await logged_in()
        async with _within(timeouts.command, "the command did not end"):
            try:
                ending = _ending_of(await work(connection, self))
            except Exception:
                if not self._is_short:
                    raise
            else:
                if not self._is_short:
                    return ending
            await asyncio.sleep(0)  # where the cancellation has not come yet, it comes here
            raise MemoryError

    def _give_up(self) -> None:
        relieve()
        if not self._is_short and self._task is not None:
            self._is_short = True
            self._task.cancel()

    def _is_for_memory(self, error: BaseException) -> bool:
        """Whether memory was short; of a cancellation, whether it was for that alone."""
        if isinstance(error, MemoryError):
            return True
        return self._is_short and self._task is not None and not self._task.uncancel()

    def _seconds(self) -> Seconds:
        if self._connection is None:
            return Seconds(total=self._ended - self._began)
        connected, authenticated = self._connection.connected_at, self._connection.authenticated_at
        return Seconds(
            connect=None if connected is None else connected - self._began,
            auth=None if authenticated is None or connected is None else authenticated - connected,
            run=None if authenticated is None else self._ended - authenticated,
            total=self._ended - self._began,
        )


_STARTED: Final = frozenset({Phase.SESSION, Phase.RUN})
"""The phases in which the command may have begun."""


async def _fate_of(
    connection: Connection,
    stop: StopSwitch,
    kill_after: float,
    sudo_password: Callable[[], Password | None],
) -> Fate:
    """End a command that was given up, and return what has become of it."""
    with contextlib.suppress(_Stopped, MemoryError):
        async with stop.last_guard():
            return await connection.end_command(kill_after=kill_after, password=sudo_password())
    return Fate.UNKNOWN


def _short(error: BaseException, phase: Phase) -> Ending:
    """How an attempt ends for which there is no thread, or no memory."""
    relieve()
    if isinstance(error, NoThreadError):
        return Ending(status=Status.LOCAL, failure=Failure(ErrorKind.MEMORY, phase, error.strerror))
    return Ending(status=Status.LOCAL, failure=no_memory(phase))


def _in_phase(reason: Ending | None, phase: Phase) -> Ending:
    """The switch's reason, with the phase in which it met this host."""
    if reason is None or reason.failure is None:
        raise AssertionError("a switch that is on has a reason")
    return replace(reason, failure=replace(reason.failure, phase=phase), is_given_up=True)


def _ending_of(outcome: Outcome) -> Ending:
    match outcome:
        case Exited(status=0):
            return Ending(status=Status.OK, exit_status=0)
        case Exited(status=status):
            return Ending(status=Status.FAILED, exit_status=status)
        case Signalled(signal=name):
            return Ending(status=Status.SIGNALLED, signal=name)


class _Stopped(Exception):  # noqa: N818 - not an error: the run was stopped
    """The switch was turned."""


class _DeadlinePassed(Exception):  # noqa: N818 - a TimeoutError would look like the system's own
    """A step took too long; the message says what did not happen."""


class _Expiring:
    """A timeout that raises an error of its own; the system's own ``TimeoutError`` passes as it is."""

    __slots__ = ("_among", "_error", "_scope", "_timeout")

    def __init__(
        self,
        timeout: AbstractAsyncContextManager[asyncio.Timeout],
        error: Exception,
        *,
        among: set[asyncio.Timeout] | None = None,
    ) -> None:
        self._timeout = timeout
        self._error = error
        self._among = among
        self._scope: asyncio.Timeout | None = None

    async def __aenter__(self) -> asyncio.Timeout:
        self._scope = scope = await self._timeout.__aenter__()
        if self._among is not None:
            self._among.add(scope)
        return scope

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        scope = self._scope
        if scope is None:
            raise AssertionError("it was not entered")
        if self._among is not None:
            self._among.discard(scope)
        try:
            handled = await self._timeout.__aexit__(exc_type, exc, traceback)
        except TimeoutError:
            if not scope.expired():
                raise
            raise self._error from None
        if isinstance(exc, TimeoutError) and scope.expired():
            raise self._error from None
        return handled


def _within(seconds: float | None, otherwise: str) -> AbstractAsyncContextManager[asyncio.Timeout]:
    """Raise ``_DeadlinePassed`` if what is inside takes longer; ``None`` is no limit."""
    if seconds is None:
        return asyncio.timeout(None)
    return _Expiring(awake_timeout(seconds), _DeadlinePassed(f"{otherwise} within {seconds:g} s"))


def _expire(scopes: set[asyncio.Timeout]) -> None:
    for scope in scopes:
        scope.reschedule(0)


def _now() -> float:
    return asyncio.get_running_loop().time()
