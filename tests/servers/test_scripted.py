"""Every scripted behaviour does what it says, as a bare socket sees it."""

from __future__ import annotations

import socket
import time

import pytest

from tests.conftest import StartScripted
from tests.servers import scripted as scripts
from tests.servers.namespace import Namespace
from tests.servers.scripted import BANNER, RefusingPort, Script, ScriptedServer, Seen
from tests.waiting import HANG_GUARD_S

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks", "in_namespace")]

HELLO = b"SSH-2.0-Client\r\n"
KEY_EXCHANGE = b"\0" * 2_000
RESET = "RST"
NOTHING = "nothing"


def connect(server: ScriptedServer | RefusingPort) -> socket.socket:
    return socket.create_connection((server.address, server.port), timeout=HANG_GUARD_S)


def read_to_end(client: socket.socket) -> bytes | str:
    """Read to the server's FIN; what came, or that it was a reset."""
    received = b""
    try:
        while chunk := client.recv(65_536):
            received += chunk
    except ConnectionResetError:
        return RESET
    return received


def read_exactly(client: socket.socket, count: int) -> bytes:
    """Read ``count`` bytes; a socket with a timeout does not keep MSG_WAITALL's promise."""
    received = b""
    while len(received) < count and (chunk := client.recv(count - len(received))):
        received += chunk
    return received


def is_quiet(client: socket.socket) -> bool:
    """Whether nothing has come by now; for behaviours whose point is that nothing ever does."""
    client.settimeout(0.05)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    return False


@pytest.mark.parametrize(
    ("script", "sends", "gets"),
    [
        pytest.param(
            scripts.HTTP,
            HELLO,
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            id="http",
        ),
        pytest.param(scripts.RESET_AT_ONCE, b"", RESET, id="reset at once"),
        pytest.param(scripts.RESET_AFTER_BANNER, HELLO, RESET, id="reset after banner"),
        pytest.param(scripts.RESET_MID_HANDSHAKE, HELLO + KEY_EXCHANGE, RESET, id="reset mid handshake"),
        pytest.param(scripts.CLOSE_AT_ONCE, b"", b"", id="close at once"),
        pytest.param(scripts.CLOSE_AFTER_BANNER, HELLO, BANNER, id="close after banner"),
        pytest.param(scripts.THROTTLED, HELLO, b"Not allowed at this time\r\n", id="throttled"),
        pytest.param(scripts.THROTTLED_AT_ONCE, b"", b"Not allowed at this time\r\n", id="throttled at once"),
        pytest.param(scripts.FIN_THEN_READS_ON, HELLO, b"", id="fin first"),
        pytest.param(scripts.FIN_AFTER_BANNER_THEN_HOLDS, HELLO, BANNER, id="fin after banner"),
    ],
)
def test_the_client_gets(scripted: StartScripted, script: Script, sends: bytes, gets: bytes | str) -> None:
    server = scripted(script)
    try:
        with connect(server) as client:
            client.sendall(sends)
            got = read_to_end(client)
    except ConnectionResetError:
        # So early that connect(2) itself was told.
        got = RESET
    assert got == gets


def test_a_slow_banner_comes_a_byte_at_a_time(scripted: StartScripted) -> None:
    with connect(scripted(scripts.slow_banner(0.01))) as client:
        pieces: list[bytes] = []
        while b"".join(pieces) != BANNER:
            pieces.append(client.recv(65_536))
        assert len(pieces) > len(BANNER) / 2


@pytest.mark.parametrize(
    ("script", "size"),
    [(scripts.JUNK, 20_000), (scripts.JUNK_LINES, 19_998), (scripts.BINARY, 19_968)],
    ids=["no line feed", "lines", "binary"],
)
def test_junk_is_sent_whole_and_then_waits_for_the_client(
    scripted: StartScripted, script: Script, size: int
) -> None:
    server = scripted(script)
    with connect(server) as client:
        assert len(read_exactly(client, size)) == size
        assert is_quiet(client)
        client.settimeout(5)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    server.wait_seen(Seen.PEER_FIN, Seen.OUR_FIN)


