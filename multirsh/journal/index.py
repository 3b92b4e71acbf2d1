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
from multirsh.journal.own_files import open_own, read_own, within
from multirsh.journal.rows import line_of, rows

NAME: Final = "index.ndjson"


class Index:
    """Of the records in one folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    def read(self) -> dict[str, Entry]:
        """What it knows of each run, by its identifier; nothing where there is no index.

        Raises:
            OSError: It cannot be read, or is not a file of the user's, or there is no answer.
        """
        found: dict[str, Entry] = {}
        with contextlib.suppress(FileNotFoundError), read_own(self._path) as file:
            for row in rows(file):
                with contextlib.suppress(ValueError):
                    entry = Entry.from_dict(row)
                    found[entry.run] = entry
        return found

    def add(self, entries: Iterable[Entry]) -> None:
        """Append what is known of some runs."""
        data = b"".join(line_of(entry.to_dict()) for entry in entries)
        if data:
            with contextlib.suppress(OSError):
                within(lambda: self._append(data))

    def _append(self, data: bytes) -> None:
        descriptor = open_own(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            # A process that is stopped may hold the lock: what is not added now is learnt from the record.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            size = os.fstat(descriptor).st_size
            is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, b"\n" + data if is_torn else data)
        finally:
            os.close(descriptor)

    def forget(self, runs: Collection[str]) -> None:
        """Write it anew without some runs, one row a run.

        A row that another process appends meanwhile may be lost; its record still says it.
        """
        with contextlib.suppress(OSError):
            kept = [entry for run, entry in self.read().items() if run not in runs]
            within(lambda: self._write_anew(kept))

    def _write_anew(self, kept: Iterable[Entry]) -> None:
        anew = self._path.with_name(f".{NAME}.{os.getpid()}")
        descriptor = open_own(anew, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(line_of(entry.to_dict()) for entry in kept)
            anew.rename(self._path)
        except OSError:
            anew.unlink(missing_ok=True)
            raise
