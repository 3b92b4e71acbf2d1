"""Jump hosts: one shared connection each, made by the first host that needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from multirsh.errors import HostError
from multirsh.model import Host, Settings
from multirsh.transports.ssh.connection import SshConnection
from multirsh.transports.ssh.directives import Hop

Chain: TypeAlias = tuple[Hop, ...]
"""The hosts to go through, nearest to us first."""


class JumpHosts:
    """The open connections to jump hosts, by the chain that leads to each.

    A chain that could not be opened stays so for the run: a thousand hosts
    behind a dead bastion fail at once instead of each paying its timeout. One
    that was open and died is opened again.
    """

    def __init__(self, connect: Callable[[Host], SshConnection]) -> None:
        """Keep no connection yet.

        Args:
            connect: Makes a connection to a jump host, not yet begun.
        """
        self._connect = connect
        self._open: dict[Chain, SshConnection] = {}
        self._failed: dict[Chain, HostError] = {}
        self._locks: dict[Chain, asyncio.Lock] = {}

    async def reach(self, chain: Chain) -> SshConnection:
        """The shared connection to the last host of ``chain``.

        The first to ask opens it, within its own connect timeout; the others wait for it within theirs.

        Raises:
            HostError: It could not be opened.
        """
        async with self._locks.setdefault(chain, asyncio.Lock()):
            if chain in self._failed:
                raise self._failed[chain]
            known = self._open.get(chain)
            if known is not None and known.is_open:
                return known
            connection = self._connect(host_of(chain))
            try:
                await connection.open()
            except HostError as error:
                self._failed[chain] = error
                connection.close()
                raise
            except BaseException:
                connection.close()
                raise
            self._open[chain] = connection
            return connection

    async def release(self) -> None:
        """Close them all, those reached through others first."""
        for chain in sorted(self._open, key=lambda chain: -len(chain)):
            connection = self._open.pop(chain)
            connection.close()
            await connection.closed()
        self._failed.clear()


def host_of(chain: Chain) -> Host:
    """The chain's last hop as a host, reached through those before it."""
    *before, last = chain
    # Without hops before it, ssh_config may name some: that is how ssh itself nests them.
    jump = ",".join(map(str, before)) or None
    return Host(name=last.host, settings=Settings(user=last.user, port=last.port, jump=jump))


def worded(chain: Chain) -> str:
    """The chain as ``-J`` has it."""
    return ",".join(map(str, chain))
