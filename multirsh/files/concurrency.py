"""What a copy does at the same time: blocking calls in threads, several files of a host, bytes in flight.

Files are read and written in a few threads, so that a disk never blocks the
event loop. The threads exist while any host copies, and the program does not
wait for them when it exits: one that hangs on a dead file server is left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Final, ParamSpec, TypeVar

from multirsh.shortage import NoThreadError, relieve

DISK_THREADS: Final = 4

DISK_TIMEOUT_S: Final = 2.0
"""Seconds that a cancelled caller waits for the disk."""

FILES_AT_ONCE: Final = 8
"""Files of one host that are copied at the same time, so that the round trips of small files do not add
up."""

IN_FLIGHT_BYTES: Final = 2 * 1024 * 1024
"""Bytes of one host that are requested or sent, and not answered: as much as OpenSSH's window holds."""

Params = ParamSpec("Params")
Returned = TypeVar("Returned")

_Call = Callable[[], Any]


class DiskThreads:
    """A few threads that call blocking functions, for as long as they are held."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._holders = 0

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep the threads running inside of the block."""
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
                for _ in range(DISK_THREADS):
                    self._calls.put(None)

    def _start(self) -> None:
        """Start the threads; if the system refuses some of them, fewer are enough.

        Raises:
            NoThreadError: Not even one can be started.
        """
        for started in range(DISK_THREADS):
            thread = threading.Thread(target=_serve, args=[self._calls], name="multirsh-disk", daemon=True)
            try:
                thread.start()
            except (RuntimeError, MemoryError):
                relieve()
                if not started:
                    raise NoThreadError from None
                return

    def submit(
        self, call: Callable[Params, Returned], *args: Params.args, **options: Params.kwargs
    ) -> asyncio.Future[Returned]:
        """Call a function in a thread, even if the future is cancelled meanwhile.

        Returns:
            A future of what it returns or raises.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Returned] = loop.create_future()

        def resolve(result: Returned | None, error: Exception | None) -> None:
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(result)  # type: ignore[arg-type]  # there is a result if there is no error

        def work() -> None:
            result: Returned | None = None
            failure: Exception | None = None
            try:
                result = call(*args, **options)
            except Exception as error:  # noqa: BLE001 - raised in the caller
                failure = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: the program is exiting
                loop.call_soon_threadsafe(resolve, result, failure)

        self._calls.put(work)
        return answer

    async def __call__(
        self, call: Callable[Params, Returned], *args: Params.args, **options: Params.kwargs
    ) -> Returned:
        """Call a function in a thread. A cancelled caller waits a moment for it, to clean up afterwards.

        Raises:
            Exception: Whatever ``call`` raises.
        """
        answer = self.submit(call, *args, **options)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            await asyncio.wait([answer], timeout=DISK_TIMEOUT_S)
            if answer.done() and not answer.cancelled():
                answer.exception()  # retrieved, so that asyncio does not log it
            answer.cancel()
            raise


class TaskLimiter:
    """Runs a bounded number of tasks."""

    def __init__(self, group: asyncio.TaskGroup, most: int) -> None:
        self._group = group
        self._free = asyncio.Semaphore(most)

    async def start(self, copy: Coroutine[Any, Any, None]) -> None:
        """Start a task, as soon as fewer than the most are running."""
        try:
            await self._free.acquire()
        except BaseException:
            copy.close()
            raise
        self._group.create_task(self._run(copy))

    async def _run(self, copy: Coroutine[Any, Any, None]) -> None:
        try:
            await copy
        finally:
            self._free.release()


@contextlib.asynccontextmanager
async def limited_tasks(most: int = FILES_AT_ONCE) -> AsyncIterator[TaskLimiter]:
    """Run tasks inside of the block, which waits for all; the first error cancels the others."""
    try:
        async with asyncio.TaskGroup() as group:
            yield TaskLimiter(group, most)
    except BaseExceptionGroup as errors:
        raise _first(errors) from None


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


class ByteLimiter:
    """Bounds the bytes of one host that are in flight; first come, first served.

    Attributes:
        size: The bound, in bytes.
    """

    def __init__(self, size: int = IN_FLIGHT_BYTES) -> None:
        self.size = size
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def acquire(self, size: int) -> None:
        """Wait until ``size`` more bytes may be in flight."""
        if not self._waiting and self._free >= size:
            self._free -= size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(size)
            raise

    def acquire_nowait(self, size: int) -> bool:
        """Acquire ``size`` bytes if that needs no waiting; return whether they were acquired."""
        if self._waiting or self._free < size:
            return False
        self._free -= size
        return True

    def release(self, size: int) -> None:
        """Return bytes that have arrived."""
        self._free += size
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.cancelled():
                if self._free < size:
                    return
                self._free -= size
                turn.set_result(None)
            self._waiting.popleft()


def _serve(calls: queue.SimpleQueue[_Call | None]) -> None:
    while (call := calls.get()) is not None:
        call()
