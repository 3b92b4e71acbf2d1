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
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from multirsh.files.concurrency import DiskThreads
from multirsh.files.modes import (
    ACL_LOST,
    NONE_BESIDE,
    NOT_RENAMED,
    OWNERS,
    PERMISSIONS,
    SPECIAL,
    FileKind,
    is_special,
    kept_mode,
    kind_of,
)
from multirsh.files.options import CopyOptions
from multirsh.files.paths import DAY_SECONDS, SLOTS, is_partial, partials_prefix, temporary_name
from multirsh.files.results import FileError
from multirsh.files.sources import sha256_of
from multirsh.shared_folders import check_owner

SAFE_MODES: Final = 0o777
"""Of what another machine says: no setuid, setgid or sticky bit."""

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_BELOW: Final = _FOLDER | os.O_NOFOLLOW

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_OVER: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

_AGAIN: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

_PRIVATE: Final = 0o600

_ACL: Final = "system.posix_acl_access"

NEW_FOLDER: Final = 0o777
"""The process's umask takes its part."""

Parts = tuple[bytes, ...]


class FinalAttributes(NamedTuple):
    """How a file is to be once it is there.

    Attributes:
        mode: Permissions; the umask does not count if they are ``exact``.
        exact: Whether the mode is the source's own, or what a new file would get.
        times: Access and modification, in nanoseconds; ``None`` for now.
        in_place: Whether the file itself is written to, and not one beside it that is renamed.
    """

    mode: int
    exact: bool
    times: tuple[int, int] | None
    in_place: bool = False


