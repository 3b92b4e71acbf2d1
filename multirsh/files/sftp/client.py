"""An SFTP client over any conversation: many requests at once, each awaited by its caller.

asyncssh's client works only over its own connections. This one works over any
conversation, such as one with ``sudo sftp-server``, and refuses a packet that
claims to be huge before reading it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from multirsh.errors import HostError
from multirsh.files.access import ConversationEnded, FileAccess, Pipe, conversation
from multirsh.files.options import Via
from multirsh.files.results import copy_failure
from multirsh.files.sftp import packets
from multirsh.files.sftp.packets import (
    DirectoryEntry,
    FileAttributes,
    OpenFlags,
    PacketReader,
    PacketSplitter,
    PacketType,
    ProtocolError,
    StatusCode,
)
from multirsh.model import ErrorKind
from multirsh.transports.messages import one_line

_SERVER_PATHS: Final = (
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
    "/usr/libexec/sftp-server",
    "/usr/lib/sftp-server",
    "/usr/local/libexec/sftp-server",
)
"""Its places on Debian; Fedora; Arch and SUSE; the BSDs and macOS; and where dropbear looks for it."""

START_SERVER: Final = (
    f'for s in {" ".join(_SERVER_PATHS)}; do if [ -x "$s" ]; then exec "$s"; fi; done; exit 127'
)
"""POSIX text that becomes an SFTP server."""

VERSION_TIMEOUT_S: Final = 30.0
"""Seconds that a server has to send its version: a program in its place may only read."""

SAFE_BYTES: Final = 32 * 1024
"""Data in one packet, in bytes, if a server does not say what it accepts (draft, section 3)."""

MOST_BYTES: Final = 255 * 1024
"""The most data in one packet, in bytes: what OpenSSH accepts."""

FULL_BYTES: Final = 64 * 1024
"""A file system with less free space than this is full."""

_POSIX_RENAME: Final = b"posix-rename@openssh.com"

_LIMITS: Final = b"limits@openssh.com"

_STATVFS: Final = b"statvfs@openssh.com"

_WORDS: Final[dict[int, str]] = {
    StatusCode.NO_SUCH_FILE: "no such file or folder",
    StatusCode.PERMISSION_DENIED: "permission denied",
    StatusCode.OP_UNSUPPORTED: "the server cannot do that",
}


class SftpError(Exception):
    """The server answered with an error.

    Attributes:
        code: The status code.
    """

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


Response = tuple[int, PacketReader]


class SftpClient:
    """A conversation with an SFTP server; it is the ``OutputReceiver`` of the server's output.

    Attributes:
        write_bytes: The most data in one WRITE.
        read_bytes: The most data in one READ.
        complaint: How the server violated the protocol; ``None`` if it did not.
    """

    def __init__(self) -> None:
        self._pipe: Pipe | None = None
        self._packets = PacketSplitter()
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Response]] = {}
        self._version: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._extensions: dict[bytes, bytes] = {}
        self._has_ended = False
        self.write_bytes = SAFE_BYTES
        self.read_bytes = SAFE_BYTES
        self.complaint: str | None = None

    # Output of the server.

    def data_received(self, data: bytes) -> None:
        """Resolve the requests that the output answers."""
        if self._has_ended:
            return
        try:
            for packet in self._packets.feed(data):
                self._take(packet)
        except ProtocolError as error:
            self.complaint = _violation(error)
            self.ended()

    def ended(self) -> None:
        """Fail all requests that are not answered."""
        self._has_ended = True
        waiting, self._waiting = self._waiting, {}
        for answer in (self._version, *waiting.values()):
            if not answer.done():
                answer.set_exception(ConversationEnded())
                answer.exception()  # retrieved, so that asyncio does not log it

    def _take(self, packet: bytes) -> None:
        fields = PacketReader(packet)
        kind = fields.byte()
        if kind == PacketType.VERSION:
            if self._version.done():
                raise ProtocolError("it said its version twice")
            self._version.set_result((kind, fields))
            return
        answer = self._waiting.pop(fields.u32(), None)
        if answer is None:
            raise ProtocolError("it answered what was not asked")
        if not answer.done():
            answer.set_result((kind, fields))

    # Requests.

    async def begin(self, pipe: Pipe) -> None:
        """Exchange versions.

        Raises:
            ConversationEnded: The program is not an SFTP server.
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
            fields = await self._answer(
                PacketType.EXTENDED_REPLY, PacketType.EXTENDED, packets.string(_LIMITS)
            )
        except SftpError:
            return
        fields.u64()
        reads, writes = fields.u64(), fields.u64()
        self.read_bytes = min(reads, MOST_BYTES) or SAFE_BYTES
        self.write_bytes = min(writes, MOST_BYTES) or SAFE_BYTES

    async def lstat(self, path: bytes) -> FileAttributes | None:
        """Return the attributes of a file, without following links; ``None`` if it does not exist."""
        return await self._stat(PacketType.LSTAT, path)

    async def stat(self, path: bytes) -> FileAttributes | None:
        """Return the attributes of a file, following links; ``None`` if it does not exist."""
        return await self._stat(PacketType.STAT, path)

    async def fstat(self, handle: bytes) -> FileAttributes:
        """Return the attributes of an open file."""
        return (await self._answer(PacketType.ATTRS, PacketType.FSTAT, packets.string(handle))).attrs()

    async def open(self, path: bytes, how: OpenFlags, mode: int | None = None) -> bytes:
        """Open a file and return its handle; the server applies its umask to ``mode``."""
        flags, attrs = packets.u32(how), packets.attrs(FileAttributes(mode=mode))
        fields = await self._answer(PacketType.HANDLE, PacketType.OPEN, packets.string(path), flags, attrs)
        return fields.string()

    async def close(self, handle: bytes) -> None:
        """Close a file or a folder."""
        await self._do(PacketType.CLOSE, packets.string(handle))

    async def request_read(self, handle: bytes, offset: int, size: int) -> asyncio.Future[Response]:
        """Request data, without waiting for it; ``read_result`` returns it."""
        return await self._ask(
            PacketType.READ, packets.string(handle), packets.u64(offset), packets.u32(size)
        )

    async def read_result(self, asked: asyncio.Future[Response]) -> bytes:
        """Wait for requested data: possibly less than was requested, and ``b""`` at the end of the file."""
        try:
            return _checked(await asked, PacketType.DATA).string()
        except SftpError as error:
            if error.code == StatusCode.EOF:
                return b""
            raise

    async def request_write(self, handle: bytes, offset: int, data: memoryview) -> asyncio.Future[Response]:
        """Send data, without waiting for the answer; ``write_result`` checks it."""
        place, length = packets.u64(offset), packets.u32(len(data))
        return await self._ask(PacketType.WRITE, packets.string(handle), place, length, data)

    async def write_result(self, asked: asyncio.Future[Response]) -> None:
        """Wait until data is written."""
        _checked(await asked, PacketType.STATUS)

    async def set_attrs(self, handle: bytes, what: FileAttributes) -> None:
        """Set attributes of an open file."""
        await self._do(PacketType.FSETSTAT, packets.string(handle), packets.attrs(what))

    async def set_path_attrs(self, path: bytes, what: FileAttributes) -> None:
        """Set attributes of a file or folder."""
        await self._do(PacketType.SETSTAT, packets.string(path), packets.attrs(what))

    async def make_folder(self, path: bytes, mode: int) -> None:
        """Create a folder; the server applies its umask to ``mode``."""
        await self._do(PacketType.MKDIR, packets.string(path), packets.attrs(FileAttributes(mode=mode)))

    async def remove(self, path: bytes) -> None:
        """Remove a file or a link."""
        await self._do(PacketType.REMOVE, packets.string(path))

    async def link(self, path: bytes, target: bytes) -> None:
        """Create a link at ``path`` that leads to ``target``."""
        # OpenSSH and most others swap the two arguments of the draft (OpenSSH's PROTOCOL, 4.1).
        both = [packets.string(target), packets.string(path)]
        if b"AsyncSSH" in self._extensions.get(b"vendor-id", b""):
            both.reverse()
        await self._do(PacketType.SYMLINK, *both)

    async def read_link(self, path: bytes) -> bytes:
        """Return the target of a link."""
        names = (await self._answer(PacketType.NAME, PacketType.READLINK, packets.string(path))).names()
        if len(names) != 1:
            raise SftpError(StatusCode.BAD_MESSAGE, "the server sent no target of a link")
        return names[0].name

    async def rename(self, old: bytes, new: bytes, aside: bytes) -> None:
        """Rename a file, replacing any file of the new name.

        Args:
            old: The file's name.
            new: Its new name.
            aside: An unused name. A plain RENAME replaces nothing (draft, section 6.5), and an old file must
                not be removed before the new one has taken its place; so it gets this name in between.
        """
        if _POSIX_RENAME in self._extensions:
            both = packets.string(old), packets.string(new)
            await self._do(PacketType.EXTENDED, packets.string(_POSIX_RENAME), *both)
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
        await self._do(PacketType.RENAME, packets.string(old), packets.string(new))

    async def open_folder(self, path: bytes) -> bytes:
        """Open a folder and return its handle."""
        return (await self._answer(PacketType.HANDLE, PacketType.OPENDIR, packets.string(path))).string()

    async def read_folder(self, handle: bytes) -> list[DirectoryEntry]:
        """Return some names in a folder; none at its end."""
        try:
            return (await self._answer(PacketType.NAME, PacketType.READDIR, packets.string(handle))).names()
        except SftpError as error:
            if error.code == StatusCode.EOF:
                return []
            raise

    async def shortage(self, path: bytes) -> str | None:
        """Return what the file system at ``path`` has run out of; ``None`` if nothing is reported."""
        if _STATVFS not in self._extensions:
            return None
        asked = packets.string(_STATVFS), packets.string(path)
        try:
            fields = await self._answer(PacketType.EXTENDED_REPLY, PacketType.EXTENDED, *asked)
        except SftpError:
            return None
        fields.u64()
        fragment, _blocks, _free, available = fields.u64(), fields.u64(), fields.u64(), fields.u64()
        files, _files_free, files_available = fields.u64(), fields.u64(), fields.u64()
        if available * fragment < FULL_BYTES:
            return "no space left on the host"
        if files and not files_available:  # some file systems do not count inodes
            return "no inodes left on the host"
        return None

    async def _stat(self, kind: PacketType, path: bytes) -> FileAttributes | None:
        try:
            return (await self._answer(PacketType.ATTRS, kind, packets.string(path))).attrs()
        except SftpError as error:
            if error.code == StatusCode.NO_SUCH_FILE:
                return None
            raise

    async def _do(self, kind: PacketType, *fields: bytes) -> None:
        await self._answer(PacketType.STATUS, kind, *fields)

    async def _answer(self, expected: PacketType, kind: PacketType, *fields: bytes) -> PacketReader:
        return _checked(await (await self._ask(kind, *fields)), expected)

    async def _ask(self, kind: PacketType, *fields: bytes | memoryview) -> asyncio.Future[Response]:
        if self._has_ended or self._pipe is None:
            raise ConversationEnded
        self._number = (self._number + 1) & 0xFFFFFFFF
        number = self._number
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        await self._pipe.send(packets.request(kind, number, *fields))
        return answer


