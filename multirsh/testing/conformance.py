"""The tests that every transport passes: what ``transports.base`` says in words, as something that can fail.

::

    class TestCarrierPigeon(TransportConformance):
        capabilities = Capabilities(tells_fate=False)

        @asynccontextmanager
        async def reached(self) -> AsyncIterator[Reached]:
            yield Reached(PigeonTransport(), Host("coop"))

pytest finds the tests in it; any other way of calling its methods does, too,
for they are plain functions with loops of their own. Nothing here is skipped:
what a transport cannot do is asserted as well, so that it is known.

The host needs a login shell of sh's kind, awk, cat, head, ps and sleep.
"""

from __future__ import annotations

import asyncio
import errno
import os
from typing import Final

from multirsh.errors import HostError
from multirsh.model import ClosedBy, ErrorKind, Exited, Phase, Signalled, Status
from multirsh.testing import commands
from multirsh.testing.giving_up import GivingUp
from multirsh.testing.suite import CLOSE_S
from multirsh.testing.visit import (
    Capabilities,
    Collected,
    Input,
    Reached,
    Visit,
)
from multirsh.transports.login_deadline import LoginDeadline

__all__ = ["Capabilities", "Collected", "Input", "Reached", "TransportConformance", "Visit"]

AT_ONCE: Final = 4
"""Connections: dropbear takes 5 from one address that are not logged in."""


