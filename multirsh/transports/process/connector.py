"""The programs of one run."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from multirsh.model import Host
from multirsh.transports.base import Destination
from multirsh.transports.process.child import Launch
from multirsh.transports.process.connection import ProcessConnection


class ProcessConnector:
    """A ``Connector`` (``transports.base``)."""

    def __init__(
        self,
        launch: Callable[[Host, str], Launch],
        *,
        user_of: Callable[[Host], str | None],
        sees_all: bool,
        close_timeout: float,
    ) -> None:
        """Begin a run.

        Args:
            launch: What to start on a host for a command.
            user_of: Whom a host's commands run as, where that is known.
            sees_all: As of ``ProcessConnection``, and so the next.
            close_timeout: Seconds.
        """
        self._launch = launch
        self._user_of = user_of
        self._sees_all = sees_all
        self._close_timeout = close_timeout

    def destination(self, host: Host) -> Destination | None:  # noqa: ARG002 - it is none of our own
        """None: what connects, if anything does, is the program."""
        return None

    def hop(self, host: Host) -> Hashable | None:  # noqa: ARG002 - nobody counts
        """None: nobody counts logins."""
        return None

    def connection(self, host: Host) -> ProcessConnection:
        """A program for ``host``, not yet started."""
        return ProcessConnection(
            host,
            lambda command: self._launch(host, command),
            user=self._user_of(host),
            sees_all=self._sees_all,
            close_timeout=self._close_timeout,
        )

    async def release(self) -> None:
        """There is nothing that hosts share."""
