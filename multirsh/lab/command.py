"""One command as a child process: its pipes, its process group and its end.

This module does not know SSH: a ``Receiver`` takes the output, and pauses and
resumes the input.

The child leads its own session and process group, so that everything it starts
can be ended with it. The group is only signalled until its leader is reaped:
until then, the kernel does not reuse its number. So the order at the end is always

::

    leader exits and outputs close ──▶ KILL what is left of the group ──▶ reap

and, when the client has gone away, TERM and a grace period before that. A
process that leaves the group on purpose (``setsid``, or a shell with ``set -m``)
is not followed.
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
"""Seconds between two looks at a child where the kernel has no descriptor for the end of a process."""


class Stream(enum.Enum):
    """An output stream of a command."""

    STDOUT = enum.auto()
    STDERR = enum.auto()


class Receiver(Protocol):
    """The owner of a command; called from the event loop, never after ``end`` has returned."""

    def output_received(self, stream: Stream, data: bytes) -> None:
        """Take ``data``, which the command wrote."""

    def input_must_wait(self) -> None:
        """Pause the input, since the command reads too slowly."""

    def input_may_resume(self) -> None:
        """Resume the input, since its buffer has space again, or the command no longer reads it."""


class _Output(asyncio.Protocol):
    """The reading end of stdout or stderr."""

    def __init__(self, receiver: Receiver, stream: Stream) -> None:
        self._receiver = receiver
        self._stream = stream
        self.closed = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self._receiver.output_received(self._stream, data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - no more data comes in either case
        self.closed.set()


class _Input(asyncio.BaseProtocol):
    """The writing end of stdin."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def pause_writing(self) -> None:
        self._receiver.input_must_wait()

    def resume_writing(self) -> None:
        # Not directly: a pipe transport that is given its last input within this call is closed without
        # writing it (asyncio, unix_events.py, _write_ready; seen with Python 3.11).
        asyncio.get_running_loop().call_soon(self._receiver.input_may_resume)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - a command need not read all input
        self._receiver.input_may_resume()


class LabCommand:
    """A running command, started by ``spawn``; the caller must ``end`` it whatever happens."""

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
        """Start a command, which receives signals from now on; call ``connect`` next.

        Args:
            words: The path of the program, and its arguments.
            environment: The whole environment of the command.
            folder: The working directory of the command.
            receiver: The owner of the command, which takes its output.

        Raises:
            OSError: The command cannot be started.
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
        """Start to read output; input may be written once this has returned.

        Output may arrive before that.
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
        """Write input for the command; it is dropped if the command no longer reads it."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(data)

    def end_input(self) -> None:
        """Give the command end of file after the input so far."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write_eof()

    def pause_output(self) -> None:
        """Stop reading output: the command blocks once its pipes are full."""
        self._is_output_paused = True
        for reader in self._readers:
            if not reader.is_closing():
                reader.pause_reading()

    def resume_output(self) -> None:
        """Read output again."""
        self._is_output_paused = False
        for reader in self._readers:
            if not reader.is_closing():
                reader.resume_reading()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the command and everything that it started; do nothing once it has been reaped."""
        if self._process.returncode is None:
            self._signal_group(number)

    async def finished(self) -> None:
        """Wait until the command has exited and all its output has been received.

        As in sshd, this includes background processes that hold an output open.
        """
        for output in self._outputs.values():
            await output.closed.wait()
        await _exited(self._process)
        self._is_finished = True

    async def end(self, *, grace: float) -> int:
        """End the command, if it has not finished, and all its processes that still run.

        Args:
            grace: Seconds from TERM to KILL for a command that has not finished.

        Returns:
            The exit status, or the negated number of the signal that ended it.
        """
        try:
            if not (self._is_finished or self._is_reaped):
                self.send_signal(signal.SIGTERM)
                self.resume_output()  # so that a full pipe does not keep it from exiting
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(grace):
                        await self.finished()
        finally:
            self._kill()
        return self._process.returncode

    def _kill(self) -> None:
        """Kill the group, reap its leader and close the pipes, without awaiting anything in between."""
        if self._is_reaped:
            return
        process = self._process
        self._signal_group(signal.SIGKILL)
        process.wait()
        self._is_reaped = True
        for reader in self._readers:
            reader.close()
        # A write pipe that is closing with nothing left to write must not be aborted.
        if self._writer is not None and (
            not self._writer.is_closing() or self._writer.get_write_buffer_size()
        ):
            self._writer.abort()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()

    def _signal_group(self, number: signal.Signals) -> None:
        # Unlike Linux, macOS answers EPERM for a group of zombies.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


async def _exited(process: subprocess.Popen[bytes]) -> None:
    """Wait for a child's exit, and leave it unreaped where the kernel has a descriptor for it (Linux 5.3).

    asyncio itself would need a thread for each child on Python 3.11. On other
    systems the child is polled and reaped: the caller must then kill the group
    without awaiting anything else.
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
