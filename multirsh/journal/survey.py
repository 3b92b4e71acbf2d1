"""What a record says of its hosts, without what they wrote: read before that is, to choose and to warn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from multirsh.events import Event, JsonObject, RunStarted
from multirsh.journal.entry import Outcome, outcomes
from multirsh.journal.rows import events
from multirsh.model import Status


@dataclass(frozen=True, slots=True)
class Survey:
    """Of one record.

    Attributes:
        started: How the run began; ``None`` where the record does not say.
        outcomes: What became of each host.
        cut_off: Hosts whose output was more than the record was to hold.
    """

    started: RunStarted | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    cut_off: frozenset[str] = frozenset()


def survey(rows: Iterable[JsonObject]) -> Survey:
    """Read a record's rows; those of output may be absent."""
    cut_off: set[str] = set()
    kept: list[Event] = []
    others = (row for row in rows if not _is_left_out(row, cut_off))
    kept.extend(events(others))
    started = next((event for event in kept if isinstance(event, RunStarted)), None)
    return Survey(started, outcomes(kept), frozenset(cut_off))


def status_of(outcome: Outcome) -> Status:
    """A host's status; of a run that broke, who began is ``lost``, and who never did ``not_run``."""
    if outcome.status is not None:
        return outcome.status
    return Status.LOST if outcome.is_started else Status.NOT_RUN


def _is_left_out(row: JsonObject, cut_off: set[str]) -> bool:
    if row.get("event") != "left_out":
        return False
    cut_off.add(str(row.get("host")))
    return True
