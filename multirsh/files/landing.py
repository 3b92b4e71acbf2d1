"""The folder that a pull writes to: no name leads out of it, and no link is followed below it.

Every step opens the folder and then one part after the other, each relative to
the one before (``openat(2)``) and without following links (``O_NOFOLLOW``): a
link that an earlier file of the same copy has made is never written through.
Nothing stays open between steps, so a thousand hosts hold no descriptors.

A file has another name until all of it is there; then it is renamed.

These functions block; they are called in threads (``disk.py``).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import Final, NamedTuple

from multirsh.shared_folders import check_owner

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_BELOW: Final = _FOLDER | os.O_NOFOLLOW
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_AGAIN: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

NEW_FOLDER: Final = 0o777
"""The process's umask takes its part."""

Parts = tuple[bytes, ...]


class Finish(NamedTuple):
    """How a file is to be once it is there.

    Attributes:
        mode: Permissions; the umask does not count if they are ``exact``.
        exact: Whether the mode is the source's own, or what a new file would get.
        times: Access and modification, in seconds; ``None`` for now.
    """

    mode: int
    exact: bool
    times: tuple[int, int] | None


class Landing:
    """A folder to be written below."""

    def __init__(self, root: bytes) -> None:
        """Take note of it.

        Args:
            root: The user's own folder: links that lead to it are followed.
        """
        self._root = root

    def make_folder(self, parts: Parts) -> None:
        """See to it that there is a folder, and those above it.

        Raises:
            OSError: Something else has its name, or it cannot be made.
        """
        with self._opened(parts, make=True):
            pass

    def look(self, folder: Parts, name: bytes) -> os.stat_result | None:
        """What has that name, itself and not what it leads to; ``None`` for nothing."""
        with contextlib.suppress(FileNotFoundError), self._opened(folder) as here:
            return os.stat(name, dir_fd=here, follow_symlinks=False)
        return None

    def create(self, folder: Parts, name: bytes) -> None:
        """Make a file that was not there, empty, which nobody else may read until it is finished.

        Raises:
            OSError: It cannot be.
        """
        with self._opened(folder, make=True) as here:
            os.close(os.open(name, _NEW, 0o600, dir_fd=here))

    def write(self, folder: Parts, name: bytes, offset: int, data: bytes) -> None:
        """Write all of ``data``.

        Raises:
            OSError: It cannot be.
        """
        with self._opened(folder) as here:
            descriptor = os.open(name, _AGAIN, dir_fd=here)
            try:
                _write_all(descriptor, offset, data)
            finally:
                os.close(descriptor)

    def cut(self, folder: Parts, name: bytes, size: int) -> None:
        """Drop what is behind ``size``.

        Raises:
            OSError: It cannot be.
        """
        with self._opened(folder) as here:
            descriptor = os.open(name, _AGAIN, dir_fd=here)
            try:
                os.ftruncate(descriptor, size)
            finally:
                os.close(descriptor)

    def finish(self, folder: Parts, temporary: bytes, name: bytes, how: Finish) -> None:
        """Give a file its modes, its times and, last, its name.

        Raises:
            OSError: It cannot be; a folder of that name is one reason.
        """
        with self._opened(folder) as here:
            descriptor = os.open(temporary, _AGAIN, dir_fd=here)
            try:
                mode = how.mode if how.exact else _usual_mode(here, name, how.mode)
                os.fchmod(descriptor, mode)
                if how.times is not None:
                    os.utime(descriptor, how.times)
            finally:
                os.close(descriptor)
            os.rename(temporary, name, src_dir_fd=here, dst_dir_fd=here)

    def store(self, folder: Parts, temporary: bytes, name: bytes, data: bytes, how: Finish) -> None:
        """Do all of it in one step, for a small file; nothing is left where it fails.

        Raises:
            OSError: It cannot be.
        """
        self.create(folder, temporary)
        try:
            self.write(folder, temporary, 0, data)
            self.finish(folder, temporary, name, how)
        except BaseException:
            self.discard(folder, temporary)
            raise

    def link(self, folder: Parts, temporary: bytes, name: bytes, target: bytes) -> None:
        """Make a link, in the place of a file or a link that was there.

        Raises:
            OSError: It cannot be.
        """
        with self._opened(folder, make=True) as here:
            os.symlink(target, temporary, dir_fd=here)
            try:
                os.rename(temporary, name, src_dir_fd=here, dst_dir_fd=here)
            except BaseException:
                os.unlink(temporary, dir_fd=here)
                raise

    def discard(self, folder: Parts, name: bytes) -> None:
        """Remove a file, if it is there."""
        with contextlib.suppress(OSError), self._opened(folder) as here:
            os.unlink(name, dir_fd=here)

    def set_folder(self, parts: Parts, mode: int, times: tuple[int, int]) -> None:
        """Give a folder its mode and times.

        Raises:
            OSError: It cannot be.
        """
        with self._opened(parts) as here:
            os.fchmod(here, mode)
            os.utime(here, times)

    @contextlib.contextmanager
    def _opened(self, parts: Parts, *, make: bool = False) -> Iterator[int]:
        """The folder's descriptor."""
        here = os.open(self._root, _FOLDER)
        try:
            for part in parts:
                below = _open_below(here, part, make=make)
                os.close(here)
                here = below
            yield here
        finally:
            os.close(here)


def _open_below(here: int, part: bytes, *, make: bool) -> int:
    if part in {b"", b".", b".."} or b"/" in part:
        raise OSError(errno.EINVAL, "a name that leads elsewhere")
    try:
        return _open_ours(here, part)
    except FileNotFoundError:
        if not make:
            raise
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(part, dir_fd=here, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, "there is a link in the place of a folder") from None
        raise
    with contextlib.suppress(FileExistsError):  # another file of the same folder was quicker
        os.mkdir(part, NEW_FOLDER, dir_fd=here)
    return _open_ours(here, part)


def _open_ours(here: int, part: bytes) -> int:
    """Open a folder, unless another user has left it there, to read or to change what is put into it."""
    below = os.open(part, _BELOW, dir_fd=here)
    try:
        check_owner(os.fstat(below), os.fstat(here))
    except BaseException:
        os.close(below)
        raise
    return below


def _usual_mode(here: int, name: bytes, mode: int) -> int:
    """What a file gets that is overwritten (its own mode), or that is new (by the umask)."""
    with contextlib.suppress(FileNotFoundError):
        found = os.stat(name, dir_fd=here, follow_symlinks=False)
        if stat.S_ISREG(found.st_mode):
            return stat.S_IMODE(found.st_mode)
    return mode & ~_UMASK


def _current_umask() -> int:
    """The process's umask, which can only be read by setting it: done once, when this is imported."""
    current = os.umask(0o077)
    os.umask(current)
    return current


_UMASK: Final = _current_umask()


def _write_all(descriptor: int, offset: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, offset)
        left, offset = left[written:], offset + written
