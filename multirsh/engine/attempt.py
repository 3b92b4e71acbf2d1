"""One attempt at one host: connect, log in, run, each within its time limit. Every ending is data."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from multirsh.engine.options import Timeouts
from multirsh.errors import HostError
from multirsh.model import ErrorKind, Exited, Failure, Fate, Outcome, Phase, Signalled, Status
from multirsh.shortage import NoThreadError, no_memory, relieve
from multirsh.transports.base import Connection
from multirsh.transports.login_deadline import LoginDeadline, awake_timeout
from multirsh.transports.passwords import Password

if TYPE_CHECKING:
    from multirsh.files.results import CopyObserver

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an attempt ended.

    Attributes:
        status: The status of the host.
        exit_status: The exit status, 0 to 255, if the command exited; otherwise ``None``.
        signal: The name of the signal that ended the command; otherwise ``None``.
        failure: Why there is neither, or ``None``.
    """

    status: Status
    exit_status: int | None = None
    signal: str | None = None
    failure: Failure | None = None


async def _at_once() -> None:
    """Do not wait."""


def no_password() -> None:
    """Return no password."""


Work: TypeAlias = "Callable[[Connection, CopyObserver], Awaitable[Outcome]]"
"""What is done on a host after login, such as running a command; it raises what ``Connection.run`` does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What an attempt is to do.

    Attributes:
        work: Called after the login.
        passed: Called each time the login has passed a jump host.
        is_short: Returns whether there was no memory for output, so that the task of the attempt was
            cancelled.
        entered: Awaited between the login and the work, which it may delay.
        sudo_password: Returns the password for sudo, if sudo is needed to end a command.
    """

    work: Work
    passed: Callable[[], None] = lambda: None
    is_short: Callable[[], bool] = lambda: False
    entered: Callable[[], Awaitable[None]] = _at_once
    sudo_password: Callable[[], Password | None] = no_password


class Stop:
    """A switch that gives up all attempts of a run, in two steps; it is never turned off."""

    def __init__(self) -> None:
        self._scopes: set[asyncio.Timeout] = set()
        self._last_scopes: set[asyncio.Timeout] = set()
        self.reason: Ending | None = None
        """How hosts in flight end, once the switch is on."""
        self.is_final = False
        """Whether the ends of remote commands are not waited for."""

    @property
    def is_on(self) -> bool:
        """Whether the switch is on."""
        return self.reason is not None

    def turn_on(self, reason: Ending) -> None:
        """Give up every attempt that goes on or begins later; the first reason holds."""
        if self.reason is None:
            self.reason = reason
            _expire(self._scopes)

    def turn_final(self) -> None:
        """Wait for nothing any more; the switch must be on."""
        if not self.is_final:
            self.is_final = True
            _expire(self._last_scopes)

    def guard(self) -> AbstractAsyncContextManager[None]:
        """Raise ``_Stopped`` inside the context when the switch is turned on."""
        return self._guarded(self._scopes, is_on=self.is_on)

    def last_guard(self) -> AbstractAsyncContextManager[None]:
        """Raise ``_Stopped`` inside the context when the switch is final."""
        return self._guarded(self._last_scopes, is_on=self.is_final)

    @contextlib.asynccontextmanager
    async def _guarded(self, scopes: set[asyncio.Timeout], *, is_on: bool) -> AsyncGenerator[None, None]:
        scope = asyncio.timeout(0 if is_on else None)
        scopes.add(scope)
        try:
            async with _raising(_Stopped(), scope):
                yield
        finally:
            scopes.discard(scope)


async def attempt(
    connection: Connection, task: Task, observer: CopyObserver, *, timeouts: Timeouts, stop: Stop
) -> Ending:
    """Open ``connection`` and do the work; the caller closes the connection.

    A command that is given up is ended on the remote host, too.

    Args:
        connection: The connection, not open yet.
        task: What to do.
        observer: Receives all output, and each file copied, before this returns.
        timeouts: The time limits.
        stop: The switch that gives the attempt up.

    Returns:
        The ending. Nothing is raised but a cancellation of the task of the attempt.
    """
    try:
        try:
            async with stop.guard():
                return await _made(connection, task, observer, timeouts)
        except _DeadlinePassed as passed:
            failure = Failure(ErrorKind.TIMEOUT, connection.phase, str(passed))
            given_up = Ending(status=Status.TIMEOUT, failure=failure)
        except _Stopped:
            given_up = _placed(stop.reason, connection.phase)
        except HostError as error:
            if error.failure is None or error.failure.kind is not ErrorKind.STDIN:
                raise
            given_up = Ending(status=error.status, failure=error.failure)
        except (MemoryError, asyncio.CancelledError) as error:
            if not _is_for_memory(error, task):
                raise
            given_up = _short(error, connection.phase)
        return await _with_its_fate(given_up, connection, task, timeouts.kill_after, stop)
    except HostError as error:
        return Ending(status=error.status, failure=error.failure)
    except (MemoryError, NoThreadError) as error:
        return _short(error, connection.phase)
    except Exception as error:
        logger.exception("internal error")
        failure = Failure(ErrorKind.INTERNAL, connection.phase, f"{type(error).__name__}: {error}")
        return Ending(status=Status.LOCAL, failure=failure)


