"""The kernel's table, as text and as it is."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.ports import Endpoint
from multirsh.ports.kernel import parse_table, read_table
from multirsh.ports.sockets import TcpSocket, TcpState

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

MAPPED = "0000000000000000FFFF0000"
"""How an IPv4 address in IPv6 begins: ::ffff."""

pytestmark = pytest.mark.skipif(
    sys.byteorder != "little", reason="the sample rows are a little-endian machine's"
)


def test_an_ipv4_row() -> None:
    text = (
        HEADER
        + "   0: 0100007F:9C40 0201007F:0016 06 00000000:00000000 03:000013D5 00000000     0        0 0 3\n"
    )
    assert list(parse_table(text)) == [
        TcpSocket(TcpState.TIME_WAIT, Endpoint("127.0.0.1", 40000), Endpoint("127.0.1.2", 22))
    ]


def test_an_ipv6_row_and_an_ipv4_address_within_it() -> None:
    text = (
        HEADER
        + f"   0: {'0' * 24}01000000:0016 {'0' * 32}:0000 0A 0:0 0:0 0 0 0 1\n"
        + f"   1: {MAPPED}0100007F:0016 {MAPPED}0200007F:9C40 01 0:0 0:0 0 0 0 2\n"
    )
    assert list(parse_table(text)) == [
        TcpSocket(TcpState.LISTEN, Endpoint("::1", 22), Endpoint("::", 0)),
        TcpSocket(TcpState.ESTABLISHED, Endpoint("127.0.0.1", 22), Endpoint("127.0.0.2", 40000)),
    ]


@given(st.text())
def test_no_text_makes_anything_but_rows(text: str) -> None:
    for row in parse_table(text):
        assert row.local.port >= 0


def test_no_table_is_told_from_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(HEADER, encoding="ascii")
    assert read_table((tmp_path / "tcp", tmp_path / "absent")) == []
    assert read_table((tmp_path / "absent",)) is None


def test_it_agrees_with_ss_about_a_connection_of_ours() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as ours,
    ):
        local, remote = Endpoint(*ours.getsockname()), Endpoint(*ours.getpeername())
        table = read_table()
        assert table is not None
        assert TcpSocket(TcpState.ESTABLISHED, local, remote) in table
        assert TcpSocket(TcpState.LISTEN, remote, Endpoint("0.0.0.0", 0)) in table
        shown = subprocess.run(
            ["ss", "-Htn", "state", "established", "sport", "=", f":{local.port}"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert f"{local.address}:{local.port}" in shown
        assert f"{remote.address}:{remote.port}" in shown
