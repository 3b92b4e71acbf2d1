"""The printer's batches to our streams, in threads that may block."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Final

from multirsh.cli.descriptors import STDERR, STDOUT, write_all
from multirsh.output import Batch, Write
from multirsh.transports.threads import daemon_thread

LAST_WORDS_S: Final = 1.0
"""How long a batch may take once we hurry; stderr, too: the two may be one terminal, and stopped."""

_DESCRIPTORS: Final = {"stdout": STDOUT, "stderr": STDERR}


class Writer:
    """Writes batches to our streams in a thread of its own.

    A terminal that is stopped or a slow reader of the pipe blocks that thread, and through the run's
    bounded stream the remotes; the loop goes on to answer keepalives and to close sockets.

    Attributes:
        lost_reader: The reader of stdout went away.
        failure: Why stdout cannot be written, if it is something else.
    """

    def __init__(self) -> None:
        self._hurries: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._one_at_a_time = asyncio.Lock()
        self._dead: set[str] = set()
        self.lost_reader = False
        self.failure: str | None = None

    async def write(self, batch: Batch) -> None:
        """Write it all; what a dead stream would have got is dropped."""
        if not batch:
            return
        async with self._one_at_a_time:
            left = deque(batch.writes)
            writing = daemon_thread(lambda: self._write(left), name="multirsh-write")
            await asyncio.wait((writing, self._hurries), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((writing,), timeout=LAST_WORDS_S)
            if not writing.done() and "stdout" not in self._dead:
                # Its thread is stuck for good; what stderr was to get is written by another.
                self._dead.add("stdout")
                rest = daemon_thread(lambda: self._write(left), name="multirsh-write")
                await asyncio.wait((rest,), timeout=LAST_WORDS_S)

    def hurry(self) -> None:
        """From now on a stdout that takes nothing is soon given up; what it would have got is dropped."""
        if not self._hurries.done():
            self._hurries.set_result(None)

    def _write(self, left: deque[Write]) -> None:
        with suppress(IndexError):  # at the end
            while True:
                write = left.popleft()
                if write.stream not in self._dead:
                    self._write_one(write)

    def _write_one(self, write: Write) -> None:
        try:
            write_all(_DESCRIPTORS[write.stream], write.data)
        except BrokenPipeError:
            self._dead.add(write.stream)
            if write.stream == "stdout":
                self.lost_reader = True
                self._dead.add("stderr")  # whoever does not want the output does not want the ending
        except OSError as error:
            self._dead.add(write.stream)
            if write.stream == "stdout":
                self.failure = error.strerror