async def _made(connection: Connection, task: Task, observer: CopyObserver, timeouts: Timeouts) -> Ending:
    """Take the steps of an attempt, each within its time limit."""
    async with _within(timeouts.connect, "not logged in") as scope:
        way_in = LoginDeadline(scope, port_seconds=timeouts.port, passed=task.passed)
        await connection.open(way_in)
    await task.entered()
    async with _within(timeouts.command, "the command did not end"):
        try:
            ending = _ended(await task.work(connection, observer))
        except Exception:
            if not task.is_short():
                raise
        else:
            if not task.is_short():
                return ending
        await asyncio.sleep(0)  # a cancellation that is still pending arrives here
        raise MemoryError


def _is_for_memory(error: BaseException, task: Task) -> bool:
    """Return whether memory was short, and a cancellation had no other reason."""
    if isinstance(error, MemoryError):
        return True
    this = asyncio.current_task()
    return task.is_short() and this is not None and not this.uncancel()


def _short(error: BaseException, phase: Phase) -> Ending:
    """Return the ending of an attempt for which there is no thread or no memory."""
    relieve()
    if isinstance(error, NoThreadError):
        return Ending(status=Status.LOCAL, failure=Failure(ErrorKind.MEMORY, phase, error.strerror))
    return Ending(status=Status.LOCAL, failure=no_memory(phase))


_STARTED: Final = frozenset({Phase.SESSION, Phase.RUN})
"""The phases in which the command may have begun."""


async def _with_its_fate(
    given_up: Ending, connection: Connection, task: Task, kill_after: float, stop: Stop
) -> Ending:
    """End a command that was given up, and return the ending with the command's fate."""
    if given_up.failure is None or given_up.failure.phase not in _STARTED:
        return given_up
    fate = Fate.UNKNOWN
    with contextlib.suppress(_Stopped, MemoryError):
        async with stop.last_guard():
            fate = await connection.end_command(kill_after=kill_after, password=task.sudo_password())
    return replace(given_up, failure=replace(given_up.failure, fate=fate))


def _placed(reason: Ending | None, phase: Phase) -> Ending:
    """Return the switch's ending with the phase that this host was in."""
    if reason is None or reason.failure is None:
        raise AssertionError("a switch that is on has a reason")
    return replace(reason, failure=replace(reason.failure, phase=phase))


def _expire(scopes: set[asyncio.Timeout]) -> None:
    for scope in scopes:
        scope.reschedule(0)


class _Stopped(Exception):  # noqa: N818 - not an error: the run is being stopped
    """The switch was turned on."""


class _DeadlinePassed(Exception):  # noqa: N818 - a TimeoutError would look like the system's own
    """A step took too long; the message says which."""


def _within(seconds: float | None, otherwise: str) -> AbstractAsyncContextManager[asyncio.Timeout]:
    """Raise ``_DeadlinePassed`` if the context takes longer than ``seconds``; ``None`` is no limit."""
    if seconds is None:
        return asyncio.timeout(None)
    return _raising(_DeadlinePassed(f"{otherwise} within {seconds:g} s"), awake_timeout(seconds))


@contextlib.asynccontextmanager
async def _raising(
    error: Exception, bound: AbstractAsyncContextManager[asyncio.Timeout]
) -> AsyncGenerator[asyncio.Timeout, None]:
    """Raise ``error`` when ``bound`` expires; a ``TimeoutError`` of the system is passed on as it is."""
    scope: asyncio.Timeout | None = None
    try:
        async with bound as scope:
            yield scope
    except TimeoutError:
        if scope is None or not scope.expired():
            raise
        raise error from None


def _ended(outcome: Outcome) -> Ending:
    match outcome:
        case Exited(status=0):
            return Ending(status=Status.OK, exit_status=0)
        case Exited(status=status):
            return Ending(status=Status.FAILED, exit_status=status)
        case Signalled(signal=name):
            return Ending(status=Status.SIGNALLED, signal=name)