@pytest.mark.parametrize("script", [scripts.SILENT, scripts.NEVER_READS])
def test_silence(scripted: StartScripted, script: Script) -> None:
    with connect(scripted(script)) as client:
        client.sendall(HELLO)
        assert is_quiet(client)


def test_a_window_fills_where_nobody_reads(scripted: StartScripted) -> None:
    server = scripted(scripts.BANNER_THEN_NEVER_READS, receive_buffer=4_096)
    with connect(server) as client:
        assert read_exactly(client, len(BANNER)) == BANNER
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.sendall(bytes(20_000_000))
    assert server.conversations[0].received == b""


def test_never_closing_leaves_the_client_in_fin_wait(
    scripted: StartScripted, in_namespace: Namespace
) -> None:
    server = scripted(scripts.NEVER_CLOSES)
    with connect(server) as client:
        client.sendall(HELLO)
        client.shutdown(socket.SHUT_WR)
        server.wait_seen(Seen.PEER_FIN)
        in_namespace.wait_client_side([server.port], ["FIN-WAIT-2"])
        assert bytes(server.conversations[0].received) == HELLO


def test_closing_after_the_client_leaves_it_in_time_wait(
    scripted: StartScripted, in_namespace: Namespace
) -> None:
    server = scripted(scripts.CLOSES_AFTER_CLIENT)
    with connect(server) as client:
        client.shutdown(socket.SHUT_WR)
        assert read_to_end(client) == BANNER
    server.wait_seen(Seen.PEER_FIN, Seen.OUR_FIN)
    assert [row.state for row in in_namespace.client_side([server.port])] == ["TIME-WAIT"]


def test_closing_first_leaves_the_client_without_time_wait(
    scripted: StartScripted, in_namespace: Namespace
) -> None:
    server = scripted(scripts.FIN_THEN_READS_ON)
    with connect(server) as client:
        assert read_to_end(client) == b""
        assert server.conversations[0].seen == [Seen.OUR_FIN]
    server.wait_seen(Seen.OUR_FIN, Seen.PEER_FIN)
    assert in_namespace.client_side([server.port]) == ()


def test_a_clients_reset_is_seen_as_one(scripted: StartScripted) -> None:
    server = scripted(scripts.CLOSES_AFTER_CLIENT)
    with connect(server) as client:
        assert read_exactly(client, len(BANNER)) == BANNER
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, scripts.RESET_ON_CLOSE)
    server.wait_seen(Seen.PEER_RESET)


def test_a_refusing_port_refuses(refusing_port: RefusingPort) -> None:
    with pytest.raises(ConnectionRefusedError):
        connect(refusing_port)


def test_servers_have_addresses_and_ports_of_their_own(scripted: StartScripted) -> None:
    servers = [scripted(scripts.CLOSE_AT_ONCE, address=f"127.0.9.{last}") for last in range(1, 21)]
    for server in servers:
        with connect(server) as client:
            assert read_to_end(client) == b""
    assert all(len(server.conversations) == 1 for server in servers)


def test_stopping_is_quick_and_closes_what_was_held() -> None:
    server = ScriptedServer(scripts.SILENT)
    with connect(server) as client:
        client.sendall(HELLO)
        server.wait_for(lambda talks: bool(talks and talks[0].received))
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < HANG_GUARD_S
        assert read_to_end(client) == b""


def test_a_wait_that_hangs_reports_what_was_seen(
    scripted: StartScripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, "HANG_GUARD_S", 0.01)
    server = scripted(scripts.SILENT)
    with pytest.raises(AssertionError, match=r"not within 0\.01 s; seen: \[\]"):
        server.wait_seen(Seen.PEER_FIN)
