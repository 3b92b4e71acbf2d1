"""SFTP and scp servers that lie: what they say is made up, packet by packet."""

from __future__ import annotations

import stat
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from multirsh.files.sftp.packets import (
    FileAttributes,
    PacketReader,
    PacketType,
    StatusCode,
    attrs,
    string,
    u32,
)
from tests.servers.hooked import Link, Process, Session

FOLDER = stat.S_IFDIR | 0o755
FILE = stat.S_IFREG | 0o644
LINK = stat.S_IFLNK | 0o777

Listing = Callable[[int], Sequence[tuple[bytes, FileAttributes]]]
"""The names of each READDIR, by its number from 0; none at the end."""


@dataclass(frozen=True, slots=True)
class Node:
    """What is at a path.

    Attributes:
        mode: As ``st_mode``.
        size: As it is said; ``None`` for the truth.
        data: Of a file.
        names: In a folder: name and mode, or a listing of its own.
        target: Of a link.
    """

    mode: int = FILE
    size: int | None = None
    data: bytes = b""
    names: Sequence[tuple[bytes, int]] | Listing = ()
    target: bytes = b""

    @property
    def attrs(self) -> FileAttributes:
        """As the server tells them."""
        return FileAttributes(
            size=len(self.data) if self.size is None else self.size, mode=self.mode, times=(1, 1)
        )


@dataclass(slots=True)
class EvilSftp:
    """Serves made-up nodes. It is run where a login asks for any command.

    Attributes:
        nodes: By path; what is not there does not exist.
        raw: Packets that are sent in the place of the answer to the first request.
        endless: Whether READ answers for ever.
    """

    nodes: Mapping[bytes, Node]
    raw: bytes = b""
    endless: bool = False
    asked: list[tuple[PacketType, bytes]] = field(default_factory=list)

    @property
    def session(self) -> Session:
        """For ``Conduct``."""
        return self._serve

    async def _serve(self, process: Process, _link: Link) -> None:
        reads: dict[bytes, int] = {}
        try:
            while True:
                (size,) = struct.unpack(">I", await process.stdin.readexactly(4))
                fields = PacketReader(await process.stdin.readexactly(size))
                kind = PacketType(fields.byte())
                number = fields.u32()
                if kind is PacketType.INIT:
                    answer = bytes([PacketType.VERSION]) + u32(3)
                elif self.raw:
                    process.stdout.write(self.raw)
                    continue
                else:
                    path = fields.string()
                    self.asked.append((kind, path))
                    answer = self._answer(kind, number, path, fields, reads)
                process.stdout.write(string(answer))
        except EOFError:
            process.exit(0)

    def _answer(
        self, kind: PacketType, number: int, path: bytes, fields: PacketReader, reads: dict[bytes, int]
    ) -> bytes:
        node = self.nodes.get(path)
        if kind is PacketType.CLOSE:
            return _status(number, StatusCode.OK)
        if node is None:
            return _status(number, StatusCode.NO_SUCH_FILE)
        if kind in {PacketType.STAT, PacketType.LSTAT, PacketType.FSTAT}:
            return bytes([PacketType.ATTRS]) + u32(number) + attrs(node.attrs)
        if kind in {PacketType.OPEN, PacketType.OPENDIR}:
            reads[path] = 0
            return bytes([PacketType.HANDLE]) + u32(number) + string(path)
        if kind is PacketType.READLINK:
            return _names(number, [(node.target, FileAttributes())])
        if kind is PacketType.READDIR:
            return self._listed(number, node, path, reads)
        if kind is PacketType.READ:
            offset, size = fields.u64(), fields.u32()
            data = b"x" * size if self.endless else node.data[offset : offset + size]
            return (
                (bytes([PacketType.DATA]) + u32(number) + string(data))
                if data
                else _status(number, StatusCode.EOF)
            )
        return _status(number, StatusCode.OP_UNSUPPORTED)

    def _listed(self, number: int, node: Node, path: bytes, reads: dict[bytes, int]) -> bytes:
        turn, reads[path] = reads[path], reads[path] + 1
        if callable(node.names):
            names = list(node.names(turn))
        else:
            names = [] if turn else [(name, FileAttributes(size=1, mode=mode)) for name, mode in node.names]
        return _names(number, names) if names else _status(number, StatusCode.EOF)


def _status(number: int, code: StatusCode) -> bytes:
    return bytes([PacketType.STATUS]) + u32(number) + u32(code) + string(b"") + string(b"")


def _names(number: int, names: Sequence[tuple[bytes, FileAttributes]]) -> bytes:
    listed = b"".join(string(name) + string(b"ls -l") + attrs(known) for name, known in names)
    return bytes([PacketType.NAME]) + u32(number) + u32(len(names)) + listed


def says(script: bytes) -> Session:
    """An ``scp -f`` that says this, whatever it is answered, and ends."""

    async def session(process: Process, _link: Link) -> None:
        process.stdout.write(script)
        process.stdout.write_eof()
        process.exit(0)

    return session
