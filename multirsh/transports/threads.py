"""Calls that may block for long, in daemon threads."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from multirsh.shortage import NoThreadError, relieve

Answer = TypeVar("Answer")

BETWEEN_TRIES_S = 0.05
"""Seconds until the loop is told once more, where there was no memory to tell it."""


def daemon_thread(call: Callable[[], Answer], *, name: str, or_here: bool = False) -> asyncio.Future[Answer]:
    """Start ``call`` in a thread of its own, which nobody waits for at exit.

    For a slow resolver, or a person at a prompt: the loop's own executor has few threads, which such
    calls would hold, and it joins them when the program ends, so that Ctrl-C would not end it.

    Args:
        call: Goes on to its end, even if nobody wants its answer any more.
        name: The thread's name.
        or_here: Make the call at once, in this thread, where none can be started. The loop waits for it then.

    Returns:
        What ``call`` returns or raises.

    Raises:
        NoThreadError: No thread can be started.
    """
    asked = _Asked(call)
    try:
        threading.Thread(target=asked.work, name=name, daemon=True).start()
    except (RuntimeError, MemoryError):  # RuntimeError is what Python makes of pthread_create(3)'s EAGAIN
        relieve()
        if not or_here:
            raise NoThreadError from None
        asked.made()()
    return asked.answer


class _Asked(Generic[Answer]):
    """A call, and what it comes to."""

    def __init__(self, call: Callable[[], Answer]) -> None:
        self._call = call
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Answer] = self._loop.create_future()

    def work(self) -> None:
        """Make the call in a thread, and tell the loop."""
        tell = self.made()
        while True:
            try:
                self._loop.call_soon_threadsafe(tell)
            except RuntimeError:
                return  # the loop is closed: the program is over
            except MemoryError:  # whoever asked must not wait for ever
                relieve()
                time.sleep(BETWEEN_TRIES_S)
            else:
                return

    def made(self) -> Callable[[], None]:
        """Make the call.

        Returns:
            What the loop is to do then.
        """
        try:
            return _later(self._give, self._call())
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to who asked
            return _later(self._fail, error)

    def _give(self, result: Answer) -> None:
        if not self.answer.done():  # cancelled meanwhile: nobody wants it any more
            self.answer.set_result(result)

    def _fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


async def in_daemon_thread(call: Callable[[], Answer], *, name: str, or_here: bool = False) -> Answer:
    """The same, awaited.

    Raises:
        Exception: Whatever ``call`` raises.
        NoThreadError: As above.
    """
    return await daemon_thread(call, name=name, or_here=or_here)


Told = TypeVar("Told")


def _later(tell: Callable[[Told], None], what: Told) -> Callable[[], None]:
    return lambda: tell(what)
