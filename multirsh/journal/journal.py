"""The records of all runs: listing, finding, reading and deleting them.

Records are read where they are and never changed. Other processes may write
them at the same time. Only files that belong to the user are read, and no call
waits without a bound for a file server that is away (``state_folder``).

The index holds a summary of every run, so that a thousand are listed by
reading one file. It is only appended to, one row when a run begins and another
when it ends; the last row of a run holds. The records are the truth, and what
the index lacks is learnt from them. So it may be deleted at any time, it is
never fsynced, and a failure to write it is ignored.
"""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import os
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from multirsh.errors import UsageError
from multirsh.events import Event, HostFinished, JsonObject, RunFinished
from multirsh.journal.record import (
    FORMAT,
    RESUME_LOCK,
    SUFFIX,
    UNFINISHED,
    HostOutcome,
    RunState,
    RunSummary,
    events,
    line_of,
    malformed_key,
    row_of,
    rows,
)
from multirsh.journal.replay import survey
from multirsh.journal.state_folder import (
    NOT_REGULAR,
    call_with_timeout,
    check_owner,
    is_locked,
    open_owned,
    read_owned,
    state_folder,
)

INDEX_NAME: Final = "index.ndjson"


class RunIndex:
    """The index of the records in one folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / INDEX_NAME

    def read(self) -> dict[str, RunSummary]:
        """Return the summaries in the index by the runs' identifiers; none if there is no index.

        Raises:
            OSError: The index cannot be read, is not a file of the user's, or the read has timed out.
        """
        found: dict[str, RunSummary] = {}
        with contextlib.suppress(FileNotFoundError), read_owned(self._path) as file:
            for row in rows(file):
                with contextlib.suppress(ValueError):
                    entry = RunSummary.from_dict(row)
                    found[entry.run] = entry
        return found

    def add(self, entries: Iterable[RunSummary]) -> None:
        """Append summaries; if that fails, the index stays without them."""
        data = b"".join(line_of(entry.to_dict()) for entry in entries)
        if data:
            with contextlib.suppress(OSError):
                call_with_timeout(lambda: self._append(data))

    def _append(self, data: bytes) -> None:
        descriptor = open_owned(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            # A stopped process may hold the lock; the records still say what is not added now.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            size = os.fstat(descriptor).st_size
            is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, b"\n" + data if is_torn else data)
        finally:
            os.close(descriptor)

    def forget(self, runs: Collection[str]) -> None:
        """Rewrite the index without some runs, one row a run.

        A row that another process appends at the same time may be lost; its record still has it.
        """
        with contextlib.suppress(OSError):
            kept = [entry for run, entry in self.read().items() if run not in runs]
            call_with_timeout(lambda: self._write_anew(kept))

    def _write_anew(self, kept: Iterable[RunSummary]) -> None:
        anew = self._path.with_name(f".{INDEX_NAME}.{os.getpid()}")
        descriptor = open_owned(anew, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(line_of(entry.to_dict()) for entry in kept)
            anew.rename(self._path)
        except OSError:
            anew.unlink(missing_ok=True)
            raise


DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionLimits:
    """How many records are kept; ``None`` for no limit.

    Attributes:
        records: Number of records.
        age_s: Age of a record, in seconds since its run began.
        size: Size of all records together, in bytes.
    """

    records: int | None = None
    age_s: float | None = None
    size: int | None = None


DEFAULT_RETENTION: Final = RetentionLimits(age_s=90 * DAY_S, size=1 << 30)
"""The default limits: 90 days and 1 GiB."""


def records_to_remove(
    runs: Iterable[RunSummary], limits: RetentionLimits, *, now: float, spared: Collection[str] = ()
) -> list[str]:
    """Choose the records to delete, by whichever limit is exceeded.

    No record is deleted while an older one that may be deleted is kept. Records of
    running runs, and spared ones, are kept in any case, and count towards the
    limits like any other.

    Args:
        runs: All runs that have records, in any order.
        limits: How many records are kept.
        now: The time, in seconds since the epoch. A record from the future, as after the clock was set back,
            is new.
        spared: Runs whose records are kept in any case.

    Returns:
        The runs whose records are to be deleted, the oldest first.
    """
    newest_first = sorted(runs, key=lambda one: (one.began, one.run), reverse=True)
    # Records that must stay are counted first.
    bound = [one for one in newest_first if one.state is RunState.RUNNING or one.run in spared]
    records, size = len(bound), sum(one.size for one in bound)
    held = {one.run for one in bound}
    removed: list[str] = []
    for one in newest_first:
        if one.run in held:
            continue
        records, size = records + 1, size + one.size
        is_too_much = (
            bool(removed)
            or (limits.records is not None and records > limits.records)
            or (limits.size is not None and size > limits.size)
            or (limits.age_s is not None and now - one.began > limits.age_s)
        )
        if is_too_much:
            removed.append(one.run)
    return removed[::-1]


LAST: Final = "last"
"""The word for the newest run."""

_TAIL_BYTES: Final = 64 * 1024
"""Bytes at the end of a record that surely hold the last row of a finished run."""

_STALE_S: Final = 3600.0
"""Seconds after which a temporary file is left over from a process that was killed."""

_SHOWN: Final = 3
"""Files that a message names at most."""


class Journal:
    """The records in a folder, which may not exist yet.

    Attributes:
        folder: The folder.
        index: The index of the records.
        unused_files: Files of the folder that ``runs`` has not used, by name, and why not: those of another
            user, and names of something else than a regular file.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Read nothing yet.

        Args:
            folder: The folder of the records; ``None`` for ``runs`` in the user's state folder.

        Raises:
            UsageError: The user has no home folder.
        """
        self.folder = state_folder() / "runs" if folder is None else folder
        self.index = RunIndex(self.folder)
        self.unused_files: dict[str, str] = {}
        self._own_folders = (self.folder.parent, self.folder) if folder is None else (self.folder,)

    def runs(self) -> list[RunSummary]:
        """List all runs, the newest first. What the index lacks is read from the records, and added to it.

        Raises:
            UsageError: The folder exists and cannot be read, does not answer, or belongs to another user.
        """
        self.unused_files = {}
        names = self._names()
        known = self._known()
        found: list[RunSummary] = []
        learnt: list[RunSummary] = []
        for run in names:
            entry = known.get(run)
            if entry is None or entry.state is RunState.RUNNING:
                try:
                    entry = self._look(run)
                    if entry.state is not RunState.RUNNING:
                        learnt.append(entry)
                except TimeoutError as error:
                    raise self._unreadable(error) from None
                except FileNotFoundError:  # it has been removed since
                    pass
                except OSError as error:
                    self.unused_files[f"{run}{SUFFIX}"] = error.strerror or str(error)
                except ValueError:  # it is not a record
                    pass
            if entry is not None:
                found.append(entry)
        self.index.add(learnt)
        return sorted(found, key=lambda one: (one.began, one.run), reverse=True)

    def find(self, text: str = LAST) -> RunSummary:
        """Find a run.

        Args:
            text: The run's identifier, a prefix of it, with or without the date, that no other run shares, or
                ``last``.

        Raises:
            UsageError: No run is called so, or several are.
        """
        known = self.runs()
        if not known:
            hint = self.unused_files_message() or "runs are recorded unless --no-journal"
            raise UsageError(f"no run is recorded in {self.folder}", hint=hint)
        if text == LAST:
            return known[0]
        meant = [one for one in known if one.run == text] or [
            one for one in known if _may_mean(text, one.run)
        ]
        if len(meant) == 1:
            return meant[0]
        if meant:
            some = ", ".join(one.run for one in meant[:3]) + (", ..." if len(meant) > 3 else "")  # noqa: PLR2004
            raise UsageError(f"{text!r} may be {some}", hint="give more of it")
        if f"{text}{SUFFIX}" in self.unused_files:
            raise UsageError(
                f"the record of {text} is not used: {self.unused_files[f'{text}{SUFFIX}']}",
                hint=f"check the files in {self.folder}",
            )
        near = difflib.get_close_matches(text, [one.run for one in known], n=3, cutoff=0.5)
        hint = f"near are {', '.join(near)}" if near else f"the last is {known[0].run}; see 'multirsh runs'"
        raise UsageError(f"no run is called {text!r}", hint=hint)

    def rows(self, entry: RunSummary, *, with_output: bool = True) -> Iterator[JsonObject]:
        """Yield the rows of a record, including those that are not events.

        Args:
            entry: The run.
            with_output: Whether to yield rows of output; to skip them is quick.

        Raises:
            UsageError: The record is gone, cannot be read, belongs to another user, or is of another version.
        """
        try:
            with read_owned(self._path(entry.run)) as file:
                for row in rows(file, with_output=with_output):
                    if row.get("event") == "record":
                        _check_format(row, entry.run)
                    yield row
        except OSError as error:
            raise UsageError(
                f"the record of {entry.run} cannot be read: {error.strerror}", hint="see 'multirsh runs'"
            ) from None

    def events(self, entry: RunSummary, *, with_output: bool = True) -> Iterator[Event]:
        """Yield the events of a run.

        Raises:
            UsageError: See ``rows``.
        """
        return events(self.rows(entry, with_output=with_output))

    def outcomes(self, entry: RunSummary) -> dict[str, HostOutcome]:
        """Return how each host ended, in the run's order.

        Raises:
            UsageError: See ``rows``.
        """
        return survey(self.rows(entry, with_output=False)).outcomes

    def plan(self, entry: RunSummary) -> JsonObject:
        """Return the plan of a run, from the first row of its record.

        Raises:
            UsageError: See ``rows``; or the plan is malformed.
        """
        first = next(self.rows(entry), {})
        plan = first.get("plan")
        wrong = malformed_key(plan) if isinstance(plan, dict) else None
        if wrong is not None:
            raise UsageError(
                f"the record of {entry.run} is damaged: {wrong!r} in its plan has a wrong type",
                hint="this run cannot be resumed",
            )
        return plan if isinstance(plan, dict) else {}

    def remove(self, runs: Collection[str]) -> None:
        """Delete records.

        Raises:
            UsageError: A record cannot be deleted; those before it have been.
        """
        for run in runs:
            try:
                call_with_timeout(partial(self._path(run).unlink, missing_ok=True))
            except OSError as error:
                raise UsageError(
                    f"the record of {run} cannot be deleted: {error.strerror}",
                    hint=f"check the files in {self.folder}",
                ) from None
        if runs:
            self.index.forget(runs)

    def prunable(self, limits: RetentionLimits, *, spared: Collection[str] = ()) -> list[str]:
        """Return the runs whose records exceed the limits, the oldest first.

        Args:
            limits: How many records are kept.
            spared: Runs whose records are kept in any case.
        """
        return records_to_remove(self.runs(), limits, now=time.time(), spared=spared)

    def prune(self, limits: RetentionLimits, *, spared: Collection[str] = ()) -> list[str]:
        """Delete the records that exceed the limits, and temporary files that killed processes have left.

        Args:
            limits: How many records are kept.
            spared: Runs whose records are kept in any case.

        Returns:
            The runs whose records have been deleted, the oldest first.

        Raises:
            UsageError: See ``remove``.
        """
        removed = self.prunable(limits, spared=spared)
        self.remove(removed)
        with contextlib.suppress(OSError):
            call_with_timeout(lambda: self._delete_stale(time.time()))
        return removed

    def unused_files_message(self) -> str | None:
        """Return a message about the files that have not been used; ``None`` if there are none."""
        if not self.unused_files:
            return None
        some = [f"{name} ({why})" for name, why in sorted(self.unused_files.items())]
        more = f" and {len(some) - _SHOWN} more" if len(some) > _SHOWN else ""
        return f"not used in {self.folder}: {', '.join(some[:_SHOWN])}{more}"

    def check_folder(self) -> None:
        """Check that the folder, if it exists, belongs to the user.

        Raises:
            OSError: It belongs to another user, or cannot be examined.
        """
        for folder in self._own_folders:
            with contextlib.suppress(FileNotFoundError):
                check_owner(folder.stat(), folder)

    def _known(self) -> dict[str, RunSummary]:
        """Return the content of the index; nothing if it is not a file of the user's.

        Raises:
            UsageError: The read has timed out.
        """
        try:
            return self.index.read()
        except TimeoutError as error:
            raise self._unreadable(error) from None
        except OSError as error:
            self.unused_files[INDEX_NAME] = error.strerror or str(error)
            return {}

    def _unreadable(self, error: OSError) -> UsageError:
        return UsageError(
            f"{self.folder} cannot be read: {error.strerror}",
            hint="records are kept there; XDG_STATE_HOME names another place",
        )

    def _path(self, run: str) -> Path:
        return self.folder / f"{run}{SUFFIX}"

    def _names(self) -> list[str]:
        """Return the identifiers of the runs that have records.

        Raises:
            UsageError: The folder exists and cannot be read, does not answer, or belongs to another user.
        """
        try:
            found = call_with_timeout(self._scan)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unreadable(error) from None
        names: list[str] = []
        for name, is_file in found:
            if name.endswith(SUFFIX) and name != INDEX_NAME and not name.startswith("."):
                if is_file:
                    names.append(name.removesuffix(SUFFIX))
                else:
                    self.unused_files[name] = NOT_REGULAR
        return names

    def _scan(self) -> list[tuple[str, bool]]:
        """Return all names in the folder, and whether each is a regular file.

        Raises:
            OSError: The folder cannot be read, or belongs to another user.
        """
        self.check_folder()
        with os.scandir(self.folder) as found:
            return [(one.name, one.is_file(follow_symlinks=False)) for one in found]

    def _delete_stale(self, now: float) -> None:
        """Delete unfinished records and locks that killed processes have left."""
        for path in (*self.folder.glob(f".*{UNFINISHED}"), *self.folder.glob(f".*{RESUME_LOCK}")):
            with contextlib.suppress(OSError):
                if now - path.stat().st_mtime > _STALE_S:
                    path.unlink()

    def _look(self, run: str) -> RunSummary:
        """Read the summary of a run from its record.

        Raises:
            OSError: The record cannot be read.
            ValueError: The file is not the record of this run.
        """
        path = self._path(run)
        # The lock is tested first: a run that ended between the two would seem broken.
        is_running = call_with_timeout(lambda: is_locked(path))
        with read_owned(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            whole_rows = rows(file)
            first, begun = next(whole_rows, None), next(whole_rows, None)
            if first is None or begun is None:
                raise ValueError(f"{path} is not a record")
            entry = RunSummary.begun(first, begun)
            if entry.run != run:
                raise ValueError(f"{path} is a copy of the record of {entry.run}")
            file.seek(max(0, size - _TAIL_BYTES))
            last = _last_row(file)
            ending = next(events([last]), None)
            if isinstance(ending, RunFinished):
                return entry.ended(ending, size)
            file.seek(0)
            counts = Counter(
                event.status
                for event in events(rows(file, with_output=False))
                if isinstance(event, HostFinished)
            )
        state = RunState.RUNNING if is_running else RunState.BROKEN
        return replace(entry, state=state, counts=dict(counts), size=size)


def _last_row(file: Iterable[bytes]) -> JsonObject:
    """Return the last complete row."""
    last = b""
    for line in file:
        if line.endswith(b"\n"):
            last = line
    return row_of(last) or {}


def _may_mean(text: str, run: str) -> bool:
    return bool(text) and (run.startswith(text) or run.partition("-")[2].startswith(text))


def _check_format(first: JsonObject, run: str) -> None:
    """Check that a record is in a format that this version reads.

    Raises:
        UsageError: It is in another format.
    """
    if first.get("format") != FORMAT:
        raise UsageError(
            f"the record of {run} has format {first.get('format')!r}, but this multirsh reads only {FORMAT}",
            hint="read it with the multirsh that wrote it, or a later one",
        )
