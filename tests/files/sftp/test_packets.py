"""SFTP's packets and scp's records: what is written is read back, and nothing else is taken."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.files.scp import records
from multirsh.files.scp.records import Item, ScpError, Times
from multirsh.files.sftp import packets
from multirsh.files.sftp.packets import Attrs, Fields, Kind, Packets, ProtocolError

u32 = st.integers(0, (1 << 32) - 1)
known = st.builds(
    Attrs,
    size=st.none() | st.integers(0, (1 << 64) - 1),
    owner=st.none() | st.tuples(u32, u32),
    mode=st.none() | u32,
    times=st.none() | st.tuples(u32, u32),
)


@given(known)
def test_attributes_come_back(attrs: Attrs) -> None:
    fields = Fields(packets.attrs(attrs))

    assert fields.attrs() == attrs
    assert fields.is_at_end


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.data())
def test_packets_are_found_however_they_are_cut(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(packets.string, bodies))
    cutter, found, place = Packets(), [], 0
    while place < len(stream):
        size = data.draw(st.integers(1, len(stream) - place))
        found += cutter.feed(stream[place : place + size])
        place += size

    assert found == bodies


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        for packet in Packets().feed(raw):
            fields = Fields(packet)
            fields.byte()
            fields.names()


def test_a_request_has_its_length() -> None:
    made = packets.request(Kind.OPEN, 7, packets.string(b"f"), packets.u32(1))

    assert Packets().feed(made) == [made[4:]]


@given(st.binary(max_size=60).filter(lambda line: b"\n" not in line))
def test_whatever_scp_says_is_a_record_or_none(line: bytes) -> None:
    with contextlib.suppress(ScpError):
        record = records.parse(line)
        if isinstance(record, Item):
            assert record.size >= 0
            assert b"\n" not in record.name


@given(st.integers(0, 0o7777), st.integers(0, 1 << 62), st.binary(min_size=1, max_size=20), st.booleans())
def test_records_come_back(mode: int, size: int, name: bytes, is_folder: bool) -> None:  # noqa: FBT001 - drawn
    if b"\n" in name:
        with pytest.raises(ScpError):
            records.item(is_folder=is_folder, mode=mode, size=size, name=name)
        return
    line = records.item(is_folder=is_folder, mode=mode, size=size, name=name)

    assert records.parse(line[:-1]) == Item(is_folder, mode, size, name)


@given(st.integers(-(1 << 62), 1 << 62), st.integers(-(1 << 62), 1 << 62))
def test_times_come_back_in_microseconds_and_none_before_1970(accessed: int, modified: int) -> None:
    read = records.parse(records.times(accessed=accessed, modified=modified)[:-1])

    assert read == Times(*(max(0, time) // 1000 * 1000 for time in (accessed, modified)))
