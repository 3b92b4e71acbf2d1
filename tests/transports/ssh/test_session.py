"""What becomes of a command's channel when things go wrong on our own side."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import asyncssh
import pytest

from multirsh.transports.base import Stream
from multirsh.transports.ssh.session import CommandSession
from multirsh.transports.ssh.window import FIRST_BYTES


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
