"""The packets of SFTP version 3: encoding requests, and decoding what a server sends. Pure.

Sources: draft-ietf-secsh-filexfer-02; OpenSSH's PROTOCOL, section 4 (its extensions, and where it differs
from the draft). What a server sends is not trusted: anything malformed raises ``ProtocolError``.
"""

from __future__ import annotations

import enum
import struct
from typing import Final, NamedTuple

LONGEST_PACKET: Final = 256 * 1024 + 1024
"""The longest packet that is accepted, in bytes; OpenSSH's longest is 256 KiB."""

VERSION: Final = 3


class PacketType(enum.IntEnum):
    """The type of a packet."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    SETSTAT = 9
    FSETSTAT = 10
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    STAT = 17
    RENAME = 18
    READLINK = 19
    SYMLINK = 20
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


class StatusCode(enum.IntEnum):
    """The code of a STATUS packet."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    OP_UNSUPPORTED = 8


class OpenFlags(enum.IntFlag):
    """How a file is opened."""

    READ = 0x01
    WRITE = 0x02
    CREATE = 0x08
    TRUNCATE = 0x10
    EXCLUSIVE = 0x20


class ProtocolError(Exception):
    """The server violates the protocol."""


class FileAttributes(NamedTuple):
    """Attributes of a file; ``None`` for those that are not known, or not to be set.

    Attributes:
        size: Bytes.
        owner: Numeric ids of user and group.
        mode: As ``st_mode``.
        times: Access and modification time, in whole seconds.
    """

    size: int | None = None
    owner: tuple[int, int] | None = None
    mode: int | None = None
    times: tuple[int, int] | None = None


class DirectoryEntry(NamedTuple):
    """A name in a folder, and the attributes of the file itself."""

    name: bytes
    attrs: FileAttributes


_SIZE: Final = 0x01
_OWNER: Final = 0x02
_MODE: Final = 0x04
_TIMES: Final = 0x08
_MORE: Final = 0x80000000

_U32: Final = struct.Struct(">I")
_U64: Final = struct.Struct(">Q")
_HEAD: Final = struct.Struct(">IBI")
LATEST: Final = 0xFFFFFFFF
"""The last second that a time can express, in 2106."""


def u32(number: int) -> bytes:
    """Encode a number of 32 bits."""
    return _U32.pack(number)


def u64(number: int) -> bytes:
    """Encode a number of 64 bits."""
    return _U64.pack(number)


def string(text: bytes) -> bytes:
    """Encode bytes, preceded by their length."""
    return _U32.pack(len(text)) + text


def attrs(what: FileAttributes) -> bytes:
    """Encode attributes to set."""
    flags, fields = 0, b""
    if what.size is not None:
        flags, fields = flags | _SIZE, fields + u64(what.size)
    if what.owner is not None:
        flags, fields = flags | _OWNER, fields + u32(what.owner[0]) + u32(what.owner[1])
    if what.mode is not None:
        flags, fields = flags | _MODE, fields + u32(what.mode)
    if what.times is not None:
        accessed, modified = (min(max(0, seconds), LATEST) for seconds in what.times)
        flags, fields = flags | _TIMES, fields + u32(accessed) + u32(modified)
    return u32(flags) + fields


def init() -> bytes:
    """Encode the first packet of a conversation."""
    return _U32.pack(5) + bytes([PacketType.INIT]) + u32(VERSION)


def request(kind: PacketType, number: int, *fields: bytes | memoryview) -> bytes:
    """Encode a request; its answer carries ``number``."""
    size = 5 + sum(map(len, fields))
    return b"".join((_HEAD.pack(size, kind, number), *fields))


class PacketSplitter:
    """Splits a server's output into packets."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Receive a piece of output.

        Returns:
            The packets that it completes, without their lengths.

        Raises:
            ProtocolError: A packet is empty or too long.
        """
        self._buffer += data
        found = []
        start = 0
        while len(self._buffer) - start >= _U32.size:
            (size,) = _U32.unpack_from(self._buffer, start)
            if not 1 <= size <= LONGEST_PACKET:
                raise ProtocolError(f"it sent a packet of {size} bytes")
            end = start + _U32.size + size
            if end > len(self._buffer):
                break
            found.append(bytes(memoryview(self._buffer)[start + _U32.size : end]))
            start = end
        if start:
            del self._buffer[:start]
        return found


class PacketReader:
    """Decodes the fields of a packet in order."""

    def __init__(self, packet: bytes, start: int = 0) -> None:
        self._packet = packet
        self._place = start

    @property
    def is_at_end(self) -> bool:
        """Whether no fields are left."""
        return self._place >= len(self._packet)

    def byte(self) -> int:
        """Decode one byte."""
        return self._take(1)[0]

    def u32(self) -> int:
        """Decode a number of 32 bits."""
        number: int = _U32.unpack(self._take(4))[0]
        return number

    def u64(self) -> int:
        """Decode a number of 64 bits."""
        number: int = _U64.unpack(self._take(8))[0]
        return number

    def string(self) -> bytes:
        """Decode bytes that are preceded by their length."""
        return self._take(self.u32())

    def attrs(self) -> FileAttributes:
        """Decode attributes."""
        flags = self.u32()
        size = self.u64() if flags & _SIZE else None
        owner = (self.u32(), self.u32()) if flags & _OWNER else None
        mode = self.u32() if flags & _MODE else None
        times = (self.u32(), self.u32()) if flags & _TIMES else None
        if flags & _MORE:
            for _ in range(self.u32()):
                self.string()
                self.string()
        return FileAttributes(size, owner, mode, times)

    def names(self) -> list[DirectoryEntry]:
        """Decode names in a folder."""
        found = []
        for _ in range(self.u32()):
            name = self.string()
            self.string()  # the long name, as ls -l prints it
            found.append(DirectoryEntry(name, self.attrs()))
        return found

    def _take(self, size: int) -> bytes:
        end = self._place + size
        if end > len(self._packet):
            raise ProtocolError("it sent a packet that is too short")
        taken = self._packet[self._place : end]
        self._place = end
        return taken
