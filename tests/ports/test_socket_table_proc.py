"""The table as /proc/net/tcp words it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.ports.socket_table import parse_table, read_proc
from multirsh.ports.sockets import Endpoint, TcpSocket, TcpState

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

MAPPED = "0000000000000000FFFF0000"
"""How an IPv4 address in IPv6 begins: ::ffff."""

TIME_WAIT = "   0: 0100007F:9C40 0201007F:0016 06 00000000:00000000 03:000013D5 00000000  0        0 0 3 f\n"

pytestmark = pytest.mark.skipif(
    sys.byteorder != "little", reason="the sample rows are a little-endian machine's"
)


def test_a_row_in_time_wait_has_its_timer() -> None:
    assert parse_table(HEADER + TIME_WAIT, ticks_a_second=100) == [
        TcpSocket(TcpState.TIME_WAIT, Endpoint("127.0.0.1", 40000), Endpoint("127.0.1.2", 22), 50.77)
    ]


def test_other_timers_say_nothing_of_the_end() -> None:
    row = TIME_WAIT.replace(" 06 ", " 04 ").replace("03:000013D5", "01:00000014")
    (found,) = parse_table(HEADER + row)
    assert (found.state, found.seconds_left) == (TcpState.FIN_WAIT1, None)


def test_ipv6_rows_an_ipv4_address_within_and_who_holds_it() -> None:
    rest = "00000000:00000000 00:00000000 00000000  1000        0 56789 1 00000000ffff 100 0 0 10 0\n"
    text = (
        HEADER
        + f"   0: {'0' * 24}01000000:0016 {'0' * 32}:0000 0A {rest}"
        + f"   1: {MAPPED}0100007F:0016 {MAPPED}0200007F:9C40 01 {rest}"
    )
    assert parse_table(text) == [
        TcpSocket(TcpState.LISTEN, Endpoint("::1", 22), Endpoint("::", 0), None, 56789, 1000),
        TcpSocket(
            TcpState.ESTABLISHED, Endpoint("127.0.0.1", 22), Endpoint("127.0.0.2", 40000), None, 56789, 1000
        ),
    ]


@given(st.text())
def test_no_text_makes_anything_but_rows(text: str) -> None:
    assert parse_table(HEADER + text) == []


@given(st.text(alphabet=sorted(set(TIME_WAIT)), max_size=3), st.integers(0, len(TIME_WAIT)))
def test_no_damage_makes_anything_but_rows(text: str, place: int) -> None:
    for found in parse_table(HEADER + TIME_WAIT[:place] + text + TIME_WAIT[place:]):
        assert 0 <= found.local.port <= 65535


def test_no_table_is_told_from_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(HEADER, encoding="ascii")
    assert read_proc(tables=(tmp_path / "tcp", tmp_path / "absent")) == []
    with pytest.raises(FileNotFoundError):
        read_proc(tables=(tmp_path / "absent",))
