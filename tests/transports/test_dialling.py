"""Sockets that die between the dialler's hands."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter

import pytest

from multirsh.model import ErrorKind
from multirsh.ports.allocator import PortAllocator
from multirsh.ports.tally import Tally
from multirsh.transports.dialling import Dialler
from multirsh.transports.login_deadline import LoginDeadline
from multirsh.transports.tcp import DialError
from tests.conftest import StartScripted
from tests.servers.scripted import RESET_AT_ONCE


@pytest.mark.usefixtures("no_leaks")
async def test_a_peer_that_is_gone_before_it_is_named_leaves_no_lease_and_no_socket() -> None:
    tally = Tally()
    dialler = Dialler(ports=PortAllocator(), tally=tally, close_timeout=1)
    sock = socket.socket()
    with pytest.raises(OSError, match="not connected"):
        dialler.adopt(sock)
    assert sock.fileno() == -1
    assert not tally.statistics().held
    await dialler.drained()


@pytest.mark.usefixtures("no_leaks")
async def test_a_peer_that_resets_at_once_is_told_as_such_however_early_it_was(
    scripted: StartScripted,
) -> None:
    server = scripted(RESET_AT_ONCE)
    tally = Tally()
    dialler = Dialler(ports=PortAllocator(), tally=tally, close_timeout=1)
    told: Counter[tuple[ErrorKind, str]] = Counter()

    async def dial() -> None:
        try:
            transport = await dialler.dial(
                "127.0.0.1", server.port, on_phase=lambda _phase: None, login_deadline=LoginDeadline()
            )
        except DialError as error:
            told[error.failure.kind, error.failure.message] += 1
        else:
            transport.attach(asyncio.Protocol())
            transport.close()

    for _ in range(100):
        await dial()
    await dialler.drained()
    assert set(told) <= {(ErrorKind.RESET, "connection reset by peer")}
    assert not tally.statistics().held
