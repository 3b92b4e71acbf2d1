"""Writes on their way to the shell."""

from __future__ import annotations

from multirsh.output.batch import Batch, Write
from multirsh.output.printer import Outbox


def test_order_holds_across_streams_and_neighbours_are_one() -> None:
    outbox = Outbox()
    outbox.put([Write("stdout", b"a"), Write("stdout", b"b"), Write("stderr", b"")])
    outbox.put([Write("stdout", b"c"), Write("stderr", b"d"), Write("stdout", b"e")])
    assert outbox.size == 5
    batch = outbox.take()
    assert batch == Batch((Write("stdout", b"abc"), Write("stderr", b"d"), Write("stdout", b"e")))
    assert (batch.stdout, batch.stderr) == (b"abce", b"d")


def test_what_was_taken_is_gone() -> None:
    outbox = Outbox()
    outbox.put([Write("stdout", b"a")])
    outbox.take()
    assert outbox.size == 0
    assert not outbox.take().writes
