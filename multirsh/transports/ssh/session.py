"""One command in one channel (RFC 4254): its output as bytes, its input, how it ended, and its window.

RFC 4254, section 5.2, counts a window in bytes. But what a packet costs hardly depends on what it holds,
and what the remote says last, such as how the command ended, is behind all that is under way. So the window
bounds the packets: a remote that writes byte by byte gets a small one. While that is closed, its server
gathers what is written, and sends it as one packet later. A remote that sends large packets gets the largest
window with the first of them.
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
"""The window that a channel is opened with. An output that is longer waits for one round trip; with a larger
one, 200 hosts that write byte by byte have more packets under way than are handled in a minute."""

LEAST_BYTES: Final = 1024

MOST_BYTES: Final = 512 * 1024
"""What asyncssh buffers at the most for a host that is held back: 32 MiB for a fanout of 64."""

MOST_PART: Final = 256
"""Where this process may have little memory, a window is one part in so many of it."""

PACKETS: Final = 256
"""How many packets of the usual size may be under way."""

_WEIGHT: Final = 8
"""What is usual is a moving mean, to which a packet contributes one part in so many."""


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
        """A packet with ``count`` bytes of output has come."""
        self._usual += (count - self._usual) / _WEIGHT
        self.size = int(min(max(LEAST_BYTES, self._usual * PACKETS), self._most))


WhenRead: TypeAlias = Callable[[Callable[[], None]], bool]
"""Has a function called when the connection has taken apart all that it has just read, and returns ``True``;
or returns ``False`` where nothing is being read."""


def _reads_nothing(_call: Callable[[], None]) -> bool:
    return False


class CommandSession(asyncssh.SSHClientSession[bytes]):
    """Hands a command's output to a sink and keeps how the command ended.

    asyncssh's ready-made processes lose data silently in several ways: they decode (one byte that is not
    UTF-8 ends the connection), they never send end of file for empty input, and a status that never came
    looks like a result. Here everything is bytes, and what did not come is ``None``.

    Output that comes in many packets at once is handed to the sink as one piece.

    Attributes:
        requested: Whether the channel is open, so that the command has been asked for and may have run.
        ended: Done when the channel is closed, by whichever side and for whatever reason.
        outcome: What the remote said of the command; ``None`` if it said nothing.
        error: Why the channel is closed, if not because the command ended.
        output_ended: Whether the remote said that it will write no more: all output is here.
    """

    def __init__(self, sink: Sink, when_read: WhenRead = _reads_nothing) -> None:
        """Have no channel yet.

        Args:
            sink: Takes the output.
            when_read: The connection's, so that output can be gathered as long as it reads.
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
        """The channel is open; asyncssh asks for the command next."""
        self._channel = chan
        self.requested = True

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Take output, to be passed on once all is taken that was read with it."""
        stream: Stream = "stderr" if datatype == asyncssh.EXTENDED_DATA_STDERR else "stdout"
        if stream != self._stream:
            self._pass_on()
            self._stream = stream
        self._pieces.append(data)
        self._window.took(len(data))
        if self._channel is not None:
            with contextlib.suppress(OSError):  # it is closed, and what it kept is handed on
                fit(self._channel, self._window.size)
        if len(self._pieces) == 1 and not self._when_read(self._pass_on):
            self._pass_on()

    def _pass_on(self) -> None:
        """Give the sink what was taken."""
        pieces, self._pieces = self._pieces, []
        if pieces:
            self._sink.write(self._stream, pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def eof_received(self) -> bool:
        """The remote will write no more; what it is told of *our* end is not tied to that."""
        self.output_ended = True
        return True

    def pause_writing(self) -> None:
        """The remote does not read as fast as we write."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._may_write.set()

    async def feed(
        self, stdin: Stdin, link_may_write: Callable[[], Awaitable[object]], *, ending: bytes = b""
    ) -> None:
        """Send all of the input, as fast as the remote reads it, then its end, once.

        A remote that wants no more is left alone: how it ended is what counts.

        Args:
            stdin: The input.
            link_may_write: Waits until the connection below has sent enough of what it holds.
            ending: Sent behind it.

        Raises:
            OSError: The input cannot be read; the remote has not got its end.
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
        """The command exited."""
        self.outcome = Exited(status)

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:  # noqa: ARG002, FBT001 - asyncssh's signature
        """A signal ended the command."""
        self.outcome = Signalled(one_line(signal, longest=LONGEST_SIGNAL))

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed, or its connection is gone."""
        self.error = exc
        try:
            # While output is held back asyncssh keeps what came; when the *connection* dies it would drop it.
            self.resume()
            self._pass_on()
        finally:
            # asyncssh swallows what is raised here; whoever waits must not wait for ever.
            if not self.ended.done():
                self.ended.set_result(None)

    def pause(self) -> None:
        """Take no more output; the channel's window fills and the remote waits."""
        if self._channel is not None and self._may_pause:
            self._channel.pause_reading()

    def resume(self) -> None:
        """Take output again, first of all what was kept."""
        if self._channel is not None:
            self._channel.resume_reading()

    @contextlib.contextmanager
    def unpaused(self) -> Iterator[None]:
        """Let all output through meanwhile: behind what is held back, no end of the channel would be seen."""
        self._may_pause = False
        self.resume()
        try:
            yield
        finally:
            self._may_pause = True

    def signal(self, name: str) -> None:
        """Ask the remote to send the command a signal (RFC 4254, section 6.9); there is no answer.

        Args:
            name: Without ``SIG``.

        Raises:
            OSError: The channel is not open any more.
        """
        if self._channel is not None:
            self._channel.send_signal(name)
