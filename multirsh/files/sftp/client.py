"""SFTP requests and their answers, many at once; who asks awaits.

asyncssh has a client, too, but only for its own connections: this one works
over any conversation, such as one with ``sudo sftp-server``, and a packet that
pretends to be huge is refused before it is taken.
"""

from __future__ import annotations

import asyncio
from typing import Final

from multirsh.files.pipe import Pipe
from multirsh.files.sftp import packets
from multirsh.files.sftp.packets import Attrs, Code, Fields, Kind, Name, Open, Packets, ProtocolError
from multirsh.transports.words import one_line

SAFE_BYTES: Final = 32 * 1024
"""Of data in one packet, where a server does not say what it takes (draft, section 3)."""

MOST_BYTES: Final = 255 * 1024
"""The same, at the most: what OpenSSH's takes."""

FULL_BYTES: Final = 64 * 1024
"""A file system with less than this is full."""

_POSIX_RENAME: Final = b"posix-rename@openssh.com"
_LIMITS: Final = b"limits@openssh.com"
_STATVFS: Final = b"statvfs@openssh.com"

_WORDS: Final[dict[int, str]] = {
    Code.NO_SUCH_FILE: "no such file or folder",
    Code.PERMISSION_DENIED: "permission denied",
    Code.OP_UNSUPPORTED: "the server cannot do that",
}


class SftpError(Exception):
    """The server answered with an error.

    Attributes:
        code: Which.
    """

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


class Ended(Exception):  # noqa: N818 - why is told by the pipe
    """The conversation is over, and there will be no answer."""


Answer = tuple[int, Fields]


