"""SFTP's packets and scp's records: what is written is read back, and nothing else is taken."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from multirsh.files.sftp import packets
from multirsh.files.sftp.packets import (
    FileAttributes,
    PacketReader,
    PacketSplitter,
    PacketType,
    ProtocolError,
)

u32 = st.integers(0, (1 << 32) - 1)
known = st.builds(
    FileAttributes,
    size=st.none() | st.integers(0, (1 << 64) - 1),
    owner=st.none() | st.tuples(u32, u32),
    mode=st.none() | u32,
    times=st.none() | st.tuples(u32, u32),
)


@given(known)
def test_attributes_come_back(attrs: FileAttributes) -> None:
    fields = PacketReader(packets.attrs(attrs))

    assert fields.attrs() == attrs
    assert fields.is_at_end


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.data())
def test_packets_are_found_however_they_are_cut(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(packets.string, bodies))
    cutter, found, place = PacketSplitter(), [], 0
    while place < len(stream):
        size = data.draw(st.integers(1, len(stream) - place))
        found += cutter.feed(stream[place : place + size])
        place += size

    assert found == bodies


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        for packet in PacketSplitter().feed(raw):
            fields = PacketReader(packet)
            fields.byte()
            fields.names()


def test_a_request_has_its_length() -> None:
    made = packets.request(PacketType.OPEN, 7, packets.string(b"f"), packets.u32(1))

    assert PacketSplitter().feed(made) == [made[4:]]
