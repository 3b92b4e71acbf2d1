"""The tests that every transport passes: the rules that ``transports.base`` describes.

::

    class TestCarrierPigeon(TransportConformance):
        capabilities = Capabilities(reports_fate=False)

        @asynccontextmanager
        async def reached(self) -> AsyncIterator[Reached]:
            yield Reached(PigeonTransport(), Host("coop"))

pytest finds the tests in such a class. They are plain methods, each with its own
event loop, so they can also be called in another way. No test is skipped: what
a transport cannot do is asserted as well.

The host needs a POSIX login shell, awk, cat, head, ps and sleep.
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
"""The number of connections at once: dropbear accepts 5 per address that are not logged in."""


class TransportConformance(GivingUp):
    """The tests. A subclass defines how a host is reached.

    Attributes:
        capabilities: What the transport can do.
    """

    # ------------------------------------------------------------ how commands end

    def test_the_exit_status_is_kept(self) -> None:
        """The result is the command's exit status, whichever it is."""

        async def test(visit: Visit) -> None:
            for command, status in commands.EXITS.items():
                assert (await visit.run(command))[0] == Exited(status)

        self.visit(test)

    def test_a_signal_is_reported(self) -> None:
        """The result has the name of the signal if the transport learns it."""

        async def test(visit: Visit) -> None:
            expected = (
                Signalled("KILL") if self.capabilities.reports_signals else Exited(128 + commands.KILL_NUMBER)
            )
            assert (await visit.run(commands.KILLED))[0] == expected

        self.visit(test)

    def test_a_host_that_cannot_be_reached_is_a_host_error(self) -> None:
        """The error names the host, and gives the reason on one line."""

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
        """All 256 bytes arrive unchanged."""

        async def test(visit: Visit) -> None:
            outcome, sink = await visit.run(commands.EVERY_BYTE)
            assert (outcome, bytes(sink.stdout), bytes(sink.stderr)) == (Exited(0), bytes(range(256)), b"")

        self.visit(test)

    def test_stdout_and_stderr_are_separate(self) -> None:
        """They are separate, or both on stdout if the transport cannot separate them."""

        async def test(visit: Visit) -> None:
            _, sink = await visit.run(commands.BOTH_STREAMS)
            expected = (b"out", b"err") if self.capabilities.separate_stderr else (b"outerr", b"")
            assert (bytes(sink.stdout), bytes(sink.stderr)) == expected

        self.visit(test)

    def test_a_megabyte_on_each_stream_is_complete_when_the_command_has_ended(self) -> None:
        """When ``run`` returns, nothing is missing, and nothing arrives later."""

        async def test(visit: Visit) -> None:
            outcome, sink = await visit.run(commands.MEGABYTE_ON_EACH)
            assert outcome == Exited(0)
            if self.capabilities.separate_stderr:
                assert bytes(sink.stdout) == commands.MEGABYTE_OUTPUT
                assert bytes(sink.stderr) == commands.MEGABYTE_OUTPUT
            else:
                assert len(sink.stdout) == 2 * len(commands.MEGABYTE_OUTPUT)

        self.visit(test)

    def test_paused_output_holds_the_host_back(self) -> None:
        """While output is paused, only the contents of some buffers arrive; the rest follows afterwards."""

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

    def test_output_that_is_paused_when_the_command_ends_is_not_lost(self) -> None:
        """``run`` returns when the sink has received all output."""

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

    def test_input_arrives_in_full_and_ends(self) -> None:
        """Every byte arrives, however many there are, also if there are none."""

        async def test(visit: Visit) -> None:
            for data in (b"", b"x", bytes(range(256)), os.urandom(3 * commands.MEBI + 1)):
                outcome, sink = await visit.run(commands.ECHO, Input(data))
                assert outcome == Exited(0)
                assert bytes(sink.stdout) == data

        self.visit(test)

    def test_without_input_the_command_reads_end_of_file_at_once(self) -> None:
        """The command never waits for input."""

        async def test(visit: Visit) -> None:
            assert (await visit.run(commands.ECHO))[0] == Exited(0)

        self.visit(test)

    def test_input_that_is_not_read_changes_nothing(self) -> None:
        """A command that stops reading, or never reads, has its own exit status."""

        async def test(visit: Visit) -> None:
            stdin = Input(bytes(16 * commands.MEBI))
            assert (await visit.run(commands.READS_NOTHING, stdin))[0] == Exited(4)
            outcome, sink = await visit.run(commands.READS_FIVE, Input(b"12345" + bytes(4 * commands.MEBI)))
            assert (outcome, bytes(sink.stdout)) == (Exited(4), b"12345")

        self.visit(test)

    def test_a_command_that_ends_does_not_wait_for_more_input(self) -> None:
        """A command that has read enough ends, even if more input may be typed."""

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

    def test_input_that_cannot_be_read_fails_the_host(self) -> None:
        """Truncated input must not look complete: the command reads no end of file."""

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
        """Quotes, line feeds and comments arrive unchanged."""

        async def test(visit: Visit) -> None:
            for command, output in commands.ODD.items():
                outcome, sink = await visit.run(command)
                assert (outcome, bytes(sink.stdout)) == (Exited(0), output), command

        self.visit(test)

    def test_a_command_may_be_long(self) -> None:
        """A command can have the length that the transport allows."""

        async def test(visit: Visit) -> None:
            word = "x" * (self.capabilities.longest_command - len(commands.LONG))
            outcome, sink = await visit.run(commands.LONG + word)
            assert (outcome, bytes(sink.stdout)) == (Exited(0), word.encode())

        self.visit(test)

    def test_a_command_may_hold_bytes_that_are_not_utf_8(self) -> None:
        """Surrogates (PEP 383) are sent as the bytes that they stand for, or the host fails."""

        async def test(visit: Visit) -> None:
            try:
                outcome, sink = await visit.run(commands.NO_TEXT)
            except HostError:
                assert not self.capabilities.takes_any_bytes
            else:
                assert (outcome, bytes(sink.stdout)) == (Exited(0), commands.NO_TEXT_OUTPUT)

        self.visit(test)

    def test_hosts_do_not_affect_each_other(self) -> None:
        """Connections at the same time have their own commands, outputs and results."""

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

    # ------------------------------------------------------------ the attributes of a connection

    def test_phases_and_times_are_recorded(self) -> None:
        """The phases and times of a connection are set in their order."""

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

    def test_a_connection_is_closed_once_however_often_close_is_called(self) -> None:
        """``close`` may also be called before ``open``."""

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
