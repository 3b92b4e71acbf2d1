"""The state folder: where it is, and how its files are opened.

A name in the state folder may stand for something that multirsh has not put
there: a link, a FIFO that blocks its reader, a file that another user has
left. None of these is read or written. And the folder may be on a file server
that does not answer, where every call blocks for as long as the server is
away; such calls are made in a thread, which is abandoned after a while.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from multirsh.errors import UsageError

PRIVATE_FOLDER: Final = 0o700
PRIVATE_FILE: Final = 0o600
"""Modes of what is made here: commands and output of hosts are private to the user."""


def state_folder() -> Path:
    """Return the user's state folder, which may not exist yet.

    It is ``$XDG_STATE_HOME/multirsh``, else ``~/.local/state/multirsh``.

    Raises:
        UsageError: The user has no home folder.

    Source: XDG Base Directory Specification, which has a relative ``$XDG_STATE_HOME`` ignored.
    """
    base = os.environ.get("XDG_STATE_HOME", "")
    if base.startswith("/"):
        return Path(base, "multirsh")
    home = os.environ.get("HOME")
    if home is None:
        home = os.path.expanduser("~")  # noqa: PTH111 - the path's own raises where there is no home
    if not home.startswith("/"):
        raise UsageError(
            "there is no home folder to keep a record in",
            hint="set HOME or XDG_STATE_HOME, or use --no-journal",
        )
    return Path(home, ".local", "state", "multirsh")


def make_private(folder: Path) -> None:
    """Make a folder, and its missing parents, accessible to the user alone.

    Raises:
        OSError: The folder cannot be made.
    """
    if folder.is_dir():
        return
    make_private(folder.parent)
    try:
        folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    except FileExistsError:  # as something else than a folder
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None


CALL_TIMEOUT_S: Final = 10.0
"""Seconds that one call may take. A busy disk takes a few; a dead file server never answers."""

READ_BYTES: Final = 256 * 1024
"""Bytes of one read; the timeout is per read, so that a large record may take longer."""

NOT_REGULAR: Final = "it is not a regular file"

_NO_WAITING: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY

Result = TypeVar("Result")


class AbandonableThread(threading.Thread):
    """A thread whose owner does not wait for it without a bound, so that it may block for ever."""

    def __init__(self, target: Callable[[], object], name: str) -> None:
        super().__init__(target=target, name=name, daemon=True)


def call_with_timeout(call: Callable[[], Result]) -> Result:
    """Make a call that may never return, and wait for it for a bounded time.

    In an ``AbandonableThread``, where blocking does no harm, the call is made without a timeout.

    Args:
        call: The call. After a timeout it goes on in its thread, which does not keep the process alive.

    Returns:
        The result of the call.

    Raises:
        OSError: The call has timed out (``ETIMEDOUT``), or no thread can be started (``ENOMEM``).
        Exception: Any exception of the call.
    """
    if isinstance(threading.current_thread(), AbandonableThread):
        return call()
    answer: Future[Result] = Future()
    answer.set_running_or_notify_cancel()

    def work() -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - for the caller
            answer.set_exception(error)
        else:
            answer.set_result(result)

    try:
        AbandonableThread(work, "multirsh-state").start()
    except RuntimeError as error:  # the limit of threads, or of memory for one
        raise OSError(errno.ENOMEM, str(error)) from None
    try:
        return answer.result(CALL_TIMEOUT_S)
    except TimeoutError:
        if answer.done():  # it was raised by the call
            raise
        raise OSError(errno.ETIMEDOUT, f"no answer within {CALL_TIMEOUT_S:g} s") from None


def open_owned(path: Path, flags: int, *, mode: int = PRIVATE_FILE) -> int:
    """Open a regular file that belongs to the user, without following a link.

    Args:
        path: The file.
        flags: Flags of open(2).
        mode: The mode of a file that is created.

    Returns:
        The descriptor.

    Raises:
        OSError: The file cannot be opened, is not a regular file, or belongs to another user.
    """
    try:
        descriptor = os.open(path, flags | _NO_WAITING, mode)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link", str(path)) from None
        if error.errno == errno.ENXIO:  # to write to a FIFO that has no reader
            raise OSError(errno.ENXIO, NOT_REGULAR, str(path)) from None
        raise
    try:
        found = os.fstat(descriptor)
        _check_kind(found, path)
        check_owner(found, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_kind(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, NOT_REGULAR, str(path))


def check_owner(found: os.stat_result, path: Path) -> None:
    """Check that the file or folder at ``path`` belongs to the user.

    Raises:
        OSError: It belongs to another user.
    """
    if found.st_uid != os.geteuid():
        raise OSError(errno.EPERM, f"it belongs to another user (id {found.st_uid})", str(path))


def read_owned(path: Path) -> BinaryIO:
    """Open a file of the user's for reading, with ``CALL_TIMEOUT_S`` for each call on it.

    Raises:
        OSError: See ``open_owned``; or the call has timed out.
    """
    return io.BufferedReader(_TimedFile(call_with_timeout(lambda: open_owned(path, os.O_RDONLY))), READ_BYTES)


class _TimedFile(io.RawIOBase):
    """A file whose reads have a timeout."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def readable(self) -> bool:
        """Return true."""
        return True

    def seekable(self) -> bool:
        """Return true: only regular files are opened."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position; this needs no answer of a file server."""
        return os.lseek(self._descriptor, offset, whence)

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # typeshed names a private type
        """Read some bytes into a buffer.

        Raises:
            OSError: The file cannot be read, or the read has timed out.
        """
        # An abandoned thread may still write, so it is not given the caller's buffer.
        data = call_with_timeout(lambda: os.read(self._descriptor, len(buffer)))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            super().close()
            os.close(self._descriptor)


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of a file (flock(2)), as it does while it writes a record.

    Raises:
        OSError: See ``open_owned``.
    """
    descriptor = open_owned(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(descriptor)
    return False
