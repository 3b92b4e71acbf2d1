"""What has become of each file, of a host's copy, and of all copies of a run; and how failures are worded."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from multirsh.errors import HostError
from multirsh.model import ErrorKind, Failure, Phase, Status
from multirsh.transports.base import Sink
from multirsh.transports.messages import one_line

_DISK_ERRORS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG})
"""Errors of the local disk that concern every file of every host."""

_SHORTAGES: Final = {
    errno.EMFILE: ErrorKind.FILES,
    errno.ENFILE: ErrorKind.FILES,
    errno.ENOMEM: ErrorKind.MEMORY,
}


class FileError(Exception):
    """One file cannot be copied, for the reason in its text; the copy goes on."""


class FileResult(NamedTuple):
    """What has become of one file; recorded as an event of its host.

    Attributes:
        path: The file's path on the host.
        size: Bytes that were sent or received.
        via: ``sftp`` or ``scp``.
        skipped: Why the file was left out.
        error: Why the file could not be copied.
        note: What could not be preserved, if the file was copied.
    """

    path: bytes
    size: int
    via: str
    skipped: str | None = None
    error: str | None = None
    note: str | None = None

    @property
    def text(self) -> str:
        """The path as text, for events."""
        return os.fsdecode(self.path)


class CopyObserver(Sink, Protocol):
    """Receives the results of a host's files, and all other output of the copy."""

    def copied(self, copy: FileResult) -> None:
        """Record the result of a file."""


@dataclass(slots=True)
class CopyProgress:
    """The progress of all copies of a run.

    Attributes:
        bytes: Bytes sent or received so far, including those of hosts that failed.
        files: Files copied so far.
    """

    bytes: int = 0
    files: int = 0


@dataclass(slots=True)
class CopyTally:
    """Collects the results of one host's files.

    Attributes:
        host: The host's name.
        observer: Receives each result.
        via: What carries the files, ``sftp`` or ``scp``.
        progress: The progress of all hosts.
    """

    host: str
    observer: CopyObserver
    via: str
    progress: CopyProgress
    _failures: int = field(default=0, init=False)
    _first_failure: str = field(default="", init=False)
    _notes: set[str] = field(default_factory=set, init=False)

    def moved(self, size: int) -> None:
        """Count bytes that have been sent or received."""
        self.progress.bytes += size

    def copied(self, path: bytes, size: int, notes: Sequence[str] = ()) -> None:
        """Record a copied file; the notes say what could not be preserved."""
        self.progress.files += 1
        self.observer.copied(FileResult(path, size, self.via, note="; ".join(notes) or None))

    def once(self, note: str) -> list[str]:
        """Return a note for a host's first file, and nothing for the others."""
        if note in self._notes:
            return []
        self._notes.add(note)
        return [note]

    def skipped(self, path: bytes, reason: str) -> None:
        """Record a file that was left out."""
        self.observer.copied(FileResult(path, 0, self.via, skipped=reason))

    def failed(self, path: bytes, reason: str) -> None:
        """Record a file or folder that could not be copied; the others are still copied."""
        self._failures += 1
        if not self._first_failure:
            self._first_failure = f"{display_path(path)}: {reason}"
        self.observer.copied(FileResult(path, 0, self.via, error=reason))

    def failure(self) -> HostError | None:
        """Return the host's failure once everything was tried; ``None`` if no file has failed."""
        if not self._failures:
            return None
        more = self._failures - 1
        others = "" if not more else f" (and {more} more)"
        return copy_failure(self.host, f"{self._first_failure}{others}")


def display_path(path: bytes) -> str:
    """Return a path for a message: on one line, without control characters."""
    return one_line(os.fsdecode(path).encode("utf-8", "replace").decode())


def copy_failure(host: str, message: str) -> HostError:
    """Return the failure of a host's copy."""
    return HostError(host, Status.FAILED, Failure(ErrorKind.COPY, Phase.RUN, one_line(message)))


def local_failure(host: str, error: OSError) -> HostError | None:
    """Return the failure if this machine is at fault; ``None`` if the error concerns only one file."""
    reason = error.strerror or str(error)
    if error.errno in _SHORTAGES:
        kind = _SHORTAGES[error.errno]
        return HostError(host, Status.LOCAL, Failure(kind, Phase.RUN, f"copying: {reason}"))
    if error.errno in _DISK_ERRORS:
        message = f"cannot write here: {reason}"
        return HostError(host, Status.LOCAL, Failure(ErrorKind.DISK, Phase.RUN, message))
    return None


def os_reason(error: OSError) -> str:
    """Return the reason of a local file system's error, in lower case."""
    return (error.strerror or str(error)).lower()
