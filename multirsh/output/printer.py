"""The door of this package: events in, batches of bytes out.

The command line feeds it every event and fetches batches to write::

    printer = Printer(options, began=clock())
    printer.feed(event)                 # any number of times; never blocks
    while printer.has_more:
        write(printer.take(clock()))    # in the thread that may block
    ...
    printer.finish()                    # at the end of the run, however it came; then take what there is
    printer.close()

A new way to show a run is one more renderer: it takes events and gives writes, and it knows nothing of the
others, of the progress line, or of time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from multirsh.events import Event, HostStarted, Output, RunFinished, RunStarted
from multirsh.output.batch import STREAMS, Batch, Renderer, Stream, Write
from multirsh.output.escape import escape_text
from multirsh.output.live import HostFiles, LiveLines
from multirsh.output.options import Drawing, Mode, OutputOptions
from multirsh.output.progress import RunProgress
from multirsh.output.statusline import StatusLine
from multirsh.output.store import OutputStore
from multirsh.output.summary import Summary
from multirsh.shortage import relieve
from multirsh.waits import Waits

BATCH_BYTES: Final = 1024 * 1024
"""The size from which a batch gets no longer, if what follows can be made later."""


class Outbox:
    """Writes that wait to be fetched, batch by batch.

    Attributes:
        size: Bytes that wait; what iterators are still to give is not counted. The caller stops taking
            events while there are too many.
    """

    __slots__ = ("_waiting", "size")

    def __init__(self) -> None:
        self._waiting: deque[Write | Iterator[Write]] = deque()
        self.size = 0

    def __bool__(self) -> bool:
        """Whether there may be more to take."""
        return bool(self._waiting)

    def put(self, writes: Iterable[Write]) -> None:
        """Add writes behind those that wait; an iterator is read when its turn has come."""
        if isinstance(writes, Iterator):
            self._waiting.append(writes)
            return
        for write in writes:
            if write.data:
                self._waiting.append(write)
                self.size += len(write.data)

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting.clear()
        self.size = 0

    def take(self) -> Batch:
        """Hand over what waits, up to the size of a batch."""
        writes: list[Write] = []
        size = 0
        while self._waiting and size < BATCH_BYTES:
            first = self._waiting[0]
            if isinstance(first, Write):
                self._waiting.popleft()
                self.size -= len(first.data)
                write = first
            elif (following := next(first, None)) is None:
                self._waiting.popleft()
                continue
            else:
                write = following
            if write.data:
                writes.append(write)
                size += len(write.data)
        return Batch.merge(writes) if len(writes) > 1 else Batch(tuple(writes))


class Printer:
    """Turns the events of one run into what its reader sees.

    Args:
        options: How the run is shown.
        began: When the run begins, in seconds of the clock that ``take`` is given.

    Attributes:
        is_cut: Whether there was not enough memory to show everything.
    """

    def __init__(self, options: OutputOptions, *, began: float) -> None:
        self._options = options
        self._made_store: OutputStore | None = None
        # The order is the order of writing: a host's last lines come before the summary.
        self._output_renderers = self._renderers_of_output()
        self._summary = Summary(options)
        self._progress = RunProgress(began=began)
        self._status_line = (
            None
            if options.drawing is Drawing.NONE
            else StatusLine(options, self._progress, latest_of=_gathered(options))
        )
        self._outbox = Outbox()
        self._is_over = False
        self.is_cut = False

    @property
    def waiting_bytes(self) -> int:
        """Bytes fed and not yet taken. Feed no more while they are too many: that holds the remotes back."""
        return self._outbox.size

    @property
    def interval_s(self) -> float | None:
        """How often ``take`` should be called even when there are no events; ``None`` if there is no need."""
        return None if self._status_line is None else self._status_line.interval_s

    def begin(self, now: float) -> None:
        """Count the run's time from ``now``: the time that a password prompt took is not part of it."""
        self._progress.began = now

    def waits_for(self, waits: Waits) -> None:
        """Set what the run waits for now, by the clock of ``take``."""
        self._progress.waits = waits

    def copying(self, done: int, total: int | None) -> None:
        """Set how many bytes were copied, and how many there are in all if that is known."""
        self._progress.copied = done, total

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Draw no progress line while a person types an answer."""
        if self._status_line is None:
            yield
            return
        self._status_line.is_held = True
        try:
            yield
        finally:
            self._status_line.is_held = False

    def status(self, now: float, *, starts_more: bool = True) -> list[str]:
        """Report how far the run is, in lines for a person who requests it."""
        return self._progress.status(now, starts_more=starts_more)

    def feed(self, event: Event) -> None:
        """Take the next event of the run."""
        for renderer in self._output_renderers:
            self._render(renderer, event)
        if not isinstance(event, Output | RunStarted | HostStarted):
            self._render(self._summary, event)
        if not isinstance(event, Output):
            self._progress.feed(event)
        if self._status_line is not None:
            self._status_line.feed(event)
        self._is_over = self._is_over or isinstance(event, RunFinished)

    def say(self, message: str) -> None:
        """Show a message of our own, such as a warning: one line on stderr.

        Args:
            message: The message; words of a remote in it are escaped.
        """
        self._outbox.put([Write("stderr", f"{escape_text(message)}\n".encode())])

    def take(self, now: float) -> Batch:
        """Fetch what is to be written, with the progress line.

        Args:
            now: Monotonic seconds.
        """
        text = self._outbox.take()
        if self._status_line is None:
            return text
        return self._status_line.last(text) if self._is_over else self._status_line.below(text, now)

    def drop(self) -> None:
        """Discard what waits, since there is no memory to take it."""
        self._outbox.clear()
        self.is_cut = True

    @property
    def has_more(self) -> bool:
        """Whether there is text to take; the progress line does not count."""
        return bool(self._outbox)

    def finish(self) -> None:
        """End the output; no event follows, and the next ``take`` clears the progress line away.

        After a ``RunFinished`` there is nothing new to take. After a run that broke off there are unfinished
        lines and the lists of hosts.
        """
        for renderer in (*self._output_renderers, self._summary):
            self._render(renderer, None)
        self._is_over = True

    def close(self) -> None:
        """Delete what was kept on disk; nothing can be taken afterwards."""
        if self._made_store is not None:
            self._made_store.close()

    def _render(self, renderer: Renderer, event: Event | None) -> None:
        """Feed an event to a renderer, or close it; if memory runs out, the other renderers are complete."""
        try:
            self._outbox.put(renderer.close() if event is None else renderer.feed(event))
        except MemoryError:
            relieve()
            self.is_cut = True

    def _renderers_of_output(self) -> tuple[Renderer, ...]:
        options = self._options
        files = (HostFiles(options.folders),) if options.folders else ()
        if options.mode is Mode.LIVE:
            return (*files, LiveLines(options, self._store))
        if options.mode is Mode.JSON:
            from multirsh.output.ndjson import Ndjson  # noqa: PLC0415 - for --json only

            return (*files, Ndjson())
        from multirsh.output.gather import Collector, GroupedOutput, HostBlocks  # noqa: PLC0415 - for -b, -B, -L only

        live = () if options.with_stderr else (LiveLines(options, self._store, ("stderr",)),)
        collector = Collector(self._store().buffer, _gathered(options), options.normalizer)
        gathering = HostBlocks if options.mode is Mode.BLOCKS else GroupedOutput
        return (*files, *live, gathering(collector, options))

    def _store(self) -> OutputStore:
        """The store of long lines and gathered output, made when it is first needed."""
        if self._made_store is None:
            self._made_store = OutputStore(self._options.memory, on_full=self._disk_is_full)
        return self._made_store

    def _disk_is_full(self, error: OSError) -> None:
        self.say(f"multirsh: output is kept in memory, since it cannot be on disk: {error.strerror}")


def _gathered(options: OutputOptions) -> Sequence[Stream]:
    """The streams that are not shown as they come."""
    if options.mode not in {Mode.GROUPS, Mode.BLOCKS}:
        return ()
    return STREAMS if options.with_stderr else ("stdout",)
