"""One host's push over SFTP: folders, then files by several lanes, then the folders' times."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import posixpath
import secrets
import stat
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Final

from multirsh.errors import HostError
from multirsh.files.blocks import BLOCK_BYTES, Blocks
from multirsh.files.entries import Entry, Kind, kind_of
from multirsh.files.lanes import Flight, open_lanes
from multirsh.files.names import partial_name, temporary_name
from multirsh.files.options import CopyOptions
from multirsh.files.sftp.client import Answer, Ended, Sftp, SftpError
from multirsh.files.sftp.packets import Attrs, Code, Open
from multirsh.files.tally import HostTally
from multirsh.files.tree import Tree
from multirsh.files.words import FileTrouble, failed, shown

TIDY_SECONDS: Final = 5.0
"""How long the removal of a half file may take, for a copy that is given up."""

PERMISSIONS: Final = 0o777
ALL_MODES: Final = 0o7777
_ENTERABLE: Final = 0o700


class NoRoom(FileTrouble):
    """The host's file system is full: nothing more is tried."""


def target_of(entry: Entry, destination: bytes, *, into: bool) -> bytes:
    """Where an entry goes on the host.

    Args:
        entry: What.
        destination: As the user named it.
        into: Whether it is a folder that the sources go into, or the name of the one source itself.
    """
    parts = entry.parts if into else entry.parts[1:]
    return posixpath.join(destination, *parts) if parts else destination.rstrip(b"/") or b"/"


def goes_into(host: str, destination: bytes, tree: Tree, *, is_there: bool, is_folder: bool) -> bool:
    """Whether the destination is a folder to copy into, as scp(1) decides it.

    Args:
        host: Whose.
        destination: As the user named it.
        tree: What is to go there.
        is_there: Whether it exists.
        is_folder: Whether it is a folder, or leads to one.

    Raises:
        HostError: It can be neither that nor the name of what is copied.
    """
    where = shown(destination)
    if is_folder:
        return True
    if is_there and (tree.has_folder or tree.sources > 1 or destination.endswith(b"/")):
        raise failed(host, f"{where}: it is not a folder")
    if not is_there and (tree.sources > 1 or (destination.endswith(b"/") and not tree.has_folder)):
        raise failed(host, f"{where}: no such folder")
    return False


