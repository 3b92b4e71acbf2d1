"""The ssh connections of one run, and the jump hosts they share.

A jump host has one connection, made by the first host that needs it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Protocol

from multirsh.errors import HostError
from multirsh.model import ErrorKind, Failure, Host, Phase, Settings, Status
from multirsh.transports.base import Destination
from multirsh.transports.dialler import Dialler
from multirsh.transports.patience import Patience
from multirsh.transports.ssh.connection import SshConnection
from multirsh.transports.ssh.plan import Chain, Plan


class Planner(Protocol):
    """Who knows how hosts are reached: the transport."""

    def plan(self, host: Host) -> Plan:
        """How to reach ``host``."""

    def plan_jump(self, chain: Chain) -> Plan:
        """How to reach the last host of ``chain``, which others are reached through."""


class SshConnector:
    """A ``Connector`` (``transports.base``).

    A jump host that could not be entered stays so for the run: a thousand
    hosts behind a dead bastion fail at once instead of each paying its
    timeout. One that was entered and died is entered again.

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
        self._open: dict[Chain, SshConnection] = {}
        self._failed: dict[Chain, tuple[Status, Failure | None]] = {}
        self._locks: dict[Chain, asyncio.Lock] = {}
        self._opening: dict[Chain, Patience] = {}

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

    def connection(self, host: Host) -> SshConnection:
        """A connection to ``host``, not yet begun."""
        return SshConnection(self, host, plan=lambda: self._planner.plan(host))

    async def through(self, chain: Chain, patience: Patience) -> SshConnection:
        """The shared connection to the last host of ``chain``.

        The first to ask opens it, within its own connect timeout; the others wait for it within theirs.

        Raises:
            HostError: It could not be opened.
        """
        async with self._turn(chain, patience):
            if chain in self._failed:
                # A fresh one: an exception keeps the frames of everybody who raised it.
                raise HostError(chain[-1].host, *self._failed[chain])
            known = self._open.get(chain)
            if known is not None and known.is_open:
                return known
            connection = SshConnection(self, host_of(chain), plan=lambda: self._planner.plan_jump(chain))
            try:
                await connection.open(patience)
            except BaseException as error:
                self._failed[chain] = _reason(error, connection.phase)
                connection.close()
                raise
            self._open[chain] = connection
            return connection

    @contextlib.asynccontextmanager
    async def _turn(self, chain: Chain, patience: Patience) -> AsyncGenerator[None, None]:
        """One at a time; the others' deadlines stand still while the one waits for a local port."""
        lock = self._locks.setdefault(chain, asyncio.Lock())
        with patience.beside(self._opening.get(chain)):
            await lock.acquire()
        self._opening[chain] = patience
        try:
            yield
        finally:
            del self._opening[chain]
            lock.release()

    async def release(self) -> None:
        """Close the connections to jump hosts, those reached through others first."""
        for depth in sorted({len(chain) for chain in self._open}, reverse=True):
            level = [self._open.pop(chain) for chain in list(self._open) if len(chain) == depth]
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