class DestinationDir:
    """A folder to be written below."""

    def __init__(self, root: bytes) -> None:
        """Take note of it.

        Args:
            root: The user's own folder: links that lead to it are followed.
        """
        self._root = root
        self._listed: tuple[Parts, list[bytes]] | None = None

    def make_folder(self, parts: Parts, mode: int = NEW_FOLDER) -> bool:
        """See to it that there is a folder, and those above it.

        Args:
            parts: Where.
            mode: Of a new one, less the umask.

        Returns:
            Whether it is new.

        Raises:
            OSError: Something else has its name, or it cannot be made.
        """
        _check(parts[-1])
        with self._opened(parts[:-1], make=True) as here:
            try:
                os.mkdir(parts[-1], mode, dir_fd=here)
            except FileExistsError:
                os.close(_open_below(here, parts[-1], make=False))
                return False
        return True

    def lstat(self, folder: Parts, name: bytes) -> os.stat_result | None:
        """What has that name, itself and not what it leads to; ``None`` for nothing."""
        with contextlib.suppress(FileNotFoundError), self._opened(folder) as here:
            return os.stat(name, dir_fd=here, follow_symlinks=False)
        return None

    def begin(self, folder: Parts, name: bytes, how: FinalAttributes) -> bytes:
        """Make the file that is to become ``name``, empty; only its owner may read it until it is finished.

        What a copy of the same file has left is removed if it is older than a day.

        Returns:
            What it is called; ``name`` itself if it is written in place.

        Raises:
            OSError: It cannot be.
        """
        with self._opened(folder, make=True) as here:
            if how.in_place:
                found = _regular(here, name)
                if found is not None:
                    check_owner(found, os.fstat(here))
                os.close(os.open(name, _OVER, how.mode & PERMISSIONS, dir_fd=here))
                return name
            return _new_file(here, name)

    def create(self, folder: Parts, name: bytes) -> None:
        """Make a file that was not there under this name, as ``begin`` does.

        Raises:
            OSError: It cannot be.
        """
        with self._opened(folder, make=True) as here:
            os.close(os.open(name, _NEW, _PRIVATE, dir_fd=here))

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
        """Drop what is behind ``size``, and let only its owner read the file.

        Raises:
            OSError: It cannot be.
        """
        with self._opened(folder) as here:
            descriptor = os.open(name, _AGAIN, dir_fd=here)
            try:
                os.fchmod(descriptor, _PRIVATE)
                os.ftruncate(descriptor, size)
            finally:
                os.close(descriptor)

    def sum(self, folder: Parts, name: bytes, size: int) -> str:
        """The SHA-256 of the first ``size`` bytes of a file, in hexadecimal digits.

        Raises:
            OSError: It cannot be read.
        """
        with self._opened(folder) as here:
            descriptor = os.open(name, _READ, dir_fd=here)
            try:
                return sha256_of(descriptor, size)
            finally:
                os.close(descriptor)

    def finish(self, folder: Parts, temporary: bytes, name: bytes, how: FinalAttributes) -> list[str]:
        """Give a file its owner and its modes, its times and, last, its name.

        What is overwritten keeps its owner, its access control list and, unless the mode is exact, its mode.

        Returns:
            What could not be kept, in words.

        Raises:
            OSError: It cannot be; a folder of that name is one reason.
        """
        notes: list[str] = []
        with self._opened(folder) as here:
            descriptor = os.open(temporary, _AGAIN, dir_fd=here)
            try:
                mode = how.mode if how.exact else _usual_mode(descriptor, how)
                old = None if how.in_place else _regular(here, name)
                if old is not None:
                    user, group = _keep_owner(descriptor, old, notes)
                    _keep_acl(descriptor, here, name, notes)
                    if not how.exact:  # what a host has sent sets no user, whatever was there
                        mode = kept_mode(old.st_mode, user=user, group=group) & PERMISSIONS
                os.fchmod(descriptor, mode)
                if how.times is not None:
                    os.utime(descriptor, ns=how.times)
            finally:
                os.close(descriptor)
            if temporary != name:
                try:
                    os.rename(temporary, name, src_dir_fd=here, dst_dir_fd=here)
                except OSError as error:
                    raise OSError(error.errno, f"{error.strerror}: {NOT_RENAMED}") from None
        return notes

    def store(self, folder: Parts, name: bytes, data: bytes, how: FinalAttributes) -> list[str]:
        """Do all of it in one step, for a small file; nothing is left where it fails.

        Returns:
            As of ``finish``.

        Raises:
            OSError: It cannot be.
        """
        temporary = self.begin(folder, name, how)
        try:
            self.write(folder, temporary, 0, data)
            return self.finish(folder, temporary, name, how)
        except BaseException:
            if temporary != name:
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
        """Give a folder its mode and times, in nanoseconds.

        Raises:
            OSError: It cannot be.
        """
        with self._opened(parts) as here:
            os.utime(here, ns=times)
            os.fchmod(here, mode)

    def narrow(self, parts: Parts, mode: int) -> None:
        """Take from a folder what its owner may do and ``mode`` does not have.

        Raises:
            OSError: It cannot be.
        """
        with self._opened(parts) as here:
            os.fchmod(here, stat.S_IMODE(os.fstat(here).st_mode) & ~(OWNERS & ~mode))

    def tidy(self, folder: Parts, name: bytes) -> None:
        """Remove half files of other versions of ``name`` that are older than a day."""
        prefix = partials_prefix(name)
        with contextlib.suppress(OSError), self._opened(folder) as here:
            listed = self._listed
            if listed is None or listed[0] != folder:
                # Once a folder, for many files of it: what comes later is not older than a day.
                found = map(os.fsencode, os.listdir(here))  # noqa: PTH208 - by a descriptor
                listed = self._listed = folder, [other for other in found if is_partial(other)]
            for other in listed[1]:
                if other.startswith(prefix):
                    _remove_old(here, other)

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


def _check(part: bytes) -> None:
    if part in {b"", b".", b".."} or b"/" in part:
        raise OSError(errno.EINVAL, "a name that leads elsewhere")


def _open_below(here: int, part: bytes, *, make: bool) -> int:
    _check(part)
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


def _new_file(here: int, name: bytes) -> bytes:
    """Make a temporary file for ``name``; what it is called."""
    taken: list[bytes] = []
    for slot in (*SLOTS, secrets.token_hex(4)):
        temporary = temporary_name(name, slot)
        try:
            os.close(os.open(temporary, _NEW, _PRIVATE, dir_fd=here))
        except FileExistsError:
            taken.append(temporary)
        except PermissionError as error:
            if _regular(here, name) is None:
                raise
            raise PermissionError(error.errno, f"{error.strerror}: {NONE_BESIDE}") from None
        else:
            for old in taken:
                _remove_old(here, old)
            return temporary
    raise FileExistsError(errno.EEXIST, "its temporary files have all possible names already")


