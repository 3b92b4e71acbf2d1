"""What a record says of its hosts, without what they wrote: read before that is, to choose and to warn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from multirsh.events import JsonObject, RunStarted
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
        has_gaps: Whether the run went on without its record, so that any host without an ending may have run.
    """

    started: RunStarted | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    cut_off: frozenset[str] = frozenset()
    has_gaps: bool = False


def survey(rows: Iterable[JsonObject]) -> Survey:
    """Read a record's rows; those of output may be absent."""
    found = _OwnRows()
    kept = list(events(found.passing(rows)))
    started = next((event for event in kept if isinstance(event, RunStarted)), None)
    told = outcomes(kept, has_gaps=found.has_gaps)
    return Survey(started, told, frozenset(found.cut_off), has_gaps=found.has_gaps)


def status_of(outcome: Outcome) -> Status:
    """A host's status; of a run that broke, who began is ``lost``, and who never did ``not_run``."""
    if outcome.status is not None:
        return outcome.status
    return Status.LOST if outcome.is_started else Status.NOT_RUN


class _OwnRows:
    """What the record's own rows say."""

    def __init__(self) -> None:
        self.cut_off: set[str] = set()
        self.has_gaps = False

    def passing(self, rows: Iterable[JsonObject]) -> Iterator[JsonObject]:
        """Take note of them, and pass all rows on."""
        for row in rows:
            match row.get("event"):
                case "record":
                    self.has_gaps = bool(row.get("gaps"))
                case "left_out":
                    self.cut_off.add(str(row.get("host")))
                case _:
                    pass
            yield row
