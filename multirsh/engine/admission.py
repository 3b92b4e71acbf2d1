"""Which host may start now. Pure: the engine asks, and tells what happened."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice

from multirsh.model import Host


class Admission:
    """Hosts wait in order; at most ``fanout`` are in flight.

    A host is in flight from its admission to its result. Its socket may drain
    for longer; that holds no place in the fanout, but it holds a descriptor,
    and of those there may be few.
    """

    def __init__(self, hosts: Iterable[Host], *, fanout: int, open_at_most: int | None = None) -> None:
        """Queue ``hosts``.

        Args:
            hosts: In the order to start them.
            fanout: 1 or more.
            open_at_most: Hosts in flight and hosts whose socket drains, together; 1 or more, ``None`` for
                no bound.

        Raises:
            ValueError: A bound is below 1: nothing would ever start.
        """
        if fanout < 1:
            raise ValueError(f"fanout {fanout} < 1")
        if open_at_most is not None and open_at_most < 1:
            raise ValueError(f"open_at_most {open_at_most} < 1")
        self._waiting = deque(hosts)
        self._fanout = fanout
        self._open_at_most = open_at_most
        self._in_flight = 0
        self._draining = 0
        self._announced = 0

    @property
    def in_flight(self) -> int:
        """Hosts admitted that have no result yet."""
        return self._in_flight

    @property
    def is_over(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return not self._waiting and not self._in_flight

    def admit(self) -> list[Host]:
        """Take as many hosts as there are free places, in order; each is now in flight."""
        free = min(self._fanout - self._in_flight, len(self._waiting))
        if self._open_at_most is not None:
            free = min(free, self._open_at_most - self._in_flight - self._draining)
        self._in_flight += free
        self._announced = max(0, self._announced - free)
        return [self._waiting.popleft() for _ in range(free)]

    def coming(self, count: int) -> list[Host]:
        """The hosts among the next ``count`` to be admitted that were not told before."""
        told = list(islice(self._waiting, self._announced, count))
        self._announced += len(told)
        return told

    def ended(self) -> None:
        """One host in flight has its result: its place is free, and its socket drains.

        Raises:
            ValueError: None is in flight.
        """
        if not self._in_flight:
            raise ValueError("no host is in flight")
        self._in_flight -= 1
        self._draining += 1

    def closed(self) -> None:
        """The socket of a host that has ended is closed.

        Raises:
            ValueError: None drains.
        """
        if not self._draining:
            raise ValueError("no host's socket drains")
        self._draining -= 1

    def stop(self) -> list[Host]:
        """Admit no more.

        Returns:
            The hosts that were never admitted, in order.
        """
        never_started = list(self._waiting)
        self._waiting.clear()
        self._announced = 0
        return never_started
