"""What every test of the conformance suite is made in: a loop, a transport, a look at what is left."""

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
"""Seconds until a test has failed: something waits for what nobody will do."""

CLOSE_S: Final = 5.0
"""The close timeout, and from TERM to KILL."""

Test: TypeAlias = Callable[[Visit], Awaitable[None]]


class Suite:
    """A transport under test; a subclass says how to reach a host.

    Attributes:
        capabilities: What the transport can.
    """

    capabilities: Capabilities = Capabilities()

    def reached(self) -> AbstractAsyncContextManager[Reached]:
        """A fresh transport and a host that it reaches, for one test."""
        raise NotImplementedError

    @property
    def fate(self) -> Fate:
        """That of a command which was ended."""
        return Fate.DEAD if self.capabilities.tells_fate else Fate.UNKNOWN

    def visit(self, test: Test) -> None:
        """Run ``test`` in a loop of its own, and see to it that nothing of it is left."""

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
