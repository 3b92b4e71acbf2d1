"""One host's pull over SFTP: files by several lanes, each below the host's own folder."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from multirsh.files.disk import Disk
from multirsh.files.entries import Kind, kind_of
from multirsh.files.landing import Finish, Landing, Parts
from multirsh.files.lanes import Flight, open_lanes
from multirsh.files.names import partial_name, temporary_name
from multirsh.files.options import CopyOptions
from multirsh.files.sftp.client import Answer, Ended, Sftp, SftpError
from multirsh.files.sftp.packets import Open
from multirsh.files.tally import HostTally
from multirsh.files.walk import Found, Walk
from multirsh.files.words import FileTrouble, local_trouble, why

SMALL_BYTES: Final = 255 * 1024
"""A file up to this size is stored in one step."""

UNSAID_BYTES: Final = 64 * 1024 * 1024
"""What is read at the most of a file whose size is said to be 0, such as those in /proc."""

SAFE_MODES: Final = 0o777
"""Of what another machine says: no setuid, setgid or sticky bit."""

TIDY_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a host's files go, and how they get there.

    Attributes:
        landing: The folder of all hosts.
        disk: Calls what blocks.
        root: The host's own folder below it.
    """

    landing: Landing
    disk: Disk
    root: Parts

    def of(self, parts: Parts) -> tuple[Parts, bytes]:
        """The folder and the name for what is pulled."""
        whole = (*self.root, *parts)
        return whole[:-1], whole[-1]


def finish_of(options: CopyOptions, mode: int | None, times: tuple[int, int] | None) -> Finish:
    """How a file is to be, which has these at the host."""
    return Finish(
        mode=(0o666 if mode is None else mode) & SAFE_MODES,
        exact=options.preserve and mode is not None,
        times=times if options.keeps_times else None,
    )


