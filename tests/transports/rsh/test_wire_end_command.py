"""Ending a command by the bytes that rshd(8) takes for signals; nobody says what came of them."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from multirsh.model import ClosedBy, Fate
from tests.conftest import StartScriptedRshd
from tests.servers.namespace import Namespace
from tests.servers.rshd import RshServer
from tests.servers.scripted_rshd import BEGIN, Act, Write
from tests.transports.rsh.rsh_fleets import MERGED, SEPARATE, Talk, open_rsh
from tests.waiting import HANG_GUARD_S

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]


async def end(talk: Talk, *, kill_after: float) -> tuple[Fate, float]:
    """Run a command, give up on it once it has written something, and end it; the fate, and the seconds."""
    running = asyncio.get_running_loop().create_task(talk.run("any"))
    async with asyncio.timeout(HANG_GUARD_S):
        while not talk.sink.stdout:  # noqa: ASYNC110 - this sink tells nobody
            await asyncio.sleep(0.005)
    running.cancel()
    await asyncio.wait([running])
    begun = time.monotonic()
    return await talk.connection.end_command(kill_after=kill_after), time.monotonic() - begun


async def test_term_may_be_enough(scripted_rshd: StartScriptedRshd, in_namespace: Namespace) -> None:
    server = scripted_rshd(*BEGIN, Act.READ_ORDER, Write(b"begun"), Act.AWAIT_SIGNAL, Act.CLOSE)
    async with open_rsh(port=server.port) as talk:
        fate, seconds = await end(talk, kill_after=60)
    assert fate is Fate.UNKNOWN
    assert seconds < 60
    assert server.talks[0].signal == bytes([signal.SIGTERM])
    assert await talk.connection.closed() is ClosedBy.REMOTE
    assert not in_namespace.client_side([server.port])


async def test_kill_follows_when_its_time_is_over(
    scripted_rshd: StartScriptedRshd, in_namespace: Namespace
) -> None:
    steps = (*BEGIN, Act.READ_ORDER, Write(b"begun"), Act.AWAIT_SIGNAL, Act.AWAIT_SIGNAL, Act.CLOSE)
    server = scripted_rshd(*steps)
    async with open_rsh(port=server.port) as talk:
        fate, seconds = await end(talk, kill_after=0.2)
    assert fate is Fate.UNKNOWN
    assert 0.2 < seconds < HANG_GUARD_S
    assert server.talks[0].signal == bytes([signal.SIGKILL])


async def test_a_server_that_does_neither_is_not_waited_for(
    scripted_rshd: StartScriptedRshd, in_namespace: Namespace
) -> None:
    server = scripted_rshd(*BEGIN, Act.READ_ORDER, Write(b"begun"), Act.HOLD)
    async with open_rsh(port=server.port, close_s=0.2) as talk:
        fate, seconds = await end(talk, kill_after=0.1)
    assert fate is Fate.UNKNOWN
    assert seconds < HANG_GUARD_S


async def test_without_a_second_connection_there_are_no_signals(
    scripted_rshd: StartScriptedRshd, in_namespace: Namespace
) -> None:
    server = scripted_rshd(Write(b"\0KEY[KEY["), Act.READ_ORDER, Write(b"begun"), Act.HOLD)
    async with open_rsh(port=server.port, stderr=MERGED, close_s=0.2) as talk:
        fate, seconds = await end(talk, kill_after=60)
    assert fate is Fate.UNKNOWN
    assert seconds < 60


async def test_what_has_ended_or_never_begun_is_dead(rshd: RshServer, in_module_namespace: Namespace) -> None:
    async with open_rsh(stderr=SEPARATE) as talk:
        assert await talk.connection.end_command(kill_after=60) is Fate.DEAD
        await talk.run("true")
        assert await talk.connection.end_command(kill_after=60) is Fate.DEAD
