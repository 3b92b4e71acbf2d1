"""The rsh transport of a fleet: settings made sure of, and one warning."""

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
    "it is for networks where nobody can listen or lie (docs/rsh.md)"
)
"""Said once for a fleet."""


class RshTransport:
    """A ``Transport`` (``transports.base``) by rcmd."""

    def __init__(self, options: RshOptions, warn: Warn) -> None:
        """Take what was said.

        Args:
            options: What is said for all hosts.
            warn: Takes warnings for people.
        """
        self._options = options
        self._warn = warn
        self._local_user = b""

    @property
    def descriptors_per_host(self) -> int:
        """Its socket; for stderr another one and, at the worst, a listener of its own that it comes to."""
        return 1 if self._options.stderr is RshStderr.MERGED else 3

    @property
    def converses(self) -> bool:
        """The remote has to be told how long the input is before it begins."""
        return False

    @property
    def is_private(self) -> bool:
        """Whoever sees the packets reads it."""
        return False

    @property
    def has_terminals(self) -> bool:
        """rshd(8) has none."""
        return False

    async def prepare(self, hosts: Sequence[Host]) -> None:
        """See to it that all of ``hosts`` can be meant, and warn.

        Raises:
            UsageError: A setting that rsh cannot follow, or a user's name that it cannot carry.
        """
        self._local_user = _carried(_local_user(), "the local user")
        for settings, name in _distinct(hosts):
            self._check(self._options.settings.or_else(settings), name)
        self._warn(WARNING)

    def connector(self, dialler: Dialler) -> RshConnector:
        """Begin a run."""
        return RshConnector(self.plan, dialler)

    async def close(self) -> None:
        """There is nothing to let go of."""

    def plan(self, host: Host) -> RshPlan:
        """How to reach ``host``."""
        settings = self._options.settings.or_else(host.settings)
        return RshPlan(
            address=host.target,
            port=settings.port or DEFAULT_PORT,
            local_user=self._local_user,
            remote_user=self._local_user if settings.user is None else _encoded(settings.user),
            is_merged=self._options.stderr is RshStderr.MERGED,
        )

    def route(self, host: Host) -> HostRoute:
        """Where ``host`` is and how it is entered."""
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
                hint="say 'jump: none' for it, or leave it out with -x",
            )
        if settings.source_port is SourcePort.EPHEMERAL:
            raise UsageError(
                f"{name}: rsh needs a reserved port, and 'source_port: ephemeral' is said",
                hint="drop that line for rsh hosts",
            )
        if settings.user is not None:
            _carried(settings.user, f"{name}: the user")


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


def _distinct(hosts: Iterable[Host]) -> Iterable[tuple[Settings, str]]:
    """Each of the hosts' settings once, with the name of one that has them."""
    return {host.settings: host.name for host in reversed(list(hosts))}.items()


def _local_user() -> str:
    """Who runs this, by the user database: what the environment says is no more than a wish.

    Raises:
        UsageError: The database does not know.
    """
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise UsageError(
            f"rsh tells servers the local user's name, and user id {os.getuid()} has none",
            hint="run multirsh as a user of this machine",
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
