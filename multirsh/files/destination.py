"""The local folder that a pull writes to: no name leads out of it, and no link below it is followed.

Every step opens the folder and then one part of the path after the other, each relative to the one before
(``openat(2)``) and without following links (``O_NOFOLLOW``). So a link that an earlier file of the same copy
has created is never written through. No descriptor stays open between steps, so a thousand hosts hold none.

A file has a temporary name until it is complete; then it is renamed.

The functions block, and are called in threads (``concurrency.py``).
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
"""The permissions that are accepted from another machine: no setuid, setgid or sticky bit."""

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_BELOW: Final = _FOLDER | os.O_NOFOLLOW

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_OVER: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

_AGAIN: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

_PRIVATE: Final = 0o600

_ACL: Final = "system.posix_acl_access"

NEW_FOLDER: Final = 0o777
"""The mode of a new folder, less the process's umask."""

Parts = tuple[bytes, ...]


class FinalAttributes(NamedTuple):
    """The attributes of a file when it is complete.

    Attributes:
        mode: Permissions; less the umask unless ``exact``.
        exact: Whether the mode is the source's own, rather than that of a new file.
        times: Access and modification time, in nanoseconds; ``None`` for now.
        in_place: Whether the file itself is written to, rather than a temporary file.
    """

    mode: int
    exact: bool
    times: tuple[int, int] | None
    in_place: bool = False


class DestinationDir:
    """A folder, and what is written below it."""

    def __init__(self, root: bytes) -> None:
        """Use a folder.

        Args:
            root: The user's own folder; links that lead to it are followed.
        """
        self._root = root
        self._listed: tuple[Parts, list[bytes]] | None = None

    def make_folder(self, parts: Parts, mode: int = NEW_FOLDER) -> bool:
        """Create a folder and those above it, unless they exist.

        Args:
            parts: Its path.
            mode: The mode of a new folder, less the umask.

        Returns:
            Whether the folder is new.

        Raises:
            OSError: Something else has its name, or it cannot be created.
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
        """Return the status of a file, without following links; ``None`` if it does not exist."""
        with contextlib.suppress(FileNotFoundError), self._opened(folder) as here:
            return os.stat(name, dir_fd=here, follow_symlinks=False)
        return None

    def begin(self, folder: Parts, name: bytes, how: FinalAttributes) -> bytes:
        """Create an empty file that will become ``name``; until it is finished, only its owner may read it.

        Leftovers of earlier copies of the same file are removed if they are older than a day.

        Returns:
            Its temporary name; ``name`` itself if it is written in place.

        Raises:
            OSError: The file cannot be created.
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
        """Create a file that does not exist yet, readable only by its owner.

        Raises:
            OSError: The file exists, or cannot be created.
        """
        with self._opened(folder, make=True) as here:
            os.close(os.open(name, _NEW, _PRIVATE, dir_fd=here))

    def write(self, folder: Parts, name: bytes, offset: int, data: bytes) -> None:
        """Write all of ``data`` at ``offset``.

        Raises:
            OSError: The file cannot be written.
        """
        with self._opened_file(folder, name, _AGAIN) as descriptor:
            _write_all(descriptor, offset, data)

    def truncate(self, folder: Parts, name: bytes, size: int) -> None:
        """Drop everything after ``size`` bytes, and let only its owner read the file.

        Raises:
            OSError: The file cannot be changed.
        """
        with self._opened_file(folder, name, _AGAIN) as descriptor:
            os.fchmod(descriptor, _PRIVATE)
            os.ftruncate(descriptor, size)

    def sum(self, folder: Parts, name: bytes, size: int) -> str:
        """Return the SHA-256 of the first ``size`` bytes of a file, in hexadecimal digits.

        Raises:
            OSError: The file cannot be read.
        """
        with self._opened_file(folder, name, _READ) as descriptor:
            return sha256_of(descriptor, size)

    def finish(self, folder: Parts, temporary: bytes, name: bytes, how: FinalAttributes) -> list[str]:
        """Give a file its owner, mode and times and, last, its name.

        A file that is overwritten passes on its owner, its access control list and, unless the mode is exact,
        its mode.

        Returns:
            What could not be preserved, in words.

        Raises:
            OSError: That failed; for example, a folder has the name.
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
                    if not how.exact:  # never setuid or setgid for content from a host
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
        """Create, write and finish a small file in one step; nothing is left behind if that fails.

        Returns:
            See ``finish``.

        Raises:
            OSError: That failed.
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
        """Create a link, replacing a file or a link.

        Raises:
            OSError: The link cannot be created.
        """
        with self._opened(folder, make=True) as here:
            os.symlink(target, temporary, dir_fd=here)
            try:
                os.rename(temporary, name, src_dir_fd=here, dst_dir_fd=here)
            except BaseException:
                os.unlink(temporary, dir_fd=here)
                raise

    def discard(self, folder: Parts, name: bytes) -> None:
        """Remove a file if it exists."""
        with contextlib.suppress(OSError), self._opened(folder) as here:
            os.unlink(name, dir_fd=here)

    def set_folder(self, parts: Parts, mode: int, times: tuple[int, int]) -> None:
        """Set a folder's mode, and its times in nanoseconds.

        Raises:
            OSError: They cannot be set.
        """
        with self._opened(parts) as here:
            os.utime(here, ns=times)
            os.fchmod(here, mode)

    def restrict(self, parts: Parts, mode: int) -> None:
        """Remove those permissions of a folder's owner that ``mode`` does not have.

        Raises:
            OSError: The mode cannot be set.
        """
        with self._opened(parts) as here:
            os.fchmod(here, stat.S_IMODE(os.fstat(here).st_mode) & ~(OWNERS & ~mode))

    def tidy(self, folder: Parts, name: bytes) -> None:
        """Remove partial files of other versions of ``name`` that are older than a day."""
        prefix = partials_prefix(name)
        with contextlib.suppress(OSError), self._opened(folder) as here:
            listed = self._listed
            if listed is None or listed[0] != folder:
                # Listed once for many files of a folder: files created later are not older than a day.
                found = map(os.fsencode, os.listdir(here))  # noqa: PTH208 - by a descriptor
                listed = self._listed = folder, [other for other in found if is_partial(other)]
            for other in listed[1]:
                if other.startswith(prefix):
                    _remove_old(here, other)

    @contextlib.contextmanager
    def _opened(self, parts: Parts, *, make: bool = False) -> Iterator[int]:
        """Open a folder inside of the block; yield its descriptor."""
        here = os.open(self._root, _FOLDER)
        try:
            for part in parts:
                below = _open_below(here, part, make=make)
                os.close(here)
                here = below
            yield here
        finally:
            os.close(here)

    @contextlib.contextmanager
    def _opened_file(self, folder: Parts, name: bytes, flags: int) -> Iterator[int]:
        """Open a file of a folder inside of the block; yield its descriptor."""
        with self._opened(folder) as here:
            descriptor = os.open(name, flags, dir_fd=here)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


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
    with contextlib.suppress(FileExistsError):  # created for another file of the same folder
        os.mkdir(part, NEW_FOLDER, dir_fd=here)
    return _open_ours(here, part)


