"""Live lines: ``host: line``, whole, as they arrive; stdout to stdout, stderr to stderr.

On a terminal a remote's bytes are escaped; into a pipe or a file they go
exactly, but for two line feeds that may be added: one after a last line that
has none, and those that break an overlong line (see ``lines``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from multirsh.events import Copied, Event, HostFinished, HostStarted, Output, RunFinished, RunStarted
from multirsh.output.batch import STREAMS, Stream, Write
from multirsh.output.escape import escape_text
from multirsh.output.lines import LineAssembler
from multirsh.output.options import OutputOptions
from multirsh.output.surface import surfaces
from multirsh.output.words import copied_words


class LiveLines:
    """Shows events as live lines.

    It holds one unfinished line for each stream of each host in flight. Where they are more than may be held
    in memory, whose line becomes longer has it broken there.

    Args:
        options: ``prefix``, ``memory``, and what the streams are.
        streams: Which are shown; the others are shown by somebody else.
    """

    def __init__(self, options: OutputOptions, streams: Sequence[Stream] = STREAMS) -> None:
        self._prefix = options.prefix
        self._streams = frozenset(streams)
        self._surfaces = surfaces(options)
        self._unfinished: dict[tuple[str, Stream], LineAssembler] = {}
        self._memory = options.memory
        self._held = 0

    def feed(self, event: Event) -> tuple[Write, ...]:
        """Take the next event and give the lines that it completes."""
        match event:
            case Output():
                return self._output(event) if event.stream in self._streams else ()
            case Copied():
                return self._copied(event)
            case HostStarted() | HostFinished():
                return self._finish(event.host)  # a further attempt does not go on with the last one's line
            case RunStarted() | RunFinished():
                return ()
            case _:
                assert_never(event)

    def close(self) -> tuple[Write, ...]:
        """End the lines of all hosts that never finished."""
        hosts = dict.fromkeys(host for host, _ in self._unfinished)
        return tuple(write for host in hosts for write in self._finish(host))

    def _output(self, event: Output) -> tuple[Write, ...]:
        key = (event.host, event.stream)
        assembler = self._unfinished.get(key)
        if assembler is None:
            assembler = self._unfinished[key] = LineAssembler()
        before = assembler.size
        lines = assembler.feed(event.data)
        if self._held + assembler.size - before > self._memory:
            lines += assembler.finish()
        self._held += assembler.size - before
        return self._lines(event.host, event.stream, lines)

    def _copied(self, event: Copied) -> tuple[Write, ...]:
        words = copied_words(event)
        return () if words is None else self._lines(event.host, "stderr", f"{words}\n".encode())

    def _finish(self, host: str) -> tuple[Write, ...]:
        writes: list[Write] = []
        for stream in STREAMS:
            assembler = self._unfinished.pop((host, stream), None)
            if assembler is not None:
                self._held -= assembler.size
                writes.extend(self._lines(host, stream, assembler.finish()))
        return tuple(writes)

    def _lines(self, host: str, stream: Stream, lines: bytes) -> tuple[Write, ...]:
        if not lines:
            return ()
        surface = self._surfaces[stream]
        lines = surface.lines(lines)
        if self._prefix:
            prefix = surface.paint(f"{escape_text(host)}:").encode() + b" "
            # One pass over the block is many times faster than a loop over its lines.
            lines = prefix + lines[:-1].replace(b"\n", b"\n" + prefix) + b"\n"
        return (Write(stream, lines),)
