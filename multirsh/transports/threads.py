"""Runs calls that may block for long in daemon threads."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from multirsh.shortage import NoThreadError, relieve

Answer = TypeVar("Answer")

BETWEEN_TRIES_S = 0.05
"""Seconds between two tries to wake the loop while there is no memory for it."""


def daemon_thread(call: Callable[[], Answer], *, name: str, or_here: bool = False) -> asyncio.Future[Answer]:
    """Start ``call`` in its own daemon thread, which the program does not wait for at exit.

    This is for a slow resolver, or for a prompt: the loop's own executor has few threads, which such calls
    would occupy, and it joins them when the program ends, so that Ctrl-C would not end it.

    Args:
        call: The call, which runs to its end even if the future is cancelled.
        name: The thread's name.
        or_here: If no thread can be started, make the call at once in this thread, blocking the loop.

    Returns:
        A future for the result or the exception of ``call``.

    Raises:
        NoThreadError: No thread can be started.
    """
    asked = _ThreadCall(call)
    try:
        threading.Thread(target=asked.work, name=name, daemon=True).start()
    except (RuntimeError, MemoryError):  # RuntimeError is what Python makes of pthread_create(3)'s EAGAIN
        relieve()
        if not or_here:
            raise NoThreadError from None
        asked.made()()
    return asked.answer


class _ThreadCall(Generic[Answer]):
    """A call and the future of its result."""

    def __init__(self, call: Callable[[], Answer]) -> None:
        self._call = call
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Answer] = self._loop.create_future()

    def work(self) -> None:
        """Make the call in a thread, and pass its result to the loop."""
        tell = self.made()
        while True:
            try:
                self._loop.call_soon_threadsafe(tell)
            except RuntimeError:
                return  # the loop is closed: the program is over
            except MemoryError:  # the awaiting task must not wait for ever
                relieve()
                time.sleep(BETWEEN_TRIES_S)
            else:
                return

    def made(self) -> Callable[[], None]:
        """Make the call.

        Returns:
            The callback that sets the future's result, for the loop.
        """
        try:
            return _later(self._give, self._call())
        except Exception as error:  # noqa: BLE001 - any exception goes to the awaiting task
            return _later(self._fail, error)

    def _give(self, result: Answer) -> None:
        if not self.answer.done():  # it may have been cancelled meanwhile
            self.answer.set_result(result)

    def _fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


async def in_daemon_thread(call: Callable[[], Answer], *, name: str, or_here: bool = False) -> Answer:
    """Await ``call`` in a daemon thread, as ``daemon_thread`` starts it.

    Raises:
        Exception: Any exception of ``call``.
        NoThreadError: No thread can be started.
    """
    return await daemon_thread(call, name=name, or_here=or_here)


Told = TypeVar("Told")


def _later(tell: Callable[[Told], None], what: Told) -> Callable[[], None]:
    return lambda: tell(what)
