"""The whole room behind one door: events in, batches of bytes out.

The command line feeds it every event and fetches batches to write::

    printer = Printer(options, began=clock())
    printer.feed(event)                 # any number of times; never blocks
    while printer.has_more:
        write(printer.take(clock()))    # in the thread that may block
    ...
    printer.finish()                    # at the end, however it came; then take what there is
    printer.close()

A new way to show a run is one more renderer: it takes events, gives writes, and
knows nothing of the others, of the progress line, or of time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from multirsh.events import Event, RunFinished
from multirsh.output.batch import STREAMS, Batch, Outbox, Renderer, Stream, Write
from multirsh.output.escape import escape_text
from multirsh.output.gather import Blocks, Collector, Differences, Groups, Page
from multirsh.output.live import Folders, LiveLines
from multirsh.output.ndjson import Ndjson
from multirsh.output.options import Mode, OutputOptions
from multirsh.output.progress import Progress
from multirsh.output.statusline import Latest, StatusLine
from multirsh.output.store import Store
from multirsh.output.summary import Summary
from multirsh.shortage import relieve
from multirsh.waits import Waits


class Printer:
    """Turns one run's events into what its reader sees.

    Attributes:
        is_cut: Whether there was no memory to show all of it.

    Args:
        options: How.
        began: When the run begins, in seconds of the clock that ``take`` is given.
    """

    def __init__(self, options: OutputOptions, *, began: float) -> None:
        # The order is the order of writing: a host's last lines come before the ending.
        self._store = Store(options.memory, on_full=self._disk_is_full)
        self._renderers: tuple[Renderer, ...] = (
            Folders(options.folders),
            *_stdout_renderers(options, self._store),
            Summary(options),
        )
        self._progress = Progress(began=began)
        self._latest = Latest(_gathered(options))
        self._status_line = StatusLine(options, self._progress, began=began, latest=self._latest)
        self._outbox = Outbox()
        self._is_over = False
        self.is_cut = False

    @property
    def waiting_bytes(self) -> int:
        """Bytes fed and not yet taken. While they are too many, feed no more: that holds the remotes back."""
        return self._outbox.size

    @property
    def interval_s(self) -> float | None:
        """``take`` wants to be called this often even when there are no events; ``None``: no need to."""
        return self._status_line.interval_s

    def begin(self, now: float) -> None:
        """The run begins only now: a person at a password's prompt is none of its time."""
        self._progress.begin(now)
        self._status_line.begin(now)

    def waits_for(self, waits: Waits) -> None:
        """That is what the run waits for now, by the clock of ``take``."""
        self._progress.waits_for(waits)

    def copying(self, done: int, total: int | None) -> None:
        """So many bytes were copied, of so many if that is known."""
        self._progress.copying(done, total)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Meanwhile a person is asked something: no progress line is drawn over the answer."""
        self._status_line.hold(held=True)
        try:
            yield
        finally:
            self._status_line.hold(held=False)

    def status(self, now: float, *, starts_more: bool = True) -> list[str]:
        """How far the run is, in lines for people: for who asks, and where no progress line is drawn."""
        return self._progress.status(now, starts_more=starts_more)

    def feed(self, event: Event) -> None:
        """Take the next event of the run."""
        for renderer in self._renderers:
            try:
                self._outbox.put(renderer.feed(event))
            except MemoryError:  # what the others show is whole
                relieve()
                self.is_cut = True
        self._progress.feed(event)
        self._latest.feed(event)
        self._is_over = self._is_over or isinstance(event, RunFinished)

    def say(self, message: str) -> None:
        """Tell people something of our own, such as a warning: one line on stderr.

        Args:
            message: What; it may hold a remote's words, which are escaped.
        """
        self._outbox.put([Write("stderr", f"{escape_text(message)}\n".encode())])

    def take(self, now: float) -> Batch:
        """Fetch what is to be written, the progress line with it.

        Args:
            now: Monotonic seconds.
        """
        text = self._outbox.take()
        return self._status_line.last(text) if self._is_over else self._status_line.below(text, now)

    def drop(self) -> None:
        """Throw away what waits: there is no memory to take it."""
        self._outbox.clear()
        self.is_cut = True

    @property
    def has_more(self) -> bool:
        """Whether there is text to take; the progress line aside."""
        return bool(self._outbox)

    def finish(self) -> None:
        """No event follows: the next ``take`` clears the progress line away.

        After a ``RunFinished`` there is nothing new to take. After a run that
        broke off there are unfinished lines and the lists of hosts.
        """
        for renderer in self._renderers:
            try:
                self._outbox.put(renderer.close())
            except MemoryError:
                relieve()
                self.is_cut = True
        self._is_over = True

    def close(self) -> None:
        """Let go of what was kept on disk; nothing more can be taken."""
        self._store.close()

    def _disk_is_full(self, error: OSError) -> None:
        self.say(f"multirsh: output is kept in memory, since it cannot be on disk: {error.strerror}")


def _stdout_renderers(options: OutputOptions, store: Store) -> tuple[Renderer, ...]:
    match options.mode:
        case Mode.LIVE:
            return (LiveLines(options, store),)
        case Mode.JSON:
            return (Ndjson(),)
        case Mode.GROUPS | Mode.BLOCKS:
            return _gatherers(options, store)


def _gathered(options: OutputOptions) -> Sequence[Stream]:
    """The streams of which nothing is shown as it comes."""
    if options.mode not in {Mode.GROUPS, Mode.BLOCKS}:
        return ()
    return STREAMS if options.with_stderr else ("stdout",)


def _gatherers(options: OutputOptions, store: Store) -> tuple[Renderer, ...]:
    gathered = _gathered(options)
    live = () if options.with_stderr else (LiveLines(options, store, ("stderr",)),)
    collector = Collector(store, gathered, options.normalizer)
    page = Page(options)
    if options.mode is Mode.BLOCKS:
        return (*live, Blocks(collector, page))
    return (
        *live,
        Groups(collector, page, Differences(page, options.normalizer) if options.differences else None),
    )
