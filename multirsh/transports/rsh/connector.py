"""The rsh connections of one run, and the listeners they share."""

from __future__ import annotations

import socket
from collections.abc import Callable

from multirsh.model import Host
from multirsh.transports.base import Destination
from multirsh.transports.dialler import Dialler
from multirsh.transports.rsh.back_channel import BackChannels
from multirsh.transports.rsh.connection import RshConnection
from multirsh.transports.rsh.plan import RshPlan


class RshConnector:
    """A ``Connector`` (``transports.base``).

    Attributes:
        dialler: Makes TCP connections.
        back_channels: Takes those that the hosts make.
    """

    def __init__(self, plan: Callable[[Host], RshPlan], dialler: Dialler) -> None:
        """Begin a run.

        Args:
            plan: Says how to reach a host.
            dialler: Makes TCP connections.
        """
        self.dialler = dialler
        self.back_channels = BackChannels(dialler)
        self._plan = plan

    def destination(self, host: Host) -> Destination:
        """Where the connection to ``host`` will go to."""
        plan = self._plan(host)
        return Destination(plan.address, plan.port, socket.AF_UNSPEC)

    def hop(self, host: Host) -> Destination:
        """The host's server."""
        return self.destination(host)

    def connection(self, host: Host) -> RshConnection:
        """A connection to ``host``, not yet begun."""
        return RshConnection(self, host, plan=lambda: self._plan(host))

    async def release(self) -> None:
        """Close the listeners."""
        self.back_channels.release()
