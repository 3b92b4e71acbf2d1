"""A report: fed with the events of a run, then written as one page, of as much of the run as there was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from multirsh.events import Event
from multirsh.journal.replay import unknown_ending
from multirsh.output.normalize import Normalizer
from multirsh.output.store import USUAL_MEMORY
from multirsh.report import page
from multirsh.report.outputs import ReportOutputs
from multirsh.report.record import ReportData


class Report:
    """Takes the events of a run, one by one; blocks only to write to disk what does not fit into memory.

    Args:
        memory: Bytes of output that may be held in memory; the rest goes to disk. The middle of a long
            output is not kept.
        normalizer: What is ignored when outputs are compared; ``None`` to compare everything.
    """

    def __init__(
        self,
        *,
        memory: int = USUAL_MEMORY,
        normalizer: Normalizer | None = None,
    ) -> None:
        self._record = ReportData()
        self._outputs = ReportOutputs(memory=memory, normalizer=normalizer)

    @property
    def has_begun(self) -> bool:
        """Whether there is a run to show."""
        return self._record.started is not None

    def feed(self, event: Event) -> None:
        """Take the next event."""
        self._record.feed(event)
        self._outputs.feed(event)

    def finish(self) -> None:
        """End the events, once: the output of hosts without an end is shown as far as it came."""
        started = self._record.started
        if started is None:
            return
        for host, row in self._record.rows.items():
            if row.starts and row.finished is None:
                self._outputs.feed(unknown_ending(host, len(row.starts), started))

    def html(self, *, began: datetime | None = None, notes: Sequence[str] = ()) -> Iterator[str]:
        """Write the page, in pieces; of a run that broke off, it shows what is known.

        Args:
            began: The time when the run began; events have only the seconds since then.
            notes: What else the reader has to know, a sentence each.

        Raises:
            ValueError: No run has begun.
        """
        return page.pieces(self._record, self._outputs.selection(), began=began, notes=notes)

    def close(self) -> None:
        """Delete what was kept on disk; the page cannot be written afterwards."""
        self._outputs.close()
