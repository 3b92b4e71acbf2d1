"""What has been copied: of one host, for its ending; of all, for the progress line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from multirsh.errors import HostError
from multirsh.files.entries import Copy, Teller
from multirsh.files.words import failed, shown


@dataclass(slots=True)
class Progress:
    """Of a whole run.

    Attributes:
        bytes: Sent or received so far, by hosts that failed too.
        files: Copied so far.
    """

    bytes: int = 0
    files: int = 0


@dataclass(slots=True)
class HostTally:
    """Of one host.

    Attributes:
        host: The host's name.
        teller: Is told of each file.
        via: What carries them.
        progress: Counts for all hosts.
    """

    host: str
    teller: Teller
    via: str
    progress: Progress
    _failures: int = field(default=0, init=False)
    _first: str = field(default="", init=False)
    _given: set[str] = field(default_factory=set, init=False)

    def moved(self, size: int) -> None:
        """So many bytes more have arrived."""
        self.progress.bytes += size

    def copied(self, path: bytes, size: int, notes: Sequence[str] = ()) -> None:
        """A file is there; the notes say what of it could not be kept."""
        self.progress.files += 1
        self.teller.copied(Copy(path, size, self.via, note="; ".join(notes) or None))

    def once(self, note: str) -> list[str]:
        """A note that is given of a host's first file only; nothing after that."""
        if note in self._given:
            return []
        self._given.add(note)
        return [note]

    def skipped(self, path: bytes, reason: str) -> None:
        """A file was left out."""
        self.teller.copied(Copy(path, 0, self.via, skipped=reason))

    def failed(self, path: bytes, reason: str) -> None:
        """A file, or a folder, could not be copied; the others are."""
        self._failures += 1
        if not self._first:
            self._first = f"{shown(path)}: {reason}"
        self.teller.copied(Copy(path, 0, self.via, error=reason))

    def verdict(self) -> HostError | None:
        """The host's failure, now that all was tried; ``None`` if it has none."""
        if not self._failures:
            return None
        more = self._failures - 1
        others = "" if not more else f" (and {more} more)"
        return failed(self.host, f"{self._first}{others}")
