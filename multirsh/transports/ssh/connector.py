"""The ssh connections of one run, and the jump hosts they share.

A jump host has one connection, made by the first host that needs it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Hashable
from typing import Protocol

from multirsh.errors import HostError
from multirsh.model import ErrorKind, Failure, Host, Phase, Settings, Status
from multirsh.transports.base import Destination, congestion_of
from multirsh.transports.dialling import Dialler
from multirsh.transports.login_deadline import LoginDeadline
from multirsh.transports.ssh.connection import SshConnection
from multirsh.transports.ssh.plan import Chain, Plan


class Planner(Protocol):
    """Who knows how hosts are reached: the transport."""

    def plan(self, host: Host) -> Plan:
        """How to reach ``host``."""

    def plan_jump(self, chain: Chain) -> Plan:
        """How to reach the last host of ``chain``, which others are reached through."""

    def warn(self, message: str) -> None:
        """Take a line for people."""


MOST_DROPS = 8
"""How often in a row a jump host may drop us before it counts as one that cannot be entered. The governor
gives up on it before that; those who come then are not all to knock once more."""


class _JumpHost:
    """What a run knows of one jump host.

    Attributes:
        connection: Its connection, once it was made.
        failure: Why it could not be made the last time.
        is_given_up: Whether that holds for the rest of the run.
        drops: How often in a row it has dropped us.
        failures: How often it could not be made.
    """

    __slots__ = ("_lock", "_opening", "connection", "drops", "failure", "failures", "is_given_up")

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._opening: LoginDeadline | None = None
        self.connection: SshConnection | None = None
        self.failure: tuple[Status, Failure | None] | None = None
        self.is_given_up = False
        self.drops = self.failures = 0

    @property
    def is_open(self) -> bool:
        """Whether hosts can go through it."""
        return self.connection is not None and self.connection.is_open

    @contextlib.asynccontextmanager
    async def turn(self, login_deadline: LoginDeadline) -> AsyncGenerator[None, None]:
        """One at a time; the others' deadlines stand still while the one waits for a local port."""
        with login_deadline.beside(self._opening):
            await self._lock.acquire()
        self._opening = login_deadline
        try:
            yield
        finally:
            self._opening = None
            self._lock.release()

    def entered(self, connection: SshConnection) -> None:
        """It has let us in."""
        self.connection = connection
        self.drops = 0

    def failed(self, status: Status, failure: Failure | None) -> None:
        """It has not."""
        self.failure = (status, failure)
        self.failures += 1
        self.drops = self.drops + 1 if congestion_of(status, failure) else MOST_DROPS
        self.is_given_up = self.drops >= MOST_DROPS


class SshConnector:
    """A ``Connector`` (``transports.base``).

    A jump host that could not be entered stays so for the run: a thousand
    hosts behind a dead bastion fail at once instead of each paying its
    timeout. One that has dropped us for being busy is tried again when
    somebody comes again, and one that was entered and died is entered again.

    Attributes:
        dialler: Makes TCP connections.
    """

    def __init__(self, planner: Planner, dialler: Dialler) -> None:
        """Begin a run.

        Args:
            planner: Says how to reach a host.
            dialler: Makes TCP connections.
        """
        self.dialler = dialler
        self._planner = planner
        self._jump_hosts: dict[Chain, _JumpHost] = {}

    def destination(self, host: Host) -> Destination | None:
        """Where our own socket goes to: none behind a jump host, and none of a proxy command's."""
        try:
            plan = self._planner.plan(host)
        except Exception:  # noqa: BLE001 - told when the connection is opened
            return None
        return (
            None
            if plan.jump or plan.proxy_command is not None
            else Destination(plan.address, plan.port, plan.family)
        )

    def hop(self, host: Host) -> Hashable | None:
        """Where the next login on the way to ``host`` is; nobody knows where that of a proxy command's is."""
        try:
            plan = self._planner.plan(host)
            while plan.jump and self._is_to_be_entered(plan.jump):
                plan = self._planner.plan_jump(plan.jump)
        except Exception:  # noqa: BLE001 - told when the connection is opened
            return None
        return None if plan.proxy_command is not None else (plan.jump, plan.address, plan.port)

    def _is_to_be_entered(self, chain: Chain) -> bool:
        known = self._jump_hosts.get(chain)
        return known is None or not (known.is_open or known.is_given_up)

    def warn(self, message: str) -> None:
        """Pass on what people have to know of a server."""
        self._planner.warn(message)

    def connection(self, host: Host) -> SshConnection:
        """A connection to ``host``, not yet begun."""
        return SshConnection(self, host, plan=lambda: self._planner.plan(host))

    async def through(self, chain: Chain, login_deadline: LoginDeadline) -> SshConnection:
        """The shared connection to the last host of ``chain``.

        The first to ask opens it, within its own connect timeout; the others wait for it within theirs, and
        fail with it.

        Raises:
            HostError: It could not be opened.
        """
        jump_host = self._jump_hosts.setdefault(chain, _JumpHost())
        failures_before = jump_host.failures
        async with jump_host.turn(login_deadline):
            if jump_host.connection is not None and jump_host.connection.is_open:
                return jump_host.connection
            has_failed = jump_host.failures > failures_before
            if jump_host.failure is not None and (jump_host.is_given_up or has_failed):
                # A fresh one: an exception keeps the frames of everybody who raised it.
                raise HostError(chain[-1].host, *jump_host.failure)
            connection = SshConnection(self, host_of(chain), plan=lambda: self._planner.plan_jump(chain))
            try:
                await connection.open(login_deadline)
            except BaseException as error:
                jump_host.failed(*_reason(error, connection.phase))
                connection.close()
                raise
            jump_host.entered(connection)
            return connection

    async def release(self) -> None:
        """Close the connections to jump hosts, those reached through others first."""
        for depth in sorted({len(chain) for chain in self._jump_hosts}, reverse=True):
            level = [
                known.connection
                for chain, known in self._jump_hosts.items()
                if len(chain) == depth and known.connection is not None
            ]
            for connection in level:
                connection.close()
            for connection in level:  # together, so that silent ones cost one close timeout and not one each
                await connection.closed()


def _reason(error: BaseException, phase: Phase) -> tuple[Status, Failure | None]:
    """Why a jump host could not be entered, for those who come later."""
    if isinstance(error, HostError):
        return error.status, error.failure
    # Who opened it was given up on, most likely by its timeout; it had all of that time for the jump host.
    return Status.TIMEOUT, Failure(ErrorKind.TIMEOUT, phase, "not logged in in time")


def host_of(chain: Chain) -> Host:
    """The chain's last hop as a host, reached through those before it."""
    *before, last = chain
    # Without hops before it, ssh_config may name some: that is how ssh itself nests them.
    jump = ",".join(map(str, before)) or None
    return Host(name=last.host, settings=Settings(user=last.user, port=last.port, jump=jump))
