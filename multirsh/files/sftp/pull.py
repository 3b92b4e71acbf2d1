"""The pull from one host over SFTP: several files at a time, into the host's own folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from multirsh.files.access import ConversationEnded
from multirsh.files.concurrency import ByteLimiter, limited_tasks
from multirsh.files.destination import (
    NEW_FOLDER,
    SAFE_MODES,
    HostDestination,
    Parts,
    check_replaceable,
    final_attributes,
)
from multirsh.files.host_shell import MEBIBYTE, HostShell
from multirsh.files.modes import OWNERS, SECOND_NS, FileKind, kind_of
from multirsh.files.options import CopyOptions
from multirsh.files.paths import partial_name, temporary_name
from multirsh.files.results import CopyTally, FileError, local_failure, os_reason
from multirsh.files.sftp.client import Response, SftpClient, SftpError
from multirsh.files.sftp.packets import LATEST, OpenFlags
from multirsh.files.sftp.walk import RemoteFile, RemoteWalk
from multirsh.sh_text import quoted

SMALL_BYTES: Final = 255 * 1024
"""A file up to this size is stored in one step."""

UNKNOWN_SIZE_BYTES: Final = 64 * 1024 * 1024
"""The most that is read of a file whose size is reported as 0, such as those in /proc."""

CLEANUP_S: Final = 5.0

Answered = TypeVar("Answered")


def nearest(seconds: int, now: float) -> int:
    """Return the time that 32 bits of seconds mean: of all times with these bits, the one nearest to now."""
    span = LATEST + 1
    return seconds - span if seconds - now > span / 2 else seconds


@dataclass(frozen=True, slots=True)
class SftpPull:
    """The pull from one host.

    Attributes:
        host: The host's name.
        sftp: A client that has begun.
        sources: Paths and patterns.
        place: The destination.
        options: How to copy.
        tally: Receives the results.
        in_flight: Bounds the bytes in flight.
        shell: Does what SFTP cannot.
    """

    host: str
    sftp: SftpClient
    sources: Sequence[bytes]
    place: HostDestination
    options: CopyOptions
    tally: CopyTally
    in_flight: ByteLimiter
    shell: HostShell

    async def copy(self) -> None:
        """Copy everything. A file that fails is recorded, and the others are copied.

        Raises:
            HostError: The host has too many files, or this machine cannot store them.
            ConversationEnded: The conversation is over.
        """
        folders: list[tuple[RemoteFile, bool]] = []
        walk = RemoteWalk(self.host, self.sftp, self.options, self.tally)
        async with limited_tasks() as tasks, contextlib.aclosing(walk.sources(self.sources)) as offered:
            async for found in offered:
                if found.kind is FileKind.FOLDER:
                    is_new = await self._recorded(found, self._folder(found))
                    if not found.parts:
                        continue
                    if self.options.preserve or (is_new and (found.attrs.mode or OWNERS) & OWNERS != OWNERS):
                        folders.append((found, bool(is_new)))
                else:
                    await tasks.start(self._recorded(found, self._item(found)))
        for found, is_new in reversed(folders):
            await self._recorded(found, self._finish_folder(found, is_new=is_new))

    async def _recorded(self, found: RemoteFile, copying: Coroutine[Any, Any, Answered]) -> Answered | None:
        """Record a failure; raise only what concerns every file."""
        try:
            return await copying
        except OSError as error:
            trouble = local_failure(self.host, error)
            if trouble is not None:
                raise trouble from error
            self.tally.failed(found.path, f"here: {os_reason(error)}")
        except (SftpError, FileError) as error:
            self.tally.failed(found.path, str(error))
        return None

    async def _folder(self, found: RemoteFile) -> bool:
        """Create a folder unless it exists; return whether it is new."""
        parts = (*self.place.root, *found.parts)
        mode = NEW_FOLDER
        if found.parts and found.attrs.mode is not None:
            mode = found.attrs.mode & SAFE_MODES | OWNERS
        return await self.place.disk(self.place.destination.make_folder, parts, mode)

    async def _finish_folder(self, found: RemoteFile, *, is_new: bool) -> None:
        mode, times = found.attrs.mode, found.attrs.times
        parts = (*self.place.root, *found.parts)
        if self.options.preserve and mode is not None and times is not None:
            exact = await self._times(found, times)
            await self.place.disk(self.place.destination.set_folder, parts, mode & SAFE_MODES, exact)
        elif is_new and mode is not None:
            await self.place.disk(self.place.destination.restrict, parts, mode)

    async def _times(self, found: RemoteFile, times: tuple[int, int]) -> tuple[int, int]:
        """Return the times of a file, in nanoseconds; times that may be before 1970 are read by a shell."""
        if max(times) > LATEST // 2:
            said = (await self.shell.ask(f"times_of {quoted(found.path)}") or [""])[-1].split()
            with contextlib.suppress(ValueError):
                accessed, modified = map(int, said)
                return accessed * SECOND_NS, modified * SECOND_NS
        now = time.time()
        return nearest(times[0], now) * SECOND_NS, nearest(times[1], now) * SECOND_NS

    async def _item(self, found: RemoteFile) -> None:
        folder, name = self.place.of(found.parts)
        old = await self.place.disk(self.place.destination.lstat, folder, name)
        check_replaceable(old)
        if found.kind is FileKind.LINK:
            temporary = temporary_name(name, secrets.token_hex(4))
            await self.place.disk(self.place.destination.link, folder, temporary, name, found.target)
            self.tally.copied(found.path, 0)
            return
        attrs = found.attrs
        if (
            self.options.update
            and old is not None
            and attrs.times is not None
            and (old.st_size, old.st_mtime_ns // SECOND_NS & LATEST) == (attrs.size, attrs.times[1])
        ):
            self.tally.skipped(found.path, "unchanged")
            return
        handle = await self.sftp.open(found.path, OpenFlags.READ)
        try:
            await self._read(found, handle, folder, name)
            if self.options.partial:
                await self.place.disk(self.place.destination.tidy, folder, name)
        finally:
            with contextlib.suppress(SftpError, ConversationEnded, TimeoutError):
                async with asyncio.timeout(CLEANUP_S):
                    await self.sftp.close(handle)

    async def _read(self, found: RemoteFile, handle: bytes, folder: Parts, name: bytes) -> None:
        attrs = await self.sftp.fstat(handle)
        size = attrs.size or 0
        times = None
        if attrs.times is not None and self.options.keeps_times:
            times = await self._times(found, attrs.times)
        finish = final_attributes(self.options, attrs.mode, times)
        destination, disk = self.place.destination, self.place.disk
        if size and size <= min(SMALL_BYTES, self.sftp.read_bytes):
            async with contextlib.aclosing(self._chunks(handle, 0, size)) as pieces:
                data = b"".join([piece async for piece in pieces])
            notes = await disk(destination.store, folder, name, data, finish)
            self.tally.copied(found.path, len(data), notes)
            return
        start = 0
        temporary = partial_name(name, size, 0 if attrs.times is None else attrs.times[1])
        if self.options.partial:
            start = await self._verified_bytes(found, folder, temporary, size)
        async with contextlib.aclosing(self._chunks(handle, start, size)) as pieces:
            piece = await anext(pieces, b"")  # first: a source that cannot be read must not empty a file
            if not self.options.partial:
                temporary = await disk(destination.begin, folder, name, finish)
            elif not start:
                await disk(destination.create, folder, temporary)
            async with self._removed_on_failure(folder, temporary, name):
                written = start
                while piece:
                    await disk(destination.write, folder, temporary, written, piece)
                    written += len(piece)
                    piece = await anext(pieces, b"")
                notes = await disk(destination.finish, folder, temporary, name, finish)
        self.tally.copied(found.path, written - start, notes)

    async def _verified_bytes(self, found: RemoteFile, folder: Parts, partial: bytes, size: int) -> int:
        """Return how many bytes of a local partial file equal the host's, by the checksums of both ends.

        A file that is not ours, or of another version, is removed.
        """
        destination, disk = self.place.destination, self.place.disk
        old = await disk(destination.lstat, folder, partial)
        if old is None:
            return 0
        if kind_of(old.st_mode) is FileKind.FILE and old.st_uid == os.geteuid():
            count = min(old.st_size, size) // MEBIBYTE
            said = await self.shell.ask(f"sum {quoted(found.path)} {count}") if count else None
            theirs = said[-1].partition(" ")[0] if said else None
            if theirs is not None and theirs == await disk(
                destination.sum, folder, partial, count * MEBIBYTE
            ):
                await disk(destination.truncate, folder, partial, count * MEBIBYTE)
                return count * MEBIBYTE
        await disk(destination.discard, folder, partial)
        return 0

    async def _chunks(self, handle: bytes, start: int, size: int) -> AsyncGenerator[bytes, None]:
        """Yield the file's content from ``start``, in order, with many requests in flight.

        Raises:
            FileError: The file ends before its size, or has no size and does not end.
        """
        end = size or UNKNOWN_SIZE_BYTES
        step = self.sftp.read_bytes
        asked: deque[tuple[int, int, asyncio.Future[Response]]] = deque()
        upcoming = start
        held = 0
        try:
            while upcoming < end or asked:
                # With requests in flight it takes only what is free: a file that waits must hold nothing.
                while upcoming < end and (size or not asked):
                    wanted = min(step, end - upcoming)
                    if not asked:
                        await self.in_flight.acquire(wanted)
                    elif not self.in_flight.acquire_nowait(wanted):
                        break
                    held += wanted
                    asked.append((upcoming, wanted, await self.sftp.request_read(handle, upcoming, wanted)))
                    upcoming += wanted
                place, wanted, answer = asked.popleft()
                data = await self.sftp.read_result(answer)
                if len(data) > wanted:
                    raise FileError("the server sent more than was asked for")
                if not data:
                    await self._check_end(handle, place, size)
                    return
                if len(data) < wanted:  # servers may send less than was requested
                    rest, missing = place + len(data), wanted - len(data)
                    asked.appendleft((rest, missing, await self.sftp.request_read(handle, rest, missing)))
                yield data
                self.tally.moved(len(data))
                self.in_flight.release(len(data))
                held -= len(data)
            if not size:
                raise FileError(
                    f"its size is reported as 0, and it has more than {UNKNOWN_SIZE_BYTES:,} bytes"
                )
        finally:
            self.in_flight.release(held)
            for _, _, answer in asked:
                answer.cancel()

    async def _check_end(self, handle: bytes, place: int, size: int) -> None:
        """Check that a file that ends early was not truncated: files in /sys report more than they have."""
        now = await self.sftp.fstat(handle) if size else None
        if now is not None and now.size != size:
            raise FileError(f"it was cut short on the host while it was copied: {place} of {size} bytes")

    @contextlib.asynccontextmanager
    async def _removed_on_failure(self, folder: Parts, temporary: bytes, name: bytes) -> AsyncIterator[None]:
        """Remove the temporary file if the block fails, unless a later copy can resume it."""
        try:
            yield
        except BaseException:
            if not self.options.partial and temporary != name:
                await self.place.disk(self.place.destination.discard, folder, temporary)
            raise
