"""A TCP transport for asyncio that never sends the first FIN.

``close()`` and ``abort()`` mean the same here: *we are done with this
connection*. What is buffered is sent, the remote's FIN is waited for, then
the socket is closed. ``close_order`` decides, and this module carries out.
The protocol above is free at once, and the socket drains by callbacks of
the loop, so no task has to await it: the future ``closed`` is done when the
socket is closed.

asyncio's own transport cannot be used for this: its ``close()`` sends our
FIN, and its ``abort()`` discards the goodbye that makes the remote close.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

from multirsh.model import ClosedBy
from multirsh.shortage import relieve
from multirsh.transports.close_order import CloseOrder, CloseStep, Event, State
from multirsh.transports.tcp import BY_FIN, BY_RESET

BUDGET_S: Final = 0.02
"""Seconds of one turn of the loop for reading; the rest is read in the next turn."""

SLICE_S: Final = 0.004
"""Seconds that one connection may use before the next is served."""

FIRST_SLICE_BYTES: Final = 16 * 1024
LEAST_SLICE_BYTES: Final = 2 * 1024
MOST_SLICE_BYTES: Final = 256 * 1024

Clock: TypeAlias = Callable[[], float]

Serve: TypeAlias = Callable[[], bool]
"""Handles one slice; returns whether there is another."""


class Slice:
    """The number of bytes that a connection handles at once.

    Attributes:
        size: That number; it adapts to the cost of the bytes.
    """

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = FIRST_SLICE_BYTES

    def took(self, count: int, seconds: float) -> None:
        """Adapt the size after ``count`` bytes took ``seconds`` to handle."""
        if seconds > SLICE_S:
            self.size = max(LEAST_SLICE_BYTES, self.size // 2)
        elif count >= self.size and seconds < SLICE_S / 4:
            self.size = min(MOST_SLICE_BYTES, self.size * 2)


class Turns:
    """The queue of one loop's connections that have more to read.

    Packets are parsed on the loop's thread, at a cost per packet rather than per byte: a quarter of a
    megabyte of SSH packets of one byte each takes a tenth of a second. If every connection took that in each
    turn of the loop, timers and signals would wait for all of them. So a turn of the loop has a budget for
    reading, and a connection that has used its *slice* goes to the end of a queue.

    A slice is as many bytes as the connection is expected to handle within ``SLICE_S``: it shrinks when the
    bytes turn out to be expensive, and grows when they are cheap, up to the most that one recv(2) returns. A
    connection that has little to read while there is time is served at once, without the queue.

    Attributes:
        clock: The clock that measures the time used, in seconds.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, clock: Clock = time.thread_time) -> None:
        """Make an empty queue.

        Args:
            loop: The loop whose time is shared.
            clock: By default the processor time of the thread, which other load on the machine does not
                affect.
        """
        self.clock = clock
        self._loop = loop
        self._queue: deque[Serve] = deque()
        self._used = 0.0
        self._is_scheduled = False

    @property
    def has_time(self) -> bool:
        """Whether a connection may read at once; if not, it must ``wait``."""
        return not self._is_scheduled

    def used(self, seconds: float) -> None:
        """Record that a connection has used ``seconds``, in its turn or at once."""
        self._used += seconds
        if self._used >= BUDGET_S:
            self._schedule()

    def wait(self, serve: Serve) -> None:
        """Call ``serve`` in turn, until it returns ``False``."""
        self._queue.append(serve)
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Serve the queue, as far as there is time in this turn of the loop."""
        self._is_scheduled = False
        self._used = 0.0
        try:
            while self._queue and self._used < BUDGET_S:
                serve = self._queue.popleft()
                if serve():
                    self._queue.append(serve)
        finally:
            if self._queue:
                self._schedule()


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()


def turns_of(loop: asyncio.AbstractEventLoop) -> Turns:
    """Return the queue of ``loop``, which all runs and fleets share."""
    turns = _turns.get(loop)
    if turns is None:
        turns = _turns[loop] = Turns(loop)
    return turns


READ_BYTES: Final = 256 * 1024
"""The buffer of one recv(2): asyncio's own size, and several SSH packets. It is passed on in slices."""

