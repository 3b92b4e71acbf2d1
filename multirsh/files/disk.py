"""A few threads for what may block on a disk, so that the loop never does.

They are there while somebody copies, and nobody waits for them at exit: one
that hangs on a dead file server is left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, ParamSpec, TypeVar

from multirsh.shortage import NoThreadError, relieve

THREADS: Final = 4

PATIENCE_SECONDS: Final = 2.0
"""For a disk, where nobody wants the answer any more."""

Params = ParamSpec("Params")
Answer = TypeVar("Answer")

_Call = Callable[[], Any]


class Disk:
    """Calls functions in threads; those who need it hold it."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._holders = 0

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Have the threads while inside."""
        self._holders += 1
        if self._holders == 1:
            self._calls = queue.SimpleQueue()
        try:
            if self._holders == 1:
                self._start()
            yield
        finally:
            self._holders -= 1
            if not self._holders:
                for _ in range(THREADS):
                    self._calls.put(None)

    def _start(self) -> None:
        """Start the threads; fewer do as well.

        Raises:
            NoThreadError: There is not even one.
        """
        for started in range(THREADS):
            serving = threading.Thread(target=_serve, args=[self._calls], name="multirsh-disk", daemon=True)
            try:
                serving.start()
            except (RuntimeError, MemoryError):
                relieve()
                if not started:
                    raise NoThreadError from None
                return

    def begin(
        self, call: Callable[Params, Answer], *args: Params.args, **options: Params.kwargs
    ) -> asyncio.Future[Answer]:
        """Have ``call`` called; if nobody waits for it any more, it is called all the same.

        Returns:
            What it returns or raises.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()

        def tell(result: Answer | None, error: Exception | None) -> None:
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(result)  # type: ignore[arg-type]  # it is one, if there is no error

        def work() -> None:
            result: Answer | None = None
            failure: Exception | None = None
            try:
                result = call(*args, **options)
            except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to who asked
                failure = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: the program is over
                loop.call_soon_threadsafe(tell, result, failure)

        self._calls.put(work)
        return answer

    async def __call__(
        self, call: Callable[Params, Answer], *args: Params.args, **options: Params.kwargs
    ) -> Answer:
        """The same, awaited; who is cancelled waits a moment for what has begun, to tidy up after it.

        Raises:
            Exception: Whatever ``call`` raises.
        """
        answer = self.begin(call, *args, **options)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            await asyncio.wait([answer], timeout=PATIENCE_SECONDS)
            if answer.done() and not answer.cancelled():
                answer.exception()  # nobody wants to know any more
            answer.cancel()
            raise


def _serve(calls: queue.SimpleQueue[_Call | None]) -> None:
    while (call := calls.get()) is not None:
        call()
