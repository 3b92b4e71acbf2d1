"""Which host may start now. Pure: the engine asks, and tells what happened."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from multirsh.model import Host


class Admission:
    """Hosts wait in order; at most ``fanout`` are in flight.

    A host is in flight from its admission to its result. Its socket may drain
    for longer; that holds no place here.
    """

    def __init__(self, hosts: Iterable[Host], *, fanout: int) -> None:
        """Queue ``hosts``.

        Args:
            hosts: In the order to start them.
            fanout: 1 or more.

        Raises:
            ValueError: ``fanout`` is below 1: nothing would ever start.
        """
        if fanout < 1:
            raise ValueError(f"fanout {fanout} < 1")
        self._waiting = deque(hosts)
        self._fanout = fanout
        self._in_flight = 0

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
        self._in_flight += free
        return [self._waiting.popleft() for _ in range(free)]

    def ended(self) -> None:
        """One host in flight has its result: its place is free.

        Raises:
            ValueError: None is in flight.
        """
        if not self._in_flight:
            raise ValueError("no host is in flight")
        self._in_flight -= 1

    def stop(self) -> list[Host]:
        """Admit no more.

        Returns:
            The hosts that were never admitted, in order.
        """
        never_started = list(self._waiting)
        self._waiting.clear()
        return never_started
