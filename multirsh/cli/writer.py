"""Writes the batches of a printer to our streams and to files, in threads that may block."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

from multirsh.cli.process import STDERR, STDOUT, write_all
from multirsh.output import Batch, HostFile, Printer, Target, Write
from multirsh.shared_folders import check_file
from multirsh.transports.threads import daemon_thread

LAST_WORDS_S: Final = 1.0
"""How long a batch may take after ``hurry``, and then stderr: both may be one terminal, and stopped."""

_DESCRIPTORS: Final = {"stdout": STDOUT, "stderr": STDERR}


class Writer:
    """Writes the output of a printer to our streams, in a thread of its own.

    A stopped terminal, or a slow reader of a pipe, blocks that thread, and through the run's bounded stream
    the remotes; the event loop still answers keepalives and closes sockets.

    Attributes:
        lost_reader: Whether the reader of stdout is gone.
        failure: Why else stdout cannot be written; ``None`` if it can.
        complaints: Messages about files that cannot be written, one for each folder, or each full disk.
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
        """Write all that the printer has, batch by batch; output for a stream that failed is dropped.

        Do not cancel this: a batch that was taken and not written would be lost. Calls wait for each other.
        """
        async with self._one_at_a_time:
            while (batch := self._printer.take(asyncio.get_running_loop().time())).writes:
                await self._write_batch(batch)
                if not self._printer.has_more or self.lost_reader:
                    return

    async def _write_batch(self, batch: Batch) -> None:
        left = deque(batch.writes)
        writing = daemon_thread(lambda: self._write(left), name="multirsh-write", or_here=True)
        await asyncio.wait((writing, self._hurries), return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait((writing,), timeout=LAST_WORDS_S)
        if not writing.done() and "stdout" not in self._dead:
            # The thread is stuck for good; another one writes what was meant for stderr.
            self._dead.add("stdout")
            rest = daemon_thread(lambda: self._write(left), name="multirsh-write", or_here=True)
            await asyncio.wait((rest,), timeout=LAST_WORDS_S)

    def hurry(self) -> None:
        """Give up soon on a stdout that takes nothing, from now on; its output is dropped."""
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
                self._dead.add("stderr")  # a reader that does not want the output does not want the summary
        except OSError as error:
            self._dead.add(write.target)
            if write.target == "stdout":
                self.failure = error.strerror

    def _append(self, file: HostFile, data: bytes) -> None:
        """Append to the file of a host; after a failure nothing more, so that nothing is missing within."""
        path = file.folder / file.name
        try:
            # Not kept open: there may be more hosts than descriptors.
            # To open a FIFO without a reader would block for good, and with it all output.
            # A link with the name of a host may be another user's, and lead to any file of ours.
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
        """Add one message for each folder, or one for all folders on a disk that is full."""
        is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        where: Path | int = path.parent.stat().st_dev if is_full else path.parent
        if where not in self._failed:
            self._failed.add(where)
            others = "disk" if is_full else "folder"
            self.complaints.append(
                f"multirsh: {path} cannot be written: {_reason(error)};"
                f" it is incomplete, and so may be others of that {others}"
            )


def _reason(error: OSError) -> str | None:
    return "there is a symbolic link in its place" if error.errno == errno.ELOOP else error.strerror
