"""The printer's batches to our streams, in threads that may block."""

from __future__ import annotations

import asyncio
from typing import Final

from multirsh.cli.descriptors import STDERR, STDOUT, write_all
from multirsh.output import Batch
from multirsh.transports.threads import daemon_thread

LAST_WORDS_S: Final = 1.0
"""How long stderr may take for the ending once stdout was given up: they may be one terminal, and stopped."""

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
        self._gave_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._one_at_a_time = asyncio.Lock()
        self._dead: set[str] = set()
        self.lost_reader = False
        self.failure: str | None = None

    async def write(self, batch: Batch) -> None:
        """Write it all; what a dead stream would have got is dropped."""
        if batch:
            async with self._one_at_a_time:
                writing = daemon_thread(lambda: self._write(batch), name="multirsh-write")
                if self._gave_up.done():
                    await asyncio.wait((writing,), timeout=LAST_WORDS_S)
                else:
                    await asyncio.wait((writing, self._gave_up), return_when=asyncio.FIRST_COMPLETED)

    def give_up(self) -> None:
        """Wait no longer for a stdout that takes nothing; what it would have got is dropped."""
        self._dead.add("stdout")
        if not self._gave_up.done():
            self._gave_up.set_result(None)

    def _write(self, batch: Batch) -> None:
        for write in batch.writes:
            if write.stream in self._dead:
                continue
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
