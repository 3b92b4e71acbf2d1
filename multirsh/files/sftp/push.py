"""The push to one host over SFTP: folders first, then several files at a time, and folders' times last."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import posixpath
import secrets
import stat
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Final

from multirsh.errors import HostError
from multirsh.files.access import ConversationEnded
from multirsh.files.concurrency import ByteLimiter, limited_tasks
from multirsh.files.host_shell import MEBIBYTE, UNSEEN, AclKeeper, HostShell
from multirsh.files.modes import (
    ALL_MODES,
    NONE_BESIDE,
    NOT_RENAMED,
    OWNERS,
    PERMISSIONS,
    SPECIAL,
    FileKind,
    is_special,
    kept_mode,
    kind_of,
    opening_mode,
)
from multirsh.files.options import CopyOptions
from multirsh.files.paths import DAY_SECONDS, SLOTS, kept_name, partial_name, partials_pattern, temporary_name
from multirsh.files.results import CopyTally, FileError, copy_failure, display_path
from multirsh.files.sftp.client import Response, SftpClient, SftpError
from multirsh.files.sftp.packets import LATEST, FileAttributes, OpenFlags, StatusCode
from multirsh.files.sources import BLOCK_BYTES, BlockCache, SourceEntry, SourceTree, goes_into, target_of
from multirsh.sh_text import quoted

CLEANUP_S: Final = 5.0
"""Seconds that the removal of a temporary file may take when a copy is given up."""

_WRITABLE: Final = 0o600

_SHORTAGES: Final = {
    "quota": "the disk quota on the host is used up",
    "no space left": "no space left on the host",
}
"""By what dd(1) prints."""


class HostFullError(FileError):
    """The host's file system is full: no more files are tried."""


