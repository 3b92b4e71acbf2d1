"""The transport on real sockets, its peer driven by hand: who closes first, what the kernel keeps."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.model import ClosedBy
from multirsh.transports.close_order import State
from multirsh.transports.remote_first import (
    BUDGET_S,
    FIRST_SLICE_BYTES,
    LEAST_SLICE_BYTES,
    MOST_SLICE_BYTES,
    SLICE_S,
    RemoteFirstTransport,
    Slice,
    Turns,
    turns_of,
)
from tests.servers.namespace import Namespace
from tests.waiting import HANG_GUARD_S

pytestmark = pytest.mark.usefixtures("no_leaks")

CLOSE_TIMEOUT_S = 0.2
"""For the tests in which it must pass."""
"""For those in which it must not."""


@dataclass
class Recorder(asyncio.Protocol):
    """What the transport tells its protocol."""

    received: bytearray = field(default_factory=bytearray)
    lost: list[Exception | None] = field(default_factory=list)
    flow: list[str] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)
        self.ended.set()

    def pause_writing(self) -> None:
        self.flow.append("pause")

    def resume_writing(self) -> None:
        self.flow.append("resume")


@dataclass
class Pair:
    """A transport, and the far end of its connection as a plain blocking socket."""

    transport: RemoteFirstTransport
    protocol: Recorder
    peer: socket.socket
    told: list[ClosedBy]

    async def closed(self) -> ClosedBy:
        async with asyncio.timeout(HANG_GUARD_S):
            return await self.transport.closed


@contextmanager
def connected_sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Ours (non-blocking) and the peer's ends of a TCP connection over loopback."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        ours = socket.create_connection(listener.getsockname())
        ours.setblocking(False)
        peer = stack.enter_context(listener.accept()[0])
        peer.settimeout(10)
        yield ours, peer


@asynccontextmanager
async def pair(close_timeout: float = HANG_GUARD_S) -> AsyncIterator[Pair]:
    with connected_sockets() as (ours, peer):
        told: list[ClosedBy] = []
        transport = RemoteFirstTransport(
            asyncio.get_running_loop(), ours, close_timeout=close_timeout, on_closed=told.append
        )
        protocol = Recorder()
        transport.attach(protocol)
        yield Pair(transport, protocol, peer, told)
        transport.close()
        peer.close()
        await transport.closed
        await asyncio.sleep(0)  # let connection_lost be told


async def read_all(peer: socket.socket) -> bytes:
    """What the peer reads until our end, without blocking the loop."""

    def read() -> bytes:
        data = bytearray()
        while chunk := peer.recv(1 << 16):
            data += chunk
        return bytes(data)

    return await asyncio.to_thread(read)


async def test_after_our_goodbye_the_peer_closes_first(in_namespace: Namespace) -> None:
    async with pair() as p:
        port = p.peer.getsockname()[1]
        p.transport.write(b"goodbye")
        p.transport.close()
        assert await asyncio.to_thread(p.peer.recv, 100) == b"goodbye"
        assert p.transport.state is State.AWAITING_PEER
        assert not p.told, "our FIN would have been first"
        p.peer.close()
        assert await p.closed() is ClosedBy.REMOTE
        assert p.told == [ClosedBy.REMOTE]
    assert not in_namespace.client_side([port]), "nothing of the connection is left at our end"


async def test_a_silent_peer_is_reset_at_the_deadline_and_leaves_no_state(in_namespace: Namespace) -> None:
    async with pair(CLOSE_TIMEOUT_S) as p:
        port = p.peer.getsockname()[1]
        p.transport.close()
        assert await p.closed() is ClosedBy.RESET
        with pytest.raises(ConnectionResetError):
            await asyncio.to_thread(p.peer.recv, 100)
        assert not in_namespace.client_side([port])


async def test_a_peer_that_takes_nothing_is_reset_at_the_deadline(in_namespace: Namespace) -> None:
    async with pair(CLOSE_TIMEOUT_S) as p:
        port = p.peer.getsockname()[1]
        p.transport.write(b"x" * (32 << 20))
        p.transport.close()
        await asyncio.sleep(0)
        assert p.transport.state is State.FLUSHING
        assert await p.closed() is ClosedBy.RESET
        assert not in_namespace.client_side([port])


async def test_the_peers_fin_comes_unasked() -> None:
    async with pair() as p:
        p.peer.sendall(b"last words")
        p.peer.close()
        assert await p.closed() is ClosedBy.REMOTE
        await p.protocol.ended.wait()
        assert (bytes(p.protocol.received), p.protocol.lost) == (b"last words", [None])


async def test_the_peers_reset_is_told_with_its_error() -> None:
    async with pair() as p:
        p.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        p.peer.close()
        assert await p.closed() is ClosedBy.RESET
        await p.protocol.ended.wait()
        assert [type(error) for error in p.protocol.lost] == [ConnectionResetError]


async def test_a_fin_followed_by_a_reset_was_closed_by_the_remote() -> None:
    """The peer closes, we write before we have read that, and its kernel answers with RST."""
    async with pair() as p:
        p.transport.pause_reading()
        p.peer.close()  # everything is read, so this is a FIN
        p.transport.write(b"too late")
        await asyncio.sleep(0)  # sent, and answered over loopback before send(2) returns
        p.transport.write(b"far too late")
        assert await p.closed() is ClosedBy.REMOTE


async def test_what_the_peer_said_before_its_reset_is_still_read() -> None:
    async with pair() as p:
        p.transport.pause_reading()
        p.transport.write(b"unread by the peer, so that its close is a RST")
        await asyncio.sleep(0)
        p.peer.sendall(b"not allowed at this time")
        p.peer.close()
        p.transport.write(b"meets the reset")
        await p.closed()
        assert bytes(p.protocol.received) == b"not allowed at this time"


async def test_closing_reads_past_what_nobody_wants_any_more() -> None:
    async with pair() as p:
        p.transport.pause_reading()
        await asyncio.to_thread(p.peer.sendall, b"y\n" * 10_000)
        p.transport.close()
        p.peer.close()
        assert await p.closed() is ClosedBy.REMOTE
        assert not p.protocol.received


async def test_abandoning_resets_at_once() -> None:
    async with pair() as p:
        p.transport.write(b"never sent")
        p.transport.abandon()
        assert p.told == [ClosedBy.RESET]
        with pytest.raises(ConnectionResetError):
            await asyncio.to_thread(p.peer.recv, 100)
        p.transport.abandon()
        p.transport.close()


async def test_close_and_abort_may_be_called_again_and_after_the_end() -> None:
    async with pair() as p:
        p.transport.close()
        p.transport.abort()
        p.peer.close()
        await p.closed()
        p.transport.close()
        assert p.told == [ClosedBy.REMOTE]


async def test_the_writes_of_one_turn_leave_in_one_segment() -> None:
    """tcpi_data_segs_out of linux/tcp.h is at byte 156 of struct tcp_info (Linux 4.6)."""
    async with pair() as p:
        sock: socket.socket = p.transport.get_extra_info("socket")
        for part in (b"one ", b"two ", b"three"):
            p.transport.write(part)
        assert p.transport.get_write_buffer_size() == 13
        await asyncio.sleep(0)
        assert await asyncio.to_thread(p.peer.recv, 100) == b"one two three"
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        assert struct.unpack_from("=I", info, 156) == (1,)


async def test_a_slow_peer_pauses_the_writer_and_gets_every_byte() -> None:
    async with pair() as p:
        sent = bytes(range(256)) * (64 << 10)
        p.transport.write(sent)
        assert p.protocol.flow == ["pause"]
        received = bytearray()
        while len(received) < len(sent):
            received += await asyncio.to_thread(p.peer.recv, 1 << 20)
        assert received == sent
        assert p.protocol.flow == ["pause", "resume"]
        assert p.transport.get_write_buffer_size() == 0


async def test_a_half_close_is_refused() -> None:
    async with pair() as p:
        assert not p.transport.can_write_eof()
        with pytest.raises(NotImplementedError, match="half-close"):
            p.transport.write_eof()


async def test_after_the_close_writes_are_dropped_and_the_names_stay_known() -> None:
    async with pair() as p:
        local = p.transport.get_extra_info("sockname")
        p.transport.close()
        p.transport.write(b"too late")
        assert p.transport.is_closing()
        p.peer.shutdown(socket.SHUT_WR)
        assert await read_all(p.peer) == b""
        assert p.transport.get_extra_info("sockname") == local


class Short(Recorder):
    """A protocol that there is no memory for."""

    def data_received(self, data: bytes) -> None:
        raise MemoryError


async def test_a_protocol_that_there_is_no_memory_for_is_told_and_the_socket_is_reset() -> None:
    with connected_sockets() as (ours, peer):
        told: list[ClosedBy] = []
        transport = RemoteFirstTransport(
            asyncio.get_running_loop(), ours, close_timeout=HANG_GUARD_S, on_closed=told.append
        )
        protocol = Short()
        transport.attach(protocol)
        peer.sendall(b"x")
        await protocol.ended.wait()
        assert [type(error) for error in protocol.lost] == [MemoryError]
        assert told == [ClosedBy.RESET]


async def test_where_memory_is_short_less_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with connected_sockets() as (ours, peer):

        class Tight:
            """A socket that gives no more than a small piece at once."""

            def __getattr__(self, name: str) -> object:
                return getattr(ours, name)

            def recv(self, count: int) -> bytes:
                if count > LEAST_SLICE_BYTES:
                    raise MemoryError
                return ours.recv(count)

        transport = RemoteFirstTransport(
            asyncio.get_running_loop(), ours, close_timeout=HANG_GUARD_S, on_closed=lambda _by: None
        )
        monkeypatch.setattr(transport, "_sock", Tight())
        protocol = Recorder()
        transport.attach(protocol)
        peer.sendall(b"x" * 10 * LEAST_SLICE_BYTES)
        peer.close()
        await protocol.ended.wait()
        assert bytes(protocol.received) == b"x" * 10 * LEAST_SLICE_BYTES


EXPENSIVE_S = 15e-6 / 36
"""What a byte costs of SSH packets that hold one byte of output each: 36 bytes long, and 15 µs of work."""

CHEAP_S = 1e-9

QUEUED_BYTES = 100_000
"""What waits in each connection; a socket holds more than that."""

CONNECTIONS = 30


class Clock:
    """A clock that goes on by what is done."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Handler(asyncio.Protocol):
    """Takes bytes, each at a price."""

    def __init__(self, clock: Clock, byte_s: float) -> None:
        self._clock = clock
        self._byte_s = byte_s
        self.received = bytearray()
        self.pieces = 0
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.pieces += 1
        self._clock.now += len(data) * self._byte_s

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