@dataclass(frozen=True, slots=True)
class SftpPush:
    """One host's.

    Attributes:
        host: The host's name.
        sftp: Open.
        tree: What is pushed.
        destination: Where to.
        options: How.
        blocks: Reads the files.
        tally: Is told of each.
        flight: Bounds what is under way.
        keeps_owner: Whether what is overwritten stays its owner's, as only root can see to.
    """

    host: str
    sftp: Sftp
    tree: Tree
    destination: bytes
    options: CopyOptions
    blocks: Blocks
    tally: HostTally
    flight: Flight
    keeps_owner: bool = False

    async def copy(self) -> None:
        """Copy everything; a file that fails is told of, and the others are copied.

        Raises:
            HostError: Nothing can be copied, or nothing more.
            Ended: The conversation is over.
        """
        try:
            found = await self.sftp.stat(self.destination)
        except SftpError as error:
            raise failed(self.host, f"{shown(self.destination)}: {error}") from None
        is_folder = found is not None and stat.S_ISDIR(found.mode or 0)
        into = goes_into(
            self.host, self.destination, self.tree, is_there=found is not None, is_folder=is_folder
        )
        placed = [(entry, target_of(entry, self.destination, into=into)) for entry in self.tree.entries]
        folders = [(entry, target) for entry, target in placed if entry.kind is Kind.FOLDER]
        missing = await self._make_folders(folders)
        async with open_lanes() as lanes:
            for entry, target in placed:
                if entry.kind is Kind.FOLDER or any(target.startswith(gone) for gone in missing):
                    continue
                await lanes.start(self._file(entry, target))
        await self._finish_folders(folders, missing)

    # Folders.

    async def _make_folders(self, folders: list[tuple[Entry, bytes]]) -> list[bytes]:
        """Make those that are not there.

        Returns:
            Those that cannot be had, a slash behind each; what is in them is told with them.
        """
        missing: list[bytes] = []
        for entry, target in folders:
            if any(target.startswith(gone) for gone in missing):
                continue
            reason = await self._make_folder(entry, target)
            if reason is not None:
                self.tally.failed(target, reason)
                missing.append(target + b"/")
        return missing

    async def _make_folder(self, entry: Entry, target: bytes) -> str | None:
        try:
            await self.sftp.make_folder(target, entry.mode & PERMISSIONS | _ENTERABLE)
        except SftpError as error:
            try:
                found = await self.sftp.stat(target)
            except SftpError:
                found = None
            if found is None:
                return str(error)
            if not stat.S_ISDIR(found.mode or 0):
                return "something that is no folder has its name"
        return None

    async def _finish_folders(self, folders: list[tuple[Entry, bytes]], missing: list[bytes]) -> None:
        """Give folders their modes and times, now that nothing more is put into them."""
        if not self.options.keeps_times:
            return
        for entry, target in reversed(folders):
            if any((target + b"/").startswith(gone) for gone in missing):
                continue
            mode = entry.mode & ALL_MODES if self.options.preserve else None
            try:
                await self.sftp.set_attrs_at(target, Attrs(mode=mode, times=(entry.atime, entry.mtime)))
            except SftpError as error:
                self.tally.failed(target, f"its modes and times cannot be set: {error}")

    # Files and links.

    async def _file(self, entry: Entry, target: bytes) -> None:
        try:
            if entry.kind is Kind.LINK:
                await self._link(entry, target)
            else:
                await self._copy_file(entry, target)
        except NoRoom as error:
            self.tally.failed(target, str(error))
            raise failed(self.host, f"{shown(target)}: {error}") from None
        except (SftpError, FileTrouble) as error:
            self.tally.failed(target, str(error))

    async def _link(self, entry: Entry, target: bytes) -> None:
        folder, name = posixpath.split(target)
        temporary = posixpath.join(folder, temporary_name(name, secrets.token_hex(4)))
        old = await self.sftp.lstat(target)
        if old is not None and kind_of(old.mode or 0) is Kind.FOLDER:
            raise FileTrouble("a folder has its name")
        async with self._removed_on_failure(temporary):
            await self.sftp.link(temporary, entry.target)
            await self.sftp.rename(temporary, target)
        self.tally.copied(target, 0)

    async def _copy_file(self, entry: Entry, target: bytes) -> None:
        old = await self.sftp.lstat(target)
        if old is not None:
            kind = kind_of(old.mode or 0)
            if kind is Kind.FOLDER:
                raise FileTrouble("a folder has its name")
            if self.options.update and kind is Kind.FILE and _is_same(entry, old):
                self.tally.skipped(target, "unchanged")
                return
        folder, name = posixpath.split(target)
        if self.options.partial:
            await self._write_partial(
                entry, target, posixpath.join(folder, partial_name(name, entry.size, entry.mtime)), old
            )
            return
        temporary = posixpath.join(folder, temporary_name(name, secrets.token_hex(4)))
        async with self._removed_on_failure(temporary):
            how = Open.WRITE | Open.CREATE | Open.EXCLUSIVE
            handle = await self.sftp.open(temporary, how, entry.mode & PERMISSIONS)
            await self._write_and_name(entry, handle, temporary, target, old, start=0)

    async def _write_partial(self, entry: Entry, target: bytes, partial: bytes, old: Attrs | None) -> None:
        """Write to a name that another copy of the same file finds again; it stays where this one fails."""
        found = await self.sftp.lstat(partial)
        if found is not None and kind_of(found.mode or 0) is not Kind.FILE:
            raise FileTrouble(f"{shown(partial)} is no file")
        size = 0 if found is None or found.size is None else found.size
        how = Open.WRITE | Open.CREATE
        if found is None:
            how |= Open.EXCLUSIVE
        elif size > entry.size:
            size, how = 0, how | Open.TRUNCATE
        # The server may have written what came last before what came earlier: the end is written again.
        start = max(0, size - self.flight.size)
        handle = await self.sftp.open(partial, how, entry.mode & PERMISSIONS)
        await self._write_and_name(entry, handle, partial, target, old, start=start)

    async def _write_and_name(
        self, entry: Entry, handle: bytes, temporary: bytes, target: bytes, old: Attrs | None, *, start: int
    ) -> None:
        try:
            try:
                await self._write(entry, handle, start)
            except SftpError as error:  # SFTP has no word for it, and when the file is gone there is room
                if error.code == Code.FAILURE and await self.sftp.is_full(temporary):
                    raise NoRoom("no space left on the host") from None
                raise
            wanted = self._wanted(entry, old)
            if wanted != Attrs():
                await self.sftp.set_attrs(handle, wanted)
        finally:
            with contextlib.suppress(SftpError, Ended, TimeoutError):
                async with asyncio.timeout(TIDY_SECONDS):
                    await self.sftp.close(handle)
        await self.sftp.rename(temporary, target)
        self.tally.copied(target, entry.size - start)

    def _wanted(self, entry: Entry, old: Attrs | None) -> Attrs:
        """What is to be set: the source's own with ``-p``; else what is overwritten keeps its modes."""
        times = (entry.atime, entry.mtime) if self.options.keeps_times else None
        owner = None
        mode = entry.mode & ALL_MODES if self.options.preserve else None
        if old is not None and old.mode is not None and kind_of(old.mode) is Kind.FILE:
            if not self.options.preserve:
                mode = old.mode & ALL_MODES
            if self.keeps_owner:
                owner = old.owner
        return Attrs(owner=owner, mode=mode, times=times)

    async def _write(self, entry: Entry, handle: bytes, start: int) -> None:
        sent: deque[asyncio.Future[Answer]] = deque()
        step = self.sftp.write_bytes
        for number in range(start // BLOCK_BYTES, -(-entry.size // BLOCK_BYTES)):
            block = memoryview(await self.blocks.get(entry, number))
            base = number * BLOCK_BYTES
            for place in _places(len(block), max(0, start - base), step):
                data = block[place : place + step]
                await self.flight.take(len(data))
                asked = await self.sftp.ask_to_write(handle, base + place, data)
                asked.add_done_callback(functools.partial(self._arrived, len(data)))
                sent.append(asked)
                while sent and sent[0].done():
                    await self.sftp.done(sent.popleft())
        while sent:
            await self.sftp.done(sent.popleft())

    def _arrived(self, size: int, _asked: asyncio.Future[Answer]) -> None:
        self.flight.give(size)
        self.tally.moved(size)

    @contextlib.asynccontextmanager
    async def _removed_on_failure(self, temporary: bytes) -> AsyncIterator[None]:
        """Leave no half file behind, where the connection lives."""
        try:
            yield
        except (Ended, HostError):
            raise
        except BaseException:
            with contextlib.suppress(SftpError, Ended, TimeoutError):
                async with asyncio.timeout(TIDY_SECONDS):
                    await self.sftp.remove(temporary)
            raise


def _is_same(entry: Entry, old: Attrs) -> bool:
    return old.size == entry.size and old.times is not None and old.times[1] == entry.mtime


def _places(size: int, first: int, step: int) -> Iterator[int]:
    yield from range(first, size, step)
