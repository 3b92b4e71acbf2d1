"""Calls that may block for long, in daemon threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


def daemon_thread(call: Callable[[], Answer], *, name: str) -> asyncio.Future[Answer]:
    """Start ``call`` in a thread of its own, which nobody waits for at exit.

    For a slow resolver, or a person at a prompt: the loop's own executor has few threads, which such
    calls would hold, and it joins them when the program ends, so that Ctrl-C would not end it.

    Args:
        call: Goes on to its end, even if nobody wants its answer any more.
        name: The thread's name.

    Returns:
        What ``call`` returns or raises.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Answer] = loop.create_future()

    def give(result: Answer) -> None:
        if not answer.done():  # cancelled meanwhile: nobody wants it any more
            answer.set_result(result)

    def fail(error: Exception) -> None:
        if not answer.done():
            answer.set_exception(error)

    def work() -> None:
        try:
            tell = _later(give, call())
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to who asked
            tell = _later(fail, error)
        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:
            return  # the loop is closed: the program is over

    threading.Thread(target=work, name=name, daemon=True).start()
    return answer


async def in_daemon_thread(call: Callable[[], Answer], *, name: str) -> Answer:
    """The same, awaited.

    Raises:
        Exception: Whatever ``call`` raises.
    """
    return await daemon_thread(call, name=name)


Told = TypeVar("Told")


def _later(tell: Callable[[Told], None], what: Told) -> Callable[[], None]:
    return lambda: tell(what)
