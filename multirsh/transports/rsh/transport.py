"""The rsh transport of a fleet: it checks the settings of the hosts, and warns once."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from multirsh.errors import UsageError
from multirsh.model import Host, HostRoute, RouteSettings, Settings, SourcePort
from multirsh.transports.base import Destination, Warn
from multirsh.transports.dialling import Dialler
from multirsh.transports.options import RshOptions, RshStderr
from multirsh.transports.rsh.back_channel import BackChannels
from multirsh.transports.rsh.connection import RshConnection, RshPlan
from multirsh.transports.rsh.rcmd import DEFAULT_PORT, LONGEST_NAME, check_name

WARNING: Final = (
    "rsh sends everything in clear text and trusts addresses; "
    "use it only in networks that you trust (docs/rsh.md)"
)
"""Printed once for each fleet."""


class RshTransport:
    """A ``Transport`` (``transports.base``) by rcmd."""

    def __init__(self, options: RshOptions, warn: Warn) -> None:
        """Make the transport of a fleet.

        Args:
            options: The options for all hosts.
            warn: Takes warnings for the user.
        """
        self._options = options
        self._warn = warn
        self._local_user = b""

    @property
    def descriptors_per_host(self) -> int:
        """One socket; for stderr a second one and, at worst, a listener that no other host uses."""
        return 1 if self._options.stderr is RshStderr.MERGED else 3

    @property
    def converses(self) -> bool:
        """False: the length of the input is sent before the input itself."""
        return False

    @property
    def is_private(self) -> bool:
        """False: everything is sent in clear text."""
        return False

    @property
    def has_terminals(self) -> bool:
        """False: rshd(8) has no terminals."""
        return False

    async def prepare(self, hosts: Sequence[Host]) -> None:
        """Check the settings of all ``hosts``, and warn.

        Raises:
            UsageError: rsh cannot follow a setting, or cannot send the name of a user.
        """
        self._local_user = _carried(_local_user(), "the local user")
        for settings, name in _distinct(hosts):
            self._check(self._options.settings.or_else(settings), name)
        self._warn(WARNING)

    def connector(self, dialler: Dialler) -> RshConnector:
        """Return the connector of a run."""
        return RshConnector(self.plan, dialler)

    async def close(self) -> None:
        """Do nothing: the transport holds no resources."""

    def plan(self, host: Host) -> RshPlan:
        """Return how to reach ``host``."""
        settings = self._options.settings.or_else(host.settings)
        return RshPlan(
            address=host.target,
            port=settings.port or DEFAULT_PORT,
            local_user=self._local_user,
            remote_user=self._local_user if settings.user is None else _encoded(settings.user),
            is_merged=self._options.stderr is RshStderr.MERGED,
        )

    def route(self, host: Host) -> HostRoute:
        """Return how ``host`` is reached, for the journal."""
        settings = self._options.settings.or_else(host.settings)
        plan = self.plan(host)
        user = plan.remote_user.decode("utf-8", "surrogateescape")
        return HostRoute(
            host.target, host.target, RouteSettings(settings=replace(settings, user=user, port=plan.port))
        )

    def _check(self, settings: Settings, name: str) -> None:
        if settings.jump not in {None, "none"}:
            raise UsageError(
                f"{name}: rsh cannot go through a jump host ({settings.jump})",
                hint="set 'jump: none' for it, or exclude it with -x",
            )
        if settings.source_port is SourcePort.EPHEMERAL:
            raise UsageError(
                f"{name}: rsh needs a reserved port, but 'source_port: ephemeral' is set",
                hint="remove that line for rsh hosts",
            )
        if settings.user is not None:
            _carried(settings.user, f"{name}: the user")


class RshConnector:
    """A ``Connector`` (``transports.base``).

    Attributes:
        dialler: Makes TCP connections.
        back_channels: Accepts the connections that the servers make for stderr.
    """

    def __init__(self, plan: Callable[[Host], RshPlan], dialler: Dialler) -> None:
        """Make the connector of a run.

        Args:
            plan: Returns how to reach a host.
            dialler: Makes TCP connections.
        """
        self.dialler = dialler
        self.back_channels = BackChannels(dialler)
        self._plan = plan

    def destination(self, host: Host) -> Destination:
        """Return the address and the port of ``host``."""
        plan = self._plan(host)
        return Destination(plan.address, plan.port, socket.AF_UNSPEC)

    def hop(self, host: Host) -> Destination:
        """Return the destination itself, since rsh has no jump hosts."""
        return self.destination(host)

    def connection(self, host: Host) -> RshConnection:
        """Return a connection to ``host`` that is not open yet."""
        return RshConnection(self, host, plan=lambda: self._plan(host))

    async def release(self) -> None:
        """Close the listeners."""
        self.back_channels.release()


def _distinct(hosts: Iterable[Host]) -> Iterable[tuple[Settings, str]]:
    """Return each distinct settings of the hosts once, with the name of a host that has them."""
    return {host.settings: host.name for host in reversed(list(hosts))}.items()


def _local_user() -> str:
    """Return the current user's name by the user database, since the environment may claim any other.

    Raises:
        UsageError: The user id has no name there.
    """
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise UsageError(
            f"rsh sends the name of the local user, but user id {os.getuid()} has no name",
            hint="run multirsh as a user that this machine has a name for",
        ) from None


def _carried(name: str, whose: str) -> bytes:
    encoded = _encoded(name)
    try:
        check_name(encoded)
    except ValueError as error:
        raise UsageError(
            f"{whose} {name!r}: {error}", hint=f"use a name of 1 to {LONGEST_NAME} bytes"
        ) from None
    return encoded


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
