r"""A record's rows: one JSON object a line, in ASCII.

Whatever a host wrote, a line is safe to look at with ``cat``, and is read back
exactly: what is not ASCII is JSON's ``\uXXXX``. The key ``event`` comes first,
so that readers can pass over output without parsing it.

A line without its end was being written when the power failed or the process
was killed, and is not read. A line that is no object can only follow the last
fsync, since that covers all before it; it is not read either.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

from multirsh.events import Event, JsonObject, RunFinished, RunStarted, from_dict

FORMAT: Final = 1
"""Of the rows; a reader refuses a later one."""

_ENCODER: Final = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))
_OUTPUT: Final = (b'{"event":"stdout",', b'{"event":"stderr",')


def line_of(row: JsonObject) -> bytes:
    """One row as its line."""
    return _ENCODER.encode(row).encode("ascii") + b"\n"


def rows(file: BinaryIO, *, with_output: bool = True) -> Iterator[JsonObject]:
    """The rows from where ``file`` stands.

    Args:
        file: Read line by line, as far as it is there when it is read.
        with_output: Whether ``stdout`` and ``stderr`` rows are wanted; to pass over them is quick.
    """
    for line in file:
        if not line.endswith(b"\n"):
            return
        if not with_output and line.startswith(_OUTPUT):
            continue
        row = row_of(line)
        if row is not None:
            yield row


def row_of(line: bytes) -> JsonObject | None:
    """The row of one line; ``None`` if it is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def events(found: Iterable[JsonObject]) -> Iterator[Event]:
    """The events among rows; rows of the record's own, damaged ones and those of later versions are none.

    Neither are those of hosts that are none of the run's.
    """
    known: frozenset[str] | None = None
    for row in found:
        try:
            event = from_dict(row)
        except ValueError:
            continue
        if isinstance(event, RunStarted):
            known = frozenset(event.hosts)
        elif known is not None and not isinstance(event, RunFinished) and event.host not in known:
            continue
        yield event
