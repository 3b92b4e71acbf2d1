"""``-L``: one block a host, in the order of the selection, each as soon as its turn has come."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from multirsh.events import Event, RunStarted
from multirsh.output.batch import Write
from multirsh.output.gather.collector import Collector, Written
from multirsh.output.gather.page import Page


class Blocks:
    """Shows each host by itself.

    It keeps the outputs of hosts in flight, and of those that wait for one before them.

    Args:
        collector: Keeps them.
        page: Words them.
    """

    def __init__(self, collector: Collector, page: Page) -> None:
        self._collector = collector
        self._page = page
        self._order: deque[str] = deque()
        self._waiting: dict[str, Written] = {}

    def feed(self, event: Event) -> Iterable[Write]:
        """Take the next event and give the blocks whose turn has come."""
        if isinstance(event, RunStarted):
            self._order.extend(event.hosts)
        taken = self._collector.feed(event)
        if taken is None:
            return ()
        _, written = taken
        self._waiting[written.ending.host] = written
        return self._in_turn()

    def close(self) -> Iterable[Write]:
        """Give what is left, of a run that broke off."""
        self._order = deque(host for host in self._order if host in self._waiting)
        return self._in_turn()

    def _in_turn(self) -> Iterable[Write]:
        ready = []
        while self._order and self._order[0] in self._waiting:
            ready.append(self._waiting.pop(self._order.popleft()))
        return self._shown(ready)

    def _shown(self, ready: list[Written]) -> Iterator[Write]:
        for written in ready:
            if not written.is_empty:
                yield from self._page.block(written, counted=False)
            written.drop()
