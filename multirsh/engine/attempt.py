"""One attempt at one host: connected, logged in, run; each within its time; every way it ends, as data."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from multirsh.engine.limits import Timeouts
from multirsh.errors import HostError
from multirsh.model import ErrorKind, Exited, Failure, Outcome, Signalled, Status
from multirsh.transports.base import Connection, Sink, Stdin
from multirsh.transports.patience import Patience

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


class Stop:
    """A switch that gives up all attempts at once; it is never turned back."""

    def __init__(self) -> None:
        self._scopes: set[asyncio.Timeout] = set()
        self._is_on = False

    @property
    def is_on(self) -> bool:
        """Whether it was turned."""
        return self._is_on

    def turn_on(self) -> None:
        """Give up every attempt that goes on, and each that begins later."""
        self._is_on = True
        for scope in self._scopes:
            scope.reschedule(0)

    @contextlib.asynccontextmanager
    async def guard(self) -> AsyncGenerator[None, None]:
        """Raise ``_Stopped`` inside when the switch is turned."""
        scope = asyncio.timeout(0 if self._is_on else None)
        self._scopes.add(scope)
        try:
            async with _raising(_Stopped(), scope):
                yield
        finally:
            self._scopes.discard(scope)


async def attempt(
    connection: Connection,
    command: str,
    sink: Sink,
    *,
    stdin: Stdin | None = None,
    timeouts: Timeouts,
    stop: Stop,
) -> Ending:
    """Open ``connection`` and run ``command``; the connection is left for the caller to close.

    Args:
        connection: Not yet begun.
        command: As the user gave it.
        sink: Takes all output before this returns.
        stdin: The command's standard input; ``None`` is at end of file.
        timeouts: For how long.
        stop: Gives up when it is turned.

    Returns:
        The ending: nothing but a cancellation of this very task is raised.
    """
    try:
        async with stop.guard():
            async with _within(timeouts.connect, "not logged in") as scope:
                await connection.open(Patience(scope, port_seconds=timeouts.port))
            async with _within(timeouts.command, "the command did not end"):
                return _ended(await connection.run(command, sink, stdin))
    except HostError as error:
        return Ending(status=error.status, failure=error.failure)
    except _DeadlinePassed as passed:
        failure = Failure(ErrorKind.TIMEOUT, connection.phase, str(passed))
        return Ending(status=Status.TIMEOUT, failure=failure)
    except _Stopped:
        failure = Failure(ErrorKind.STOPPED, connection.phase, "the run was stopped")
        return Ending(status=Status.CANCELLED, failure=failure)
    except Exception as error:
        logger.exception("internal error")
        failure = Failure(ErrorKind.INTERNAL, connection.phase, f"{type(error).__name__}: {error}")
        return Ending(status=Status.LOCAL, failure=failure)


class _Stopped(Exception):  # noqa: N818 - not an error: the run was told to stop
    """The switch was turned."""


class _DeadlinePassed(Exception):  # noqa: N818 - a TimeoutError would look like the system's own
    """A step took too long; its words say what was waited for."""


def _within(seconds: float | None, otherwise: str) -> AbstractAsyncContextManager[asyncio.Timeout]:
    """Raise ``_DeadlinePassed`` when what is inside takes longer; ``None`` is no bound."""
    if seconds is None:
        return asyncio.timeout(None)
    return _raising(_DeadlinePassed(f"{otherwise} within {seconds:g} s"), asyncio.timeout(seconds))


@contextlib.asynccontextmanager
async def _raising(error: Exception, scope: asyncio.Timeout) -> AsyncGenerator[asyncio.Timeout, None]:
    """Raise ``error`` when ``scope`` expires; a ``TimeoutError`` of the system's own passes as it is."""
    try:
        async with scope:
            yield scope
    except TimeoutError:
        if not scope.expired():
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
