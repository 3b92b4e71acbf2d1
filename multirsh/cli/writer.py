"""The printer's batches to our streams, in threads that may block."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

from multirsh.cli.descriptors import STDERR, STDOUT, write_all
from multirsh.output import Batch, HostFile, Printer, Target, Write
from multirsh.shared_folders import check_file
from multirsh.transports.threads import daemon_thread

LAST_WORDS_S: Final = 1.0
"""How long a batch may take once we hurry; stderr, too: the two may be one terminal, and stopped."""

_DESCRIPTORS: Final = {"stdout": STDOUT, "stderr": STDERR}


class Writer:
    """Writes what a printer has to our streams, in a thread of its own.

    A terminal that is stopped or a slow reader of the pipe blocks that thread, and through the run's
    bounded stream the remotes; the loop goes on to answer keepalives and to close sockets.

    Attributes:
        lost_reader: The reader of stdout went away.
        failure: Why stdout cannot be written, if it is something else.
        complaints: Of files that cannot be written, one for each folder, or each disk that is full.
    """

    def __init__(self, printer: Printer) -> None:
        self._printer = printer
        self._hurries: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._one_at_a_time = asyncio.Lock()
        self._dead: set[Target] = set()
        self._failed: set[Path | int] = set()
        self.lost_reader = False
        self.failure: str | None = None
        self.complaints: list[str] = []

    async def write(self) -> None:
        """Write all that the printer has, batch by batch; what a dead stream would have got is dropped.

        Whoever takes a batch is the one to write it: between the two nobody else may take one, and a
        cancellation would lose it. So this is not to be cancelled.
        """
        async with self._one_at_a_time:
            while True:
                await self._write_batch(self._printer.take(asyncio.get_running_loop().time()))
                if not self._printer.has_more or self.lost_reader:
                    return

    async def _write_batch(self, batch: Batch) -> None:
        if not batch.writes:
            return
        left = deque(batch.writes)
        writing = daemon_thread(lambda: self._write(left), name="multirsh-write", or_here=True)
        await asyncio.wait((writing, self._hurries), return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait((writing,), timeout=LAST_WORDS_S)
        if not writing.done() and "stdout" not in self._dead:
            # Its thread is stuck for good; what stderr was to get is written by another.
            self._dead.add("stdout")
            rest = daemon_thread(lambda: self._write(left), name="multirsh-write", or_here=True)
            await asyncio.wait((rest,), timeout=LAST_WORDS_S)

    def hurry(self) -> None:
        """From now on a stdout that takes nothing is soon given up; what it would have got is dropped."""
        if not self._hurries.done():
            self._hurries.set_result(None)

    def _write(self, left: deque[Write]) -> None:
        with suppress(IndexError):  # at the end
            while True:
                write = left.popleft()
                if write.target not in self._dead:
                    self._write_one(write)

    def _write_one(self, write: Write) -> None:
        if isinstance(write.target, HostFile):
            self._append(write.target, write.data)
            return
        try:
            write_all(_DESCRIPTORS[write.target], write.data)
        except BrokenPipeError:
            self._dead.add(write.target)
            if write.target == "stdout":
                self.lost_reader = True
                self._dead.add("stderr")  # whoever does not want the output does not want the ending
        except OSError as error:
            self._dead.add(write.target)
            if write.target == "stdout":
                self.failure = error.strerror

    def _append(self, file: HostFile, data: bytes) -> None:
        """Append to a host's file; once that has failed, never again, so that no piece is missing within."""
        path = file.folder / file.name
        try:
            # Not kept open: there may be more hosts than descriptors.
            # To open a FIFO that nobody reads would block for good, and with it all that is to be written.
            # A link under a host's name may be another user's, and lead to any file of ours.
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOCTTY | os.O_NONBLOCK | os.O_NOFOLLOW
            descriptor = os.open(path, flags, 0o666)
            try:
                check_file(os.fstat(descriptor), file.folder.stat())
                write_all(descriptor, data)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._dead.add(file)
            self._complain(path, error)

    def _complain(self, path: Path, error: OSError) -> None:
        """Once for each folder, and of a disk that is full once for all that are on it."""
        is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        where: Path | int = path.parent.stat().st_dev if is_full else path.parent
        if where not in self._failed:
            self._failed.add(where)
            others = "disk" if is_full else "folder"
            self.complaints.append(
                f"multirsh: {path} cannot be written: {_reason(error)};"
                f" it is cut off there, and so may be others of that {others}"
            )


def _reason(error: OSError) -> str | None:
    return "there is a symbolic link in its place" if error.errno == errno.ELOOP else error.strerror
