"""Jump hosts: one shared connection each, made by the first host that needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from multirsh.errors import HostError
from multirsh.model import Host, Settings
from multirsh.transports.ssh.connection import SshConnection

DIRECT = "none"
"""ProxyJump's word for "no jump"."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One jump host of a chain.

    Attributes:
        address: Name or IP literal, without brackets.
        user: As written, or ``None``.
        port: As written, or ``None``.
    """

    address: str
    user: str | None
    port: int | None


def parse_hop(text: str) -> Hop:
    """Parse ``[user@]host[:port]`` or ``ssh://[user@]host[:port]``; IPv6 in brackets.

    Raises:
        ValueError: It is not that.
    """
    rest = text.removeprefix("ssh://").removesuffix("/")
    user, at, rest = rest.rpartition("@")
    if rest.startswith("["):
        address, bracket, tail = rest[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise ValueError(f"{text!r} is not [user@]host[:port]")
        port_text = tail[1:]
    elif rest.count(":") > 1:  # a bare IPv6 literal
        address, port_text = rest, ""
    else:
        address, _, port_text = rest.partition(":")
    if not address or address.startswith("-") or (at and not user):
        raise ValueError(f"{text!r} is not [user@]host[:port]")
    port = None
    if port_text:
        if not port_text.isascii() or not port_text.isdigit() or not 0 < int(port_text) < 65536:  # noqa: PLR2004 - TCP
            raise ValueError(f"{port_text!r} in {text!r} is not a port")
        port = int(port_text)
    return Hop(address, user or None, port)


def parse_chain(text: str) -> tuple[Hop, ...]:
    """Parse ``hop[,hop...]``, nearest to us first; empty for ``none``.

    Raises:
        ValueError: A hop is not one.
    """
    return () if text == DIRECT else tuple(parse_hop(part.strip()) for part in text.split(","))


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
        self._open: dict[str, SshConnection] = {}
        self._failed: dict[str, HostError] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def reach(self, chain: str) -> SshConnection:
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
            connection = self._connect(_host_of(chain))
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
        for chain in sorted(self._open, key=lambda chain: -chain.count(",")):
            connection = self._open.pop(chain)
            connection.close()
            await connection.closed()
        self._failed.clear()


def _host_of(chain: str) -> Host:
    """The chain's last hop as a host, reached through those before it."""
    before, _, last = chain.rpartition(",")
    hop = parse_hop(last.strip())
    # Without hops before it, ssh_config may name some: that is how ssh itself nests them.
    settings = Settings(user=hop.user, port=hop.port, jump=before.strip() or None)
    return Host(name=hop.address, settings=settings)
