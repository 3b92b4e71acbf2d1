"""What a host offers for a pull: sources, matches of patterns, and the contents of folders; all bounded.

A folder is listed piece by piece, and each piece is passed on before the next one is requested: a listing
that never ends fills no memory.
"""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import AsyncGenerator, Coroutine, Sequence
from typing import Any, Final, NamedTuple

from multirsh.files.modes import FileKind, kind_of
from multirsh.files.options import CopyOptions, Links
from multirsh.files.paths import (
    base_name,
    is_pattern,
    matches_pattern,
    objection,
    split_pattern,
    stays_inside,
    whole_parts,
)
from multirsh.files.results import CopyTally, copy_failure, display_path
from multirsh.files.sftp.client import SftpClient, SftpError
from multirsh.files.sftp.packets import DirectoryEntry, FileAttributes

MOST_ENTRIES: Final = 1_000_000
"""The most files of one host in one pull; a host with more is assumed to be endless."""

DEEPEST: Final = 100
"""The most folders inside of each other."""

MOST_MATCHES: Final = 100_000
"""The most matches of one pattern."""

WHOLE_PATHS: Final = "; --parents keeps whole paths"

_NOTHING: Final = FileAttributes()


class RemoteFile(NamedTuple):
    """A file, folder or link on a host.

    Attributes:
        kind: ``FILE``, ``FOLDER`` or ``LINK``.
        path: Its path on the host.
        parts: Its path below the host's folder here.
        attrs: Its own attributes, or those of what it leads to.
        target: Where a link leads.
    """

    kind: FileKind
    path: bytes
    parts: tuple[bytes, ...]
    attrs: FileAttributes
    target: bytes = b""