@pytest.fixture
def sockets() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """Connected pairs, ours first."""
    pairs = [socket.socketpair() for _ in range(CONNECTIONS)]
    with ExitStack() as opened:
        for ours, theirs in pairs:
            opened.enter_context(ours)
            opened.enter_context(theirs)
            ours.setblocking(False)
        yield pairs


def attached(ours: socket.socket, handler: Handler, turns: Turns) -> RemoteFirstTransport:
    loop = asyncio.get_running_loop()
    transport = RemoteFirstTransport(loop, ours, close_timeout=10, on_closed=lambda _by: None, turns=turns)
    transport.attach(handler)
    return transport


async def test_a_turn_of_the_loop_takes_no_longer_however_many_connections_flood(
    sockets: list[tuple[socket.socket, socket.socket]],
) -> None:
    loop, clock = asyncio.get_running_loop(), Clock()
    turns = Turns(loop, clock=clock)
    text = bytes(range(250)) * (QUEUED_BYTES // 250)
    handlers = []
    for ours, theirs in sockets:
        theirs.sendall(text)
        theirs.close()
        handlers.append(Handler(clock, EXPENSIVE_S))
        attached(ours, handlers[-1], turns)
    longest = before = clock.now
    leads = []
    while not all(handler.ended.is_set() for handler in handlers):
        await asyncio.sleep(0)  # one turn of the loop: a timer or a signal would have come now
        longest, before = max(longest, clock.now - before), clock.now
        sizes = [len(handler.received) for handler in handlers]
        leads.append(max(sizes) - min(sizes))
    assert longest <= BUDGET_S + FIRST_SLICE_BYTES * EXPENSIVE_S
    assert max(leads) <= 2 * FIRST_SLICE_BYTES, "all are served alike"
    assert all(bytes(handler.received) == text for handler in handlers), "and nothing is lost before the end"


async def test_what_is_cheap_comes_in_large_pieces(
    sockets: list[tuple[socket.socket, socket.socket]],
) -> None:
    clock = Clock()
    turns = Turns(asyncio.get_running_loop(), clock=clock)
    (ours, theirs), *_ = sockets
    handler = Handler(clock, CHEAP_S)
    attached(ours, handler, turns)
    for _ in range(20):
        theirs.sendall(b"x" * QUEUED_BYTES)
        before = len(handler.received)
        while len(handler.received) < before + QUEUED_BYTES:  # noqa: ASYNC110 - turns of the loop count here
            await asyncio.sleep(0)
    handler.pieces = 0
    theirs.sendall(b"x" * QUEUED_BYTES)
    theirs.close()
    await handler.ended.wait()
    assert handler.pieces == 1


async def test_a_connection_that_pauses_keeps_what_it_was_not_given(
    sockets: list[tuple[socket.socket, socket.socket]],
) -> None:
    clock = Clock()
    turns = Turns(asyncio.get_running_loop(), clock=clock)
    (ours, theirs), *_ = sockets

    class Pausing(Handler):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            transport.pause_reading()

    handler = Pausing(clock, EXPENSIVE_S)
    transport = attached(ours, handler, turns)
    theirs.sendall(b"x" * QUEUED_BYTES)
    theirs.close()
    while not handler.pieces:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    resumed = 0
    while not handler.ended.is_set():
        before = handler.pieces
        for _ in range(5):
            await asyncio.sleep(0)
        assert handler.pieces == before, "nothing comes while it is paused"
        transport.resume_reading()
        resumed += 1
        for _ in range(5):
            await asyncio.sleep(0)
    assert len(handler.received) == QUEUED_BYTES
    assert resumed >= QUEUED_BYTES // FIRST_SLICE_BYTES


@given(st.lists(st.tuples(st.integers(1, 2 * MOST_SLICE_BYTES), st.floats(0, 1)), max_size=50))
def test_a_slice_has_bounds(took: list[tuple[int, float]]) -> None:
    a_slice = Slice()
    for count, seconds in took:
        a_slice.took(count, seconds)
        assert LEAST_SLICE_BYTES <= a_slice.size <= MOST_SLICE_BYTES


def test_a_slice_shrinks_until_it_is_handled_in_time() -> None:
    a_slice = Slice()
    for _ in range(20):
        a_slice.took(a_slice.size, a_slice.size * EXPENSIVE_S)
    assert a_slice.size * EXPENSIVE_S <= SLICE_S


async def test_one_loop_has_one_queue() -> None:
    loop = asyncio.get_running_loop()
    assert turns_of(loop) is turns_of(loop)