class Sftp:
    """One conversation: a ``Receiver`` of what the server says.

    Attributes:
        write_bytes: Of data in one WRITE, at the most.
        read_bytes: Of data in one READ, at the most.
        complaint: What the server did wrong; ``None`` for nothing.
    """

    def __init__(self) -> None:
        self._pipe: Pipe | None = None
        self._packets = Packets()
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._version: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._extensions: dict[bytes, bytes] = {}
        self._has_ended = False
        self.write_bytes = SAFE_BYTES
        self.read_bytes = SAFE_BYTES
        self.complaint: str | None = None

    # What the server says.

    def data_received(self, data: bytes) -> None:
        """Hand each packet to who waits for it."""
        if self._has_ended:
            return
        try:
            for packet in self._packets.feed(data):
                self._take(packet)
        except ProtocolError as error:
            self.complaint = f"the SFTP server speaks no SFTP: {error}"
            self.ended()

    def ended(self) -> None:
        """There will be no more answers."""
        self._has_ended = True
        waiting, self._waiting = self._waiting, {}
        for answer in (self._version, *waiting.values()):
            if not answer.done():
                answer.set_exception(Ended())
                answer.exception()  # nobody may be left who wants to know

    def _take(self, packet: bytes) -> None:
        fields = Fields(packet)
        kind = fields.byte()
        if kind == Kind.VERSION:
            if self._version.done():
                raise ProtocolError("it said its version twice")
            self._version.set_result((kind, fields))
            return
        answer = self._waiting.pop(fields.u32(), None)
        if answer is None:
            raise ProtocolError("it answered what was not asked")
        if not answer.done():
            answer.set_result((kind, fields))

    # What is asked of it.

    async def begin(self, pipe: Pipe) -> None:
        """Exchange versions.

        Raises:
            Ended: There is no SFTP.
        """
        self._pipe = pipe
        await pipe.send(packets.init())
        _, fields = await self._version
        fields.u32()
        while not fields.is_at_end:
            name = fields.string()
            self._extensions[name] = fields.string()
        if _LIMITS in self._extensions:
            await self._ask_for_limits()

    async def _ask_for_limits(self) -> None:
        try:
            fields = await self._answer(Kind.EXTENDED_REPLY, Kind.EXTENDED, packets.string(_LIMITS))
        except SftpError:
            return
        fields.u64()
        reads, writes = fields.u64(), fields.u64()
        self.read_bytes = min(reads, MOST_BYTES) or SAFE_BYTES
        self.write_bytes = min(writes, MOST_BYTES) or SAFE_BYTES

    async def lstat(self, path: bytes) -> Attrs | None:
        """What is at ``path`` itself; ``None`` for nothing."""
        return await self._stat(Kind.LSTAT, path)

    async def stat(self, path: bytes) -> Attrs | None:
        """What ``path`` leads to; ``None`` for nothing."""
        return await self._stat(Kind.STAT, path)

    async def fstat(self, handle: bytes) -> Attrs:
        """What has been opened."""
        return (await self._answer(Kind.ATTRS, Kind.FSTAT, packets.string(handle))).attrs()

    async def open(self, path: bytes, how: Open, mode: int | None = None) -> bytes:
        """Open a file; the server's umask takes its part of ``mode``."""
        flags, attrs = packets.u32(how), packets.attrs(Attrs(mode=mode))
        fields = await self._answer(Kind.HANDLE, Kind.OPEN, packets.string(path), flags, attrs)
        return fields.string()

    async def close(self, handle: bytes) -> None:
        """Close a file or a folder."""
        await self._do(Kind.CLOSE, packets.string(handle))

    async def ask_to_read(self, handle: bytes, offset: int, size: int) -> asyncio.Future[Answer]:
        """Ask for data; ``data_of`` has the answer."""
        return await self._ask(Kind.READ, packets.string(handle), packets.u64(offset), packets.u32(size))

    async def data_of(self, asked: asyncio.Future[Answer]) -> bytes:
        """The data that was asked for: some of it, or ``b""`` at the file's end."""
        try:
            return _checked(await asked, Kind.DATA).string()
        except SftpError as error:
            if error.code == Code.EOF:
                return b""
            raise

    async def ask_to_write(self, handle: bytes, offset: int, data: memoryview) -> asyncio.Future[Answer]:
        """Send data; ``done`` has the answer."""
        place, length = packets.u64(offset), packets.u32(len(data))
        return await self._ask(Kind.WRITE, packets.string(handle), place, length, data)

    async def done(self, asked: asyncio.Future[Answer]) -> None:
        """Wait until it is done."""
        _checked(await asked, Kind.STATUS)

    async def set_attrs(self, handle: bytes, what: Attrs) -> None:
        """Set what is known of an open file."""
        await self._do(Kind.FSETSTAT, packets.string(handle), packets.attrs(what))

    async def set_attrs_at(self, path: bytes, what: Attrs) -> None:
        """Set what is known of a file or folder."""
        await self._do(Kind.SETSTAT, packets.string(path), packets.attrs(what))

    async def make_folder(self, path: bytes, mode: int) -> None:
        """Make a folder; the server's umask takes its part of ``mode``."""
        await self._do(Kind.MKDIR, packets.string(path), packets.attrs(Attrs(mode=mode)))

    async def remove(self, path: bytes) -> None:
        """Remove a file or a link."""
        await self._do(Kind.REMOVE, packets.string(path))

    async def link(self, path: bytes, target: bytes) -> None:
        """Make a link at ``path`` that leads to ``target``."""
        # OpenSSH has the two the other way round than the draft, and so have nearly all (its PROTOCOL, 4.1).
        both = [packets.string(target), packets.string(path)]
        if b"AsyncSSH" in self._extensions.get(b"vendor-id", b""):
            both.reverse()
        await self._do(Kind.SYMLINK, *both)

    async def target_of(self, path: bytes) -> bytes:
        """Where a link leads."""
        names = (await self._answer(Kind.NAME, Kind.READLINK, packets.string(path))).names()
        if len(names) != 1:
            raise SftpError(Code.BAD_MESSAGE, "the server told no target of a link")
        return names[0].name

    async def rename(self, old: bytes, new: bytes, aside: bytes) -> None:
        """Give a file another name, in the place of what has it.

        Args:
            old: Its name.
            new: The name that it is to have.
            aside: A free name, for a moment, for what has that name: a plain RENAME replaces nothing (draft,
                section 6.5), and what is there is not removed before it is sure that another takes its place.
        """
        if _POSIX_RENAME in self._extensions:
            both = packets.string(old), packets.string(new)
            await self._do(Kind.EXTENDED, packets.string(_POSIX_RENAME), *both)
            return
        try:
            await self._rename(old, new)
        except SftpError:
            if await self.lstat(new) is None:
                raise
            await self._rename(new, aside)
            try:
                await self._rename(old, new)
            except BaseException:
                await self._rename(aside, new)
                raise
            await self.remove(aside)

    async def _rename(self, old: bytes, new: bytes) -> None:
        await self._do(Kind.RENAME, packets.string(old), packets.string(new))

    async def open_folder(self, path: bytes) -> bytes:
        """Begin to list a folder."""
        return (await self._answer(Kind.HANDLE, Kind.OPENDIR, packets.string(path))).string()

    async def list(self, handle: bytes) -> list[Name]:
        """Some of its names; none at its end."""
        try:
            return (await self._answer(Kind.NAME, Kind.READDIR, packets.string(handle))).names()
        except SftpError as error:
            if error.code == Code.EOF:
                return []
            raise

    async def lack(self, path: bytes) -> str | None:
        """What the file system at ``path`` has run out of, in words, as far as the server tells."""
        if _STATVFS not in self._extensions:
            return None
        asked = packets.string(_STATVFS), packets.string(path)
        try:
            fields = await self._answer(Kind.EXTENDED_REPLY, Kind.EXTENDED, *asked)
        except SftpError:
            return None
        fields.u64()
        fragment, _blocks, _free, available = fields.u64(), fields.u64(), fields.u64(), fields.u64()
        files, _files_free, files_available = fields.u64(), fields.u64(), fields.u64()
        if available * fragment < FULL_BYTES:
            return "no space left on the host"
        if files and not files_available:  # some file systems have no number of them
            return "no inodes left on the host"
        return None

    async def _stat(self, kind: Kind, path: bytes) -> Attrs | None:
        try:
            return (await self._answer(Kind.ATTRS, kind, packets.string(path))).attrs()
        except SftpError as error:
            if error.code == Code.NO_SUCH_FILE:
                return None
            raise

    async def _do(self, kind: Kind, *fields: bytes) -> None:
        await self._answer(Kind.STATUS, kind, *fields)

    async def _answer(self, expected: Kind, kind: Kind, *fields: bytes) -> Fields:
        return _checked(await (await self._ask(kind, *fields)), expected)

    async def _ask(self, kind: Kind, *fields: bytes | memoryview) -> asyncio.Future[Answer]:
        if self._has_ended or self._pipe is None:
            raise Ended
        self._number = (self._number + 1) & 0xFFFFFFFF
        number = self._number
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        await self._pipe.send(packets.request(kind, number, *fields))
        return answer


def _checked(answer: Answer, expected: Kind) -> Fields:
    """The answer's fields, if it is one to what was asked.

    Raises:
        SftpError: It is an error.
        ProtocolError: It is something else.
    """
    kind, fields = answer
    if kind == Kind.STATUS:
        code = fields.u32()
        if code == Code.OK and expected is Kind.STATUS:
            return fields
        said = "" if fields.is_at_end else fields.string().decode("utf-8", "replace")
        raise SftpError(code, _WORDS.get(code) or one_line(said).lower() or f"SFTP error {code}")
    if kind != expected:
        raise ProtocolError(f"a {expected.name} was due, and it sent {kind}")
    return fields
