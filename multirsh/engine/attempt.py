"""One attempt at one host: connected, logged in, run; each within its time; every way it ends, as data."""

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
        status: The host's status.
        exit_status: 0-255 where the command exited, else ``None``.
        signal: Where a signal ended it, else ``None``.
        failure: Why there is neither, else ``None``.
    """

    status: Status
    exit_status: int | None = None
    signal: str | None = None
    failure: Failure | None = None


async def _at_once() -> None:
    """Hold nobody back."""


def no_password() -> None:
    """Know none."""


Work: TypeAlias = "Callable[[Connection, CopyObserver], Awaitable[Outcome]]"
"""What is done on a host once we are in, such as running a command; raises what ``Connection.run`` does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What an attempt is to do.

    Attributes:
        work: Done when the login is through.
        passed: Called each time when a jump host has let us through.
        is_short: Whether there was no memory to take output: then this very task was cancelled for it.
        entered: Awaited before it: who is told that we are in, and may hold us.
        sudo_password: What sudo is answered, where it is asked to end what it began.
    """

    work: Work
    passed: Callable[[], None] = lambda: None
    is_short: Callable[[], bool] = lambda: False
    entered: Callable[[], Awaitable[None]] = _at_once
    sudo_password: Callable[[], Password | None] = no_password


class Stop:
    """A switch that gives up all attempts at once, in two steps; it is never turned back."""

    def __init__(self) -> None:
        self._scopes: set[asyncio.Timeout] = set()
        self._last_scopes: set[asyncio.Timeout] = set()
        self.reason: Ending | None = None
        """How those in flight end, once it is on."""
        self.is_final = False
        """Whether not even the ends of remote commands are waited for."""

    @property
    def is_on(self) -> bool:
        """Whether it was turned."""
        return self.reason is not None

    def turn_on(self, reason: Ending) -> None:
        """Give up every attempt that goes on, and each that begins later; the first reason holds."""
        if self.reason is None:
            self.reason = reason
            _expire(self._scopes)

    def turn_final(self) -> None:
        """Wait for nothing more; it has to be on."""
        if not self.is_final:
            self.is_final = True
            _expire(self._last_scopes)

    def guard(self) -> AbstractAsyncContextManager[None]:
        """Raise ``_Stopped`` inside when the switch is turned."""
        return self._guarded(self._scopes, is_on=self.is_on)

    def last_guard(self) -> AbstractAsyncContextManager[None]:
        """Raise ``_Stopped`` inside when it is turned to its end."""
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
    """Open ``connection`` and do the work; the connection is left for the caller to close.

    Work that was given up on is ended on the remote, too.

    Args:
        connection: Not yet begun.
        task: What to do.
        observer: Takes all output, and is told of files, before this returns.
        timeouts: For how long.
        stop: Gives up when it is turned.

    Returns:
        The ending: nothing but a cancellation of this very task is raised.
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
    """Take the steps of an attempt, each within its time."""
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
        await asyncio.sleep(0)  # where the cancellation has not come yet, it comes here
        raise MemoryError


def _is_for_memory(error: BaseException, task: Task) -> bool:
    """Whether memory was short; of a cancellation, whether it was for that alone."""
    if isinstance(error, MemoryError):
        return True
    this = asyncio.current_task()
    return task.is_short() and this is not None and not this.uncancel()


def _short(error: BaseException, phase: Phase) -> Ending:
    """How an attempt ends for which there is no thread, or no memory."""
    relieve()
    if isinstance(error, NoThreadError):
        return Ending(status=Status.LOCAL, failure=Failure(ErrorKind.MEMORY, phase, error.strerror))
    return Ending(status=Status.LOCAL, failure=no_memory(phase))


_STARTED: Final = frozenset({Phase.SESSION, Phase.RUN})
"""The phases in which the command may have begun."""


async def _with_its_fate(
    given_up: Ending, connection: Connection, task: Task, kill_after: float, stop: Stop
) -> Ending:
    """End what was given up on, and say what has become of it."""
    if given_up.failure is None or given_up.failure.phase not in _STARTED:
        return given_up
    fate = Fate.UNKNOWN
    with contextlib.suppress(_Stopped, MemoryError):
        async with stop.last_guard():
            fate = await connection.end_command(kill_after=kill_after, password=task.sudo_password())
    return replace(given_up, failure=replace(given_up.failure, fate=fate))


def _placed(reason: Ending | None, phase: Phase) -> Ending:
    """The switch's reason, at the place where it met this host."""
    if reason is None or reason.failure is None:
        raise AssertionError("a switch that is on has a reason")
    return replace(reason, failure=replace(reason.failure, phase=phase))


def _expire(scopes: set[asyncio.Timeout]) -> None:
    for scope in scopes:
        scope.reschedule(0)


class _Stopped(Exception):  # noqa: N818 - not an error: the run was told to stop
    """The switch was turned."""


class _DeadlinePassed(Exception):  # noqa: N818 - a TimeoutError would look like the system's own
    """A step took too long; its words say what was waited for."""


def _within(seconds: float | None, otherwise: str) -> AbstractAsyncContextManager[asyncio.Timeout]:
    """Raise ``_DeadlinePassed`` when what is inside takes longer; ``None`` is no bound."""
    if seconds is None:
        return asyncio.timeout(None)
    return _raising(_DeadlinePassed(f"{otherwise} within {seconds:g} s"), awake_timeout(seconds))


@contextlib.asynccontextmanager
async def _raising(
    error: Exception, bound: AbstractAsyncContextManager[asyncio.Timeout]
) -> AsyncGenerator[asyncio.Timeout, None]:
    """Raise ``error`` when ``bound`` expires; a ``TimeoutError`` of the system's own passes as it is."""
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
