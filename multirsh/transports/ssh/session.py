"""One command in one channel (RFC 4254): its output as bytes, its input, how it ended, and its window.

RFC 4254, section 5.2, counts a window in bytes. But the cost of a packet hardly depends on its size, and the
remote's last messages, such as the exit status, come after everything that is in flight. So the window is
chosen to bound the number of packets: a remote that writes byte by byte gets a small one. While it is closed,
the server gathers what is written and sends it as one packet later. A remote that sends large packets gets
the largest window with the first of them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeAlias

import asyncssh

from multirsh.model import Exited, Outcome, Signalled
from multirsh.shortage import part_of_room
from multirsh.transports.base import Sink, Stdin, Stream
from multirsh.transports.messages import LONGEST_SIGNAL, one_line
from multirsh.transports.ssh.asyncssh_internals import fit

FIRST_BYTES: Final = 4 * 1024
"""The initial window of a channel. Longer output costs one extra round trip; with a larger window, 200 hosts
that write byte by byte would have more packets in flight than can be handled in a minute."""

LEAST_BYTES: Final = 1024

MOST_BYTES: Final = 512 * 1024
"""The most that asyncssh buffers for a host whose output is paused: 32 MiB for a fanout of 64."""

MOST_PART: Final = 256
"""If this process's memory is limited, a window is at most one part in ``MOST_PART`` of it."""

PACKETS: Final = 256
"""How many packets of the average size may be in flight."""

_WEIGHT: Final = 8
"""The average is a moving mean, to which a packet contributes one part in ``_WEIGHT``."""


class Window:
    """The size of one channel's window.

    Attributes:
        size: In bytes.
    """

    __slots__ = ("_most", "_usual", "size")

    def __init__(self) -> None:
        self._most = part_of_room(MOST_BYTES, MOST_PART, least=FIRST_BYTES)
        self._usual = FIRST_BYTES / PACKETS
        self.size = FIRST_BYTES

    def took(self, count: int) -> None:
        """Adjust to a received packet with ``count`` bytes of output."""
        self._usual += (count - self._usual) / _WEIGHT
        self.size = int(min(max(LEAST_BYTES, self._usual * PACKETS), self._most))


WhenRead: TypeAlias = Callable[[Callable[[], None]], bool]
"""Schedules a call for when the connection has parsed all that it has just read, and returns ``True``; or
returns ``False`` if nothing is being read."""


def _reads_nothing(_call: Callable[[], None]) -> bool:
    return False


class CommandSession(asyncssh.SSHClientSession[bytes]):
    """Passes a command's output to a sink and records how the command ended.

    asyncssh's ready-made processes lose data silently in several ways: they decode (one byte that is not
    UTF-8 ends the connection), they never send end of file for empty input, and a missing exit status looks
    like a result. Here everything is bytes, and what was not received is ``None``.

    Output that arrives in many packets at once is passed to the sink in one piece.

    Attributes:
        requested: Whether the channel is open, so that the command has been requested and may have run.
        ended: Done when the channel is closed, by either side and for whatever reason.
        outcome: How the remote says that the command ended; ``None`` if it did not say.
        error: Why the channel is closed, if not because the command ended.
        output_ended: Whether the remote has sent end of file, so that the output is complete.
    """

    def __init__(self, sink: Sink, when_read: WhenRead = _reads_nothing) -> None:
        """Prepare a session that has no channel yet.

        Args:
            sink: Receives the output.
            when_read: The connection's method, so that output can be gathered as long as it reads.
        """
        self._sink = sink
        self._when_read = when_read
        self._window = Window()
        self._stream: Stream = "stdout"
        self._pieces: list[bytes] = []
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._may_pause = True
        self._may_write = asyncio.Event()
        self._may_write.set()
        self.requested = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.outcome: Outcome | None = None
        self.error: Exception | None = None
        self.output_ended = False

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """Record that the channel is open; asyncssh requests the command next."""
        self._channel = chan
        self.requested = True

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Collect output, to be passed on once all data that was read with it is parsed."""
        stream: Stream = "stderr" if datatype == asyncssh.EXTENDED_DATA_STDERR else "stdout"
        if stream != self._stream:
            self._pass_on()
            self._stream = stream
        self._pieces.append(data)
        self._window.took(len(data))
        if self._channel is not None:
            with contextlib.suppress(OSError):  # the channel is closed, and its kept output is passed on
                fit(self._channel, self._window.size)
        if len(self._pieces) == 1 and not self._when_read(self._pass_on):
            self._pass_on()

    def _pass_on(self) -> None:
        """Pass the collected output to the sink."""
        pieces, self._pieces = self._pieces, []
        if pieces:
            self._sink.write(self._stream, pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def eof_received(self) -> bool:
        """Record that the output is complete; the input stays open independently of that."""
        self.output_ended = True
        return True

    def pause_writing(self) -> None:
        """Pause the input, because the remote reads more slowly than it is sent."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """Resume the input."""
        self._may_write.set()

    async def feed(
        self, stdin: Stdin, link_may_write: Callable[[], Awaitable[object]], *, ending: bytes = b""
    ) -> None:
        """Send all of the input as fast as the remote reads it, then end of file, once.

        It is not an error if the remote stops reading: the result is how the command ends.

        Args:
            stdin: The input.
            link_may_write: Waits until the buffer of the underlying connection has drained.
            ending: Sent after the input.

        Raises:
            OSError: The input cannot be read; end of file has not been sent to the remote.
        """
        channel, offset = self._channel, 0
        if channel is None:
            raise RuntimeError("the channel is not open")
        try:
            while data := await stdin.read(offset):
                await self._may_write.wait()
                await link_may_write()
                channel.write(data)
                offset += len(data)
            channel.write(ending)
            channel.write_eof()
        except BrokenPipeError:
            return

    def exit_status_received(self, status: int) -> None:
        """Record the exit status."""
        self.outcome = Exited(status)

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:  # noqa: ARG002, FBT001 - asyncssh's signature
        """Record that a signal ended the command."""
        self.outcome = Signalled(one_line(signal, longest=LONGEST_SIGNAL))

    def connection_lost(self, exc: Exception | None) -> None:
        """Record that the channel is closed, or its connection lost."""
        self.error = exc
        try:
            # While output is paused asyncssh keeps what arrived; if the *connection* dies it would drop it.
            self.resume()
            self._pass_on()
        finally:
            # asyncssh swallows exceptions raised here; a caller that waits must not wait for ever.
            if not self.ended.done():
                self.ended.set_result(None)

    def pause(self) -> None:
        """Stop taking output; the channel's window fills and the remote waits."""
        if self._channel is not None and self._may_pause:
            self._channel.pause_reading()

    def resume(self) -> None:
        """Take output again, beginning with what was kept."""
        if self._channel is not None:
            self._channel.resume_reading()

    @contextlib.contextmanager
    def unpaused(self) -> Iterator[None]:
        """Let all output through for now: behind paused output, the channel's end would go unnoticed."""
        self._may_pause = False
        self.resume()
        try:
            yield
        finally:
            self._may_pause = True

    def signal(self, name: str) -> None:
        """Request that the remote send the command a signal (RFC 4254, section 6.9); there is no reply.

        Args:
            name: The name without ``SIG``.

        Raises:
            OSError: The channel is no longer open.
        """
        if self._channel is not None:
            self._channel.send_signal(name)
