"""An event loop in a thread of its own, for servers: a test that blocks its own loop still gets answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import nullcontext
from typing import Any, TypeVar

from tests.servers.namespace import Namespace
from tests.waiting import HANG_GUARD_S

T = TypeVar("T")


class LoopThread:
    """A running loop; its sockets are born in ``namespace``.

    Args:
        namespace: Where the thread stands; ``None`` is where its creator does.
    """

    def __init__(self, namespace: Namespace | None = None) -> None:
        self._namespace = namespace
        self._started = threading.Event()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._stand_and_run, name="server-loop", daemon=True)
        self._thread.start()
        self._started.wait(HANG_GUARD_S)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The thread's loop."""
        if self._loop is None:
            raise RuntimeError("the servers' loop did not start")
        return self._loop

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the thread and wait for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(HANG_GUARD_S)

    def stop(self) -> None:
        """Cancel what runs there, and end the thread."""
        if self._stop is not None:
            self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(HANG_GUARD_S)

    def _stand_and_run(self) -> None:
        with self._namespace.entered() if self._namespace is not None else nullcontext():
            asyncio.run(self._run())

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._started.set()
        # asyncio.run cancels the rest when this returns.
        await self._stop.wait()