def _checked(answer: Response, expected: PacketType) -> PacketReader:
    """Return the fields of an answer of the expected type.

    Raises:
        SftpError: The answer is an error.
        ProtocolError: The answer has another type.
    """
    kind, fields = answer
    if kind == PacketType.STATUS:
        code = fields.u32()
        if code == StatusCode.OK and expected is PacketType.STATUS:
            return fields
        said = "" if fields.is_at_end else fields.string().decode("utf-8", "replace")
        raise SftpError(code, _WORDS.get(code) or one_line(said).lower() or f"SFTP error {code}")
    if kind != expected:
        raise ProtocolError(f"a {expected.name} was due, and it sent {kind}")
    return fields


@contextlib.asynccontextmanager
async def open_sftp(access: FileAccess) -> AsyncIterator[SftpClient | None]:
    """Talk to a host's SFTP server inside of the block; yields ``None`` if it has none.

    Raises:
        HostError: The connection was lost, or sudo refused.
    """
    starts = [access.subsystem("sftp"), access.program(START_SERVER)]
    for start in starts if access.options.via is not Via.SCP else []:
        if start is None:
            continue
        sftp = SftpClient()
        async with conversation(start, sftp) as pipe:
            if await _is_sftp(access.host, sftp, pipe):
                try:
                    yield sftp
                except ConversationEnded:
                    raise access.failure(pipe, sftp.complaint) from None
                except ProtocolError as error:
                    raise access.protocol_failure(_violation(error)) from None
                return
    if access.options.via is Via.SFTP:
        raise copy_failure(access.host, "it has no SFTP server")
    yield None


async def _is_sftp(host: str, sftp: SftpClient, pipe: Pipe) -> bool:
    """Begin the protocol; return whether the program is an SFTP server."""
    try:
        async with asyncio.timeout(VERSION_TIMEOUT_S):
            await sftp.begin(pipe)
    except TimeoutError:
        message = f"its SFTP server did not answer within {VERSION_TIMEOUT_S:g} s"
        raise copy_failure(host, message) from None
    except ConversationEnded:
        if pipe.error is not None and not _is_missing_subsystem(pipe.error):
            raise pipe.error from None
        return False
    return True


def _violation(error: ProtocolError) -> str:
    return f"the SFTP server violates the protocol: {error}"


def _is_missing_subsystem(error: Exception) -> bool:
    return (
        isinstance(error, HostError)
        and error.failure is not None
        and error.failure.kind is ErrorKind.SESSION_REFUSED
    )
