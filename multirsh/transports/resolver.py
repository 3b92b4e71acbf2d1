"""Names to addresses, without stalling the loop."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import Any, Final

from multirsh.transports.threads import in_daemon_thread

LOOKUPS_AT_ONCE: Final = 32
"""Threads in getaddrinfo(3) at the most; each may block for as long as the resolver's own timeout."""


@dataclass(frozen=True, slots=True)
class Address:
    """One place to connect to, as getaddrinfo(3) gives it.

    Attributes:
        family: ``AF_INET`` or ``AF_INET6``.
        sockaddr: What ``connect`` takes.
    """

    family: socket.AddressFamily
    sockaddr: tuple[Any, ...]


class Resolver:
    """Looks names up, each in a thread of its own.

    A semaphore bounds the threads; hosts wait for it in order, and their timeouts run.
    """

    def __init__(self, lookups_at_once: int = LOOKUPS_AT_ONCE) -> None:
        self._slots = asyncio.Semaphore(lookups_at_once)

    async def resolve(self, host: str, port: int, family: int = socket.AF_UNSPEC) -> list[Address]:
        """Turn a name or an IP literal into addresses, in the order to try them.

        Raises:
            socket.gaierror: There are none.
        """
        try:
            # A literal, with a zone or without, needs no look-up and so no thread.
            return _addresses(host, port, family, socket.AI_NUMERICHOST | socket.AI_NUMERICSERV)
        except socket.gaierror:
            pass
        async with self._slots:
            return await in_daemon_thread(
                lambda: _addresses(host, port, family, socket.AI_NUMERICSERV), name="multirsh-resolve"
            )


def _addresses(host: str, port: int, family: int, flags: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, flags)
    return [Address(family, sockaddr) for family, _, _, _, sockaddr in found]
