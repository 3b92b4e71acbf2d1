"""What becomes of a command's channel when things go wrong on our own side."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.transports.base import Stream
from multirsh.transports.ssh.session import FIRST_BYTES, LEAST_BYTES, MOST_BYTES, CommandSession, Window
from tests.servers.hooked import Conduct, HookedServer, Link, Process, answers
from tests.transports.ssh.test_asyncssh_facts import attempt, keys_of, within


@dataclass
class BrokenSink:
    """A sink that cannot take anything."""

    def write(self, stream: Stream, data: bytes) -> None:
        """Fail."""
        raise RuntimeError("full")


class HeldBack(asyncssh.SSHClientChannel[bytes]):
    """A channel that kept some output, and hands it on when it may."""

    def __init__(self, session: CommandSession) -> None:
        self._held_for = session
        self._recv_window = FIRST_BYTES

    def resume_reading(self) -> None:
        """Hand on."""
        self._held_for.data_received(b"kept", None)


async def test_a_sink_that_fails_at_the_end_keeps_nobody_waiting() -> None:
    session = CommandSession(BrokenSink())
    session.connection_made(HeldBack(session))
    lost = asyncssh.ConnectionLost("gone")
    with pytest.raises(RuntimeError, match="full"):
        session.connection_lost(lost)
    async with asyncio.timeout(1):
        await session.ended
    assert session.error is lost


pytestmark = pytest.mark.usefixtures("no_leaks")


@given(st.lists(st.integers(1, 32 * 1024), max_size=200))
def test_a_window_has_bounds(packets: list[int]) -> None:
    window = Window()
    for count in packets:
        window.took(count)
        assert LEAST_BYTES <= window.size <= MOST_BYTES


def test_byte_by_byte_the_window_becomes_the_smallest_and_one_large_packet_opens_it() -> None:
    window = Window()
    for _ in range(100):
        window.took(1)
    assert window.size == LEAST_BYTES
    window.took(LEAST_BYTES)
    assert window.size > 16 * LEAST_BYTES
    window.took(window.size)
    assert window.size == MOST_BYTES


def test_a_file_opens_it_with_the_first_packet() -> None:
    window = Window()
    window.took(FIRST_BYTES)
    assert window.size > MOST_BYTES // 4


class Noting:
    """A sink that notes what it is given."""

    def __init__(self) -> None:
        self.writes: list[tuple[Stream, bytes]] = []

    def write(self, stream: Stream, data: bytes) -> None:
        self.writes.append((stream, data))


async def test_what_was_read_at_once_is_passed_on_at_once_and_in_order() -> None:
    sink = Noting()
    waiting: list[Callable[[], None]] = []

    def when_read(call: Callable[[], None]) -> bool:
        waiting.append(call)
        return True

    session = CommandSession(sink, when_read)
    for data, datatype in ((b"a", None), (b"b", None), (b"c", 1), (b"d", None), (b"e", None)):
        session.data_received(data, datatype)
    for call in waiting:
        call()
    assert sink.writes == [("stdout", b"ab"), ("stderr", b"c"), ("stdout", b"de")]


async def test_output_is_passed_on_by_itself_where_nothing_is_read_and_at_the_end() -> None:
    sink = Noting()
    session = CommandSession(sink)
    session.data_received(b"a", None)
    assert sink.writes == [("stdout", b"a")]
    session = CommandSession(sink, lambda _call: True)
    session.data_received(b"b", None)
    session.connection_lost(None)
    assert sink.writes[1:] == [("stdout", b"b")]


WRITES = 20_000
"""Single bytes that a host writes."""


class Waits(CommandSession):
    """Takes nothing until it is told to."""

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        super().connection_made(chan)
        self.pause()


async def test_a_host_that_writes_byte_by_byte_is_exact_and_not_far_ahead() -> None:
    """Whatever it would like to send: asyncssh keeps each byte of a host that is held back, in 100 bytes."""
    sent: list[int] = []
    has_written = threading.Event()

    async def byte_by_byte(process: Process, _link: Link) -> None:
        for number in range(WRITES):
            process.stdout.write(b"%d" % (number % 10))
        sent.append(WRITES - process.channel.get_write_buffer_size())
        has_written.set()
        await process.stdout.drain()
        process.exit(0)

    sink = Noting()
    with HookedServer(Conduct(session=byte_by_byte)) as server:
        async with attempt(server.port, client_keys=keys_of(server)) as made:
            await made.waiter
            session = Waits(sink)
            await made.link.create_session(lambda: session, "any", encoding=None, window=FIRST_BYTES)
            await asyncio.to_thread(has_written.wait, 30)
            session.resume()
            await within(session.ended, 30)
    assert sent == [FIRST_BYTES]
    assert b"".join(data for _, data in sink.writes) == b"0123456789" * (WRITES // 10)


async def test_a_megabyte_comes_by_windows_of_the_largest_size() -> None:
    """A file does not wait for windows any longer than a connection needs to become fast."""
    sizes: list[int] = []
    text = bytes(range(256)) * (MOST_BYTES // 64)

    class Sizes(CommandSession):
        def data_received(self, data: bytes, datatype: int | None) -> None:
            super().data_received(data, datatype)
            sizes.append(self._window.size)

    sink = Noting()
    with HookedServer(Conduct(session=answers(text))) as server:
        async with attempt(server.port, client_keys=keys_of(server)) as made:
            await made.waiter
            session = Sizes(sink)
            await made.link.create_session(lambda: session, "any", encoding=None, window=FIRST_BYTES)
            await within(session.ended, 30)
    assert MOST_BYTES in sizes[:5]
    assert b"".join(data for _, data in sink.writes) == text
