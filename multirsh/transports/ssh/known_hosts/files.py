"""The known_hosts files: read once, and appended to by one writer, for all tasks, threads and processes.

A host is looked up as ``[name]:port``; on port 22, or under a HostKeyAlias, as
``name`` alone. It is never looked up by its address, unless the address is its name.
"""

from __future__ import annotations

import binascii
import contextlib
import errno
import fcntl
import os
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncssh

from multirsh.errors import CredentialError
from multirsh.model import HostKeyPolicy
from multirsh.transports.ssh.known_hosts.trust import (
    SALT_BYTES,
    Entry,
    Index,
    KnownKey,
    Marker,
    NamedKey,
    Trust,
    Verdict,
    VerdictKind,
    can_be_written,
    file_name,
    hashed_name,
    judge,
    read_key,
)

LOCK_TIMEOUT_S: Final = 10.0
"""How long to wait while another process holds known_hosts locked, in seconds."""
_LOCK_PAUSE_S: Final = 0.005
_TAIL_BYTES: Final = 256
_KRL_MAGIC: Final = b"SSHKRL\n\0"


@dataclass(frozen=True, slots=True)
class _Seen:
    """How much of a file is in the index.

    Attributes:
        identity: Device and inode.
        size: Bytes that have been read.
        lines: The number of line ends among them.
        tail: The last of these bytes; they reveal a change other than an addition.
    """

    identity: tuple[int, int]
    size: int
    lines: int
    tail: bytes


@dataclass(frozen=True, slots=True)
class _Names:
    """The names under which a host is added to the file."""

    name: str
    port: int | None
    hashed: bool

    def to_write(self) -> str:
        written = file_name(self.name, self.port)
        return hashed_name(written, os.urandom(SALT_BYTES)) if self.hashed else written


