"""Which records are thrown away: the oldest, as long as there is too much.

It decides and removes nothing. A record whose run goes on is never chosen, and
neither is one that is spared by name, as the run that is about to be resumed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

DAY_S: Final = 86_400.0


class Candidate(NamedTuple):
    """A record, as far as this decision needs it.

    Attributes:
        run: The run's id.
        began: When, in seconds since the epoch.
        size: Bytes of the record.
        is_running: Whether its run goes on, so that it is still written.
    """

    run: str
    began: float
    size: int
    is_running: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may be kept; ``None`` for no bound.

    Attributes:
        records: So many, the newest.
        age_s: Those that began at most so many seconds ago.
        size: So many bytes of records, the newest.
    """

    records: int | None = None
    age_s: float | None = None
    size: int | None = None


USUAL: Final = Limits(age_s=90 * DAY_S, size=1 << 30)
"""What is kept where nobody says anything: 90 days, and 1 GiB."""


def to_remove(
    candidates: Iterable[Candidate], limits: Limits, *, now: float, spared: Collection[str] = ()
) -> list[str]:
    """Choose what goes, by whichever limit.

    What is kept is always the newest: no record goes while an older one stays
    that could go. A record that may not go counts like any other, so that the
    others make room for it.

    Args:
        candidates: All records, in any order.
        limits: What may be kept.
        now: Seconds since the epoch. A record from the future, after the clock was set back, is new.
        spared: Runs whose records stay.

    Returns:
        Their runs, the oldest first.
    """
    newest_first = sorted(candidates, key=lambda one: (one.began, one.run), reverse=True)
    # What must stay takes its room first.
    bound = [one for one in newest_first if one.is_running or one.run in spared]
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
