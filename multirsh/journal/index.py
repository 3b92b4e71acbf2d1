"""The index: every run at a glance, so that a thousand are listed by reading one file.

It is only appended to, a row when a run begins and another when it ends; the
last row of a run holds. It is never the truth: the records are, and what the
index lacks is learnt from them. So it may be deleted at any time, nothing of it
is fsynced, and where it cannot be written nobody is told.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from multirsh.journal.entry import Entry
from multirsh.journal.folder import PRIVATE_FILE
from multirsh.journal.rows import line_of, rows

NAME: Final = "index.ndjson"


class Index:
    """Of the records in one folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    def read(self) -> dict[str, Entry]:
        """What it knows of each run, by its identifier."""
        found: dict[str, Entry] = {}
        with contextlib.suppress(OSError), self._path.open("rb") as file:
            for row in rows(file):
                with contextlib.suppress(ValueError):
                    entry = Entry.from_dict(row)
                    found[entry.run] = entry
        return found

    def add(self, entries: Iterable[Entry]) -> None:
        """Append what is known of some runs."""
        data = b"".join(line_of(entry.to_dict()) for entry in entries)
        if not data:
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path, flags, PRIVATE_FILE)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                size = os.fstat(descriptor).st_size
                is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
                os.write(descriptor, b"\n" + data if is_torn else data)
            finally:
                os.close(descriptor)

    def forget(self, runs: Collection[str]) -> None:
        """Write it anew without some runs, one row a run.

        A row that another process appends meanwhile may be lost; its record still says it.
        """
        kept = [entry for run, entry in self.read().items() if run not in runs]
        anew = self._path.with_name(f".{NAME}.{os.getpid()}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with contextlib.suppress(OSError):
            descriptor = os.open(anew, flags, PRIVATE_FILE)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.writelines(line_of(entry.to_dict()) for entry in kept)
                anew.rename(self._path)
            except OSError:
                anew.unlink(missing_ok=True)
                raise
