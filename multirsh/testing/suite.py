"""What each test of the conformance suite runs in: an event loop, a transport, and a check for leaks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeAlias

from multirsh.model import Fate
from multirsh.ports.allocator import PortAllocator
from multirsh.ports.tally import Tally
from multirsh.testing.visit import Capabilities, Reached, Visit, belongings, left_nothing
from multirsh.transports.dialling import Dialler

LIMIT_S: Final = 60.0
"""Seconds after which a test fails, since it waits for something that will not happen."""

CLOSE_S: Final = 5.0
"""The close timeout, and the time from TERM to KILL, in seconds."""

Test: TypeAlias = Callable[[Visit], Awaitable[None]]


class Suite:
    """A transport under test. A subclass defines how a host is reached.

    Attributes:
        capabilities: What the transport can do.
    """

    capabilities: Capabilities = Capabilities()

    def reached(self) -> AbstractAsyncContextManager[Reached]:
        """Return a new transport and a host that it reaches, for one test."""
        raise NotImplementedError

    @property
    def fate(self) -> Fate:
        """The result that ``end_command`` must have for a running command."""
        return Fate.DEAD if self.capabilities.reports_fate else Fate.UNKNOWN

    def visit(self, test: Test) -> None:
        """Run ``test`` in its own event loop, and check that it leaves nothing behind."""

        async def whole() -> None:
            async with asyncio.timeout(LIMIT_S), self.reached() as reached:
                before = belongings()
                tasks = asyncio.all_tasks()
                dialler = Dialler(ports=PortAllocator(), tally=Tally(), close_timeout=CLOSE_S)
                hosts = [host for host in (reached.host, reached.unreachable) if host is not None]
                try:
                    await reached.transport.prepare(hosts)
                    connector = reached.transport.connector(dialler)
                    await test(Visit(reached, connector))
                    await connector.release()
                    await dialler.drained()
                finally:
                    await reached.transport.close()
                await left_nothing(before, tasks)

        asyncio.run(whole())
