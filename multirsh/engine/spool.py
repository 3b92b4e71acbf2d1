"""Standard input for a whole fleet: read once, and sent to every host at its own pace.

Input from a pipe or a terminal is stored, since a host that starts late gets
it from the beginning; beyond some MiB it is stored on disk, in a file without
a name. A regular file is read in place. So a slow host holds no other host
back, and memory grows neither with the input nor with the fleet.

A thread reads, because read(2) may block for ever; hosts are woken in the
event loop. It stays only a little ahead of the host that has read most, so
that a source without an end (``yes``) does not fill the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
import os
import stat
import tempfile
import threading
import time
from typing import Final

from multirsh.arguments import check_call
from multirsh.shortage import NoThreadError

MEMORY_BYTES: Final = 8 * 1024 * 1024
"""Input up to this size never touches the disk."""

AHEAD_BYTES: Final = 4 * 1024 * 1024
"""The number of bytes to read ahead of the host that has read most."""

READ_BYTES: Final = 256 * 1024
"""The size of one read(2) of the source, in bytes."""

CHUNK_BYTES: Final = 64 * 1024
"""The number of bytes that a host gets at once: two packets of SSH's usual 32 KiB."""

BETWEEN_TRIES_S: Final = 0.2
"""Seconds until a terminal that belongs to another job is read again."""


class Given:
    """A ``Stdin`` (``transports.base``) of bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self, offset: int) -> bytes:
        """Return up to 64 KiB from ``offset``."""
        return self._data[offset : offset + CHUNK_BYTES]

    async def size(self) -> int:
        """Return the number of bytes."""
        return len(self._data)

    def at(self, offset: int) -> bytes:
        """Return up to 64 KiB from ``offset``."""
        return self._data[offset : offset + CHUNK_BYTES]


class Spool:
    """A ``Stdin`` (``transports.base``) that reads a descriptor.

    It begins to read when the first host does, so that a run without a single connection consumes nothing.
    """

    def __init__(self, descriptor: int, *, memory_bytes: int = MEMORY_BYTES) -> None:
        """Read from ``descriptor``, from its present offset.

        Args:
            descriptor: The descriptor, which the caller closes. A thread may still be reading from it when
                the run is over.
            memory_bytes: The largest number of bytes to hold in memory; more are stored in a file.
        """
        check_call(Spool.__init__, locals())
        self._descriptor = descriptor
        self._memory_bytes = memory_bytes
        self._start = _place_in_file(descriptor)
        self._lock = threading.Condition()
        self._memory = bytearray()
        self._file: int | None = None
        self._size = 0
        self._wanted: float = 0
        self._is_complete = False
        self._is_closed = False
        self._failure: OSError | None = None
        self._news: asyncio.Event | None = None

    async def read(self, offset: int) -> bytes:
        """Return up to 64 KiB from ``offset``, or ``b""`` at the end; wait until there is at least one byte.

        Raises:
            OSError: The input cannot be read or stored.
        """
        if self._start is None:
            self._want(offset)
        while self._start is None and offset >= self._size and not self._is_complete:
            await self._more()
        return self.at(offset)

    async def size(self) -> int:
        """Wait for the end of the input, and return its size in bytes.

        Raises:
            OSError: The input cannot be read or stored.
        """
        if self._start is not None:
            return max(0, os.fstat(self._descriptor).st_size - self._start)
        self._want(math.inf)
        while not self._is_complete:
            await self._more()
        self._complain()
        return self._size

    def at(self, offset: int) -> bytes:
        """Return up to 64 KiB from ``offset``, or ``b""`` if nothing has been read there yet.

        Raises:
            OSError: The input cannot be read or stored.
        """
        if self._start is not None:
            return os.pread(self._descriptor, CHUNK_BYTES, self._start + offset)
        with self._lock:
            count = min(CHUNK_BYTES, self._size - offset)
            if count > 0 and self._file is not None:
                return os.pread(self._file, count, offset)
            if count > 0:
                return bytes(memoryview(self._memory)[offset : offset + count])
        self._complain()
        return b""

    def close(self) -> None:
        """Stop reading, and release the stored input."""
        with self._lock:
            self._is_closed = True
            self._memory = bytearray()
            if self._file is not None:
                os.close(self._file)
                self._file = None
            self._lock.notify()

    def _want(self, offset: float) -> None:
        """Let the thread read on, since a host has read all input up to ``offset``."""
        with self._lock:
            self._wanted = max(self._wanted, offset)
            self._lock.notify()

    async def _more(self) -> None:
        """Wait until more input or the end has been read."""
        if self._news is None:
            self._news = asyncio.Event()
            loop = asyncio.get_running_loop()
            reading = threading.Thread(
                target=self._read_all, args=(loop,), name="multirsh-stdin", daemon=True
            )
            try:
                reading.start()
            except (RuntimeError, MemoryError):
                self._failure = NoThreadError()
                self._is_complete = True
                return
        await self._news.wait()

    def _wake_hosts(self) -> None:
        """Wake the hosts that wait; called in the event loop."""
        if self._news is not None:
            self._news.set()
            self._news = asyncio.Event()

    def _complain(self) -> None:
        if self._failure is not None:
            # A new exception, since one that is raised keeps the frames of each place that raised it.
            raise OSError(self._failure.errno, self._failure.strerror)

    # In the thread.

    def _read_all(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while data := self._read_some():
                with self._lock:
                    if self._is_closed:
                        return
                    self._keep(data)
                    self._size += len(data)
                loop.call_soon_threadsafe(self._wake_hosts)
                with self._lock:
                    self._lock.wait_for(lambda: self._is_closed or self._size < self._wanted + AHEAD_BYTES)
                    if self._is_closed:
                        return
        except OSError as error:
            self._failure = OSError(error.errno, error.strerror)  # without the frames that hold what was read
        except RuntimeError:
            return  # the loop is closed: the program is over
        self._is_complete = True
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._wake_hosts)

    def _read_some(self) -> bytes:
        while True:
            try:
                return os.read(self._descriptor, READ_BYTES)
            except OSError as error:
                # A terminal that belongs to another job, with SIGTTIN ignored (termios(3)): it may come back.
                if error.errno != errno.EIO or not os.isatty(self._descriptor):
                    raise
                time.sleep(BETWEEN_TRIES_S)

    def _keep(self, data: bytes) -> None:
        if self._file is None and self._size + len(data) <= self._memory_bytes:
            self._memory += data
            return
        if self._file is None:
            with tempfile.TemporaryFile(prefix="multirsh-") as file:
                _write_all(file.fileno(), self._memory)
                self._file = os.dup(file.fileno())
            self._memory = bytearray()
        _write_all(self._file, data)


def _place_in_file(descriptor: int) -> int | None:
    """Return the offset of a regular file; ``None`` for other files, which cannot be read twice."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return None
    return os.lseek(descriptor, 0, os.SEEK_CUR)


def _write_all(descriptor: int, data: bytes | bytearray) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
