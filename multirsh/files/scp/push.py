"""One host's push by ``scp -t``: every file under a name of its own, and then a shell that renames them."""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from multirsh.errors import HostError
from multirsh.files.blocks import BLOCK_BYTES, Blocks
from multirsh.files.entries import Entry, Kind
from multirsh.files.names import temporary_name
from multirsh.files.pipe import Pipe, conversation
from multirsh.files.push import ALL_MODES, PERMISSIONS, TIDY_SECONDS, goes_into, target_of
from multirsh.files.reach import Reach
from multirsh.files.scp import records
from multirsh.files.scp.reader import Reader, Silenced
from multirsh.files.scp.records import ScpError
from multirsh.files.shell import quoted
from multirsh.files.tally import HostTally
from multirsh.files.tree import Tree
from multirsh.files.words import FileTrouble, failed
from multirsh.transports.words import one_line

RENAMER: Final = """
m() {
  if [ -L "$2" ]; then rm -f -- "$2"
  elif [ -d "$2" ]; then rm -f -- "$1"; echo "$3 a folder has its name"; return
  elif [ -e "$2" ] && [ "$4" = keep ]; then
    o=$(stat -c %a -- "$2" 2>/dev/null || stat -f %Lp -- "$2") && chmod "$o" "$1"
  fi
  w=$(mv -f -- "$1" "$2" 2>&1 </dev/null) || { rm -f -- "$1"; echo "$3 $w"; }
}
"""
"""POSIX text: gives the file ``$1`` the name ``$2``, and says ``$3`` and why where it cannot. What is
overwritten keeps its modes (``$4``)."""

_OVER: Final = b"over"


@dataclass(frozen=True, slots=True)
class _Item:
    """An entry, with its places on the host.

    Attributes:
        entry: What.
        target: What it is to be called.
        folder: The names of the folders that it is in, below where scp(1) begins.
        temporary: What it is called before.
    """

    entry: Entry
    target: bytes
    folder: tuple[bytes, ...]
    temporary: bytes


