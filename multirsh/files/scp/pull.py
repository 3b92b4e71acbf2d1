"""One host's pull by ``scp -f``: what it sends is placed as by SFTP, and trusted no more."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from multirsh.files import globs
from multirsh.files.access import FileAccess
from multirsh.files.landing import Parts
from multirsh.files.modes import OWNERS
from multirsh.files.names import base_name, objection, whole_parts
from multirsh.files.options import Links
from multirsh.files.pipe import Pipe, conversation
from multirsh.files.pull import SAFE_MODES, Place, check_free, finish_of
from multirsh.files.scp import records
from multirsh.files.scp.reader import Reader, Silenced
from multirsh.files.scp.records import Complaint, End, Item, ScpError, Times
from multirsh.files.tally import HostTally
from multirsh.files.walk import DEEPEST, MOST_ENTRIES, WHOLE_PATHS
from multirsh.files.words import FileTrouble, failed, local_trouble, why
from multirsh.sh_text import quoted
from multirsh.transports.words import one_line

PIECE_BYTES: Final = 256 * 1024

_UNQUOTED: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789*?[]!^-_./")


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder that is being received.

    Attributes:
        parts: Below the host's folder.
        mode: Of the host.
        times: Of the host, if it told, in nanoseconds.
        is_new: Whether it was made by this copy.
    """

    parts: Parts
    mode: int
    times: tuple[int, int] | None
    is_new: bool = False