class KnownHosts:
    """The known_hosts files, indexed; new keys are added to the first of the user's files.

    Instances may be used from several threads.
    """

    def __init__(
        self, user_files: Sequence[str], global_files: Sequence[str] = (), *, revoked_file: str | None = None
    ) -> None:
        """Read the files; see ``read``."""
        self._files = tuple(dict.fromkeys((*user_files, *global_files)))
        self._written = user_files[0] if user_files else None
        self._revoked_file = revoked_file
        self._revoked: tuple[KnownKey, ...] = () if revoked_file is None else _read_revoked(revoked_file)
        self._keys: dict[str, NamedKey | None] = {}
        self._writing = threading.Lock()
        self._indexing = threading.RLock()
        self._load()

    @classmethod
    def read(
        cls, user_files: Sequence[str], global_files: Sequence[str] = (), *, revoked_file: str | None = None
    ) -> KnownHosts:
        """Read known_hosts files; a missing file counts as empty.

        Args:
            user_files: Paths; new keys are written to the first.
            global_files: Paths.
            revoked_file: ``RevokedHostKeys``: public keys, one a line, never to be trusted; it must exist.

        Raises:
            CredentialError: A file cannot be read, or ``revoked_file`` does not exist or is a KRL.
        """
        return cls(user_files, global_files, revoked_file=revoked_file)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The invalid lines, which are skipped as in ssh: one line of text for each file that has any."""
        with self._indexing:
            return tuple(
                f"{source}: {len(lines)} line{'s' if len(lines) > 1 else ''} passed over"
                f", first line {lines[0][0]}: {lines[0][1]}"
                for source, lines in self._passed_over.items()
            )

    def lookup(self, name: str, port: int | None = None) -> Trust:
        """Find the entries of a host.

        Args:
            name: The name connected to, or its HostKeyAlias.
            port: The port connected to; ``None`` or 22 if the name is looked up alone, as for a HostKeyAlias.
        """
        own_name, bare_name = file_name(name, port), file_name(name, None)
        with self._indexing:
            trust = self._trust.get(own_name)
            if trust is None:
                own = self._index.find(own_name)
                bare = [entry for entry in self._index.find(bare_name) if entry not in own]
                trust = self._trust[own_name] = self._weigh(own, bare)
            return trust

    def remember(self, name: str, port: int | None, key: asyncssh.SSHKey, *, hashed: bool = False) -> Verdict:
        """Add a new host key to the file, if it is still new. Blocks; call it in a thread.

        One process and thread at a time writes. Lines that others added meanwhile are read first, so that of
        two that meet the same host at once the second finds its key known, or changed.

        Args:
            name: As for ``lookup``.
            port: As for ``lookup``.
            key: The host's plain key.
            hashed: Whether to hash the name (HashKnownHosts).

        Returns:
            The verdict under ``accept-new``: ``NEW`` if the key was added. ``UNKNOWN`` if it cannot be added,
            as in ssh: the name cannot stand in a file, or there is no user's file. A file that is not
            regular, such as ``/dev/null``, stores nothing; the key is remembered until the process exits.

        Raises:
            CredentialError: The file cannot be written, or another process keeps it locked.
        """
        with self._writing:
            if self._written is None or not can_be_written(name):
                return judge(self.lookup(name, port), key, HostKeyPolicy.STRICT)
            try:
                with _locked(self._written) as descriptor:
                    return self._remember(descriptor, self._written, key, _Names(name, port, hashed))
            except OSError as error:
                raise CredentialError(
                    f"the host key cannot be written to {self._written}: {error.strerror}"
                ) from error

    # ------------------------------------------------------------ reading

    def _load(self) -> None:
        """Read all files again."""
        with self._indexing:
            self._index = Index()
            self._trust: dict[str, Trust] = {}
            self._passed_over: dict[str, list[tuple[int, str]]] = {}
            self._seen: _Seen | None = None
            for path in self._files:
                self._load_file(path)

    def _load_file(self, path: str) -> None:
        try:
            with Path(path).open("rb") as file:
                status = os.fstat(file.fileno())
                content = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise CredentialError(f"{path} cannot be read: {error.strerror}") from error
        self._add(path, content, after_line=0)
        if path == self._written:
            self._seen = _Seen(
                identity=(status.st_dev, status.st_ino),
                size=len(content),
                lines=content.count(b"\n"),
                tail=content[-_TAIL_BYTES:],
            )

    def _add(self, path: str, content: bytes, *, after_line: int) -> None:
        lines = content.decode("utf-8", errors="surrogateescape").split("\n")
        for number, line in enumerate(lines, after_line + 1):
            try:
                self._index.add(line, source=path, line=number)
            except ValueError as error:
                self._passed_over.setdefault(path, []).append((number, str(error)))

    def _weigh(self, own: Sequence[Entry], bare: Sequence[Entry]) -> Trust:
        """Sort a host's entries by their meaning, and decode their keys."""
        known = self._import(own, Marker.NONE)
        return Trust(
            known=known,
            known_elsewhere=() if known else self._import(bare, Marker.NONE),
            authorities=self._import(own, Marker.CA) + self._import(bare, Marker.CA),
            revoked=self._import(own, Marker.REVOKED) + self._import(bare, Marker.REVOKED) + self._revoked,
        )

    def _import(self, entries: Sequence[Entry], marker: Marker) -> tuple[KnownKey, ...]:
        imported: list[KnownKey] = []
        for entry in entries:
            if entry.marker is not marker:
                continue
            if entry.key not in self._keys:
                self._keys[entry.key] = read_key(entry.key)
                if self._keys[entry.key] is None:
                    passed = (entry.line, "the key cannot be read")
                    self._passed_over.setdefault(entry.source, []).append(passed)
            named = self._keys[entry.key]
            if named is not None:
                imported.append(
                    KnownKey(named.key, entry.source, entry.line, is_certificate=named.is_certificate)
                )
        return tuple(imported)

    # ------------------------------------------------------------ writing

    def _remember(self, descriptor: int, path: str, key: asyncssh.SSHKey, names: _Names) -> Verdict:
        is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        if is_regular:
            self._catch_up(descriptor, path)
        verdict = judge(self.lookup(names.name, names.port), key, HostKeyPolicy.ACCEPT_NEW)
        if verdict.kind is VerdictKind.NEW:
            entry = f"{names.to_write()} {_export_key(key)}"
            line = self._append(descriptor, entry) if is_regular else 0
            with self._indexing:
                self._index.add(entry, source=path, line=line)
                self._trust.clear()
        return verdict

    def _catch_up(self, descriptor: int, path: str) -> None:
        """Index what others wrote: the added lines, or everything if the file was changed otherwise."""
        status = os.fstat(descriptor)
        seen = self._seen
        with self._indexing:
            if seen is None or not _grew(descriptor, status, seen):
                self._load()
                return
            if status.st_size == seen.size:
                return
            added = _read_from(descriptor, seen.size, status.st_size)
            self._add(path, added.removesuffix(b"\n"), after_line=seen.lines)
            self._trust.clear()
            self._seen = _Seen(
                identity=seen.identity,
                size=seen.size + len(added),
                lines=seen.lines + added.count(b"\n"),
                tail=(seen.tail + added)[-_TAIL_BYTES:],
            )

    def _append(self, descriptor: int, entry: str) -> int:
        """Append a line and sync it to the disk; on failure, leave the file as it was.

        Returns:
            The line's number.
        """
        seen = self._seen
        if seen is None:
            raise AssertionError("the file was read under the lock")
        glue = b"" if not seen.tail or seen.tail.endswith(b"\n") else b"\n"
        text = glue + entry.encode(errors="surrogateescape") + b"\n"
        try:
            _write_whole(descriptor, text)
            os.fsync(descriptor)
        except OSError:
            # ssh itself takes no lock: truncate only if the new line is still the last.
            if 0 < os.fstat(descriptor).st_size - seen.size <= len(text):
                os.ftruncate(descriptor, seen.size)
            raise
        self._seen = _Seen(
            identity=seen.identity,
            size=seen.size + len(text),
            lines=seen.lines + text.count(b"\n"),
            tail=(seen.tail + text)[-_TAIL_BYTES:],
        )
        return self._seen.lines


