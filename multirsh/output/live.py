"""Output as it arrives: whole lines ``host: line`` on our streams, and exact bytes in a file a host.

On a terminal a remote's bytes are escaped; into a pipe or a file they go exactly, but for a line feed after a
last line that has none.

A line of any length stays one line, since the lines of other hosts stand around it. An unfinished line that
becomes long moves to the store, which keeps it on disk where memory is short, and is shown when it has ended.
Where a single host runs without a prefix, nothing can tear its lines: its stdout goes into a pipe or a file
as it comes, with no line feed added. A line is broken only where the disk is full, too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Final, assert_never

from multirsh.events import Copied, Event, HostFinished, HostStarted, Output, RunFinished, RunStarted
from multirsh.names import file_name
from multirsh.output.batch import STREAMS, HostFile, Stream, Write
from multirsh.output.escape import torn_tail
from multirsh.output.formatting import format_copied, stream_formats
from multirsh.output.options import OutputOptions
from multirsh.output.store import OutputStore, StoredBuffer

LONGEST_LINE: Final = 1 << 20
"""Bytes, the line feed not counted."""


class LineAssembler:
    """Makes whole lines of the chunks of one stream of one host.

    What it returns, all calls joined, does not depend on how the stream was cut into chunks. It works on
    bytes, so a character that is split between chunks needs no care. With a bound, a longer line is returned
    in pieces, each ended by a line feed that the remote did not write; a piece does not tear a UTF-8
    character.

    Args:
        longest: Bytes of the longest line that is returned whole; at least 4, so that a character fits.
            ``None`` for no bound.
    """

    __slots__ = ("_held", "_longest", "_size")

    def __init__(self, *, longest: int | None = LONGEST_LINE) -> None:
        self._longest = sys.maxsize if longest is None else longest
        self._held: list[bytes] = []
        self._size = 0

    @property
    def size(self) -> int:
        """The number of bytes of the unfinished line, which are held."""
        return self._size

    def feed(self, chunk: bytes) -> bytes:
        r"""Take the next chunk.

        Returns:
            The lines it completed, each ended by ``\n``; empty if it completed none.
        """
        self._held.append(chunk)
        self._size += len(chunk)
        if b"\n" not in chunk and self._size <= self._longest:
            return b""
        text = b"".join(self._held)
        if self._size <= self._longest:
            end = text.rfind(b"\n") + 1
            whole, rest = text[:end], text[end:]
        else:
            *ended, rest = text.split(b"\n")
            pieces = [piece for line in ended for piece in self._cut(line)]
            *more, rest = self._cut(rest)
            whole = b"".join(piece + b"\n" for piece in (*pieces, *more))
        self._held = [rest]
        self._size = len(rest)
        return whole

    def finish(self) -> bytes:
        r"""End the stream.

        Returns:
            The last line, with the ``\n`` that it lacks; empty if there is no unfinished line.
        """
        rest = self.release()
        return rest and rest + b"\n"

    def release(self) -> bytes:
        """Return the unfinished line as it is, and hold nothing."""
        rest = b"".join(self._held)
        self._held = []
        self._size = 0
        return rest

    def _cut(self, line: bytes) -> list[bytes]:
        """Cut a line into pieces of at most the longest length; a short line is one piece."""
        pieces: list[bytes] = []
        start = 0
        while len(line) - start > self._longest:
            end = start + self._longest
            end -= torn_tail(line[end - 3 : end])
            pieces.append(line[start:end])
            start = end
        pieces.append(line[start:])
        return pieces


class LiveLines:
    """Shows output as live lines.

    It holds one unfinished line for each stream of each host in flight. A line that becomes long moves to the
    store, and so does any that grows while all of them together exceed the bound on memory.

    Args:
        options: ``prefix``, ``memory``, and what the streams are.
        store: Returns the store that keeps long lines until they end. It is called when a line becomes long.
        streams: The streams that are shown here.
    """

    def __init__(
        self,
        options: OutputOptions,
        store: Callable[[], OutputStore],
        streams: Sequence[Stream] = STREAMS,
    ) -> None:
        self._prefix = options.prefix
        self._streams = frozenset(streams)
        self._formats = stream_formats(options)
        self._unfinished: dict[tuple[str, Stream], LineAssembler] = {}
        self._long: dict[tuple[str, Stream], StoredBuffer] = {}
        self._store = store
        self._memory = options.memory
        self._held = 0
        self._passes_through = False

    def feed(self, event: Event) -> Iterable[Write]:
        """Take the next event, and give the lines that it completes."""
        match event:
            case Output():
                return self._output(event) if event.stream in self._streams else ()
            case Copied():
                return self._copied(event)
            case HostStarted() | HostFinished():
                return self._finish(event.host)  # a further attempt does not go on with the last one's line
            case RunStarted():
                self._passes_through = len(event.hosts) == 1 and not self._prefix
                return ()
            case RunFinished():
                return ()
            case _:
                assert_never(event)

    def close(self) -> Iterable[Write]:
        """End the lines of all hosts that never finished."""
        hosts = dict.fromkeys(host for host, _ in (*self._unfinished, *self._long))
        return _joined([self._finish(host) for host in hosts])

    def _output(self, event: Output) -> Iterable[Write]:
        key = (event.host, event.stream)
        if self._passes_through and event.stream == "stdout" and not self._formats["stdout"].is_terminal:
            return (Write("stdout", event.data),)
        data = event.data
        kept = self._long.get(key)
        if kept is None:
            return self._short(key, data)
        end = data.find(b"\n") + 1
        kept.append(data[:end] or data)
        if not end and self._store().is_full and kept.held > LONGEST_LINE:
            kept.append(b"\n")  # there is neither memory nor disk for it, and a message has said so
            end = len(data)
        if not end:
            return ()
        del self._long[key]
        return _joined([self._shown(key, kept), self._short(key, data[end:])])

    def _short(self, key: tuple[str, Stream], data: bytes) -> tuple[Write, ...]:
        """Take output of a stream whose unfinished line is not in the store."""
        assembler = self._unfinished.get(key)
        if assembler is None:
            assembler = self._unfinished[key] = LineAssembler(longest=None)
        before = assembler.size
        lines = assembler.feed(data)
        if assembler.size > LONGEST_LINE or self._held + assembler.size - before > self._memory:
            kept = self._long[key] = self._store().buffer()
            kept.append(assembler.release())
        self._held += assembler.size - before
        return self._lines(*key, lines)

    def _copied(self, event: Copied) -> tuple[Write, ...]:
        words = format_copied(event)
        return () if words is None else self._lines(event.host, "stderr", f"{words}\n".encode())

    def _finish(self, host: str) -> Iterable[Write]:
        parts: list[Iterable[Write]] = []
        for stream in STREAMS:
            key = (host, stream)
            assembler = self._unfinished.pop(key, None)
            if assembler is not None:
                self._held -= assembler.size
                parts.append(self._lines(host, stream, assembler.finish()))
            kept = self._long.pop(key, None)
            if kept is not None:
                kept.append(b"\n")
                parts.append(self._shown(key, kept))
        return _joined(parts)

    def _shown(self, key: tuple[str, Stream], kept: StoredBuffer) -> Iterator[Write]:
        """Read a line from the store when its turn to be written has come."""
        host, stream = key
        form = self._formats[stream]
        if self._prefix:
            yield Write(stream, form.prefix(host))
        for piece in form.pieces(kept.pieces()):
            yield Write(stream, piece)
        kept.drop()

    def _lines(self, host: str, stream: Stream, lines: bytes) -> tuple[Write, ...]:
        if not lines:
            return ()
        form = self._formats[stream]
        if form.is_terminal:
            lines = form.lines(lines)
        if self._prefix:
            prefix = form.prefix(host)
            # One pass over the block is many times faster than a loop over its lines.
            lines = prefix + lines[:-1].replace(b"\n", b"\n" + prefix) + b"\n"
        return (Write(stream, lines),)


def _joined(parts: Sequence[Iterable[Write]]) -> Iterable[Write]:
    """Join writes in order; the result is an iterator only if one of the parts is."""
    if any(isinstance(part, Iterator) for part in parts):
        return chain.from_iterable(parts)
    return tuple(write for part in parts for write in part)


class HostFiles:
    """``--outdir``, ``--errdir``: appends what each host wrote, exactly, to a file of its own.

    A file is made when the first byte comes, so a silent host has none.

    Args:
        folders: The folder of the files, for each stream that has one.
    """

    def __init__(self, folders: Mapping[Stream, Path]) -> None:
        self._folders = folders

    def feed(self, event: Event) -> tuple[Write, ...]:
        """Take the next event."""
        if not isinstance(event, Output) or event.stream not in self._folders:
            return ()
        return (Write(HostFile(self._folders[event.stream], file_name(event.host)), event.data),)

    def close(self) -> tuple[Write, ...]:
        """Give nothing: no output is held back."""
        return ()
