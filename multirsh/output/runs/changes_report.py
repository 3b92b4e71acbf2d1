"""``multirsh runs diff`` for people and for programs.

For people::

    --- 7f3a21 2026-11-20 16:30:00 uptime
    +++ c0ffee 2026-11-21 16:30:02 uptime
    ---- web[01-07] (7, was ok, now exit 3)
    @@ -1 +1 @@
    -release 41
    +release 42
    only in the first run: db9
    491 hosts did the same, 7 changed, 1 in one run only

For programs, a JSON object a line; the keys are documented in docs/runs.md.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

from multirsh.events import HostFinished
from multirsh.inventory import fold
from multirsh.model import Status
from multirsh.output.batch import STREAMS, Write
from multirsh.output.escape import escape_text
from multirsh.output.gather.page import Page
from multirsh.output.ndjson import safe
from multirsh.output.runs.changes import Change, Changes, StreamChange
from multirsh.output.words import ending_words, plural, size


def changes_report(changes: Changes, page: Page) -> Iterator[Write]:
    """What is different, the change of most hosts first, and at the end how many did the same.

    The lines that name the two runs are the caller's.
    """
    for change in changes.changes:
        yield page.rule(change.hosts, _facts(change))
        for stream in STREAMS:
            if stream in change.streams:
                yield from _stream(change.streams[stream], page, is_stderr=stream == "stderr")
    for words, hosts in (
        ("only in the first run", changes.only_before),
        ("only in the second run", changes.only_after),
    ):
        if hosts:
            yield page.line(f"{words}: {escape_text(fold(hosts))}")
    yield page.line(_counts(changes))


def changes_json(changes: Changes, before: str, after: str) -> Iterator[Write]:
    """The same as objects: the two runs, each change, then hosts that are in one run only, and the others.

    Args:
        changes: What is different.
        before: The first run's id.
        after: The second's.
    """
    yield _object({"kind": "runs", "before": before, "after": after})
    for change in changes.changes:
        yield _object(
            {
                "kind": "changed",
                "hosts": change.hosts,
                "before": _ending(change.before),
                "after": _ending(change.after),
                **{stream: _difference(change.streams.get(stream)) for stream in STREAMS},
            }
        )
    for kind, hosts in (
        ("only_before", changes.only_before),
        ("only_after", changes.only_after),
        ("same", changes.same),
    ):
        if hosts:
            yield _object({"kind": kind, "hosts": hosts})


def _facts(change: Change) -> list[str]:
    as_in = [f"shown as in {escape_text(change.hosts[0])}"] if change.has_other_texts else []
    return [str(len(change.hosts)), *_endings(change), *as_in]


def _endings(change: Change) -> list[str]:
    if change.is_of_ending:
        before, after = _words(change.before), _words(change.after)
        if before == after:  # only the error's kind or phase tells them apart
            before, after = _with_error(change.before), _with_error(change.after)
        return [f"was {before}, now {after}"]
    return [] if change.after.status is Status.OK else [_words(change.after)]


def _words(finished: HostFinished) -> str:
    return ending_words(finished)


def _with_error(finished: HostFinished) -> str:
    error = finished.error
    return f"{_words(finished)}: " + (f"{error.phase.value} {error.kind.value}" if error else "no error")


def _stream(change: StreamChange, page: Page, *, is_stderr: bool) -> Iterator[Write]:
    if is_stderr:
        yield page.line("stderr:")
    if change.diff is None:
        yield page.line(
            f"{size(change.before)} before, {size(change.after)} after: too long to be compared line by line"
        )
        return
    rest = b""
    for piece in change.diff.pieces():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield page.change(line + b"\n")


def _counts(changes: Changes) -> str:
    changed = sum(len(change.hosts) for change in changes.changes)
    parts = [f"{plural(len(changes.same), 'host')} did the same", f"{changed} changed"]
    only = len(changes.only_before) + len(changes.only_after)
    return ", ".join([*parts, *([f"{only} in one run only"] if only else [])])


def _ending(finished: HostFinished) -> dict[str, Any]:
    told = finished.to_dict()
    return {key: told[key] for key in ("status", "exit_status", "signal", "error")}


def _difference(change: StreamChange | None) -> dict[str, Any] | None:
    if change is None:
        return None
    sizes: dict[str, Any] = {"bytes_before": change.before, "bytes_after": change.after}
    if change.diff is None:
        return sizes | {"diff": None}
    text = b"".join(change.diff.pieces())
    try:
        return sizes | {"diff": text.decode()}
    except UnicodeDecodeError:
        return sizes | {"diff_b64": base64.b64encode(text).decode("ascii")}


def _object(values: Mapping[str, Any]) -> Write:
    line = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Write("stdout", f"{safe(line)}\n".encode())
