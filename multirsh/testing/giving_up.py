"""The tests of the conformance suite for cancelled logins and commands: nothing may be left behind."""

from __future__ import annotations

import asyncio
import time

from multirsh.model import Fate
from multirsh.testing import commands
from multirsh.testing.suite import CLOSE_S, Suite
from multirsh.testing.visit import Collected, Visit
from multirsh.transports.login_deadline import LoginDeadline


class GivingUp(Suite):
    """A part of ``TransportConformance``."""

    def test_an_opening_that_is_cancelled_anywhere_leaves_nothing(self) -> None:
        """The login is cancelled after different numbers of turns of the event loop."""

        async def test(visit: Visit) -> None:
            for turns in (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233):
                connection = visit.connector.connection(visit.reached.host)
                opening = asyncio.ensure_future(connection.open(LoginDeadline()))  # noqa: TID251 - cancelled just below
                for _ in range(turns):
                    await asyncio.sleep(0)
                opening.cancel()
                await asyncio.wait([opening])
                assert opening.cancelled() or opening.exception() is None
                connection.close()
                await connection.closed()

        self.visit(test)

    def test_a_command_that_is_given_up_on_leaves_nothing_here(self) -> None:
        """Closing the connection is enough to release our own resources."""

        async def test(visit: Visit) -> None:
            async with visit.begun(commands.BEGINS):
                pass

        self.visit(test)

    def test_a_command_is_ended_with_all_that_it_started(self) -> None:
        """``end_command`` reports it, and no process is left."""

        async def test(visit: Visit) -> None:
            async with visit.begun(commands.FAMILY) as (connection, sink):
                pids = bytes(sink.stdout).decode().split()[1:]
                began = time.monotonic()
                assert await connection.end_command(kill_after=CLOSE_S) is self.fate
                took = time.monotonic() - began
            if self.capabilities.ends_commands:
                assert await visit.alive(pids) == b""
                assert took < CLOSE_S, "TERM would have been enough"
            else:
                await visit.run(f"kill -KILL {' '.join(pids)}")

        self.visit(test)

    def test_a_command_that_ignores_term_is_killed(self) -> None:
        """It is killed after ``kill_after`` seconds."""

        async def test(visit: Visit) -> None:
            async with visit.begun(commands.RESISTS) as (connection, _):
                began = time.monotonic()
                assert await connection.end_command(kill_after=0.3) is self.fate
                assert time.monotonic() - began < CLOSE_S

        self.visit(test)

    def test_output_after_term_arrives(self) -> None:
        """What a command writes when it receives TERM goes to the sink."""

        async def test(visit: Visit) -> None:
            async with visit.begun(commands.LAST_WORDS) as (connection, sink):
                assert await connection.end_command(kill_after=CLOSE_S) is self.fate
                assert (b"bye\n" in sink.stdout) is self.capabilities.ends_commands

        self.visit(test)

    def test_a_command_that_has_ended_or_was_never_run_is_dead(self) -> None:
        """``end_command`` does nothing then."""

        async def test(visit: Visit) -> None:
            async with visit.opened() as connection:
                assert await connection.end_command(kill_after=CLOSE_S) is Fate.DEAD
                await connection.run(commands.READS_NOTHING, Collected())
                assert await connection.end_command(kill_after=CLOSE_S) is Fate.DEAD

        self.visit(test)