def _open_ours(here: int, part: bytes) -> int:
    """Open a folder, unless another user has left it there to read or change what is put into it."""
    below = os.open(part, _BELOW, dir_fd=here)
    try:
        check_owner(os.fstat(below), os.fstat(here))
    except BaseException:
        os.close(below)
        raise
    return below


def _new_file(here: int, name: bytes) -> bytes:
    """Create a temporary file for ``name``; return its name."""
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
    """Return the status of a regular file; ``None`` if there is none of this name."""
    with contextlib.suppress(FileNotFoundError):
        found = os.stat(name, dir_fd=here, follow_symlinks=False)
        if stat.S_ISREG(found.st_mode):
            return found
    return None


def _keep_owner(descriptor: int, old: os.stat_result, notes: list[str]) -> tuple[bool, bool]:
    """Give a file the owner that ``old`` has; return whether user and group are now the same."""
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
    """Give a file the access control list (acl(5)) of the file that it replaces, if that has one."""
    if sys.platform != "linux":
        return
    try:
        old = os.open(name, _READ, dir_fd=here)
    except OSError:  # writable but not readable
        notes.append(ACL_LOST)
        return
    try:
        os.setxattr(descriptor, _ACL, os.getxattr(old, _ACL))
    except OSError as error:
        if error.errno == errno.ENODATA:  # the new file may have inherited one from its folder
            with contextlib.suppress(OSError):
                os.removexattr(descriptor, _ACL)
        elif error.errno != errno.ENOTSUP:
            notes.append(ACL_LOST)
    finally:
        os.close(old)


def _usual_mode(descriptor: int, how: FinalAttributes) -> int:
    """Return the mode that a file has if written in place, or gets if it is new (less the umask)."""
    return os.fstat(descriptor).st_mode & PERMISSIONS if how.in_place else how.mode & ~_UMASK


def _current_umask() -> int:
    """Return the process's umask. It can be read only by setting it, so this is done once, at import."""
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
    """The destination of one host's files.

    Attributes:
        destination: The folder of all hosts.
        disk: Calls blocking functions.
        root: The host's own folder below it.
    """

    destination: DestinationDir
    disk: DiskThreads
    root: Parts

    def of(self, parts: Parts) -> tuple[Parts, bytes]:
        """Return the folder and the name for something that is pulled."""
        whole = (*self.root, *parts)
        return whole[:-1], whole[-1]


def final_attributes(
    options: CopyOptions, mode: int | None, times: tuple[int, int] | None
) -> FinalAttributes:
    """Return the final attributes of a file with this mode and these times (in nanoseconds) on the host."""
    return FinalAttributes(
        mode=(0o666 if mode is None else mode) & SAFE_MODES,
        exact=options.preserve and mode is not None,
        times=times if options.keeps_times else None,
        in_place=options.inplace,
    )


def check_replaceable(old: os.stat_result | None) -> None:
    """Check that what exists here may be replaced by a file.

    Raises:
        FileError: It may not.
    """
    if old is not None and kind_of(old.st_mode) is FileKind.FOLDER:
        raise FileError("here, a folder has its name")
    if old is not None and is_special(old.st_mode):
        raise FileError(f"here, {SPECIAL}")