_UNWANTED: Final = bytearray(64 * 1024)
"""Receives data that is discarded."""

HIGH_WATER_BYTES: Final = 64 * 1024
LOW_WATER_BYTES: Final = HIGH_WATER_BYTES // 4
"""The protocol pauses writing above the first and resumes at the second, as with asyncio's transports."""


class RemoteFirstTransport(asyncio.Transport):
    """A connected stream socket that is closed after the remote has closed.

    All writes of one turn of the loop are sent by one send(2): SSH frames a command in several small packets,
    and each send costs a system call and a segment (TCP_NODELAY is on).

    Attributes:
        closed: Done when the socket is closed; its result is the end that closed first. It never fails and
            is never cancelled by this transport.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        *,
        close_timeout: float,
        on_closed: Callable[[ClosedBy], None],
        spares_peer: bool = False,
        turns: Turns | None = None,
    ) -> None:
        """Take over a connected, non-blocking socket.

        Args:
            loop: A loop with ``add_reader``.
            sock: The socket, which the transport owns from now on.
            close_timeout: Seconds from ``close()`` to a reset, if the remote's FIN does not arrive.
            on_closed: Called once, right after the socket was closed.
            spares_peer: Answer the remote's FIN with RST instead of FIN, so that the remote keeps no
                TIME_WAIT either. This is for remotes that close from a scarce port; no data is lost, since
                everything before the FIN has been read.
            turns: Shares the loop's time among connections; ``None`` for the loop's own queue.
        """
        super().__init__()
        self._loop = loop
        # If this process is killed, the kernel closes its sockets, and that FIN would be the first.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, BY_RESET)
        self._sock = sock
        self._fd = sock.fileno()
        self._close_timeout = close_timeout
        self._on_closed = on_closed
        self._spares_peer = spares_peer
        self._turns = turns or turns_of(loop)
        self._slice = Slice()
        self._came = b""
        self._handed_on = 0  # bytes of what came
        self._is_waiting = False
        self._order = CloseOrder()
        self._protocol: asyncio.Protocol | None = None
        self._buffer: list[bytes | memoryview] = []
        self._buffered_bytes = 0
        self._flush_scheduled = False
        self._writer_watched = False
        self._reader_watched = False
        self._reading_paused = False
        self._writing_paused = False
        self._broken: OSError | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._high_water, self._low_water = HIGH_WATER_BYTES, LOW_WATER_BYTES
        self._extra: dict[str, Any] = {
            "socket": sock,
            "sockname": sock.getsockname(),
            "peername": sock.getpeername(),
        }
        self.closed: asyncio.Future[ClosedBy] = loop.create_future()

    def attach(self, protocol: asyncio.Protocol) -> None:
        """Connect ``protocol`` to this transport and start reading."""
        self._protocol = protocol
        protocol.connection_made(self)
        self._watch_reader()

    @property
    def state(self) -> State:
        """The connection's state in the order of closing."""
        return self._order.state

    # The interface of asyncio.Transport.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return ``socket``, ``sockname`` or ``peername``; they are available after the close, too."""
        return self._extra.get(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Set the protocol that receives the data from now on."""
        if not isinstance(protocol, asyncio.Protocol):
            raise TypeError("a stream needs an asyncio.Protocol")
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol that receives the data."""
        if self._protocol is None:
            raise RuntimeError("no protocol is attached")
        return self._protocol

    def is_closing(self) -> bool:
        """Whether either end has begun to close the connection."""
        return self._order.state is not State.OPEN

    def is_reading(self) -> bool:
        """Whether data is read and passed to the protocol."""
        return self._reader_watched and not self.is_closing()

    def pause_reading(self) -> None:
        """Leave data in the kernel's buffer, so that flow control stops the remote."""
        self._reading_paused = True
        if not self.is_closing():
            self._unwatch_reader()

    def resume_reading(self) -> None:
        """Pass data to the protocol again."""
        self._reading_paused = False
        if not self.is_closing():
            self._watch_reader()
            if self._came:
                self._wait()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the marks, in bytes, at which the protocol is to pause and to resume writing."""
        if high is None:
            high = HIGH_WATER_BYTES if low is None else 4 * low
        if low is None:
            low = high // 4
        if not 0 <= low <= high:
            raise ValueError(f"0 <= low <= high does not hold for low {low}, high {high}")
        self._high_water, self._low_water = high, low

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high mark, in bytes."""
        return self._low_water, self._high_water

    def get_write_buffer_size(self) -> int:
        """Return the number of bytes that the kernel has not taken yet."""
        return self._buffered_bytes

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send ``data`` at the end of this turn of the loop; once the connection is closing, drop it."""
        if self.is_closing() or not data:
            return
        self._buffer.append(bytes(data))
        self._buffered_bytes += len(data)
        if not self._flush_scheduled and not self._writer_watched:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)
        if self._buffered_bytes > self._high_water and not self._writing_paused and self._protocol:
            self._writing_paused = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        """Return ``False``: a half-close is a FIN, which would make us the first to close."""
        return False

    def write_eof(self) -> None:
        """Refuse a half-close: the protocol above has its own message for end of input.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("no half-close: our FIN must not come before the remote's")

    def close(self) -> None:
        """Flush, wait for the remote's FIN for at most the close timeout, then close the socket."""
        if self._order.closed_by is None:
            self._receive(Event.CLOSE_WANTED)

    def abort(self) -> None:
        """Do the same as ``close()``: asyncssh aborts right after it has written its goodbye."""
        self.close()

    def abandon(self) -> None:
        """Reset the connection at once, because the process must exit now; it counts as ``reset``."""
        if self._order.closed_by is None:
            self._receive(Event.ABANDONED)

    # The state machine and its commands.

    def _receive(self, event: Event, error: OSError | MemoryError | None = None) -> None:
        was_open = self._order.state is State.OPEN
        command = self._order.receive(event)
        if command is CloseStep.FLUSH_UNTIL_DEADLINE:
            self._deadline = self._loop.call_later(self._close_timeout, self._receive, Event.DEADLINE)
            self._watch_reader()  # even if reading was paused: the FIN comes after data that is discarded
            self._flush()
        elif command in {CloseStep.CLOSE_SOCKET, CloseStep.RESET_SOCKET}:
            self._release(reset=command is CloseStep.RESET_SOCKET or self._spares_peer)
            if self._protocol is not None:
                self._loop.call_soon(self._protocol.connection_lost, error if was_open else None)

    def _release(self, *, reset: bool) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._unwatch_reader()
        self._unwatch_writer()
        self._drop_buffer()
        if not reset:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, BY_FIN)
        self._sock.close()
        closed_by = self._order.closed_by
        if closed_by is None:
            raise AssertionError("a socket is only released in a final state")
        if not self.closed.done():
            self.closed.set_result(closed_by)
        self._on_closed(closed_by)

    # Reading.

    def _watch_reader(self) -> None:
        if not self._reader_watched and self._order.closed_by is None:
            self._loop.add_reader(self._fd, self._on_readable)
            self._reader_watched = True

    def _unwatch_reader(self) -> None:
        if self._reader_watched:
            self._loop.remove_reader(self._fd)
            self._reader_watched = False

    def _on_readable(self) -> None:
        """Read at once if there is time in this turn of the loop, and else in turn."""
        if not self._is_waiting and (not self._turns.has_time or self._read()):
            self._wait()

    def _wait(self) -> None:
        """Continue to read when it is this connection's turn."""
        if not self._is_waiting:
            self._is_waiting = True
            self._turns.wait(self._read_in_turn)

    def _read_in_turn(self) -> bool:
        self._is_waiting = self._read()
        return self._is_waiting

    def _read(self) -> bool:
        """Pass one slice of the received data to the protocol; return whether there is more."""
        if self.is_closing():
            self._came = b""
        elif self._reading_paused and self._broken is None:
            return False
        if not self._came:
            self._receive_some()
        if not self._came or self._protocol is None:
            return False
        start, end = self._handed_on, self._handed_on + self._slice.size
        piece = self._came[start:end]
        if end < len(self._came):
            self._handed_on = end
        else:
            self._came, self._handed_on = b"", 0
        began = self._turns.clock()
        try:
            self._protocol.data_received(piece)
        except MemoryError as error:
            relieve()
            self._receive(Event.ABANDONED, error)
        finally:
            seconds = self._turns.clock() - began
            self._slice.took(len(piece), seconds)
            self._turns.used(seconds)
        return bool(self._came)

    def _receive_some(self) -> None:
        """Receive data from the socket, or handle its end."""
        if self._order.closed_by is not None:
            return
        try:
            # Data that arrives after close() is discarded; only the FIN after it matters.
            came = self._sock.recv_into(_UNWANTED) if self.is_closing() else self._recv()
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._receive(_event_of(error), error)
            return
        except MemoryError as error:
            self._receive(Event.ABANDONED, error)
            return
        if came:
            return
        if self._broken is not None:
            self._receive(_event_of(self._broken), self._broken)
        else:
            self._receive(Event.PEER_FIN)

    def _recv(self) -> int:
        """Receive data for the protocol and return the number of bytes.

        Raises:
            OSError: No data is available, or the connection is broken.
        """
        try:
            self._came = self._sock.recv(READ_BYTES)
        except MemoryError:
            relieve()
            self._came = self._sock.recv(LEAST_SLICE_BYTES)
        self._handed_on = 0
        return len(self._came)

    # Writing.

    def _flush(self) -> None:
        self._flush_scheduled = False
        if self._order.closed_by is not None:
            return
        if self._buffer and self._broken is None:
            rest = b"".join(self._buffer) if len(self._buffer) > 1 else self._buffer[0]
            try:
                sent = self._sock.send(rest)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._break(error)
                return
            self._buffered_bytes -= sent
            # Not copied: the rest may be a whole input, of which each send takes little.
            self._buffer = [memoryview(rest)[sent:]] if sent < len(rest) else []
        if self._writing_paused and self._buffered_bytes <= self._low_water and self._protocol is not None:
            self._writing_paused = False
            self._protocol.resume_writing()
        if self._buffer:
            self._watch_writer()
            return
        self._unwatch_writer()
        if self._order.state is State.FLUSHING:
            self._receive(Event.FLUSHED)

    def _break(self, error: OSError) -> None:
        """Stop writing after an error, but go on reading: the kernel may still hold data from the remote.

        The reader receives that data and then finds the end. ``error`` is kept to tell which end closed: the
        kernel reports a socket error only once.
        """
        self._broken = error
        self._drop_buffer()
        self._unwatch_writer()
        self._watch_reader()
        if self._order.state is State.FLUSHING:
            self._receive(Event.FLUSHED)

    def _drop_buffer(self) -> None:
        self._buffer.clear()
        self._buffered_bytes = 0

    def _watch_writer(self) -> None:
        if not self._writer_watched:
            self._loop.add_writer(self._fd, self._flush)
            self._writer_watched = True

    def _unwatch_writer(self) -> None:
        if self._writer_watched:
            self._loop.remove_writer(self._fd)
            self._writer_watched = False


def _event_of(error: OSError) -> Event:
    """Return the event that a socket's fatal error stands for.

    A reset that arrives after the remote's FIN (state CLOSE_WAIT) is reported as EPIPE, any other as
    ECONNRESET: tcp_reset() in net/ipv4/tcp_input.c. So EPIPE means that the remote's FIN was first.
    """
    return Event.PEER_FIN if error.errno == errno.EPIPE else Event.PEER_RESET