@dataclass(slots=True)
class ScpPull:
    """One host's.

    Attributes:
        access: The way to the host.
        sources: Paths and patterns.
        place: Where they go.
        tally: Is told of each.
    """

    access: FileAccess
    sources: Sequence[bytes]
    place: Place
    tally: HostTally
    _entries: int = 0
    _tops: set[Parts] = field(default_factory=set)

    async def copy(self) -> None:
        """Copy everything; a file that fails is told of, and the others are copied.

        Raises:
            HostError: There is no end to it, or no room for it here; or scp cannot do it.
        """
        options = self.access.options
        if options.recursive and options.links in {Links.KEEP, Links.SKIP}:
            raise failed(
                self.access.host, f"it has no SFTP, and scp cannot {options.links} links: it follows"
            )
        flags = ("-r " if options.recursive else "") + ("-p " if options.keeps_times else "")
        for source in [match for named in self.sources for match in await self._matches(named)]:
            script = f"exec scp {flags}-f -- {_for_shell(source)}"
            reader = Reader(self.access.connection)
            async with conversation(self.access.program(script), reader) as pipe:
                try:
                    await pipe.send(records.OK)
                    await self._receive(source, pipe, reader)
                except (Silenced, ScpError) as error:
                    raise self.access.death_of(pipe, str(error) or None) from None

    async def _matches(self, source: bytes) -> list[bytes]:
        """What a pattern stands for, where whole paths are kept: scp says no more than names.

        What the host's shell says is taken only if it fits the pattern; if nothing does, the pattern itself.
        """
        if not self.access.options.parents or not globs.is_pattern(source):
            return [source]
        reader = Reader(self.access.connection)
        async with conversation(self.access.program(f"printf '%s\\0' {_for_shell(source)}"), reader):
            said = await reader.rest()
        begin, wanted = globs.parts(source)
        found = []
        for path in said.split(b"\0"):
            parts = globs.parts(path)
            is_like = parts[0] == begin and len(parts[1]) == len(wanted) and b".." not in parts[1]
            if is_like and all(map(globs.matches, parts[1], wanted)):
                found.append(globs.literal(path))
        return found or [source]

    async def _receive(self, source: bytes, pipe: Pipe, reader: Reader) -> None:
        inside: list[_Folder] = []
        times: tuple[int, int] | None = None
        self._entries, begun = 0, False
        while (line := await reader.line()) is not None:
            match records.parse(line):
                case Complaint(is_fatal, words):
                    begun = True
                    self.tally.failed(source, _worded(words))
                    if is_fatal:
                        return
                    continue
                case Times(accessed, modified):
                    times = accessed, modified
                    await pipe.send(records.OK)
                    continue
                case End():
                    if not inside:
                        raise ScpError("it ended a folder that it did not begin")
                    await self._finish(inside.pop(), source)
                    await pipe.send(records.OK)
                case Item() as item:
                    begun = True
                    await self._item(item, times, inside, source, pipe, reader)
            times = None
        if inside:
            raise Silenced
        if not begun:
            raise Silenced

    async def _item(
        self,
        item: Item,
        times: tuple[int, int] | None,
        inside: list[_Folder],
        source: bytes,
        pipe: Pipe,
        reader: Reader,
    ) -> None:
        self._entries += 1
        if self._entries > MOST_ENTRIES:
            raise failed(self.access.host, f"there are more than {MOST_ENTRIES:,} files")
        above = inside[-1].parts if inside else ()
        top = len(self._parents(source)) + 1
        path = posixpath.join(source, *above[top:], item.name) if inside else source
        is_root = not inside and item.is_folder and not base_name(source)
        reason = None if is_root else self._objection(item, inside, source)
        if reason is not None:
            self.tally.failed(path, reason)
            await pipe.send(records.refusal(reason))
            return
        parents = above or self._parents(source)
        parts = parents if is_root else (*parents, item.name)
        if item.is_folder:
            folder = await self._make(_Folder(parts, item.mode, times), path, pipe)
            if folder is not None:
                inside.append(folder)
            return
        await self._file(item, times, parts, path, pipe, reader)

    def _objection(self, item: Item, inside: list[_Folder], source: bytes) -> str | None:
        reason = objection(item.name)
        if reason is None and not inside:
            top = (*self._parents(source), item.name)
            if top in self._tops:
                return f"another source has this name{'' if self.access.options.parents else WHOLE_PATHS}"
            self._tops.add(top)
            asked = base_name(source)
            if not (globs.matches(item.name, asked) if globs.is_pattern(asked) else item.name == asked):
                return "it was not asked for"
        if reason is None and item.is_folder and not self.access.options.recursive:
            return "it is a folder; folders are copied with -r"
        if reason is None and len(inside) >= DEEPEST:
            return f"it is more than {DEEPEST} folders deep"
        return reason

    def _parents(self, source: bytes) -> Parts:
        """The folders of a source that are kept."""
        if not self.access.options.parents:
            return ()
        parts = whole_parts(source)
        return parts[:-1] if base_name(source) else parts

    async def _make(self, folder: _Folder, path: bytes, pipe: Pipe) -> _Folder | None:
        parts, mode = (*self.place.root, *folder.parts), folder.mode & SAFE_MODES | OWNERS
        try:
            is_new = await self.place.disk(self.place.landing.make_folder, parts, mode)
        except OSError as error:
            await self._refuse(path, error, pipe)
            return None
        await pipe.send(records.OK)
        return replace(folder, is_new=is_new)

    async def _finish(self, folder: _Folder, path: bytes) -> None:
        parts, mode = (*self.place.root, *folder.parts), folder.mode & SAFE_MODES
        landing, disk = self.place.landing, self.place.disk
        try:
            if self.access.options.preserve and folder.times is not None:
                await disk(landing.set_folder, parts, mode, folder.times)
            elif folder.is_new and mode & OWNERS != OWNERS:
                await disk(landing.narrow, parts, mode)
        except OSError as error:
            self.tally.failed(path, f"here: {why(error)}")

    async def _refuse(self, path: bytes, error: OSError, pipe: Pipe) -> None:
        trouble = local_trouble(self.access.host, error)
        if trouble is not None:
            raise trouble from error
        self.tally.failed(path, f"here: {why(error)}")
        await pipe.send(records.refusal("refused"))

    async def _file(
        self,
        item: Item,
        times: tuple[int, int] | None,
        parts: Parts,
        path: bytes,
        pipe: Pipe,
        reader: Reader,
    ) -> None:
        folder, name = self.place.of(parts)
        landing, disk = self.place.landing, self.place.disk
        finish = finish_of(self.access.options, item.mode, times)
        try:
            check_free(await disk(landing.look, folder, name))
            temporary = await disk(landing.begin, folder, name, finish)
        except FileTrouble as error:
            self.tally.failed(path, str(error))
            await pipe.send(records.refusal("refused"))
            return
        except OSError as error:
            await self._refuse(path, error, pipe)
            return
        try:
            async with self._removed_on_failure(folder, temporary, name):
                await pipe.send(records.OK)
                await self._contents(item.size, folder, temporary, reader)
                _check_whole(await reader.answer())
                notes = await disk(landing.finish, folder, temporary, name, finish)
        except OSError as error:
            # The bytes of the rest would have to be read past: simpler to leave.
            trouble_here = local_trouble(self.access.host, error)
            raise trouble_here or failed(self.access.host, f"{name!r}: here: {why(error)}") from error
        except FileTrouble as error:
            self.tally.failed(path, str(error))
        else:
            self.tally.copied(path, item.size, notes)
        await pipe.send(records.OK)

    async def _contents(self, size: int, folder: Parts, temporary: bytes, reader: Reader) -> None:
        written = 0
        while written < size:
            data = await reader.some(min(PIECE_BYTES, size - written))
            await self.place.disk(self.place.landing.write, folder, temporary, written, data)
            written += len(data)
            self.tally.moved(len(data))

    @contextlib.asynccontextmanager
    async def _removed_on_failure(self, folder: Parts, temporary: bytes, name: bytes) -> AsyncIterator[None]:
        try:
            yield
        except BaseException:
            if temporary != name:
                await self.place.disk(self.place.landing.discard, folder, temporary)
            raise


def _check_whole(trouble: bytes | None) -> None:
    if trouble is not None:
        raise FileTrouble(_worded(trouble))


def _for_shell(source: bytes) -> str:
    """A word of POSIX text in which what makes a pattern is left to the shell."""
    if not globs.is_pattern(source):
        return quoted(source)
    return "".join(
        chr(byte) if byte in _UNQUOTED else quoted(source[place : place + 1])
        for place, byte in enumerate(source)
    )


def _worded(said: bytes) -> str:
    return one_line(said.decode("utf-8", "replace")).removeprefix("scp: ") or "failed"