class RemoteWalk:
    """Walks through the sources on one host."""

    def __init__(self, host: str, sftp: SftpClient, options: CopyOptions, tally: CopyTally) -> None:
        """Prepare the walk.

        Args:
            host: The host's name.
            sftp: A client that has begun.
            options: What to copy.
            tally: Records what fails or is left out.
        """
        self._host = host
        self._sftp = sftp
        self._options = options
        self._tally = tally
        self._entries = 0
        self._tops: set[tuple[bytes, ...]] = set()

    async def sources(self, sources: Sequence[bytes]) -> AsyncGenerator[RemoteFile, None]:
        """Yield everything that the sources name; each folder comes before its contents.

        Raises:
            HostError: There are too many files.
        """
        for source in sources:
            if is_pattern(source):
                matches = await self._matches(source)
                if not matches:
                    self._tally.failed(source, "nothing matches")
            else:
                matches = [DirectoryEntry(source, FileAttributes())]
            for match in matches:
                async for found in self._source(match.name, match.attrs):
                    yield found

    async def _source(self, path: bytes, attrs: FileAttributes) -> AsyncGenerator[RemoteFile, None]:
        """Yield a source, followed if it is a link; ``attrs`` may be known from its folder."""
        name = base_name(path)
        reason = objection(name) if name else None
        top = whole_parts(path) if self._options.parents else (name,) if name else ()
        if top and top in self._tops:
            reason = f"another source has this name{'' if self._options.parents else WHOLE_PATHS}"
        if reason is None and (attrs.mode is None or kind_of(attrs.mode) is FileKind.LINK):
            try:
                followed = await self._sftp.stat(path)
            except SftpError as error:
                reason = str(error)
            else:
                reason = "no such file or folder" if followed is None else None
                attrs = followed or attrs
        if reason is None and not name and kind_of(attrs.mode or 0) is not FileKind.FOLDER:
            reason = "it is not a folder"
        if reason is not None:
            self._tally.failed(path, reason)
            return
        self._tops.add(top)
        async for found in self._below(path, top, attrs, 0):
            yield found

    async def _below(
        self, path: bytes, parts: tuple[bytes, ...], attrs: FileAttributes, above: int
    ) -> AsyncGenerator[RemoteFile, None]:
        """Yield ``path`` and what is below it; ``above`` is the number of folders that it is in."""
        self._count(path)
        if attrs.mode is None:
            attrs = await self._known(self._sftp.lstat(path), path, "it is gone")
        if kind_of(attrs.mode or 0) is FileKind.LINK:
            if self._options.links is not Links.FOLLOW:
                link = await self._link(path, parts, attrs)
                if link is not None:
                    yield link
                return
            attrs = await self._known(self._sftp.stat(path), path, "its link leads nowhere")
        kind = kind_of(attrs.mode or 0)
        if kind is FileKind.FILE:
            yield RemoteFile(kind, path, parts, attrs)
        elif kind is FileKind.FOLDER:
            if self._may_enter(path, above):
                yield RemoteFile(kind, path, parts, attrs)
                async with contextlib.aclosing(self._inside(path, parts, above)) as inside:
                    async for found in inside:
                        yield found
        elif attrs is not _NOTHING:
            self._tally.skipped(path, "special")

    async def _inside(
        self, path: bytes, parts: tuple[bytes, ...], above: int
    ) -> AsyncGenerator[RemoteFile, None]:
        async with contextlib.aclosing(self._listed(path)) as listed:
            async for name, attrs in listed:
                below = self._below(posixpath.join(path, name), (*parts, name), attrs, above + 1)
                async with contextlib.aclosing(below) as offered:
                    async for found in offered:
                        yield found

    def _may_enter(self, path: bytes, above: int) -> bool:
        if not self._options.recursive:
            self._tally.failed(path, "it is a folder; folders are copied with -r")
        elif above >= DEEPEST:
            self._tally.failed(path, f"it is more than {DEEPEST} folders deep")
        else:
            return True
        return False

    def _count(self, path: bytes) -> None:
        self._entries += 1
        if self._entries > MOST_ENTRIES:
            raise copy_failure(
                self._host, f"{display_path(path)}: there are more than {MOST_ENTRIES:,} files"
            )

    async def _link(self, path: bytes, parts: tuple[bytes, ...], attrs: FileAttributes) -> RemoteFile | None:
        if self._options.links is Links.SKIP:
            return None
        try:
            target = await self._sftp.read_link(path)
        except SftpError as error:
            self._tally.failed(path, str(error))
            return None
        if not stays_inside(parts[:-1], target):
            self._tally.skipped(path, "its link leads out of the folder")
            return None
        return RemoteFile(FileKind.LINK, path, parts, attrs, target)

    async def _known(
        self, asked: Coroutine[Any, Any, FileAttributes | None], path: bytes, otherwise: str
    ) -> FileAttributes:
        """Return attributes from the host; record a failure and return ``_NOTHING`` if there are none."""
        try:
            attrs = await asked
        except SftpError as error:
            self._tally.failed(path, str(error))
            return _NOTHING
        if attrs is None:
            self._tally.failed(path, otherwise)
            return _NOTHING
        return attrs if attrs.mode is not None else FileAttributes(mode=0)

    async def _listed(self, path: bytes) -> AsyncGenerator[DirectoryEntry, None]:
        """Yield the contents of a folder; record those that cannot be listed, and unusable names."""
        try:
            handle = await self._sftp.open_folder(path)
            try:
                while names := await self._sftp.read_folder(handle):
                    for name in names:
                        if name.name in {b".", b".."}:
                            continue
                        reason = objection(name.name)
                        if reason is not None:
                            self._tally.failed(posixpath.join(path, name.name), reason)
                            self._count(path)
                            continue
                        yield name
            finally:
                await self._sftp.close(handle)
        except SftpError as error:
            self._tally.failed(path, str(error))

    # Patterns.

    async def _matches(self, pattern: bytes) -> list[DirectoryEntry]:
        """Return all matches of a pattern, ordered by name."""
        begin, parts = split_pattern(pattern)
        matches = [DirectoryEntry(begin, FileAttributes())]
        for place, part in enumerate(parts):
            is_last = place == len(parts) - 1
            matches = await self._one_level([match.name for match in matches], part, needs_folder=not is_last)
        return sorted(matches)

    async def _one_level(
        self, folders: list[bytes], part: bytes, *, needs_folder: bool
    ) -> list[DirectoryEntry]:
        found: list[DirectoryEntry] = []
        for folder in folders:
            if not is_pattern(part):
                path = _joined(folder, part)
                if await self._is_there(path):
                    found.append(DirectoryEntry(path, FileAttributes()))
                continue
            async with contextlib.aclosing(self._listed(folder)) as listed:
                async for name in listed:
                    if not matches_pattern(name.name, part):
                        continue
                    if needs_folder and kind_of(name.attrs.mode or 0) not in {FileKind.FOLDER, FileKind.LINK}:
                        continue
                    found.append(DirectoryEntry(_joined(folder, name.name), name.attrs))
                    if len(found) > MOST_MATCHES:
                        raise copy_failure(
                            self._host, f"{display_path(folder)}: more than {MOST_MATCHES:,} names match"
                        )
        return found

    async def _is_there(self, path: bytes) -> bool:
        try:
            return await self._sftp.stat(path) is not None
        except SftpError:
            return False


def _joined(folder: bytes, name: bytes) -> bytes:
    return name if folder == b"." else posixpath.join(folder, name)