def _remove_old(here: int, name: bytes) -> None:
    """Remove a file if it is older than a day."""
    with contextlib.suppress(OSError):
        found = _regular(here, name)
        if found is not None and time.time() - found.st_mtime > DAY_SECONDS:
            os.unlink(name, dir_fd=here)


def _regular(here: int, name: bytes) -> os.stat_result | None:
    """What is known of the file that has this name; ``None`` where none has."""
    with contextlib.suppress(FileNotFoundError):
        found = os.stat(name, dir_fd=here, follow_symlinks=False)
        if stat.S_ISREG(found.st_mode):
            return found
    return None


def _keep_owner(descriptor: int, old: os.stat_result, notes: list[str]) -> tuple[bool, bool]:
    """Give a file the owner that ``old`` has; whether user and group are the same then."""
    now = os.fstat(descriptor)
    if (now.st_uid, now.st_gid) != (old.st_uid, old.st_gid):
        for user in (old.st_uid, -1):
            with contextlib.suppress(PermissionError):
                os.fchown(descriptor, user, old.st_gid)
                break
        now = os.fstat(descriptor)
    user_is_kept, group_is_kept = now.st_uid == old.st_uid, now.st_gid == old.st_gid
    if not (user_is_kept and group_is_kept):
        notes.append(f"its owner is {now.st_uid}:{now.st_gid} and not {old.st_uid}:{old.st_gid}")
    return user_is_kept, group_is_kept


def _keep_acl(descriptor: int, here: int, name: bytes, notes: list[str]) -> None:
    """Give a file the access control list of the one that it replaces (acl(5)), if that has one."""
    if sys.platform != "linux":
        return
    try:
        old = os.open(name, _READ, dir_fd=here)
    except OSError:  # it may be written and not read
        notes.append(ACL_LOST)
        return
    try:
        os.setxattr(descriptor, _ACL, os.getxattr(old, _ACL))
    except OSError as error:
        if error.errno == errno.ENODATA:  # a new file may have one of its folder
            with contextlib.suppress(OSError):
                os.removexattr(descriptor, _ACL)
        elif error.errno != errno.ENOTSUP:
            notes.append(ACL_LOST)
    finally:
        os.close(old)


def _usual_mode(descriptor: int, how: FinalAttributes) -> int:
    """What a file has that is written in place, or gets that is new (by the umask)."""
    return os.fstat(descriptor).st_mode & PERMISSIONS if how.in_place else how.mode & ~_UMASK


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


@dataclass(frozen=True, slots=True)
class HostDestination:
    """Where a host's files go, and how they get there.

    Attributes:
        destination: The folder of all hosts.
        disk: Calls what blocks.
        root: The host's own folder below it.
    """

    destination: DestinationDir
    disk: DiskThreads
    root: Parts

    def of(self, parts: Parts) -> tuple[Parts, bytes]:
        """The folder and the name for what is pulled."""
        whole = (*self.root, *parts)
        return whole[:-1], whole[-1]


def final_attributes(
    options: CopyOptions, mode: int | None, times: tuple[int, int] | None
) -> FinalAttributes:
    """How a file is to be, which has this mode and these times, in nanoseconds, at the host."""
    return FinalAttributes(
        mode=(0o666 if mode is None else mode) & SAFE_MODES,
        exact=options.preserve and mode is not None,
        times=times if options.keeps_times else None,
        in_place=options.inplace,
    )


def check_replaceable(old: os.stat_result | None) -> None:
    """See to it that what is here may be replaced by a file.

    Raises:
        FileTrouble: It may not.
    """
    if old is not None and kind_of(old.st_mode) is FileKind.FOLDER:
        raise FileError("here, a folder has its name")
    if old is not None and is_special(old.st_mode):
        raise FileError(f"here, {SPECIAL}")
