"""One command as a child process: its pipes, its process group, its end.

Knows no SSH: a ``Receiver`` takes the output and is told when input must wait.

The child leads a session and a process group of its own, so that all it starts
can be ended with it. A group is only ever signalled while its leader is not yet
reaped: until then the kernel gives its number to nobody else. So the order at
the end is always

::

    leader exits and outputs close ──▶ KILL what is left of the group ──▶ reap

and, when nobody waits for the command any more, TERM and a time of grace
before that. A process that leaves the group on purpose (``setsid``, or a shell
with ``set -m``) is not followed.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from multirsh.linux import open_process

POLL_SECONDS: Final = 0.02
"""How often a child is looked at where the kernel has no descriptor for a process's end."""


class Stream(enum.Enum):
    """Where a command wrote."""

    STDOUT = enum.auto()
    STDERR = enum.auto()


class Receiver(Protocol):
    """Who hears from a command; called from the loop, never after ``end`` has returned."""

    def output_received(self, stream: Stream, data: bytes) -> None:
        """The command wrote ``data``."""

    def input_must_wait(self) -> None:
        """The command reads too slowly: give no more input for now."""

    def input_may_resume(self) -> None:
        """There is room for input again, or nobody left who would read it."""


class _Output(asyncio.Protocol):
    """The reading end of stdout or stderr."""

    def __init__(self, receiver: Receiver, stream: Stream) -> None:
        self._receiver = receiver
        self._stream = stream
        self.closed = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self._receiver.output_received(self._stream, data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - either way nothing more comes
        self.closed.set()


class _Input(asyncio.BaseProtocol):
    """The writing end of stdin."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def pause_writing(self) -> None:
        self._receiver.input_must_wait()

    def resume_writing(self) -> None:
        # Not from within: a pipe transport that is given its last input while it announces room closes
        # without writing it (asyncio, unix_events.py, _write_ready; seen with Python 3.11).
        asyncio.get_running_loop().call_soon(self._receiver.input_may_resume)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - a command need not read it all
        self._receiver.input_may_resume()


class LabCommand:
    """A running command; made by ``spawn``, and to be ended by ``end`` whatever happens."""

    def __init__(self, process: subprocess.Popen[bytes], receiver: Receiver) -> None:
        self._process = process
        self._outputs = {stream: _Output(receiver, stream) for stream in Stream}
        self._input = _Input(receiver)
        self._readers: list[asyncio.ReadTransport] = []
        self._writer: asyncio.WriteTransport | None = None
        self._is_output_paused = False
        self._is_finished = False
        self._is_reaped = False

    @classmethod
    def spawn(
        cls, words: Sequence[str], *, environment: Mapping[str, str], folder: str, receiver: Receiver
    ) -> LabCommand:
        """Start a command; signals reach it from now on, and ``connect`` is what to do next.

        Args:
            words: The program's path and its arguments.
            environment: All of its environment.
            folder: Where it starts.
            receiver: Who hears from it.

        Raises:
            OSError: It could not be started.
            ValueError: A word or a variable holds a NUL.
        """
        process = subprocess.Popen(  # noqa: S603 - running what clients send is the point of a lab
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
        return cls(process, receiver)

    async def connect(self) -> None:
        """Begin to take output; input may be given once this has returned.

        Output, and with it the other side's answers, may come before that.
        """
        loop = asyncio.get_running_loop()
        process = self._process
        try:
            self._writer, _ = await loop.connect_write_pipe(lambda: self._input, process.stdin)
            stderr, _ = await loop.connect_read_pipe(lambda: self._outputs[Stream.STDERR], process.stderr)
            self._readers.append(stderr)
            stdout, _ = await loop.connect_read_pipe(lambda: self._outputs[Stream.STDOUT], process.stdout)
            self._readers.append(stdout)
        except BaseException:
            self._kill()
            raise
        if self._is_output_paused:
            self.pause_output()

    def write(self, data: bytes) -> None:
        """Give the command input; what it does not want to read any more is dropped."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(data)

    def end_input(self) -> None:
        """Let the command see end of file after what it was given."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write_eof()

    def pause_output(self) -> None:
        """Take no more output: the command blocks once its pipes are full."""
        self._is_output_paused = True
        for reader in self._readers:
            if not reader.is_closing():
                reader.pause_reading()

    def resume_output(self) -> None:
        """Take output again."""
        self._is_output_paused = False
        for reader in self._readers:
            if not reader.is_closing():
                reader.resume_reading()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the command and to all that it started; to nobody once it has been reaped."""
        if self._process.returncode is None:
            self._signal_group(number)

    async def finished(self) -> None:
        """Wait until the command has exited, and all that its outputs held has been received.

        A background process that holds an output open is waited for, as sshd does.
        """
        for output in self._outputs.values():
            await output.closed.wait()
        await _exited(self._process)
        self._is_finished = True

    async def end(self, *, grace: float) -> int:
        """End the command, if it has not finished, and everything of it that still runs.

        Args:
            grace: Seconds from TERM to KILL for a command that has not finished.

        Returns:
            Exit status, or the number of the signal that ended it, negated.
        """
        try:
            if not (self._is_finished or self._is_reaped):
                self.send_signal(signal.SIGTERM)
                self.resume_output()  # so that a full pipe does not keep it from leaving
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(grace):
                        await self.finished()
        finally:
            self._kill()
        return self._process.returncode

    def _kill(self) -> None:
        """Kill the group, reap its leader, let go of the pipes: in one step, with nothing between."""
        if self._is_reaped:
            return
        process = self._process
        self._signal_group(signal.SIGKILL)
        process.wait()
        self._is_reaped = True
        for reader in self._readers:
            reader.close()
        # Once a write pipe is closing with nothing left to write, asyncio must not be asked again.
        if self._writer is not None and (
            not self._writer.is_closing() or self._writer.get_write_buffer_size()
        ):
            self._writer.abort()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()

    def _signal_group(self, number: signal.Signals) -> None:
        # macOS answers EPERM where Linux is content: for a group that holds nothing but zombies.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


async def _exited(process: subprocess.Popen[bytes]) -> None:
    """Wait for a child's exit, leaving it unreaped where the kernel gives a descriptor for it (Linux 5.3).

    asyncio's own way would need a thread for each child on Python 3.11.
    Elsewhere the child is polled and reaped: the caller must go on to kill the
    group without awaiting anything else.
    """
    descriptor = open_process(process.pid)
    if descriptor is not None:
        await _readable(descriptor)
        return
    while process.poll() is None:  # noqa: ASYNC110 - nothing sets an event here
        await asyncio.sleep(POLL_SECONDS)


async def _readable(descriptor: int) -> None:
    """Wait until ``descriptor`` can be read, and close it."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
