"""What this machine has too little of, for one run: descriptors, and room for neighbours' addresses.

Other limits are kept elsewhere: local ports are leased, and hosts wait for
them (``ports.allocator``), so the fanout need not be fitted to those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from multirsh.engine.descriptors import Descriptors
from multirsh.engine.neighbours import Neighbours, watch
from multirsh.transports.base import Destination
from multirsh.transports.resolver import Resolver
from multirsh.transports.tcp import Spare


class Machine:
    """One run's part of the machine.

    Attributes:
        fanout: Hosts in flight at once: as many as are wanted, or as there are descriptors for.
        open_at_most: Hosts in flight, and those whose sockets drain, together.
        resolver: Looks up as many names at once as there are descriptors for.
        spare: Descriptors for second addresses of hosts.
    """

    def __init__(
        self,
        descriptors: Descriptors,
        *,
        hosts: int,
        fanout: int,
        per_host: int,
        warn: Callable[[str], None],
    ) -> None:
        """Claim a part, to be released at the end of the run.

        Args:
            descriptors: Those of the process.
            hosts: How many the run has.
            fanout: Hosts that are to be in flight at once.
            per_host: Descriptors that one of them may hold.
            warn: Takes a line for people for each thing there is too little of.
        """
        self._descriptors = descriptors
        self._hosts = hosts
        self._warn = warn
        self._share, self._shortage = descriptors.claim(hosts=max(1, hosts), fanout=fanout, per_host=per_host)
        self._is_released = False
        self._neighbours: Neighbours | None = None
        self.fanout = fanout if self._shortage is None else self._share.hosts
        self.open_at_most = self._share.hosts
        self.resolver = Resolver(at_once=self._share.lookups)
        self.spare = Spare(self._share.spare)

    def check(self, destinations: Iterable[Destination | None]) -> None:
        """Warn before anything begins.

        Args:
            destinations: Of the hosts; looked at only where there are many.
        """
        if self._shortage is not None:
            self._warn(self._shortage)
        self._neighbours = watch(self._hosts, self._warn)
        if self._neighbours is not None:
            for destination in destinations:
                if destination is not None:
                    self._neighbours.note(destination.address)

    def note(self, address: str) -> None:
        """The run is about to connect to ``address``: what hosts' names come to is only known then."""
        if self._neighbours is not None:
            self._neighbours.note(address)

    def release(self) -> None:
        """The run is over, or will not be. Idempotent."""
        if self._is_released:
            return
        self._is_released = True
        self._descriptors.give_back(self._share)
