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
    """Of the records in one folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / INDEX_NAME

    def read(self) -> dict[str, RunSummary]:
        """What it knows of each run, by its identifier; nothing where there is no index.

        Raises:
            OSError: It cannot be read, or is not a file of the user's, or there is no answer.
        """
        found: dict[str, RunSummary] = {}
        with contextlib.suppress(FileNotFoundError), read_owned(self._path) as file:
            for row in rows(file):
                with contextlib.suppress(ValueError):
                    entry = RunSummary.from_dict(row)
                    found[entry.run] = entry
        return found

    def add(self, entries: Iterable[RunSummary]) -> None:
        """Append what is known of some runs."""
        data = b"".join(line_of(entry.to_dict()) for entry in entries)
        if data:
            with contextlib.suppress(OSError):
                call_with_timeout(lambda: self._append(data))

    def _append(self, data: bytes) -> None:
        descriptor = open_owned(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
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
    """What may be kept; ``None`` for no bound.

    Attributes:
        records: So many, the newest.
        age_s: Those that began at most so many seconds ago.
        size: So many bytes of records, the newest.
    """

    records: int | None = None
    age_s: float | None = None
    size: int | None = None


DEFAULT_RETENTION: Final = RetentionLimits(age_s=90 * DAY_S, size=1 << 30)
"""What is kept where nobody says anything: 90 days, and 1 GiB."""


def records_to_remove(
    runs: Iterable[RunSummary], limits: RetentionLimits, *, now: float, spared: Collection[str] = ()
) -> list[str]:
    """Choose what goes, by whichever limit.

    What is kept is always the newest: no record goes while an older one stays
    that could go. A record that may not go counts like any other, so that the
    others make room for it.

    Args:
        runs: All runs that have records, in any order.
        limits: What may be kept.
        now: Seconds since the epoch. A record from the future, after the clock was set back, is new.
        spared: Runs whose records stay.

    Returns:
        Their runs, the oldest first.
    """
    newest_first = sorted(runs, key=lambda one: (one.began, one.run), reverse=True)
    # What must stay takes its room first.
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
"""What the newest run may be called."""

_TAIL_BYTES: Final = 64 * 1024
"""More than the last row of a finished run takes."""

_UNBORN_AT_MOST_S: Final = 3600.0
"""A record that has no name after so long never gets one: its writer was killed."""


_SHOWN: Final = 3
"""Files that one line names, at the most."""


class Journal:
    """The records in a folder, which need not be there.

    Attributes:
        folder: Where they are.
        index: All runs at a glance.
        left_out: Files of the folder that the last look at it did not use, by name, and why: another user's,
            and names that stand for something else than a file.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Read nothing yet.

        Args:
            folder: Where the records are; ``None`` for ``runs`` in the user's state folder.

        Raises:
            UsageError: There is no home folder.
        """
        self.folder = state_folder() / "runs" if folder is None else folder
        self.index = RunIndex(self.folder)
        self.left_out: dict[str, str] = {}
        self._own_folders = (self.folder.parent, self.folder) if folder is None else (self.folder,)

    def runs(self) -> list[RunSummary]:
        """All runs, the newest first. What the index lacks is learnt from the records, and added to it.

        Raises:
            UsageError: The folder is there and cannot be read, does not answer, or is another user's.
        """
        self.left_out = {}
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
                except FileNotFoundError:  # it was removed meanwhile
                    pass
                except OSError as error:
                    self.left_out[f"{run}{SUFFIX}"] = error.strerror or str(error)
                except ValueError:  # it is no record
                    pass
            if entry is not None:
                found.append(entry)
        self.index.add(learnt)
        return sorted(found, key=lambda one: (one.began, one.run), reverse=True)

    def find(self, text: str = LAST) -> RunSummary:
        """The run that ``text`` means.

        Args:
            text: A run's identifier or a beginning of it, with the date or without, that no other run has;
                or ``last``.

        Raises:
            UsageError: There is no such run, or several.
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
        if f"{text}{SUFFIX}" in self.left_out:
            raise UsageError(
                f"the record of {text} is not used: {self.left_out[f'{text}{SUFFIX}']}",
                hint=f"see to {self.folder}",
            )
        near = difflib.get_close_matches(text, [one.run for one in known], n=3, cutoff=0.5)
        hint = f"near are {', '.join(near)}" if near else f"the last is {known[0].run}; see 'multirsh runs'"
        raise UsageError(f"no run is called {text!r}", hint=hint)

    def rows(self, entry: RunSummary, *, with_output: bool = True) -> Iterator[JsonObject]:
        """The rows of a record, its own included.

        Args:
            entry: Whose.
            with_output: Whether output is wanted; to pass over it is quick.

        Raises:
            UsageError: It is gone, cannot be read, or is another user's; it was written by a later version.
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
        """What was told in a run, one event after the other.

        Raises:
            UsageError: As ``rows``.
        """
        return events(self.rows(entry, with_output=with_output))

    def outcomes(self, entry: RunSummary) -> dict[str, HostOutcome]:
        """What became of each host, in the run's order.

        Raises:
            UsageError: As ``rows``.
        """
        return survey(self.rows(entry, with_output=False)).outcomes

    def plan(self, entry: RunSummary) -> JsonObject:
        """What the run was to do, as its record's first row has it.

        Raises:
            UsageError: As ``rows``; or what is there cannot be a plan.
        """
        first = next(self.rows(entry), {})
        plan = first.get("plan")
        wrong = malformed_key(plan) if isinstance(plan, dict) else None
        if wrong is not None:
            raise UsageError(
                f"the record of {entry.run} is damaged: {wrong!r} in its plan is not what it should be",
                hint="it cannot be gone on with",
            )
        return plan if isinstance(plan, dict) else {}

    def remove(self, runs: Collection[str]) -> None:
        """Delete records.

        Raises:
            UsageError: One cannot be deleted; those before it are.
        """
        for run in runs:
            try:
                call_with_timeout(partial(self._path(run).unlink, missing_ok=True))
            except OSError as error:
                raise UsageError(
                    f"the record of {run} cannot be deleted: {error.strerror}", hint=f"see to {self.folder}"
                ) from None
        if runs:
            self.index.forget(runs)

    def prunable(self, limits: RetentionLimits, *, spared: Collection[str] = ()) -> list[str]:
        """The runs whose records are more than ``limits`` say, the oldest first.

        Args:
            limits: What may be kept.
            spared: Runs whose records stay.
        """
        return records_to_remove(self.runs(), limits, now=time.time(), spared=spared)

    def prune(self, limits: RetentionLimits, *, spared: Collection[str] = ()) -> list[str]:
        """Delete the oldest records, as long as there is more than ``limits`` say.

        Args:
            limits: What may be kept.
            spared: Runs whose records stay.

        Returns:
            The runs whose records are deleted, the oldest first.

        Raises:
            UsageError: As ``remove``.
        """
        removed = self.prunable(limits, spared=spared)
        self.remove(removed)
        with contextlib.suppress(OSError):
            call_with_timeout(lambda: self._clear_unborn(time.time()))
        return removed

    def unused_files_message(self) -> str | None:
        """A line for people about the files that were not used; ``None`` if all were."""
        if not self.left_out:
            return None
        some = [f"{name} ({why})" for name, why in sorted(self.left_out.items())]
        more = f" and {len(some) - _SHOWN} more" if len(some) > _SHOWN else ""
        return f"not used in {self.folder}: {', '.join(some[:_SHOWN])}{more}"

    def check_folder(self) -> None:
        """See to it that the folder, where it is there, is the user's own.

        Raises:
            OSError: It is not, or cannot be looked at.
        """
        for folder in self._own_folders:
            with contextlib.suppress(FileNotFoundError):
                check_owner(folder.stat(), folder)

    def _known(self) -> dict[str, RunSummary]:
        """What the index says; it is done without if it is not a file of the user's.

        Raises:
            UsageError: There is no answer.
        """
        try:
            return self.index.read()
        except TimeoutError as error:
            raise self._unreadable(error) from None
        except OSError as error:
            self.left_out[INDEX_NAME] = error.strerror or str(error)
            return {}

    def _unreadable(self, error: OSError) -> UsageError:
        return UsageError(
            f"{self.folder} cannot be read: {error.strerror}",
            hint="records are kept there; XDG_STATE_HOME names another place",
        )

    def _path(self, run: str) -> Path:
        return self.folder / f"{run}{SUFFIX}"

    def _names(self) -> list[str]:
        """The runs of which there are records.

        Raises:
            UsageError: The folder is there and cannot be read, does not answer, or is another user's.
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
                    self.left_out[name] = NOT_REGULAR
        return names

    def _scan(self) -> list[tuple[str, bool]]:
        """All names in the folder, and whether each is a regular file.

        Raises:
            OSError: The folder cannot be read, or is another user's.
        """
        self.check_folder()
        with os.scandir(self.folder) as found:
            return [(one.name, one.is_file(follow_symlinks=False)) for one in found]

    def _clear_unborn(self, now: float) -> None:
        """Delete what those have left who were killed before a record had its name, and claims."""
        for path in (*self.folder.glob(f".*{UNFINISHED}"), *self.folder.glob(f".*{RESUME_LOCK}")):
            with contextlib.suppress(OSError):
                if now - path.stat().st_mtime > _UNBORN_AT_MOST_S:
                    path.unlink()

    def _look(self, run: str) -> RunSummary:
        """Learn from a record what the index would say.

        Raises:
            OSError: It cannot be read.
            ValueError: It does not begin as a record does.
        """
        path = self._path(run)
        # Before it is read: else it might end between the two and seem broken.
        is_running = call_with_timeout(lambda: is_locked(path))
        with read_owned(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            whole_rows = rows(file)
            first, begun = next(whole_rows, None), next(whole_rows, None)
            if first is None or begun is None:
                raise ValueError(f"{path} is no record")
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
    """The last row that is whole."""
    last = b""
    for line in file:
        if line.endswith(b"\n"):
            last = line
    return row_of(last) or {}


def _may_mean(text: str, run: str) -> bool:
    return bool(text) and (run.startswith(text) or run.partition("-")[2].startswith(text))


def _check_format(first: JsonObject, run: str) -> None:
    """See to it that we know what the rows mean.

    Raises:
        UsageError: We do not.
    """
    if first.get("format") != FORMAT:
        raise UsageError(
            f"the record of {run} has format {first.get('format')!r}, and this multirsh reads {FORMAT}",
            hint="read it with the multirsh that wrote it, or a later one",
        )
