"""Records of scp: what is written is read again, and nothing else is accepted."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.files.scp import protocol
from multirsh.files.scp.protocol import ScpError, ScpItem, ScpTimes


@given(st.binary(max_size=60).filter(lambda line: b"\n" not in line))
def test_whatever_scp_says_is_a_record_or_none(line: bytes) -> None:
    with contextlib.suppress(ScpError):
        record = protocol.parse(line)
        if isinstance(record, ScpItem):
            assert record.size >= 0
            assert b"\n" not in record.name


@given(st.integers(0, 0o7777), st.integers(0, 1 << 62), st.binary(min_size=1, max_size=20), st.booleans())
def test_records_come_back(mode: int, size: int, name: bytes, is_folder: bool) -> None:  # noqa: FBT001 - drawn
    if b"\n" in name:
        with pytest.raises(ScpError):
            protocol.item(is_folder=is_folder, mode=mode, size=size, name=name)
        return
    line = protocol.item(is_folder=is_folder, mode=mode, size=size, name=name)

    assert protocol.parse(line[:-1]) == ScpItem(is_folder, mode, size, name)


@given(st.integers(-(1 << 62), 1 << 62), st.integers(-(1 << 62), 1 << 62))
def test_times_come_back_in_microseconds_and_none_before_1970(accessed: int, modified: int) -> None:
    read = protocol.parse(protocol.times(accessed=accessed, modified=modified)[:-1])

    assert read == ScpTimes(*(max(0, time) // 1000 * 1000 for time in (accessed, modified)))
