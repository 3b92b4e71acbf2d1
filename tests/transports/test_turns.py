"""Bytes that are expensive to take apart hold back neither timers nor other connections."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.transports.remote_first import RemoteFirstTransport
from multirsh.transports.turns import (
    BUDGET_S,
    FIRST_SLICE_BYTES,
    LEAST_SLICE_BYTES,
    MOST_SLICE_BYTES,
    SLICE_S,
    Slice,
    Turns,
    turns_of,
)

pytestmark = pytest.mark.usefixtures("no_leaks")

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