class TransportConformance(GivingUp):
    """The tests; make a subclass that says how to reach a host.

    Attributes:
        capabilities: What the transport can.
    """

    # ------------------------------------------------------------ how commands end

    def test_the_exit_status_is_kept(self) -> None:
        """Every status is told as it is."""

        async def test(visit: Visit) -> None:
            for command, status in commands.EXITS.items():
                assert (await visit.run(command))[0] == Exited(status)

        self.visit(test)

    def test_a_signal_is_told(self) -> None:
        """By its name, where the transport can."""

        async def test(visit: Visit) -> None:
            told = (
                Signalled("KILL") if self.capabilities.tells_signals else Exited(128 + commands.KILL_NUMBER)
            )
            assert (await visit.run(commands.KILLED))[0] == told

        self.visit(test)

    def test_a_host_that_cannot_be_reached_is_a_host_error(self) -> None:
        """It names the host, and says why on one line."""

        async def test(visit: Visit) -> None:
            if (host := visit.reached.unreachable) is None:
                return
            connection = visit.connector.connection(host)
            refusal: HostError | None = None
            try:
                await connection.open(LoginDeadline())
                await connection.run(commands.READS_NOTHING, Collected())
            except HostError as error:
                refusal = error
            finally:
                connection.close()
                await connection.closed()
            assert refusal is not None, f"{host.name} was reached"
            assert refusal.host == host.name
            assert refusal.status in {Status.UNREACHABLE, Status.AUTH, Status.HOSTKEY}
            assert refusal.failure is not None
            assert refusal.failure.message.isprintable()
            assert refusal.failure.phase is connection.phase

        self.visit(test)

    # ------------------------------------------------------------ output

    def test_output_is_bytes_exactly(self) -> None:
        """All 256 of them."""

        async def test(visit: Visit) -> None:
            outcome, sink = await visit.run(commands.EVERY_BYTE)
            assert (outcome, bytes(sink.stdout), bytes(sink.stderr)) == (Exited(0), bytes(range(256)), b"")

        self.visit(test)

    def test_stdout_and_stderr_are_told_apart(self) -> None:
        """Or come together, where the transport says so."""

        async def test(visit: Visit) -> None:
            _, sink = await visit.run(commands.BOTH_STREAMS)
            told = (b"out", b"err") if self.capabilities.separate_stderr else (b"outerr", b"")
            assert (bytes(sink.stdout), bytes(sink.stderr)) == told

        self.visit(test)

    def test_a_megabyte_on_each_stream_is_complete_when_the_command_has_ended(self) -> None:
        """Nothing comes after ``run`` has returned, and nothing is missing then."""

        async def test(visit: Visit) -> None:
            outcome, sink = await visit.run(commands.MEGABYTE_ON_EACH)
            assert outcome == Exited(0)
            if self.capabilities.separate_stderr:
                assert bytes(sink.stdout) == commands.MEGABYTE_OUTPUT
                assert bytes(sink.stderr) == commands.MEGABYTE_OUTPUT
            else:
                assert len(sink.stdout) == 2 * len(commands.MEGABYTE_OUTPUT)

        self.visit(test)

    def test_a_host_whose_reader_waits_is_held_back(self) -> None:
        """No more than some buffers comes while output is paused; and all of it comes afterwards."""

        async def test(visit: Visit) -> None:
            sink = Collected()
            async with visit.opened() as connection, asyncio.TaskGroup() as group:
                connection.pause_output()
                connection.resume_output()
                running = group.create_task(connection.run(f"echo begun; {commands.FLOOD}", sink))
                await sink.until(b"begun")
                connection.pause_output()
                await sink.until_still()
                assert not running.done()
                assert len(sink.stdout) < commands.FLOOD_BYTES / 2
                connection.resume_output()
                assert await running == Exited(0)
                assert len(sink.stdout) == len(b"begun\n") + commands.FLOOD_BYTES
            connection.pause_output()
            connection.resume_output()

        self.visit(test)

    def test_output_that_waits_when_the_command_ends_is_not_lost(self) -> None:
        """``run`` returns when the reader has had it."""

        async def test(visit: Visit) -> None:
            sink = Collected()
            async with visit.opened() as connection, asyncio.TaskGroup() as group:
                running = group.create_task(connection.run(commands.ENDS_WHILE_HELD_BACK, sink))
                await sink.until(b"begun")
                connection.pause_output()
                await sink.until_still()
                connection.resume_output()
                assert await running == Exited(0)
                assert len(sink.stdout) == len(b"begun\n") + commands.WAITING_BYTES

        self.visit(test)

    # ------------------------------------------------------------ input

    def test_input_comes_in_full_and_ends(self) -> None:
        """Byte for byte, however much there is; and none at all is a given end, too."""

        async def test(visit: Visit) -> None:
            for data in (b"", b"x", bytes(range(256)), os.urandom(3 * commands.MEBI + 1)):
                outcome, sink = await visit.run(commands.ECHO, Input(data))
                assert outcome == Exited(0)
                assert bytes(sink.stdout) == data

        self.visit(test)

    def test_without_input_the_command_is_at_its_end_at_once(self) -> None:
        """It never waits for some."""

        async def test(visit: Visit) -> None:
            assert (await visit.run(commands.ECHO))[0] == Exited(0)

        self.visit(test)

    def test_input_that_is_not_read_changes_nothing(self) -> None:
        """A command that stops to read, or never does, keeps its status."""

        async def test(visit: Visit) -> None:
            stdin = Input(bytes(16 * commands.MEBI))
            assert (await visit.run(commands.READS_NOTHING, stdin))[0] == Exited(4)
            outcome, sink = await visit.run(commands.READS_FIVE, Input(b"12345" + bytes(4 * commands.MEBI)))
            assert (outcome, bytes(sink.stdout)) == (Exited(4), b"12345")

        self.visit(test)

    def test_input_that_somebody_types_is_not_waited_for(self) -> None:
        """A command that has had enough ends, though there may be more to come."""

        async def test(visit: Visit) -> None:
            stdin = Input(b"12345", ends=asyncio.Event())
            sink = Collected()
            async with visit.opened() as connection, asyncio.TaskGroup() as group:
                running = group.create_task(connection.run(commands.READS_FIVE, sink, stdin))
                if not self.capabilities.streams_input and stdin.ends is not None:
                    await sink.until_still()
                    assert not running.done()
                    stdin.ends.set()
                assert await running == Exited(4)
                assert bytes(sink.stdout) == b"12345"

        self.visit(test)

    def test_input_that_cannot_be_read_ends_the_host_and_not_the_input(self) -> None:
        """What was cut off must not look whole: the command sees no end of file."""

        async def test(visit: Visit) -> None:
            sink, status, failure = Collected(), None, None
            async with visit.opened() as connection:
                stdin = Input(b"half", error=OSError(errno.EIO, "broken"))
                try:
                    await connection.run(f"{commands.ECHO} && echo whole", sink, stdin)
                except HostError as error:
                    status, failure = error.status, error.failure
                await connection.end_command(kill_after=CLOSE_S)
            assert status is Status.LOCAL
            assert failure is not None
            assert failure.kind is ErrorKind.STDIN
            assert b"whole" not in sink.stdout

        self.visit(test)

    # ------------------------------------------------------------ commands

    def test_odd_commands_reach_the_login_shell_as_they_are(self) -> None:
        """With their quotes, line feeds and comments."""

        async def test(visit: Visit) -> None:
            for command, output in commands.ODD.items():
                outcome, sink = await visit.run(command)
                assert (outcome, bytes(sink.stdout)) == (Exited(0), output), command

        self.visit(test)

    def test_a_command_may_be_long(self) -> None:
        """As long as the transport says."""

        async def test(visit: Visit) -> None:
            word = "x" * (self.capabilities.longest_command - len(commands.LONG))
            outcome, sink = await visit.run(commands.LONG + word)
            assert (outcome, bytes(sink.stdout)) == (Exited(0), word.encode())

        self.visit(test)

    def test_a_command_may_hold_bytes_that_are_no_text(self) -> None:
        """They come as surrogates (PEP 383), and go as the bytes they were; or the host says no."""

        async def test(visit: Visit) -> None:
            try:
                outcome, sink = await visit.run(commands.NO_TEXT)
            except HostError:
                assert not self.capabilities.takes_any_bytes
            else:
                assert (outcome, bytes(sink.stdout)) == (Exited(0), commands.NO_TEXT_OUTPUT)

        self.visit(test)

    def test_hosts_do_not_get_into_each_others_way(self) -> None:
        """Several connections at once, each with its own command, output and end."""

        async def test(visit: Visit) -> None:
            async with asyncio.TaskGroup() as group:
                runs = {
                    number: group.create_task(visit.run(f"echo {number}; exit {number}"))
                    for number in range(AT_ONCE)
                }
            for number, run in runs.items():
                outcome, sink = run.result()
                assert (outcome, bytes(sink.stdout)) == (Exited(number), b"%d\n" % number)

        self.visit(test)

    # ------------------------------------------------------------ what it tells of itself

    def test_phases_and_times_are_told(self) -> None:
        """In their order."""

        async def test(visit: Visit) -> None:
            loop = asyncio.get_running_loop()
            visit.connector.destination(visit.reached.host)
            visit.connector.hop(visit.reached.host)
            connection = visit.connector.connection(visit.reached.host)
            assert (connection.connected_at, connection.authenticated_at) == (None, None)
            began = loop.time()
            await connection.open(LoginDeadline())
            opened = loop.time()
            connected, authenticated = connection.connected_at, connection.authenticated_at
            assert connected is not None
            assert authenticated is not None
            assert began <= connected <= authenticated <= opened
            assert (connection.local_port is not None) is self.capabilities.has_socket
            await connection.run(commands.READS_NOTHING, Collected())
            assert connection.phase is Phase.RUN
            assert (connection.connected_at, connection.authenticated_at) == (connected, authenticated)
            connection.close()
            closed_by = await connection.closed()
            assert closed_by is (ClosedBy.REMOTE if self.capabilities.has_socket else None)

        self.visit(test)

    def test_closing_is_done_once_however_often_it_is_asked_for(self) -> None:
        """Also before anything was opened."""

        async def test(visit: Visit) -> None:
            connection = visit.connector.connection(visit.reached.host)
            connection.close()
            assert await connection.closed() is None or not self.capabilities.has_socket
            async with visit.opened() as connection:
                await connection.run(commands.READS_NOTHING, Collected())
                connection.close()
                connection.close()
                first = await connection.closed()
                connection.close()
                assert await connection.closed() is first

        self.visit(test)
