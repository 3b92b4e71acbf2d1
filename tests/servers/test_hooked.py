"""asyncssh's server misbehaves as asked, seen by asyncssh's client in this test's own loop."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncssh
import pytest

from tests.conftest import StartHooked
from tests.servers import hooked as conduct
from tests.servers.hooked import AtClose, Conduct, HookedServer
from tests.servers.namespace import Namespace
from tests.waiting import HANG_GUARD_S

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks", "in_namespace")]


@asynccontextmanager
async def connection(server: HookedServer) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """Log in with everything of this machine's configuration left out."""
    async with asyncssh.connect(
        "127.0.0.1",
        server.port,
        username=server.user,
        client_keys=[str(server.client_key)],
        known_hosts=asyncssh.import_known_hosts(server.known_hosts(["127.0.0.1"])),
        config=[],
        agent_path=None,
        login_timeout=HANG_GUARD_S,
    ) as made:
        yield made


async def run(
    server: HookedServer, *, env: dict[str, str] | None = None, stdin: bytes = b""
) -> asyncssh.SSHCompletedProcess:
    async with connection(server) as connected:
        return await connected.run("do it", encoding=None, timeout=HANG_GUARD_S, env=env or {}, input=stdin)


async def test_echoing_tells_what_was_asked_for(hooked: StartHooked) -> None:
    done = await run(hooked(), env={"LC_TEST": "1"}, stdin=b"in")
    assert isinstance(done.stdout, bytes)
    assert json.loads(done.stdout) == {"command": "do it", "env": {"LC_TEST": "1"}, "stdin": "in"}


@pytest.mark.parametrize(
    ("session", "stdout", "status", "signal"),
    [
        pytest.param(conduct.answers(b"out", status=7), b"out", 7, None, id="answers"),
        pytest.param(conduct.closes_without_status(b"out"), b"out", None, None, id="no status"),
        pytest.param(conduct.exits_by_signal("TERM"), b"", -15, "TERM", id="signal"),
        pytest.param(conduct.drops(b"out"), b"out", None, None, id="drops"),
        pytest.param(conduct.tears("grüße\n"), "grüße\n".encode(), 0, None, id="torn"),
        pytest.param(conduct.floods(1_000_001), b"y\n" * 500_000 + b"y", 0, None, id="floods"),
    ],
)
async def test_a_session_ends(
    hooked: StartHooked, session: conduct.Session, stdout: bytes, status: int | None, signal: str | None
) -> None:
    done = await run(hooked(Conduct(session=session)))
    assert (done.stdout, done.returncode) == (stdout, status)
    assert (done.exit_signal[0] if done.exit_signal else None) == signal


async def test_a_reset_mid_command(hooked: StartHooked) -> None:
    server = hooked(Conduct(session=conduct.drops(reset=True)))
    async with connection(server) as connected:
        done = await connected.run("do it", encoding=None)
        assert done.exit_status is None
        await connected.wait_closed()


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(Conduct(session=conduct.never_ends), id="never ends"),
        pytest.param(Conduct(session=conduct.ignores_eof), id="ignores eof"),
        pytest.param(Conduct(session=conduct.goes_mute()), id="mute"),
        pytest.param(Conduct(replies_to_exec=False), id="no reply to exec"),
    ],
)
async def test_a_session_does_not_end(hooked: StartHooked, behaviour: Conduct) -> None:
    async with connection(hooked(behaviour)) as connected:
        with pytest.raises((TimeoutError, asyncssh.TimeoutError)):
            await asyncio.wait_for(connected.run("do it", input=b"", encoding=None), 0.3)


async def test_authentication_may_get_nowhere(hooked: StartHooked) -> None:
    server = hooked(Conduct(replies_to_auth=False))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(connection(server).__aenter__(), 0.5)


@pytest.mark.parametrize("at_close", AtClose)
async def test_the_end_of_a_connection(
    hooked: StartHooked, in_namespace: Namespace, at_close: AtClose
) -> None:
    """A duplicate of the socket shows what the server does after our DISCONNECT."""
    server = hooked(Conduct(session=conduct.answers(), at_close=at_close))
    async with connection(server) as connected:
        duplicate: socket.socket = connected.get_extra_info("socket").dup()
        await connected.run("do it", encoding=None)
    with duplicate:
        duplicate.setblocking(False)
        loop = asyncio.get_running_loop()
        match at_close:
            case AtClose.CLOSES:
                assert await asyncio.wait_for(loop.sock_recv(duplicate, 1), HANG_GUARD_S) == b""
            case AtClose.RESETS:
                with pytest.raises(ConnectionResetError):
                    await asyncio.wait_for(loop.sock_recv(duplicate, 1), HANG_GUARD_S)
            case AtClose.IGNORES:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(loop.sock_recv(duplicate, 1), 0.2)
                assert server.links[0].closes_asked == 1
                duplicate.shutdown(socket.SHUT_WR)
                assert await asyncio.to_thread(server.links[0].peer_ended.wait, HANG_GUARD_S)
                in_namespace.wait_client_side([server.port], ["FIN-WAIT-2"])
    if at_close is not AtClose.IGNORES:
        assert in_namespace.client_side([server.port]) == ()