def _write_whole(descriptor: int, text: bytes) -> None:
    """Write in one call, or raise: a part of a line is of no use."""
    if os.write(descriptor, text) != len(text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _export_key(key: asyncssh.SSHKey) -> str:
    """Format a key without its comment."""
    return f"{key.get_algorithm()} {binascii.b2a_base64(key.public_data, newline=False).decode()}"


def _grew(descriptor: int, status: os.stat_result, seen: _Seen) -> bool:
    """Whether a file is the one that was read, with lines only added."""
    if (status.st_dev, status.st_ino) != seen.identity or status.st_size < seen.size:
        return False
    if os.pread(descriptor, len(seen.tail), seen.size - len(seen.tail)) != seen.tail:
        return False
    return status.st_size == seen.size or not seen.tail or seen.tail.endswith(b"\n")


def _read_from(descriptor: int, start: int, end: int) -> bytes:
    parts: list[bytes] = []
    while start < end and (part := os.pread(descriptor, end - start, start)):
        parts.append(part)
        start += len(part)
    return b"".join(parts)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[int]:
    """Open a file for appending, creating it if needed, and hold it locked.

    The lock is on the file itself. ``ssh-keygen -R`` replaces the file, so its identity is checked again once
    the lock is held.

    Raises:
        OSError: The file cannot be opened.
        CredentialError: Another process keeps it locked.
    """
    Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                yield descriptor
                return
            _lock(descriptor, path, deadline)
            if _is_still(descriptor, path):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _lock(descriptor: int, path: str, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise CredentialError(f"{path} stays locked by another process") from None
            time.sleep(_LOCK_PAUSE_S)
        else:
            return


def _is_still(descriptor: int, path: str) -> bool:
    try:
        named = os.stat(path)  # noqa: PTH116 - symmetric with fstat
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(descriptor))


def _read_revoked(path: str) -> tuple[KnownKey, ...]:
    """Read ``RevokedHostKeys``: an unreadable file would revoke nothing, so it is an error."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise CredentialError(f"RevokedHostKeys {path} cannot be read: {error.strerror}") from error
    if content.startswith(_KRL_MAGIC):
        raise CredentialError(
            f"RevokedHostKeys {path} is a binary KRL, which is not supported",
            hint="list the public keys, one a line",
        )
    revoked: list[KnownKey] = []
    for number, line in enumerate(content.decode("utf-8", errors="replace").split("\n"), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        named = read_key(text)
        if named is None:
            raise CredentialError(f"RevokedHostKeys {path}:{number}: this is no public key")
        revoked.append(KnownKey(named.key, path, number))
    return tuple(revoked)
