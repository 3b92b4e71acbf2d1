"""An event loop whose clock goes forward only when nobody has anything to do, and then at once.

::

    @in_virtual_time
    async def test_an_hour_of_waiting() -> None:
        await asyncio.sleep(3600)

For what waits by the loop's clock and for nothing outside: a test that waits
for what nobody will do is told so, and does not hang.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import ParamSpec

_P = ParamSpec("_P")


class _Instant(selectors.DefaultSelector):
    """A selector that does not wait: it moves the clock instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise AssertionError("everybody waits for what nobody will do")
        self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop; its time begins at 0."""

    def __init__(self) -> None:
        self._instant = _Instant()
        super().__init__(self._instant)

    def time(self) -> float:
        """Seconds that would have passed."""
        return self._instant.now

    def spend(self, seconds: float) -> None:
        """Let time pass within one turn of the loop, as work does."""
        self._instant.now += seconds


def in_virtual_time(test: Callable[_P, Coroutine[None, None, None]]) -> Callable[_P, None]:
    """Run an asynchronous test in a ``VirtualLoop`` of its own."""

    @functools.wraps(test)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


def virtual_loop() -> VirtualLoop:
    """The running loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


async def idle(seconds: float = 0) -> None:
    """Let everything that can happen in ``seconds`` happen."""
    await asyncio.sleep(seconds)
    for _ in range(20):
        await asyncio.sleep(0)


async def seconds_of(awaitable: Awaitable[object]) -> float:
    """How long it takes."""
    began = virtual_loop().time()
    await awaitable
    return virtual_loop().time() - began