@dataclass(slots=True)
class ScpPush:
    """One host's.

    Attributes:
        reach: The way to the host.
        tree: What is pushed.
        destination: Where to.
        blocks: Reads the files.
        tally: Is told of each.
    """

    reach: Reach
    tree: Tree
    destination: bytes
    blocks: Blocks
    tally: HostTally
    _sent: list[_Item] = field(default_factory=list)

    async def copy(self) -> None:
        """Copy everything; a file that fails is told of, and the others are copied.

        Raises:
            HostError: Nothing can be copied, or nothing more.
        """
        kind = (await self._shell(_probe(self.destination))).strip()
        if kind not in {b"folder", b"other", b"none"}:
            raise failed(self.reach.host, "it has neither SFTP nor a shell that answers")
        into = goes_into(
            self.reach.host,
            self.destination,
            self.tree,
            is_there=kind != b"none",
            is_folder=kind == b"folder",
        )
        root = self.destination if into else posixpath.dirname(self.destination.rstrip(b"/")) or b"."
        items = [self._placed(entry, root, into=into) for entry in self.tree.entries]
        async with self._removed_on_failure():
            await self._send(root, items)
            await self._rename([item for item in items if item.entry.kind is Kind.LINK])

    def _placed(self, entry: Entry, root: bytes, *, into: bool) -> _Item:
        target = target_of(entry, self.destination, into=into)
        below = target[len(root.rstrip(b"/")) + 1 :] if root not in {b".", b"/"} else target.lstrip(b"/")
        *folder, name = below.split(b"/")
        temporary = posixpath.join(posixpath.dirname(target), temporary_name(name, secrets.token_hex(4)))
        return _Item(entry, target, tuple(folder), temporary)

    # By scp.

    async def _send(self, root: bytes, items: Sequence[_Item]) -> None:
        flags = "-p " if self.reach.options.keeps_times else ""
        recursive = "-r " if self.tree.has_folder else ""
        script = f"exec scp {recursive}{flags}-t -- {quoted(root)}"
        reader = Reader(self.reach.connection)
        async with conversation(self.reach.program(script), reader) as pipe:
            try:
                refused = await reader.answer()
                if refused is not None:
                    raise failed(self.reach.host, _worded(refused))
                await self._send_all(items, pipe, reader)
            except (Silenced, ScpError) as error:
                raise self.reach.death_of(pipe, str(error) or None) from None

    async def _send_all(self, items: Sequence[_Item], pipe: Pipe, reader: Reader) -> None:
        inside: tuple[bytes, ...] = ()
        missing: tuple[bytes, ...] | None = None
        for item in items:
            if item.entry.kind is Kind.LINK or (missing and item.folder[: len(missing)] == missing):
                continue
            while inside != item.folder[: len(inside)]:
                inside = inside[:-1]
                await self._record(records.END, pipe, reader)
            refused = await self._begin(item, pipe, reader)
            if refused is not None:
                self.tally.failed(item.target, refused)
                if item.entry.kind is Kind.FOLDER:
                    missing = (*item.folder, posixpath.basename(item.target))
            elif item.entry.kind is Kind.FOLDER:
                inside = (*item.folder, posixpath.basename(item.target))
            else:
                await self._contents(item, pipe, reader)

    async def _begin(self, item: _Item, pipe: Pipe, reader: Reader) -> str | None:
        """Announce a file or a folder; why it is not taken, or ``None``."""
        entry = item.entry
        is_folder = entry.kind is Kind.FOLDER
        mode = entry.mode & (ALL_MODES if self.reach.options.preserve else PERMISSIONS)
        name = posixpath.basename(item.target if is_folder else item.temporary)
        try:
            record = records.item(is_folder=is_folder, mode=mode, size=entry.size, name=name)
        except ScpError as error:
            return str(error)
        if self.reach.options.keeps_times:
            await self._record(records.times(accessed=entry.atime, modified=entry.mtime), pipe, reader)
        await pipe.send(record)
        refused = await reader.answer()
        return None if refused is None else _worded(refused)

    async def _record(self, record: bytes, pipe: Pipe, reader: Reader) -> None:
        await pipe.send(record)
        refused = await reader.answer()
        if refused is not None:
            raise failed(self.reach.host, _worded(refused))

    async def _contents(self, item: _Item, pipe: Pipe, reader: Reader) -> None:
        entry = item.entry
        self._sent.append(item)
        for number in range(-(-entry.size // BLOCK_BYTES)):
            try:
                block = await self.blocks.get(entry, number)
            except FileTrouble as error:  # so many bytes were announced: there is no way back into step
                self.tally.failed(item.target, str(error))
                raise failed(self.reach.host, f"{item.target.decode(errors='replace')}: {error}") from None
            await pipe.send(block)
            self.tally.moved(len(block))
        await pipe.send(records.OK)
        refused = await reader.answer()
        if refused is not None:
            self._sent.remove(item)
            self.tally.failed(item.target, _worded(refused))

    # By the shell.

    async def _rename(self, links: Sequence[_Item]) -> None:
        """Give what was sent its names, and make the links."""
        items = [*self._sent, *links]
        keep = "no" if self.reach.options.preserve else "keep"
        lines = [RENAMER]
        for number, item in enumerate(items):
            temporary, target = quoted(item.temporary), quoted(item.target)
            if item.entry.kind is Kind.LINK:
                lines.append(f"ln -s -- {quoted(item.entry.target)} {temporary} || echo {number} no link\n")
                lines.append(f"[ ! -L {temporary} ] || m {temporary} {target} {number} no\n")
            else:
                lines.append(f"m {temporary} {target} {number} {keep}\n")
        lines.append(f"echo {_OVER.decode()}\n")
        *told, last = (await self._shell("exec /bin/sh", "".join(lines))).splitlines() or [b""]
        if last != _OVER:
            raise failed(self.reach.host, "the files could not be given their names")
        refused = dict(_numbered(told))
        for number, item in enumerate(items):
            if number in refused:
                self.tally.failed(item.target, refused[number])
            else:
                self.tally.copied(item.target, item.entry.size)
        self._sent.clear()

    async def _shell(self, script: str, stdin: str = "") -> bytes:
        """Run POSIX text and read what it says."""
        reader = Reader(self.reach.connection)
        async with conversation(self.reach.program(script), reader) as pipe:
            raw = stdin.encode("utf-8", "surrogateescape")
            for start in range(0, len(raw), BLOCK_BYTES):
                await pipe.send(raw[start : start + BLOCK_BYTES])
            pipe.finish()
            said = await reader.rest()
            if not pipe.is_well and not said:
                raise self.reach.death_of(pipe)
        return said

    @contextlib.asynccontextmanager
    async def _removed_on_failure(self) -> AsyncIterator[None]:
        """Leave no half file behind, where the connection lives."""
        try:
            yield
        except BaseException:
            names = " ".join(quoted(item.temporary) for item in self._sent)
            if names:
                with contextlib.suppress(HostError, TimeoutError):
                    async with asyncio.timeout(TIDY_SECONDS):
                        await self._shell("exec /bin/sh", f"rm -f -- {names}\necho {_OVER.decode()}\n")
            raise


def _probe(path: bytes) -> str:
    there = quoted(path)
    return f"if [ -d {there} ]; then echo folder; elif [ -e {there} ]; then echo other; else echo none; fi"


def _numbered(lines: Sequence[bytes]) -> list[tuple[int, str]]:
    found = []
    for line in lines:
        number, _, words = line.partition(b" ")
        if number.isdigit():
            found.append((int(number), _worded(words)))
    return found


def _worded(said: bytes) -> str:
    return one_line(said.decode("utf-8", "replace")).removeprefix("scp: ") or "refused"
