"""The pull from one host by ``scp -f``: its files are placed as by SFTP, and trusted no more."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from multirsh.files.access import ConversationEnded, FileAccess, Pipe, conversation
from multirsh.files.destination import SAFE_MODES, HostDestination, Parts, check_replaceable, final_attributes
from multirsh.files.modes import OWNERS
from multirsh.files.options import Links
from multirsh.files.paths import (
    base_name,
    escape_pattern,
    is_pattern,
    matches_pattern,
    objection,
    split_pattern,
    whole_parts,
)
from multirsh.files.results import CopyTally, FileError, copy_failure, local_failure, os_reason
from multirsh.files.scp import protocol
from multirsh.files.scp.protocol import EndOfFolder, OutputReader, ScpComplaint, ScpError, ScpItem, ScpTimes
from multirsh.files.sftp.walk import DEEPEST, MOST_ENTRIES, WHOLE_PATHS
from multirsh.sh_text import quoted
from multirsh.transports.messages import one_line

PIECE_BYTES: Final = 256 * 1024

_UNQUOTED: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789*?[]!^-_./")


@dataclass(frozen=True, slots=True)
class _OpenFolder:
    """A folder that is being received.

    Attributes:
        parts: Its path below the host's folder here.
        mode: Its mode on the host.
        times: Its times on the host in nanoseconds, if they are known.
        is_new: Whether this copy has created it.
    """

    parts: Parts
    mode: int
    times: tuple[int, int] | None
    is_new: bool = False


@dataclass(slots=True)
class ScpPull:
    """The pull from one host.

    Attributes:
        access: Starts programs on the host.
        sources: Paths and patterns.
        place: The destination.
        tally: Receives the results.
    """

    access: FileAccess
    sources: Sequence[bytes]
    place: HostDestination
    tally: CopyTally
    _entries: int = 0
    _tops: set[Parts] = field(default_factory=set)

    async def copy(self) -> None:
        """Copy everything. A file that fails is recorded, and the others are copied.

        Raises:
            HostError: The host has too many files, this machine cannot store them, or scp cannot do what is
                wanted.
        """
        options = self.access.options
        if options.recursive and options.links in {Links.KEEP, Links.SKIP}:
            raise copy_failure(
                self.access.host, f"it has no SFTP, and scp cannot {options.links} links: it follows"
            )
        flags = ("-r " if options.recursive else "") + ("-p " if options.keeps_times else "")
        for source in [match for named in self.sources for match in await self._matches(named)]:
            script = f"exec scp {flags}-f -- {_for_shell(source)}"
            reader = OutputReader(self.access.connection)
            async with conversation(self.access.program(script), reader) as pipe:
                try:
                    await pipe.send(protocol.OK)
                    await self._receive(source, pipe, reader)
                except (ConversationEnded, ScpError) as error:
                    raise self.access.failure(pipe, str(error) or None) from None

    async def _matches(self, source: bytes) -> list[bytes]:
        """Expand a pattern if whole paths are to be kept, since scp sends names only.

        Output of the host's shell is accepted only if it matches the pattern; if nothing does, the pattern is
        kept.
        """
        if not self.access.options.parents or not is_pattern(source):
            return [source]
        reader = OutputReader(self.access.connection)
        async with conversation(self.access.program(f"printf '%s\\0' {_for_shell(source)}"), reader):
            said = await reader.rest()
        begin, wanted = split_pattern(source)
        found = []
        for path in said.split(b"\0"):
            parts = split_pattern(path)
            is_like = parts[0] == begin and len(parts[1]) == len(wanted) and b".." not in parts[1]
            if is_like and all(map(matches_pattern, parts[1], wanted)):
                found.append(escape_pattern(path))
        return found or [source]

    async def _receive(self, source: bytes, pipe: Pipe, reader: OutputReader) -> None:
        inside: list[_OpenFolder] = []
        times: tuple[int, int] | None = None
        self._entries, begun = 0, False
        while (line := await reader.line()) is not None:
            match protocol.parse(line):
                case ScpComplaint(is_fatal, words):
                    begun = True
                    self.tally.failed(source, _message(words))
                    if is_fatal:
                        return
                    continue
                case ScpTimes(accessed, modified):
                    times = accessed, modified
                    await pipe.send(protocol.OK)
                    continue
                case EndOfFolder():
                    if not inside:
                        raise ScpError("it ended a folder that it did not begin")
                    await self._finish(inside.pop(), source)
                    await pipe.send(protocol.OK)
                case ScpItem() as item:
                    begun = True
                    await self._item(item, times, inside, source, pipe, reader)
            times = None
        if inside:
            raise ConversationEnded
        if not begun:
            raise ConversationEnded

    async def _item(
        self,
        item: ScpItem,
        times: tuple[int, int] | None,
        inside: list[_OpenFolder],
        source: bytes,
        pipe: Pipe,
        reader: OutputReader,
    ) -> None:
        self._entries += 1
        if self._entries > MOST_ENTRIES:
            raise copy_failure(self.access.host, f"there are more than {MOST_ENTRIES:,} files")
        above = inside[-1].parts if inside else ()
        top = len(self._parents(source)) + 1
        path = posixpath.join(source, *above[top:], item.name) if inside else source
        is_root = not inside and item.is_folder and not base_name(source)
        reason = None if is_root else self._objection(item, inside, source)
        if reason is not None:
            self.tally.failed(path, reason)
            await pipe.send(protocol.refusal(reason))
            return
        parents = above or self._parents(source)
        parts = parents if is_root else (*parents, item.name)
        if item.is_folder:
            folder = await self._make(_OpenFolder(parts, item.mode, times), path, pipe)
            if folder is not None:
                inside.append(folder)
            return
        await self._file(item, times, parts, path, pipe, reader)

    def _objection(self, item: ScpItem, inside: list[_OpenFolder], source: bytes) -> str | None:
        reason = objection(item.name)
        if reason is None and not inside:
            top = (*self._parents(source), item.name)
            if top in self._tops:
                return f"another source has this name{'' if self.access.options.parents else WHOLE_PATHS}"
            self._tops.add(top)
            asked = base_name(source)
            if not (matches_pattern(item.name, asked) if is_pattern(asked) else item.name == asked):
                return "it was not asked for"
        if reason is None and item.is_folder and not self.access.options.recursive:
            return "it is a folder; folders are copied with -r"
        if reason is None and len(inside) >= DEEPEST:
            return f"it is more than {DEEPEST} folders deep"
        return reason

    def _parents(self, source: bytes) -> Parts:
        """Return the folders of a source that are kept."""
        if not self.access.options.parents:
            return ()
        parts = whole_parts(source)
        return parts[:-1] if base_name(source) else parts

    async def _make(self, folder: _OpenFolder, path: bytes, pipe: Pipe) -> _OpenFolder | None:
        parts, mode = (*self.place.root, *folder.parts), folder.mode & SAFE_MODES | OWNERS
        try:
            is_new = await self.place.disk(self.place.destination.make_folder, parts, mode)
        except OSError as error:
            await self._refuse(path, error, pipe)
            return None
        await pipe.send(protocol.OK)
        return replace(folder, is_new=is_new)

    async def _finish(self, folder: _OpenFolder, path: bytes) -> None:
        parts, mode = (*self.place.root, *folder.parts), folder.mode & SAFE_MODES
        destination, disk = self.place.destination, self.place.disk
        try:
            if self.access.options.preserve and folder.times is not None:
                await disk(destination.set_folder, parts, mode, folder.times)
            elif folder.is_new and mode & OWNERS != OWNERS:
                await disk(destination.restrict, parts, mode)
        except OSError as error:
            self.tally.failed(path, f"here: {os_reason(error)}")

    async def _refuse(self, path: bytes, error: OSError, pipe: Pipe) -> None:
        trouble = local_failure(self.access.host, error)
        if trouble is not None:
            raise trouble from error
        self.tally.failed(path, f"here: {os_reason(error)}")
        await pipe.send(protocol.refusal("refused"))

    async def _file(
        self,
        item: ScpItem,
        times: tuple[int, int] | None,
        parts: Parts,
        path: bytes,
        pipe: Pipe,
        reader: OutputReader,
    ) -> None:
        folder, name = self.place.of(parts)
        destination, disk = self.place.destination, self.place.disk
        finish = final_attributes(self.access.options, item.mode, times)
        try:
            check_replaceable(await disk(destination.lstat, folder, name))
            temporary = await disk(destination.begin, folder, name, finish)
        except FileError as error:
            self.tally.failed(path, str(error))
            await pipe.send(protocol.refusal("refused"))
            return
        except OSError as error:
            await self._refuse(path, error, pipe)
            return
        try:
            async with self._removed_on_failure(folder, temporary, name):
                await pipe.send(protocol.OK)
                await self._contents(item.size, folder, temporary, reader)
                _check_whole(await reader.answer())
                notes = await disk(destination.finish, folder, temporary, name, finish)
        except OSError as error:
            # The remaining bytes would have to be skipped; ending the copy is simpler.
            trouble_here = local_failure(self.access.host, error)
            raise trouble_here or copy_failure(
                self.access.host, f"{name!r}: here: {os_reason(error)}"
            ) from error
        except FileError as error:
            self.tally.failed(path, str(error))
        else:
            self.tally.copied(path, item.size, notes)
        await pipe.send(protocol.OK)

    async def _contents(self, size: int, folder: Parts, temporary: bytes, reader: OutputReader) -> None:
        written = 0
        while written < size:
            data = await reader.some(min(PIECE_BYTES, size - written))
            await self.place.disk(self.place.destination.write, folder, temporary, written, data)
            written += len(data)
            self.tally.moved(len(data))

    @contextlib.asynccontextmanager
    async def _removed_on_failure(self, folder: Parts, temporary: bytes, name: bytes) -> AsyncIterator[None]:
        try:
            yield
        except BaseException:
            if temporary != name:
                await self.place.disk(self.place.destination.discard, folder, temporary)
            raise


def _check_whole(trouble: bytes | None) -> None:
    if trouble is not None:
        raise FileError(_message(trouble))


def _for_shell(source: bytes) -> str:
    """Quote a path for POSIX sh, except for the characters of patterns."""
    if not is_pattern(source):
        return quoted(source)
    return "".join(
        chr(byte) if byte in _UNQUOTED else quoted(source[place : place + 1])
        for place, byte in enumerate(source)
    )


def _message(said: bytes) -> str:
    return one_line(said.decode("utf-8", "replace")).removeprefix("scp: ") or "failed"
