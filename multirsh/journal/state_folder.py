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
"""Commands and what hosts answered are nobody else's business."""


def state_folder() -> Path:
    """The user's: ``$XDG_STATE_HOME/multirsh``, else ``~/.local/state/multirsh``; it need not be there.

    Raises:
        UsageError: There is no home folder.

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
    """Make a folder, and those above it that are not there, for the user alone.

    Raises:
        OSError: It cannot be made.
    """
    if folder.is_dir():
        return
    make_private(folder.parent)
    try:
        folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    except FileExistsError:  # as something else; "File exists" would not say what is wrong
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None


CALL_TIMEOUT_S: Final = 10.0
"""Seconds that one call may take. A busy disk answers within a few; a dead server never does."""

READ_BYTES: Final = 256 * 1024
"""Asked of one read: each is bounded by itself, so a large record may take its time."""

NOT_REGULAR: Final = "it is not a regular file"

_NO_WAITING: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY

Answer = TypeVar("Answer")


def call_with_timeout(call: Callable[[], Answer], *, seconds: float | None = None) -> Answer:
    """Make a call that may never return, and wait for it for a bounded time.

    Args:
        call: Goes on in its thread if it is given up; the thread does not keep the process from ending.
        seconds: The bound; ``None`` for ``CALL_TIMEOUT_S``.

    Returns:
        What the call returns.

    Raises:
        OSError: It has not returned in time (``ETIMEDOUT``), or there is no thread for it (``ENOMEM``).
        Exception: Whatever the call raises.
    """
    bound = CALL_TIMEOUT_S if seconds is None else seconds
    answer: Future[Answer] = Future()
    answer.set_running_or_notify_cancel()

    def work() -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            answer.set_exception(error)
        else:
            answer.set_result(result)

    try:
        threading.Thread(target=work, name="multirsh-state", daemon=True).start()
    except RuntimeError as error:  # the limit of threads, or of memory for one
        raise OSError(errno.ENOMEM, str(error)) from None
    try:
        return answer.result(bound)
    except TimeoutError:
        if answer.done():  # the call's own
            raise
        raise timeout_error(bound) from None


def timeout_error(seconds: float) -> OSError:
    """The error of a call that has not returned in time."""
    return OSError(errno.ETIMEDOUT, f"no answer within {seconds:g} s")


def open_owned(path: Path, flags: int, *, mode: int = PRIVATE_FILE) -> int:
    """Open a regular file that belongs to the user.

    Args:
        path: The file; a link in its place is not followed.
        flags: As of open(2).
        mode: Of a file that is made.

    Returns:
        The descriptor.

    Raises:
        OSError: It cannot be opened, or is something else than a regular file, or another user's.
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
    """See to it that what was found at ``path`` belongs to the user.

    Raises:
        OSError: It belongs to another one.
    """
    if found.st_uid != os.geteuid():
        raise OSError(errno.EPERM, f"it belongs to another user (id {found.st_uid})", str(path))


def read_owned(path: Path) -> BinaryIO:
    """Open a file of the user's to be read; no call on it waits longer than ``CALL_TIMEOUT_S``.

    Raises:
        OSError: As ``open_owned``; or there is no answer.
    """
    return io.BufferedReader(_Bounded(call_with_timeout(lambda: open_owned(path, os.O_RDONLY))), READ_BYTES)


class _Bounded(io.RawIOBase):
    """A file whose reads are bounded in time."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    def seekable(self) -> bool:
        """Only regular files are opened."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to another place; this asks nobody but the kernel."""
        return os.lseek(self._descriptor, offset, whence)

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # typeshed names a private type
        """Read some bytes.

        Raises:
            OSError: They cannot be read, or there is no answer.
        """
        # The thread gets no buffer of ours: it may still write to it when it has been given up.
        data = call_with_timeout(lambda: os.read(self._descriptor, len(buffer)))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Let go of the file."""
        if not self.closed:
            super().close()
            os.close(self._descriptor)


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock on a record.

    Raises:
        OSError: It cannot be opened, or is not a file of the user's.
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
