"""One run's page: fed with its events, then written, as far as the run has come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from multirsh.events import Event
from multirsh.output.gather.normalize import Normalizer
from multirsh.output.gather.store import USUAL_MEMORY
from multirsh.report import page
from multirsh.report.outputs import Outputs
from multirsh.report.record import Record


class Report:
    """Takes a run's events, one by one; never blocks, but for what does not fit into memory.

    Args:
        memory: Bytes of output that are held in memory; what is more goes to disk. The middle of a long
            output is not kept.
        normalizer: What is not looked at where outputs are compared; ``None`` to look at all.
        on_full: Told once if the disk takes nothing.
    """

    def __init__(
        self,
        *,
        memory: int = USUAL_MEMORY,
        normalizer: Normalizer | None = None,
        on_full: Callable[[OSError], None] = lambda _error: None,
    ) -> None:
        self._record = Record()
        self._outputs = Outputs(memory=memory, normalizer=normalizer, on_full=on_full)

    @property
    def has_begun(self) -> bool:
        """Whether there is a run to be shown."""
        return self._record.started is not None

    def feed(self, event: Event) -> None:
        """Take the next event."""
        self._record.feed(event)
        self._outputs.feed(event)

    def html(self, *, began: datetime | None = None) -> Iterator[str]:
        """The page, in pieces; of a run that broke off, what is known.

        Args:
            began: When the run began, as clocks show it; events have only the seconds since.

        Raises:
            ValueError: No run has begun.
        """
        return page.pieces(self._record, self._outputs.selection(), began=began)

    def close(self) -> None:
        """Let go of what was kept on disk; the page can no more be written."""
        self._outputs.close()
