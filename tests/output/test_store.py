"""Texts that are kept in memory up to a bound, and beyond it on disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from multirsh.output.store import BLOCK, OutputStore, StoredBuffer

LIMIT = 3 * BLOCK


def content(text: StoredBuffer) -> bytes:
    return b"".join(text.pieces())


class OutputBuffer(RuleBasedStateMachine):
    """Whatever is appended, in whatever order, comes back; whatever is thrown away leaves others alone."""

    texts = Bundle("texts")

    def __init__(self) -> None:
        super().__init__()
        self.store = OutputStore(LIMIT)
        self.model: dict[StoredBuffer, bytes] = {}

    @rule(target=texts)
    def begin(self) -> StoredBuffer:
        text = self.store.buffer()
        self.model[text] = b""
        return text

    @rule(
        text=texts,
        byte=st.binary(min_size=1, max_size=3),
        times=st.sampled_from([1, 100, BLOCK // 3, BLOCK, 2 * BLOCK]),
    )
    def append(self, text: StoredBuffer, byte: bytes, times: int) -> None:
        text.append(byte * times)
        self.model[text] += byte * times

    @rule(text=consumes(texts))
    def drop(self, text: StoredBuffer) -> None:
        text.drop()
        del self.model[text]

    @invariant()
    def all_is_there_and_memory_is_bounded(self) -> None:
        for text, expected in self.model.items():
            assert content(text) == expected
            assert text.size == len(expected)
        assert self.store.memory <= LIMIT
        assert self.store.memory == sum(text.held for text in self.model)

    def teardown(self) -> None:
        self.store.close()


TestKept = OutputBuffer.TestCase


def test_what_is_thrown_away_makes_room_for_others(tmp_path: Path) -> None:
    store = OutputStore(1, folder=str(tmp_path))
    sizes = []
    for _ in range(10):
        text = store.buffer()
        text.append(b"x" * 5 * BLOCK)
        sizes.append(os.fstat(store._file or -1).st_size)
        text.drop()
    store.close()
    assert set(sizes) == {5 * BLOCK}
    assert list(tmp_path.iterdir()) == []


def test_the_longest_are_moved_out_first() -> None:
    store = OutputStore(LIMIT)
    small, large = store.buffer(), store.buffer()
    small.append(b"s" * 100)
    large.append(b"l" * (LIMIT + 1))
    assert (small.held, large.held) == (100, 0)
    store.close()


def test_a_full_disk_is_reported_once_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int, _data: object, _offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    told: list[OSError] = []
    store = OutputStore(LIMIT, on_full=told.append)
    text = store.buffer()
    text.append(b"a" * (LIMIT + 1))
    assert text.held == 0
    monkeypatch.setattr(os, "pwrite", full)
    for _ in range(4):
        text.append(b"b" * LIMIT)
    assert content(text) == b"a" * (LIMIT + 1) + b"b" * 4 * LIMIT
    assert [error.errno for error in told] == [errno.ENOSPC]
    store.close()


def test_a_disk_that_fills_half_way_through_a_text_keeps_it_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.pwrite, []

    def soon_full(descriptor: int, data: bytes, offset: int) -> int:
        calls.append(len(data))
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", soon_full)
    store = OutputStore(LIMIT)
    text = store.buffer()
    written = bytes(range(256)) * (BLOCK * 4 // 256)
    text.append(written)
    assert content(text) == written
    assert text.held == len(written) - 2 * BLOCK
    store.close()


class Tight(bytearray):
    """Memory that cannot grow as long as it holds more than a block."""

    def __iadd__(self, other: Any) -> Self:  # type: ignore[misc]  # it adds as bytearray does
        if len(self) + len(other) > BLOCK:
            raise MemoryError
        self.extend(other)
        return self


def test_where_memory_is_short_what_is_held_moves_out_and_nothing_is_lost() -> None:
    store = OutputStore(100 * BLOCK)
    text = store.buffer()
    text._tail = Tight()
    for _ in range(20):
        text.append(b"0123456789abcdef" * (BLOCK // 32))
    assert content(text) == b"0123456789abcdef" * (20 * (BLOCK // 32))
    assert store.memory <= BLOCK
    other = store.buffer()
    other.append(b"x" * 4 * BLOCK)
    assert other.held <= BLOCK, "and from then on less is held"
    store.close()
