"""The ways to the hosts of one run: a connector for each transport, over one dialler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from multirsh.engine.checks import transport_of
from multirsh.model import Host
from multirsh.ports.tally import Tally
from multirsh.transports.base import Connection, Connector, Transport
from multirsh.transports.dialling import Dialler


class Ways:
    """Those of a run that closes all that it opens."""

    def __init__(self, transports: Mapping[str, Transport], dialler: Dialler, tally: Tally) -> None:
        """Connect to nobody yet.

        Args:
            transports: Prepared, by name.
            dialler: Makes the run's TCP connections.
            tally: Counts the run's local ports.
        """
        self.connectors: Mapping[str, Connector] = {
            name: transport.connector(dialler) for name, transport in transports.items()
        }
        self.dialler = dialler
        self.tally = tally

    def to(self, host: Host) -> Connector:
        """The connector by which ``host`` is reached."""
        return self.connectors[transport_of(host)]

    def begin(self, hosts: Sequence[Host]) -> None:
        """The run begins, over ``hosts``."""

    def are_open(self, hosts: Sequence[Host]) -> bool:  # noqa: ARG002 - none is, before the run
        """Whether all of ``hosts`` are connected to already."""
        return False

    def prefetch(self, host: Host) -> None:
        """Have the name of a host that comes soon looked up."""
        destination = self.to(host).destination(host)
        if destination is not None:
            self.dialler.prefetch(destination.address, destination.family)

    def is_stale(self, connection: Connection) -> bool:  # noqa: ARG002 - none of these is of before
        """Whether ``connection`` was one of before, and had died before anything was asked of it."""
        return False

    def abandon(self) -> None:
        """Wait for no remote any more."""
        self.dialler.abandon()

    async def settle(self) -> None:
        """At the end of the run: see to it that nothing is open that is not meant to be."""
        for connector in self.connectors.values():
            await connector.release()
        await self.dialler.drained()
