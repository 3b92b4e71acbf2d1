"""What is said of a run before what its hosts wrote: which one it is, and what its record does not hold."""

from __future__ import annotations

import time
from collections.abc import Collection

from multirsh.events import RunStarted
from multirsh.inventory import fold
from multirsh.journal.entry import Entry, State
from multirsh.output.escape import escape_text
from multirsh.output.runs.listing import hosts_words, short
from multirsh.output.words import duration, plural


def facts(
    entry: Entry, started: RunStarted | None, *, done_before: int = 0, cut_off: Collection[str] = ()
) -> list[str]:
    """A few lines; a remote's words, and the user's, are not escaped.

    Args:
        entry: The run.
        started: How it began; ``None`` where its record does not say.
        done_before: Hosts that were done by the runs that it goes on with.
        cut_off: Hosts whose output was more than the record was to hold.
    """
    took = "" if entry.seconds is None else f", took {duration(entry.seconds)}, exit {entry.exit_code}"
    lines = [f"run {entry.run}: began {_when(entry)}{took}", f"command: {entry.command}"]
    if started is not None:
        lines.append(
            f"{plural(len(started.hosts), 'host')}, {started.fanout} at once, by multirsh {started.version}"
        )
    if entry.resumes is not None:
        lines.append(f"it goes on with run {entry.resumes}: {plural(done_before, 'host')} done before")
    match entry.state:
        case State.RUNNING:
            lines.append(f"it is still running: {hosts_words(entry)} so far")
        case State.BROKEN:
            lines.append(
                f"the record breaks off: {hosts_words(entry)}; --resume {short(entry.run)} goes on with it"
            )
        case State.FINISHED:
            pass
    if cut_off:
        lines.append(f"output was too much to be kept in full: {fold(cut_off)}")
    return lines


def titles(entries: tuple[Entry, Entry]) -> list[bytes]:
    """Two runs that are compared, as ``diff -u`` names files: a line each, with its end, fit to be shown."""
    return [
        f"{escape_text(f'{sign} {short(entry.run)} {_when(entry)} {entry.command}')}\n".encode()
        for sign, entry in zip(("---", "+++"), entries, strict=True)
    ]


def _when(entry: Entry) -> str:
    """The time here, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.began))
