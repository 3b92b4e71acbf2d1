"""``-b``, ``-B``: equal outputs once, under the folded names of the hosts that wrote them.

They are shown when the run is over, the largest group first, so that the odd
ones stand last, right above the summary, where one looks. While it runs, stderr
comes as live lines, unless it is gathered, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from multirsh.events import Event, HostFinished, HostStarted, Output, RunFinished
from multirsh.inventory.fold import natural_key
from multirsh.output.batch import Write
from multirsh.output.gather.collector import Collector, Likeness, Written
from multirsh.output.gather.differences import Differences
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
        self._collector = collector
        self._page = page
        self._differences = differences
        self._groups: dict[Likeness, Written] = {}

    def feed(self, event: Event) -> Iterable[Write]:
        """Take the next event; the last one of the run shows it all."""
        match event:
            case Output():
                self._collector.add(event)
            case HostStarted():
                self._collector.restart(event.host)
            case HostFinished():
                self._finish(event)
            case RunFinished():
                return self.close()
            case _:
                pass
        return ()

    def close(self) -> Iterable[Write]:
        """Show what there is."""
        groups, self._groups = self._groups, {}
        return self._shown(list(groups.values()))

    def _finish(self, event: HostFinished) -> None:
        likeness, written = self._collector.take(event)
        group = self._groups.setdefault(likeness, written)
        if group is not written:
            written.drop()
            group.hosts.append(event.host)

    def _shown(self, groups: list[Written]) -> Iterator[Write]:
        groups.sort(key=lambda group: (-len(group.hosts), min(map(natural_key, group.hosts))))
        for group in groups:
            if self._differences is not None:
                yield from self._differences.block(group, groups[0])
            elif not group.is_empty:
                yield from self._page.block(group, counted=True)
        for group in groups:
            group.drop()