@dataclass(frozen=True, slots=True)
class SftpPull:
    """One host's.

    Attributes:
        host: The host's name.
        sftp: Open.
        sources: Paths and patterns.
        place: Where they go.
        options: How.
        tally: Is told of each.
        flight: Bounds what is under way.
    """

    host: str
    sftp: Sftp
    sources: Sequence[bytes]
    place: Place
    options: CopyOptions
    tally: HostTally
    flight: Flight

    async def copy(self) -> None:
        """Copy everything; a file that fails is told of, and the others are copied.

        Raises:
            HostError: There is no end to it, or no room for it here.
            Ended: The conversation is over.
        """
        folders: list[Found] = []
        walk = Walk(self.host, self.sftp, self.options, self.tally)
        async with open_lanes() as lanes, contextlib.aclosing(walk.sources(self.sources)) as offered:
            async for found in offered:
                if found.kind is Kind.FOLDER:
                    await self._told(found, self._folder(found))
                    if self.options.keeps_times and found.parts:
                        folders.append(found)
                else:
                    await lanes.start(self._told(found, self._item(found)))
        for found in reversed(folders):
            await self._told(found, self._finish_folder(found))

    async def _told(self, found: Found, copying: Coroutine[Any, Any, None]) -> None:
        """Tell of what fails; only what is wrong for every file goes on."""
        try:
            await copying
        except OSError as error:
            trouble = local_trouble(self.host, error)
            if trouble is not None:
                raise trouble from error
            self.tally.failed(found.path, f"here: {why(error)}")
        except (SftpError, FileTrouble) as error:
            self.tally.failed(found.path, str(error))

    async def _folder(self, found: Found) -> None:
        await self.place.disk(self.place.landing.make_folder, (*self.place.root, *found.parts))

    async def _finish_folder(self, found: Found) -> None:
        mode, times = found.attrs.mode, found.attrs.times
        if mode is None or times is None or not self.options.preserve:
            return
        parts = (*self.place.root, *found.parts)
        await self.place.disk(self.place.landing.set_folder, parts, mode & SAFE_MODES | 0o700, times)

    async def _item(self, found: Found) -> None:
        folder, name = self.place.of(found.parts)
        old = await self.place.disk(self.place.landing.look, folder, name)
        if old is not None and kind_of(old.st_mode) is Kind.FOLDER:
            raise FileTrouble("here, a folder has its name")
        if found.kind is Kind.LINK:
            temporary = temporary_name(name, secrets.token_hex(4))
            await self.place.disk(self.place.landing.link, folder, temporary, name, found.target)
            self.tally.copied(found.path, 0)
            return
        attrs = found.attrs
        if (
            self.options.update
            and old is not None
            and attrs.times is not None
            and (old.st_size, int(old.st_mtime)) == (attrs.size, attrs.times[1])
        ):
            self.tally.skipped(found.path, "unchanged")
            return
        handle = await self.sftp.open(found.path, Open.READ)
        try:
            await self._read(found, handle, folder, name)
        finally:
            with contextlib.suppress(SftpError, Ended, TimeoutError):
                async with asyncio.timeout(TIDY_SECONDS):
                    await self.sftp.close(handle)

    async def _read(self, found: Found, handle: bytes, folder: Parts, name: bytes) -> None:
        attrs = await self.sftp.fstat(handle)
        size = attrs.size or 0
        finish = finish_of(self.options, attrs.mode, attrs.times)
        landing, disk = self.place.landing, self.place.disk
        if size and size <= min(SMALL_BYTES, self.sftp.read_bytes):
            async with contextlib.aclosing(self._pieces(handle, 0, size)) as pieces:
                data = b"".join([piece async for piece in pieces])
            temporary = temporary_name(name, secrets.token_hex(4))
            await disk(landing.store, folder, temporary, name, data, finish)
            self.tally.copied(found.path, size)
            return
        start = 0
        if self.options.partial and size:
            temporary = partial_name(name, size, 0 if attrs.times is None else attrs.times[1])
            start = await self._partial_size(folder, temporary, size)
        else:
            temporary = temporary_name(name, secrets.token_hex(4))
        async with self._removed_on_failure(folder, temporary):
            if not start:
                await disk(landing.create, folder, temporary)
            written = start
            async with contextlib.aclosing(self._pieces(handle, start, size)) as pieces:
                async for piece in pieces:
                    await disk(landing.write, folder, temporary, written, piece)
                    written += len(piece)
            await disk(landing.finish, folder, temporary, name, finish)
        self.tally.copied(found.path, written - start)

    async def _partial_size(self, folder: Parts, name: bytes, size: int) -> int:
        """How much of a file there is already; what is no file, or too long, is not gone on with."""
        found = await self.place.disk(self.place.landing.look, folder, name)
        if found is None:
            return 0
        if kind_of(found.st_mode) is Kind.FILE and 0 < found.st_size <= size:
            return found.st_size
        await self.place.disk(self.place.landing.discard, folder, name)
        return 0

    async def _pieces(self, handle: bytes, start: int, size: int) -> AsyncGenerator[bytes, None]:
        """The file from ``start``, in order, with many requests under way.

        Raises:
            FileTrouble: It ends before its size, or it has none and never ends.
        """
        end = size or UNSAID_BYTES
        step = self.sftp.read_bytes
        asked: deque[tuple[int, int, asyncio.Future[Answer]]] = deque()
        upcoming = start
        held = 0
        try:
            while upcoming < end or asked:
                # Who has something under way takes only what is free: who waits must hold nothing.
                while upcoming < end and (size or not asked):
                    wanted = min(step, end - upcoming)
                    if not asked:
                        await self.flight.take(wanted)
                    elif not self.flight.take_now(wanted):
                        break
                    held += wanted
                    asked.append((upcoming, wanted, await self.sftp.ask_to_read(handle, upcoming, wanted)))
                    upcoming += wanted
                place, wanted, answer = asked.popleft()
                data = await self.sftp.data_of(answer)
                self._check(data, place, wanted, size)
                if not data:
                    return
                if len(data) < wanted:  # a server may always send less
                    rest, missing = place + len(data), wanted - len(data)
                    asked.appendleft((rest, missing, await self.sftp.ask_to_read(handle, rest, missing)))
                yield data
                self.tally.moved(len(data))
                self.flight.give(len(data))
                held -= len(data)
            if not size:
                raise FileTrouble(f"its size is said to be 0, and it has more than {UNSAID_BYTES:,} bytes")
        finally:
            self.flight.give(held)
            for _, _, answer in asked:
                answer.cancel()

    @staticmethod
    def _check(data: bytes, place: int, wanted: int, size: int) -> None:
        if len(data) > wanted:
            raise FileTrouble("the server sent more than was asked for")
        if not data and size:
            raise FileTrouble(f"it ended after {place} of {size} bytes")

    @contextlib.asynccontextmanager
    async def _removed_on_failure(self, folder: Parts, temporary: bytes) -> AsyncIterator[None]:
        """Leave no half file behind, unless the next copy is to go on with it."""
        try:
            yield
        except BaseException:
            if not self.options.partial:
                await self.place.disk(self.place.landing.discard, folder, temporary)
            raise
