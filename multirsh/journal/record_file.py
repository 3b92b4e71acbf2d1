"""One record on disk: made whole, locked while it is written, never seen without its first rows."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from multirsh.journal.folder import make_private
from multirsh.journal.own_files import open_own
from multirsh.linux import sync_data

SUFFIX: Final = ".ndjson"
UNBORN: Final = ".new"
"""Of a record that has not got its name yet."""


class RecordFile:
    """A record that is being written.

    It holds a lock (flock(2)) on the file, which ends with the process however that ends: a record without
    ``run_finished`` that nobody locks is of a run that broke.
    """

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self.path = path
        self.size = 0

    @classmethod
    def create(
        cls, folder: Path, run: str, first: bytes, *, is_wanted: Callable[[], bool] = lambda: True
    ) -> RecordFile:
        """Make the record of ``run``: it gets its name when it is locked and ``first`` is on disk.

        Args:
            folder: Where; it is made if it is not there.
            run: The run's identifier.
            first: The first rows.
            is_wanted: Asked before the record gets its name: the run may have gone on without it.

        Raises:
            OSError: It cannot be made, or is not wanted any more; nothing of it is left then.
        """
        make_private(folder)
        path = folder / f"{run}{SUFFIX}"
        unborn = folder / f".{run}{UNBORN}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        file = cls(open_own(unborn, flags), path)
        try:
            with contextlib.suppress(OSError):  # a file system without locks: until it ends it looks broken
                fcntl.flock(file._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.append(first)
            file.sync()
            _check(is_wanted)
            unborn.rename(path)
            _sync_folder(folder)
        except BaseException:
            file.close()
            unborn.unlink(missing_ok=True)
            raise
        return file

    def append(self, data: bytes) -> None:
        """Write ``data`` at the end; if it cannot be written in full, none of it is.

        Raises:
            OSError: The disk is full, or gone.
        """
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(data)

    def sync(self) -> None:
        """Wait until all that was written is on disk.

        Raises:
            OSError: It is not.
        """
        sync_data(self._descriptor)

    def overwrite(self, place: int, byte: bytes) -> None:
        """Put another byte in the place of one: that needs no room on the disk.

        Raises:
            OSError: It cannot be written.
        """
        # Through the other descriptor it would be appended (pwrite(2), O_APPEND).
        descriptor = open_own(self.path, os.O_WRONLY)
        try:
            os.pwrite(descriptor, byte, place)
            sync_data(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Write no more; the lock is free."""
        os.close(self._descriptor)


def is_written(path: Path) -> bool:
    """Whether somebody holds the lock on a record.

    Raises:
        OSError: It cannot be opened, or is not a file of the user's.
    """
    descriptor = open_own(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(descriptor)
    return False


def _check(is_wanted: Callable[[], bool]) -> None:
    if not is_wanted():
        raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))


def _sync_folder(folder: Path) -> None:
    """Have a new name survive a power failure, too (fsync(2))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
