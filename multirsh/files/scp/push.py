"""The push to one host by ``scp -t``: every file gets a temporary name, and a shell renames them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import posixpath
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from multirsh.errors import HostError
from multirsh.files.access import SHELL, ConversationEnded, FileAccess, Pipe, conversation
from multirsh.files.host_shell import FUNCTIONS
from multirsh.files.modes import ACL_LOST, ALL_MODES, IN_PLACE, OWNERS, PERMISSIONS, SPECIAL, FileKind
from multirsh.files.paths import temporary_name
from multirsh.files.results import CopyTally, FileError, copy_failure, display_path
from multirsh.files.scp import protocol
from multirsh.files.scp.protocol import OutputReader, ScpError
from multirsh.files.sftp.push import CLEANUP_S
from multirsh.files.sources import BLOCK_BYTES, BlockCache, SourceEntry, SourceTree, goes_into, target_of
from multirsh.sh_text import quoted
from multirsh.transports.messages import one_line

RENAMER: Final = (
    (
        FUNCTIONS
        + """
is_free() {
  if [ -L "$2" ]; then return 0
  elif [ -d "$2" ]; then rm -f -- "$1"; echo "$3 - a folder has its name"; return 1
  elif [ -e "$2" ] && [ ! -f "$2" ]; then rm -f -- "$1"; echo "$3 - SPECIAL"; return 1
  fi
}
rename() {
  # mv(1) would move it into the folder that a link leads to.
  if [ -L "$2" ] && [ -d "$2" ]; then rm -f -- "$2"; fi
  w=$(mv -f -- "$1" "$2" 2>&1 </dev/null) || { rm -f -- "$1"; echo "$3 - $w (IN_PLACE)"; }
}
move_link() { if is_free "$@"; then rename "$@"; fi; }
move() (
  is_free "$@" || return
  hold "$1" || { rm -f -- "$1"; echo "$3 - its temporary file is gone, or another"; return; }
  mode=0$4
  if [ -f "$2" ] && [ ! -L "$2" ]; then
    old=$(facts "$2") owner=${old% *} now=$(facts "$held")
    if [ "${now% *}" != "$owner" ]; then
      chown -- "$owner" "$held" 2>/dev/null || chgrp -- "${owner#*:}" "$held" 2>/dev/null
      now=$(facts "$held")
      [ "${now% *}" = "$owner" ] || echo "$3 + its owner is ${now% *} and not $owner"
    fi
    [ -z "$(keep_acl "$2" "$1")" ] || echo "$3 + ACL_LOST"
    if [ "$5" = usual ]; then
      mode=0${old#* } now=${now% *}
      [ "${now#*:}" = "${owner#*:}" ] || mode=$((mode & ~070 | mode & 070 & (mode & 07) << 3))
      [ "$now" = "$owner" ] || mode=$((mode & ~06000))
    fi
  elif [ "$5" = usual ]; then
    mode=$((mode & ~$(umask)))
  fi
  mode=$(printf %04o "$((mode))")
  if ! chmod "$mode" "$held" 2>/dev/null; then
    [ "$5" = usual ] || { rm -f -- "$1"; echo "$3 - its mode cannot be set; -p asks for it"; return; }
    echo "$3 + its mode is not $mode"
  fi
  rename "$@"
)
facts() {
  stat -L -c '%u:%g %a' -- "$1" 2>/dev/null || stat -L -f '%u:%g %Lp' -- "$1" 2>/dev/null || echo "? 600"
}
keep_times() {
  [ -z "$(set_time -a "$2" "$1"; set_time -m "$3" "$1")" ] || echo "$4 + its times are not kept"
}
"""
    )
    .replace("SPECIAL", SPECIAL)
    .replace("ACL_LOST", ACL_LOST)
    .replace("IN_PLACE", IN_PLACE)
)
"""POSIX text. ``move TEMPORARY TARGET NUMBER MODE exact|usual`` gives a file its name.

A file that is overwritten passes on its owner, its access control list and, unless ``exact``, its mode; a new
file gets MODE, less the umask unless ``exact``. It prints NUMBER, ``-`` and a message if it fails; NUMBER,
``+`` and a message for what could not be preserved."""

_OVER: Final = b"over"

TEMPORARY: Final = (b".?*.multirsh-?", b".?*.multirsh-????????")
"""Patterns of the temporary files of any file, which are removed when they are older than a day."""

_PRIVATE: Final = 0o600
"""The mode of a temporary file: it may replace a file that only its owner may read."""


@dataclass(frozen=True, slots=True)
class _PlacedEntry:
    """An entry with its places on the host.

    Attributes:
        entry: The entry.
        target: Its path.
        folder: The names of the folders that contain it, below where scp(1) begins.
        temporary: Its temporary path; the same as ``target`` if it is written in place.
    """

    entry: SourceEntry
    target: bytes
    folder: tuple[bytes, ...]
    temporary: bytes


@dataclass(slots=True)
class ScpPush:
    """The push to one host.

    Attributes:
        access: Starts programs on the host.
        tree: What is pushed.
        destination: The destination, as the user gave it.
        blocks: Reads the local files.
        tally: Receives the results.
    """

    access: FileAccess
    tree: SourceTree
    destination: bytes
    blocks: BlockCache
    tally: CopyTally
    _sent: list[_PlacedEntry] = field(default_factory=list)
    _sizes: dict[bytes, int] = field(default_factory=dict)

    async def copy(self) -> None:
        """Copy everything. A file that fails is recorded, and the others are copied.

        Raises:
            HostError: No file can be copied, or no further ones.
        """
        kind = (await self._shell(_probe(self.destination))).strip()
        if kind not in {b"folder", b"special", b"other", b"none"}:
            raise copy_failure(self.access.host, "it has neither SFTP nor a shell that answers")
        if kind == b"special":
            raise copy_failure(self.access.host, f"{display_path(self.destination)}: {SPECIAL}")
        into = goes_into(
            self.access.host,
            self.destination,
            self.tree,
            exists=kind != b"none",
            is_folder=kind == b"folder",
        )
        for parts, reason in self.tree.unreadable:
            self.tally.failed(target_of(parts, self.destination, into=into), reason)
        root = self.destination if into else posixpath.dirname(self.destination.rstrip(b"/")) or b"."
        entries = [entry for entry in self.tree.entries if not into or any(entry.parts)]
        items = [self._placed(entry, root, into=into) for entry in entries]
        if self.access.options.inplace:
            items = await self._writable(items)
        async with self._removed_on_failure():
            await self._send(root, items)
            await self._rename(items)

    def _placed(self, entry: SourceEntry, root: bytes, *, into: bool) -> _PlacedEntry:
        target = target_of(entry.parts, self.destination, into=into)
        below = target[len(root.rstrip(b"/")) + 1 :] if root not in {b".", b"/"} else target.lstrip(b"/")
        *folder, name = below.split(b"/")
        is_direct = self.access.options.inplace and entry.kind is FileKind.FILE
        unlike = name if is_direct else temporary_name(name, secrets.token_hex(4))
        temporary = posixpath.join(posixpath.dirname(target), unlike)
        return _PlacedEntry(entry, target, tuple(folder), temporary)

    async def _writable(self, items: Sequence[_PlacedEntry]) -> list[_PlacedEntry]:
        """Leave out devices and FIFOs, which scp(1) would write to."""
        lines = [
            f"[ ! -e {quoted(item.target)} ] || [ -d {quoted(item.target)} ] || [ -f {quoted(item.target)} ]"
            f" || echo '{number} - {SPECIAL}'\n"
            for number, item in enumerate(items)
        ]
        said = await self._shell(SHELL, f"{''.join(lines)}echo {_OVER.decode()}\n")
        special = {int(line.split()[0]) for line in said.splitlines() if line.split()[0].isdigit()}
        for number in special:
            self.tally.failed(items[number].target, SPECIAL)
        return [item for number, item in enumerate(items) if number not in special]

    # By scp.

    async def _send(self, root: bytes, items: Sequence[_PlacedEntry]) -> None:
        flags = "-p " if self.access.options.keeps_times else ""
        recursive = "-r " if self.tree.has_folder else ""
        script = f"exec scp {recursive}{flags}-t -- {quoted(root)}"
        reader = OutputReader(self.access.connection)
        async with conversation(self.access.program(script), reader) as pipe:
            try:
                refused = await reader.answer()
                if refused is not None:
                    raise copy_failure(self.access.host, _message(refused))
                await self._send_all(items, pipe, reader)
            except (ConversationEnded, ScpError) as error:
                raise self.access.failure(pipe, str(error) or None) from None

    async def _send_all(self, items: Sequence[_PlacedEntry], pipe: Pipe, reader: OutputReader) -> None:
        inside: tuple[bytes, ...] = ()
        missing: tuple[bytes, ...] | None = None
        for item in items:
            if item.entry.kind is FileKind.LINK or (missing and item.folder[: len(missing)] == missing):
                continue
            while inside != item.folder[: len(inside)]:
                inside = inside[:-1]
                await self._record(protocol.END, pipe, reader)
            try:
                size = await self._size(item.entry)
            except FileError as error:
                self.tally.failed(item.target, str(error))
                continue
            refused = await self._begin(item, size, pipe, reader)
            if refused is not None:
                self.tally.failed(item.target, refused)
                if item.entry.kind is FileKind.FOLDER:
                    missing = (*item.folder, posixpath.basename(item.target))
            elif item.entry.kind is FileKind.FOLDER:
                inside = (*item.folder, posixpath.basename(item.target))
            else:
                await self._contents(item, size, pipe, reader)

    async def _begin(self, item: _PlacedEntry, size: int, pipe: Pipe, reader: OutputReader) -> str | None:
        """Announce a file or a folder; return why it is refused, or ``None``."""
        entry = item.entry
        is_folder = entry.kind is FileKind.FOLDER
        mode = entry.mode & (ALL_MODES if self.access.options.preserve else PERMISSIONS)
        if is_folder:
            mode |= OWNERS
        elif item.temporary != item.target:
            mode = _PRIVATE
        name = posixpath.basename(item.target if is_folder else item.temporary)
        try:
            record = protocol.item(is_folder=is_folder, mode=mode, size=size, name=name)
        except ScpError as error:
            return str(error)
        if self.access.options.keeps_times:
            await self._record(protocol.times(accessed=entry.atime_ns, modified=entry.mtime_ns), pipe, reader)
        await pipe.send(record)
        refused = await reader.answer()
        return None if refused is None else _message(refused)

    async def _size(self, entry: SourceEntry) -> int:
        """Return the length of a file, to announce it: some files report 0, or more than can be read."""
        if entry.kind is not FileKind.FILE:
            return 0
        size = 0
        for number in itertools.count():
            block = await self.blocks.get(entry, number)
            size += len(block)
            if len(block) < BLOCK_BYTES:
                return size
            if entry.size:
                break
        return entry.size

    async def _record(self, record: bytes, pipe: Pipe, reader: OutputReader) -> None:
        await pipe.send(record)
        refused = await reader.answer()
        if refused is not None:
            raise copy_failure(self.access.host, _message(refused))

    async def _contents(self, item: _PlacedEntry, size: int, pipe: Pipe, reader: OutputReader) -> None:
        """Send a file. If fewer bytes can be read than were announced, zeros take their place."""
        self._sent.append(item)
        trouble: str | None = None
        for number in range(-(-size // BLOCK_BYTES)):
            wanted = min(BLOCK_BYTES, size - number * BLOCK_BYTES)
            block = b""
            if trouble is None:
                try:
                    block = await self.blocks.get(item.entry, number)
                except FileError as error:
                    trouble = str(error)
                else:
                    trouble = None if len(block) >= wanted else "it was cut short here while it was copied"
            await pipe.send(block[:wanted].ljust(wanted, b"\0"))
            self.tally.moved(wanted)
        await pipe.send(protocol.OK)
        refused = await reader.answer()
        if trouble is None and refused is not None:
            trouble = _message(refused)
        if trouble is None:
            self._sizes[item.target] = size
        elif item.temporary == item.target:
            self._sent.remove(item)
            trouble += "; it is there in part"
        if trouble is not None:
            self.tally.failed(item.target, trouble)

    # By the shell.

    async def _rename(self, items: Sequence[_PlacedEntry]) -> None:
        """Rename what was sent, create the links, and finish the folders."""
        options = self.access.options
        lines = [RENAMER]
        asked: list[_PlacedEntry] = []
        for item in self._sent:
            if item.target not in self._sizes:
                lines.append(f"rm -f -- {quoted(item.temporary)}\n")
                continue
            asked.append(item)
            lines.append(self._named(len(asked) - 1, item))
        for item in items:
            if item.entry.kind is FileKind.LINK:
                asked.append(item)
                lines.append(_linked(len(asked) - 1, item))
        for item in reversed(items if options.preserve else ()):
            if item.entry.kind is FileKind.FOLDER:
                asked.append(item)
                lines.append(_finished(len(asked) - 1, item))
        for folder in {posixpath.dirname(item.temporary): None for item in asked}:
            lines += [f"tidy {quoted(folder or b'.')} {quoted(pattern)}\n" for pattern in TEMPORARY]
        lines.append(f"echo {_OVER.decode()}\n")
        *results, last = (await self._shell(SHELL, "".join(lines))).splitlines() or [b""]
        if last != _OVER:
            raise copy_failure(self.access.host, "the files could not be given their names")
        self._record_results(asked, results)
        self._sent.clear()

    def _named(self, number: int, item: _PlacedEntry) -> str:
        entry, options = item.entry, self.access.options
        temporary = quoted(item.temporary)
        line = ""
        if item.temporary != item.target:
            how = (
                f"{entry.mode & ALL_MODES:04o} exact"
                if options.preserve
                else f"{entry.mode & PERMISSIONS:04o} usual"
            )
            line = f"move {temporary} {quoted(item.target)} {number} {how}\n"
        if options.keeps_times and min(entry.mtime_ns, entry.atime_ns) < 0:  # scp cannot carry these
            line = f"keep_times {temporary} {entry.atime} {entry.mtime} {number}\n{line}"
        return line

    def _record_results(self, asked: Sequence[_PlacedEntry], lines: Sequence[bytes]) -> None:
        """Record the results of all files."""
        refused: dict[int, str] = {}
        notes: dict[int, list[str]] = {}
        for line in lines:
            number, _, said = line.partition(b" ")
            sign, _, words = said.partition(b" ")
            if number.isdigit() and sign == b"-":
                refused[int(number)] = _message(words)
            elif number.isdigit() and sign == b"+":
                notes.setdefault(int(number), []).append(_message(words))
        for place, item in enumerate(asked):
            if place in refused:
                self.tally.failed(item.target, refused[place])
            elif item.entry.kind is not FileKind.FOLDER or place in notes:
                self.tally.copied(item.target, self._sizes.get(item.target, 0), notes.get(place, ()))

    async def _shell(self, script: str, stdin: str = "") -> bytes:
        """Run POSIX text and return its output."""
        reader = OutputReader(self.access.connection)
        async with conversation(self.access.program(script), reader) as pipe:
            raw = stdin.encode("utf-8", "surrogateescape")
            for start in range(0, len(raw), BLOCK_BYTES):
                await pipe.send(raw[start : start + BLOCK_BYTES])
            pipe.finish()
            said = await reader.rest()
            if not pipe.has_succeeded and not said:
                raise self.access.failure(pipe)
        return said

    @contextlib.asynccontextmanager
    async def _removed_on_failure(self) -> AsyncIterator[None]:
        """Remove all temporary files if the block fails, as long as the connection lives."""
        try:
            yield
        except BaseException:
            names = " ".join(quoted(item.temporary) for item in self._sent if item.temporary != item.target)
            if names:
                with contextlib.suppress(HostError, TimeoutError):
                    async with asyncio.timeout(CLEANUP_S):
                        await self._shell(SHELL, f"rm -f -- {names}\necho {_OVER.decode()}\n")
            raise


def _probe(path: bytes) -> str:
    there = quoted(path)
    return (
        f"if [ -d {there} ]; then echo folder; elif [ -e {there} ] && [ ! -f {there} ]; then echo special;"
        f" elif [ -e {there} ]; then echo other; else echo none; fi"
    )


def _linked(number: int, item: _PlacedEntry) -> str:
    temporary, target = quoted(item.temporary), quoted(item.target)
    return (
        f"if ln -s -- {quoted(item.entry.target)} {temporary}; then move_link {temporary} {target} {number};"
        f" else echo '{number} - no link can be made'; fi\n"
    )


def _finished(number: int, item: _PlacedEntry) -> str:
    entry, target = item.entry, quoted(item.target)
    return (
        f"[ ! -d {target} ] || {{ chmod {entry.mode & ALL_MODES:04o} {target} 2>/dev/null"
        f" || echo '{number} - its mode cannot be set';"
        f" keep_times {target} {entry.atime} {entry.mtime} {number}; }}\n"
    )


def _message(said: bytes) -> str:
    return one_line(said.decode("utf-8", "replace")).removeprefix("scp: ") or "refused"
