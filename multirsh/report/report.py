"""One run's page: fed with its events, then written, as far as the run has come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from multirsh.events import Event
from multirsh.journal.replay import ending_in_doubt
from multirsh.output.normalize import Normalizer
from multirsh.output.store import USUAL_MEMORY
from multirsh.report import page
from multirsh.report.outputs import ReportOutputs
from multirsh.report.record import ReportData


class Report:
    """Takes a run's events, one by one; never blocks, but for what does not fit into memory.

    Args:
        memory: Bytes of output that are held in memory; what is more goes to disk. The middle of a long
            output is not kept.
        normalizer: What is not looked at where outputs are compared; ``None`` to look at all.
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
        """Whether there is a run to be shown."""
        return self._record.started is not None

    def feed(self, event: Event) -> None:
        """Take the next event."""
        self._record.feed(event)
        self._outputs.feed(event)

    def finish(self) -> None:
        """No event follows: what hosts without an ending have written is shown as far as it came. Once."""
        started = self._record.started
        if started is None:
            return
        for host, row in self._record.rows.items():
            if row.starts and row.finished is None:
                self._outputs.feed(ending_in_doubt(host, len(row.starts), started))

    def html(self, *, began: datetime | None = None, notes: Sequence[str] = ()) -> Iterator[str]:
        """The page, in pieces; of a run that broke off, what is known.

        Args:
            began: When the run began, as clocks show it; events have only the seconds since.
            notes: What else its reader has to know, a sentence each.

        Raises:
            ValueError: No run has begun.
        """
        return page.pieces(self._record, self._outputs.selection(), began=began, notes=notes)

    def close(self) -> None:
        """Let go of what was kept on disk; the page can no more be written."""
        self._outputs.close()
