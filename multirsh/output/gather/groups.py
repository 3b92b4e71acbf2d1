"""``-b``, ``-B``: equal outputs once, under the folded names of the hosts that wrote them.

They are shown when the run is over, the largest group first, so that the odd
ones stand last, right above the summary, where one looks. While it runs, stderr
comes as live lines, unless it is gathered, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from multirsh.events import Event, RunFinished
from multirsh.inventory.fold import natural_key
from multirsh.output.batch import Write
from multirsh.output.gather.collector import Collector, Written
from multirsh.output.gather.differences import Differences
from multirsh.output.gather.equals import Equals
from multirsh.output.gather.page import Page


class Groups:
    """Shows equals together.

    It keeps one output for each group, and those of the hosts in flight.

    Args:
        collector: Keeps them.
        page: Words them.
        differences: Shows how each group differs from the largest one; ``None`` to show all in full.
    """

    def __init__(self, collector: Collector, page: Page, differences: Differences | None = None) -> None:
        self._equals = Equals(collector)
        self._page = page
        self._differences = differences

    def feed(self, event: Event) -> Iterable[Write]:
        """Take the next event; the last one of the run shows it all."""
        self._equals.feed(event)
        return self.close() if isinstance(event, RunFinished) else ()

    def close(self) -> Iterable[Write]:
        """Show what there is."""
        groups = self._equals.groups
        self._equals.clear()
        return self._shown(groups)

    def _shown(self, groups: list[Written]) -> Iterator[Write]:
        groups.sort(key=lambda group: (-len(group.hosts), min(map(natural_key, group.hosts))))
        for group in groups:
            if self._differences is not None:
                yield from self._differences.block(group, groups[0])
            elif not group.is_empty:
                yield from self._page.block(group, counted=True)
        for group in groups:
            group.drop()