@dataclass(frozen=True, slots=True)
class SftpPush:
    """The push to one host.

    Attributes:
        host: The host's name.
        sftp: A client that has begun.
        tree: What is pushed.
        destination: The destination, as the user gave it.
        options: How to copy.
        blocks: Reads the local files.
        tally: Receives the results.
        in_flight: Bounds the bytes in flight.
        shell: Does what SFTP cannot.
        acls: Preserves access control lists, by the shell.
    """

    host: str
    sftp: SftpClient
    tree: SourceTree
    destination: bytes
    options: CopyOptions
    blocks: BlockCache
    tally: CopyTally
    in_flight: ByteLimiter
    shell: HostShell
    acls: AclKeeper

    async def copy(self) -> None:
        """Copy everything. A file that fails is recorded, and the others are copied.

        Raises:
            HostError: No file can be copied, or no further ones.
            ConversationEnded: The conversation is over.
        """
        try:
            found = await self.sftp.stat(self.destination)
        except SftpError as error:
            raise copy_failure(self.host, f"{display_path(self.destination)}: {error}") from None
        is_folder = found is not None and stat.S_ISDIR(found.mode or 0)
        if found is not None and is_special(found.mode):
            raise copy_failure(self.host, f"{display_path(self.destination)}: {SPECIAL}")
        into = goes_into(
            self.host, self.destination, self.tree, exists=found is not None, is_folder=is_folder
        )
        for parts, reason in self.tree.unreadable:
            self.tally.failed(target_of(parts, self.destination, into=into), reason)
        placed = [(entry, target_of(entry.parts, self.destination, into=into)) for entry in self.tree.entries]
        folders = [(entry, target) for entry, target in placed if entry.kind is FileKind.FOLDER]
        self.acls.expect(target for entry, target in placed if entry.kind is FileKind.FILE)
        missing, opened = await self._make_folders(folders)
        async with limited_tasks() as tasks:
            for entry, target in placed:
                if entry.kind is FileKind.FOLDER or any(target.startswith(gone) for gone in missing):
                    continue
                await tasks.start(self._file(entry, target))
        await self._finish_folders(folders, missing, opened)

    # Folders.

    async def _make_folders(self, folders: list[tuple[SourceEntry, bytes]]) -> tuple[list[bytes], set[bytes]]:
        """Create folders that do not exist.

        Returns:
            Those that could not be created, with a slash at the end; their contents are not tried. And those
            whose owner has more permissions than in the end, as long as files are written into them.
        """
        missing: list[bytes] = []
        opened: set[bytes] = set()
        for entry, target in folders:
            if any(target.startswith(gone) for gone in missing):
                continue
            try:
                is_new = await self._make_folder(entry, target)
            except FileError as error:
                self._failed(target, error)
                missing.append(target + b"/")
            else:
                if is_new and entry.mode & OWNERS != OWNERS:
                    opened.add(target)
        return missing, opened

    async def _make_folder(self, entry: SourceEntry, target: bytes) -> bool:
        """Create a folder unless it exists; return whether it is new."""
        try:
            await self.sftp.make_folder(target, entry.mode & PERMISSIONS | OWNERS)
        except SftpError as error:
            try:
                found = await self.sftp.stat(target)
            except SftpError:
                found = None
            if found is None:
                raise await self._file_error(error, target) from None
            if not stat.S_ISDIR(found.mode or 0):
                raise FileError("something that is not a folder has its name") from None
            return False
        return True

    async def _finish_folders(
        self, folders: list[tuple[SourceEntry, bytes]], missing: list[bytes], opened: set[bytes]
    ) -> None:
        """Set modes and times of folders, as nothing more is written into them."""
        for entry, target in reversed(folders):
            if any((target + b"/").startswith(gone) for gone in missing):
                continue
            mode, times = self._requested_attrs(entry)
            try:
                if mode is None and target in opened:
                    mode = await self._restricted_mode(entry, target)
                notes = await self._set(target, None, mode, times)
            except (SftpError, FileError) as error:
                self.tally.failed(target, str(error))
            else:
                if notes:
                    self.tally.copied(target, 0, notes)

    async def _restricted_mode(self, entry: SourceEntry, target: bytes) -> int | None:
        """Return the mode of a new folder, without the permissions that it had only to be written into."""
        found = await self.sftp.stat(target)
        return (
            None if found is None or found.mode is None else found.mode & ALL_MODES & ~(OWNERS & ~entry.mode)
        )

    # Files and links.

    async def _file(self, entry: SourceEntry, target: bytes) -> None:
        try:
            if entry.kind is FileKind.LINK:
                await self._link(entry, target)
            else:
                await self._copy_file(entry, target)
        except (SftpError, FileError) as error:
            self._failed(target, error)

    def _failed(self, target: bytes, error: Exception) -> None:
        """Record a file that failed.

        Raises:
            HostError: Every other file would fail as well.
        """
        # A full file system fails all files that are being copied, and is recorded once.
        if not isinstance(error, HostFullError) or self.tally.once(str(error)):
            self.tally.failed(target, str(error))
        if isinstance(error, HostFullError):
            raise copy_failure(self.host, f"{display_path(target)}: {error}") from None

    async def _file_error(self, error: SftpError, path: bytes, step: str = "") -> FileError:
        """Return what an error at ``path`` means.

        SFTP has no codes for a full disk, inodes or quota, so the host is asked.

        Args:
            error: The server's error.
            path: The file that could not be written.
            step: What failed, in words, if that is not plain from the error.
        """
        if error.code == StatusCode.FAILURE:
            folder, name = posixpath.split(path)
            lack = await self.sftp.shortage(folder or b".")
            if lack is None:
                trial = posixpath.join(folder, temporary_name(name, secrets.token_hex(4)))
                said = " ".join(await self.shell.ask(f"try_to_write {quoted(trial)}") or ()).lower()
                lack = next((words for sign, words in _SHORTAGES.items() if sign in said), None)
            if lack is not None:
                return HostFullError(lack)
        return FileError(f"{error}: {step}" if step else str(error))

    async def _link(self, entry: SourceEntry, target: bytes) -> None:
        folder, name = posixpath.split(target)
        temporary = posixpath.join(folder, temporary_name(name, secrets.token_hex(4)))
        _check_replaceable(await self.sftp.lstat(target))
        async with self._removed_on_failure(temporary):
            try:
                await self.sftp.link(temporary, entry.target)
            except SftpError as error:
                raise await self._file_error(error, temporary) from None
            await self._rename(temporary, target)
        self.tally.copied(target, 0)

    async def _copy_file(self, entry: SourceEntry, target: bytes) -> None:
        old = await (self.sftp.stat if self.options.inplace else self.sftp.lstat)(target)
        _check_replaceable(old)
        if old is not None and kind_of(old.mode or 0) is not FileKind.FILE:
            old = None  # a link, which is replaced, or a file of unknown kind
        if self.options.update and old is not None and _is_same(entry, old):
            self.tally.skipped(target, "unchanged")
            return
        if self.options.inplace:
            await self._write_in_place(entry, target)
            return
        mode = opening_mode(entry.mode, None if old is None else old.mode, exact=self.options.preserve)
        if self.options.partial:
            await self._write_partial(entry, target, old, mode)
            return
        temporary, handle = await self._create(target, mode, old)
        async with self._removed_on_failure(temporary):
            await self._write_and_name(entry, handle, temporary, target, old, start=0)

    async def _create(self, target: bytes, mode: int, old: FileAttributes | None) -> tuple[bytes, bytes]:
        """Create a temporary file beside the target; remove old leftovers of earlier copies of it.

        Returns:
            Its path and its handle.

        Raises:
            FileError: It cannot be created.
        """
        folder, name = posixpath.split(target)
        taken: list[tuple[bytes, FileAttributes]] = []
        refusal = SftpError(StatusCode.FAILURE, "no name is free")
        for slot in (*SLOTS, secrets.token_hex(4)):
            temporary = posixpath.join(folder, temporary_name(name, slot))
            try:
                handle = await self.sftp.open(
                    temporary, OpenFlags.WRITE | OpenFlags.CREATE | OpenFlags.EXCLUSIVE, mode
                )
            except SftpError as error:
                refusal = error
                if error.code != StatusCode.FAILURE:
                    break
                found = await self.sftp.lstat(temporary)
                if found is not None:  # otherwise another copy may just have renamed it
                    taken.append((temporary, found))
            else:
                if taken:
                    await self._tidy(taken, handle)
                return temporary, handle
        raise await self._file_error(refusal, target, "" if old is None else NONE_BESIDE)

    async def _tidy(self, taken: list[tuple[bytes, FileAttributes]], handle: bytes) -> None:
        """Remove temporary files that are more than a day older than the new file, by the host's clock."""
        with contextlib.suppress(SftpError):
            now = (await self.sftp.fstat(handle)).times
            for path, found in taken:
                if now is not None and found.times is not None and now[1] - found.times[1] > DAY_SECONDS:
                    await self.sftp.remove(path)

    async def _write_in_place(self, entry: SourceEntry, target: bytes) -> None:
        """Write to the file itself, which keeps its attributes."""
        await self.blocks.get(entry, 0)  # first: a source that cannot be read must not empty the file
        try:
            how = OpenFlags.WRITE | OpenFlags.CREATE | OpenFlags.TRUNCATE
            handle = await self.sftp.open(target, how, entry.mode & PERMISSIONS)
        except SftpError as error:
            raise await self._file_error(error, target) from None
        try:
            size = await self._write_checked(entry, handle, target, 0)
            notes = await self._set(target, handle, *self._requested_attrs(entry))
        except FileError as error:
            raise type(error)(f"{error}; it is there in part") from None
        finally:
            await self._close(handle)
        self.tally.copied(target, size, notes)

    async def _write_partial(
        self, entry: SourceEntry, target: bytes, old: FileAttributes | None, mode: int
    ) -> None:
        """Write to a file that a later copy can resume; it stays if this copy fails."""
        folder, name = posixpath.split(target)
        partial = posixpath.join(folder, partial_name(name, entry.size, entry.mtime_ns))
        found = await self.sftp.lstat(partial)
        start = 0
        if found is not None:
            if kind_of(found.mode or 0) is not FileKind.FILE:
                raise FileError(f"{display_path(partial)} is not a file")
            start = await self._verified_bytes(entry, partial, found.size or 0)
            if not start or (found.mode or 0) & PERMISSIONS & ~(mode | _WRITABLE):
                await self.sftp.remove(partial)  # of another version, or with too many permissions
                start, found = 0, None
        how = OpenFlags.WRITE | OpenFlags.CREATE
        if found is None:
            how |= OpenFlags.EXCLUSIVE
        try:
            handle = await self.sftp.open(partial, how, mode | _WRITABLE)
        except SftpError as error:
            raise await self._file_error(error, partial) from None
        await self._write_and_name(entry, handle, partial, target, old, start=start)
        await self.shell.ask(f"tidy {quoted(folder or b'.')} {quoted(partials_pattern(name))}")

    async def _verified_bytes(self, entry: SourceEntry, partial: bytes, size: int) -> int:
        """Return how many bytes of a partial file equal the source's; the host computes their checksum."""
        # A server may have written out of order, so the end may have holes; then less of it is verified.
        for less in (0, self.in_flight.size):
            count = (min(size, entry.size) - less) // MEBIBYTE
            if count <= 0:
                break
            said = await self.shell.ask(f"own_sum {quoted(partial)} {count}")
            theirs = said[-1].partition(" ")[0] if said else None
            if theirs is None:
                break
            if theirs == await self.blocks.sum(entry, count * MEBIBYTE):
                return count * MEBIBYTE
        return 0

    async def _write_and_name(
        self,
        entry: SourceEntry,
        handle: bytes,
        temporary: bytes,
        target: bytes,
        old: FileAttributes | None,
        *,
        start: int,
    ) -> None:
        try:
            size = await self._write_checked(entry, handle, temporary, start)
            notes = await self._finish(entry, handle, temporary, target, old)
        finally:
            await self._close(handle)
        await self._rename(temporary, target)
        self.tally.copied(target, size - start, notes)

    async def _write_checked(self, entry: SourceEntry, handle: bytes, path: bytes, start: int) -> int:
        """Write the file; return where it ends."""
        try:
            return await self._write(entry, handle, start)
        except SftpError as error:
            raise await self._file_error(error, path) from None

    async def _close(self, handle: bytes) -> None:
        with contextlib.suppress(SftpError, ConversationEnded, TimeoutError):
            async with asyncio.timeout(CLEANUP_S):
                await self.sftp.close(handle)

    async def _rename(self, temporary: bytes, target: bytes) -> None:
        folder, name = posixpath.split(target)
        aside = posixpath.join(folder, kept_name(name, secrets.token_hex(4)))
        try:
            await self.sftp.rename(temporary, target, aside)
        except SftpError as error:
            raise await self._file_error(error, temporary, NOT_RENAMED) from None

    # Owners, modes, times.

    async def _finish(
        self, entry: SourceEntry, handle: bytes, temporary: bytes, target: bytes, old: FileAttributes | None
    ) -> list[str]:
        """Give a temporary file its owner, access control list, mode and times.

        Returns:
            What could not be preserved.
        """
        notes: list[str] = []
        mode, times = self._requested_attrs(entry)
        if old is not None and old.mode is not None:
            now = await self.sftp.fstat(handle)
            user, group = await self._keep_owner(handle, old, now, notes)
            lost = await self.acls.keep(target, temporary)
            if lost is not None:
                notes += self.tally.once(lost) if lost is UNSEEN else [lost]
            kept = kept_mode(old.mode, user=user, group=group)
            if mode is None and (old.owner != now.owner or now.mode is None or kept != now.mode & ALL_MODES):
                mode = kept
        elif self.options.partial and mode is None and entry.mode & _WRITABLE != _WRITABLE:
            mode = ((await self.sftp.fstat(handle)).mode or 0) & ALL_MODES & ~(_WRITABLE & ~entry.mode)
        return notes + await self._set(temporary, handle, mode, times)

    def _requested_attrs(self, entry: SourceEntry) -> tuple[int | None, tuple[int, int] | None]:
        """Return the mode and times that the options request."""
        mode = entry.mode & ALL_MODES if self.options.preserve else None
        return mode, (entry.atime, entry.mtime) if self.options.keeps_times else None

    async def _keep_owner(
        self, handle: bytes, old: FileAttributes, now: FileAttributes, notes: list[str]
    ) -> tuple[bool, bool]:
        """Give the file the owner of the overwritten one; return whether user and group are now the same."""
        if old.owner is None or now.owner is None or old.owner == now.owner:
            return True, True
        (user, group), (our_user, our_group) = old.owner, now.owner
        reason: SftpError | None = None
        for wanted in dict.fromkeys([(user, group), (our_user, group)]):
            if wanted == now.owner:
                break
            try:
                await self.sftp.set_attrs(handle, FileAttributes(owner=wanted))
            except SftpError as error:
                reason = reason or error
                continue
            our_user, our_group = wanted
            break
        if (our_user, our_group) != old.owner:
            notes.append(f"its owner is {our_user}:{our_group} and not {user}:{group}: {reason}")
        return our_user == user, our_group == group

    async def _set(
        self, path: bytes, handle: bytes | None, mode: int | None, times: tuple[int, int] | None
    ) -> list[str]:
        """Set mode and times.

        Args:
            path: The path of the file or folder.
            handle: The handle of the file.
            mode: Permissions; ``None`` to leave them.
            times: Access and modification time, in seconds; ``None`` to leave them.

        Returns:
            What could not be set, if ``-p`` was not given.

        Raises:
            FileError: They could not be set, and ``-p`` was given.
        """
        carried = times if times is not None and all(0 <= time <= LATEST for time in times) else None
        wanted = FileAttributes(mode=mode, times=carried)
        try:
            if wanted != FileAttributes() and handle is not None:
                await self.sftp.set_attrs(handle, wanted)
            elif wanted != FileAttributes():
                await self.sftp.set_path_attrs(path, wanted)
        except SftpError as error:
            if self.options.preserve:
                raise FileError(f"its mode and times cannot be set: {error}; -p asks for them") from None
            return [f"its mode and times could not be set: {error}"]
        if times == carried or times is None:
            return []
        script = f"set_time -a {times[0]} {quoted(path)}; set_time -m {times[1]} {quoted(path)}"
        said = await self.shell.ask(script)
        return ["its times, which SFTP cannot carry, are not kept"] if said is None or said else []

    async def _write(self, entry: SourceEntry, handle: bytes, start: int) -> int:
        """Write the file from ``start`` to its end; return where it ends."""
        sent: deque[asyncio.Future[Response]] = deque()
        step = self.sftp.write_bytes
        end = start
        for number in itertools.count(start // BLOCK_BYTES):
            base = number * BLOCK_BYTES
            if entry.size and base >= entry.size:
                break
            block = memoryview(await self.blocks.get(entry, number))
            for place in _places(len(block), max(0, start - base), step):
                data = block[place : place + step]
                await self.in_flight.acquire(len(data))
                asked = await self.sftp.request_write(handle, base + place, data)
                asked.add_done_callback(functools.partial(self._arrived, len(data)))
                sent.append(asked)
                while sent and sent[0].done():
                    await self.sftp.write_result(sent.popleft())
            end = base + len(block)
            if len(block) < BLOCK_BYTES:
                break
        while sent:
            await self.sftp.write_result(sent.popleft())
        return end

    def _arrived(self, size: int, _asked: asyncio.Future[Response]) -> None:
        self.in_flight.release(size)
        self.tally.moved(size)

    @contextlib.asynccontextmanager
    async def _removed_on_failure(self, temporary: bytes) -> AsyncIterator[None]:
        """Remove the temporary file if the block fails, as long as the connection lives."""
        try:
            yield
        except (ConversationEnded, HostError):
            raise
        except BaseException as error:
            try:
                async with asyncio.timeout(CLEANUP_S):
                    await self.sftp.remove(temporary)
            except SftpError as remains:
                if isinstance(error, FileError) and remains.code != StatusCode.NO_SUCH_FILE:
                    raise type(error)(f"{error}; {display_path(temporary)} is left there") from None
            except (ConversationEnded, TimeoutError):
                pass
            raise


def _check_replaceable(old: FileAttributes | None) -> None:
    """Check that a file may replace what exists."""
    if old is not None and kind_of(old.mode or 0) is FileKind.FOLDER:
        raise FileError("a folder has its name")
    if old is not None and is_special(old.mode):
        raise FileError(SPECIAL)


def _is_same(entry: SourceEntry, old: FileAttributes) -> bool:
    return old.size == entry.size and old.times is not None and old.times[1] == entry.mtime & LATEST


def _places(size: int, first: int, step: int) -> Iterator[int]:
    yield from range(first, size, step)
