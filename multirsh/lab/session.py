"""An SSH session channel (RFC 4254, section 6), connected to one command.

Both directions have flow control: while the client's window is closed, the
command's pipes are not read; while the command does not read, the channel is not read.
"""

from __future__ import annotations

import asyncio
from typing import Final

import asyncssh

from multirsh.lab.command import LabCommand, Stream
from multirsh.lab.service import Service
from multirsh.lab.shell import command_environment, command_words, outcome_of, signal_by_name
from multirsh.model import Exited

LOOK_SECONDS: Final = 0.5
"""Seconds between two looks at a channel that is not read."""

CANNOT_EXECUTE: Final = 126
"""The exit status of a shell that finds a command but cannot run it (POSIX, 2.8.2)."""


class LabSession(asyncssh.SSHServerSession[bytes]):
    """A session of one lab host: one command or shell, without terminal and subsystems.

    Args:
        host: The name of the host.
        ends: The addresses and ports of the connection, as in sshd's ``SSH_CONNECTION``.
        service: What every host of the lab uses.
    """

    def __init__(self, *, host: str, ends: str, service: Service) -> None:
        self._host = host
        self._ends = ends
        self._service = service
        self._channel: asyncssh.SSHServerChannel[bytes] | None = None
        self._requested: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._command: LabCommand | None = None
        self._fed: LabCommand | None = None  # the command once it takes input
        self._early_input: list[bytes] = []
        self._has_input_ended = False
        self._look: asyncio.TimerHandle | None = None

    # From the channel

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        """Keep the channel."""
        self._channel = chan

    def pty_requested(
        self,
        term_type: str,  # noqa: ARG002
        term_size: tuple[int, int, int, int],  # noqa: ARG002
        term_modes: object,  # noqa: ARG002
    ) -> bool:
        """Refuse a terminal; ssh warns and continues without one."""
        return False

    def exec_requested(self, command: str) -> bool:
        """Accept a command, unless the lab is closing."""
        self._requested = command
        return not self._service.census.is_closing

    def shell_requested(self) -> bool:
        """Accept a shell that reads its commands from standard input, unless the lab is closing."""
        return not self._service.census.is_closing

    def session_started(self) -> None:
        """Start the command."""
        self._task = self._service.tasks.create_task(self._serve(), name=f"lab command on {self._host}")

    def data_received(self, data: bytes, datatype: int | None) -> None:  # noqa: ARG002 - clients send one kind
        """Pass input on; keep it until the command can take it, which the channel's window limits."""
        if self._fed is None:
            self._early_input.append(data)
        else:
            self._fed.write(data)

    def eof_received(self) -> bool:
        """End the input; the channel stays open for output."""
        self._has_input_ended = True
        if self._fed is not None:
            self._fed.end_input()
        return True

    def pause_writing(self) -> None:
        """Pause the output."""
        if self._command is not None:
            self._command.pause_output()

    def resume_writing(self) -> None:
        """Resume the output."""
        if self._command is not None:
            self._command.resume_output()

    def signal_received(self, signal: str) -> None:
        """Send the signal to the command's group; ignore signals that SSH does not define, as sshd does."""
        number = signal_by_name(signal)
        if self._command is not None and number is not None:
            self._command.send_signal(number)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason does not matter
        """End the command, since the channel is gone."""
        self._channel = None
        self._forget_close()
        if self._task is not None:
            self._task.cancel()

    # From the command

    def output_received(self, stream: Stream, data: bytes) -> None:
        """Send the command's output; drop it if the channel is closing."""
        channel = self._channel
        if channel is not None and not channel.is_closing():
            channel.write(data, None if stream is Stream.STDOUT else asyncssh.EXTENDED_DATA_STDERR)

    def input_must_wait(self) -> None:
        """Stop reading the channel, so that the client's window closes."""
        if self._channel is not None:
            self._channel.pause_reading()
            self._expect_close(self._channel)

    def input_may_resume(self) -> None:
        """Read the channel again."""
        self._forget_close()
        if self._channel is not None:
            self._channel.resume_reading()

    # While reading is paused, asyncssh does not report that the channel was closed until the input before it
    # has been read (channel.py, _flush_recv_buf), so the channel is polled.

    def _expect_close(self, channel: asyncssh.SSHServerChannel[bytes]) -> None:
        self._forget_close()
        self._look = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look_for_close, channel)

    def _look_for_close(self, channel: asyncssh.SSHServerChannel[bytes]) -> None:
        if channel.is_closing():
            channel.resume_reading()
        else:
            self._expect_close(channel)

    def _forget_close(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None

    # The task of the command

    async def _serve(self) -> None:
        """Run the command and report its end; the task is cancelled when the channel is closed."""
        census = self._service.census
        census.commands_running += 1
        census.commands_total += 1
        try:
            await self._run()
        finally:
            census.commands_running -= 1

    async def _run(self) -> None:
        try:
            self._command = command = self._spawn()
        except (OSError, ValueError) as error:
            self._report_failed_start(error)
            return
        try:
            await command.connect()
            self._feed(command)
            await command.finished()
        finally:
            returncode = await command.end(grace=self._service.grace)
        self._report(returncode)

    def _spawn(self) -> LabCommand:
        channel = self._channel
        if channel is None:
            raise ConnectionError("the channel is gone")
        service = self._service
        return LabCommand.spawn(
            command_words(service.shell, self._requested),
            environment=command_environment(
                service.environ,
                host=self._host,
                account=service.account,
                shell=service.shell,
                requested=channel.get_environment(),
                connection=self._ends,
            ),
            folder=service.folder,
            receiver=self,
        )

    def _feed(self, command: LabCommand) -> None:
        self._fed = command
        for data in self._early_input:
            command.write(data)
        self._early_input.clear()
        if self._has_input_ended:
            command.end_input()

    def _report(self, returncode: int) -> None:
        channel = self._channel
        if channel is None:
            return
        channel.write_eof()
        outcome = outcome_of(returncode)
        if isinstance(outcome, Exited):
            channel.exit(outcome.status)
        else:
            channel.exit_with_signal(outcome.signal)

    def _report_failed_start(self, error: Exception) -> None:
        channel = self._channel
        if channel is not None and not channel.is_closing():
            channel.write_stderr(f"multirsh lab: {self._service.shell} does not start: {error}\n".encode())
            channel.exit(CANNOT_EXECUTE)
