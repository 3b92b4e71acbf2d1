"""The bounded stream: it keeps the order, holds sources back and resumes them, and ends."""

from __future__ import annotations

import asyncio

import pytest

from multirsh.engine.emitter import BATCH_ITEMS, BoundedStream


class Tap:
    """A source that pours while it is open."""

    def __init__(self, stream: BoundedStream[str], *, chunks: int, weight: int) -> None:
        self.stream, self.left, self.weight = stream, chunks, weight
        self.paused = False
        self.pauses = 0

    def pour(self) -> None:
        while self.left and not self.paused:
            self.left -= 1
            self.stream.put(f"chunk {self.left}", weight=self.weight, source=self)

    def pause_output(self) -> None:
        self.paused = True
        self.pauses += 1

    def resume_output(self) -> None:
        self.paused = False
        self.pour()


async def read_all(stream: BoundedStream[str]) -> list[str]:
    return [item async for batch in stream.batches() for item in batch]


async def test_items_come_in_order_and_then_the_end() -> None:
    stream: BoundedStream[str] = BoundedStream()
    for item in "abc":
        stream.put(item)
    stream.close()
    stream.put("too late")
    assert await read_all(stream) == ["a", "b", "c"]


async def test_the_failure_comes_after_the_items_that_waited() -> None:
    stream: BoundedStream[str] = BoundedStream()
    stream.put("a")
    stream.close(RuntimeError("bug"))
    batches = stream.batches()
    assert await anext(batches) == ["a"]
    with pytest.raises(RuntimeError, match="bug"):
        await anext(batches)


async def test_a_full_stream_holds_sources_back_and_resumes_them() -> None:
    stream: BoundedStream[str] = BoundedStream(high_water_bytes=100, low_water_bytes=50)
    taps = [Tap(stream, chunks=50, weight=30) for _ in range(5)]
    most = 0

    async def read() -> int:
        nonlocal most
        count = 0
        async for batch in stream.batches():
            most = max(most, len(batch) * 30)
            count += len(batch)
            if count == 250:
                stream.close()
        return count

    async with asyncio.TaskGroup() as group:
        reader = group.create_task(read())
        for tap in taps:
            tap.pour()
    assert reader.result() == 250
    assert all(tap.pauses for tap in taps)
    # Each source may add one chunk before it is paused.
    assert most <= 100 + len(taps) * 30


async def test_a_source_that_ended_is_never_resumed() -> None:
    stream: BoundedStream[str] = BoundedStream(high_water_bytes=1, low_water_bytes=0)
    tap = Tap(stream, chunks=9, weight=5)
    tap.pour()
    assert tap.paused
    stream.forget(tap)
    stream.close()
    await read_all(stream)
    assert tap.paused


async def test_timers_and_signals_run_while_a_slow_reader_reads() -> None:
    stream: BoundedStream[str] = BoundedStream()
    items = [str(number) for number in range(3 * BATCH_ITEMS + 1)]
    for item in items:
        stream.put(item)
    stream.close()
    turns = 0
    is_read = False

    async def turn() -> None:
        nonlocal turns
        while not is_read:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(turn())
        await asyncio.sleep(0)
        read, at = [], []
        async for batch in stream.batches():
            read += batch
            at.append(turns)
        is_read = True
    assert read == items
    assert at == sorted(set(at)), "each batch comes in a turn of its own"
    assert len(at) == 4
