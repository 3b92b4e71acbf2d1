"""SIGINT, SIGTERM and SIGHUP: they end what is under way in order, and the exit code tells of them.

::

    first signal      whoever has taken it stops in order; if nobody has, the program's task is cancelled
    second and third  the taker is told again, and hurries; or nothing, since cleaning up goes on
    fourth            the end, at once

The fourth is the end, too, if the loop has heard of none of them: it may be
busy for ever, with a regular expression of ``--normalize``.

SIGTERM and SIGHUP come in bursts, which are one wish: timeout(1) sends its
TERM to the process and then to its group; of a terminal that is closed both
the shell and the kernel tell; systemd.kill(5) has ``SendSIGHUP=``.

A signal that our starter ignores stays ignored: ``nohup`` means SIGHUP, and a
shell without job control means SIGINT for what it runs in the background.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final

from multirsh.cli.process import STDERR, STDIN
from multirsh.cli.writer import Writer
from multirsh.engine.run import Run
from multirsh.exit_code import SIGNAL_BASE, ExitCode
from multirsh.output import Printer
from multirsh.shortage import NO_MEMORY, relieve

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

ONE_WISH_S: Final = 0.5
"""SIGTERM and SIGHUP that follow one of them within so many seconds ask for nothing more."""

_MOST_SHORTAGES: Final = 1000
"""So many callbacks of the loop may fail for want of memory before the program ends itself."""

_AT_ONCE: Final = 4
"""The signal, by its place in their order, that no more waits for anything."""


class StopSignals:
    """Who is told of the signals.

    Attributes:
        first: The first that came, or ``None``.
    """

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.first: signal.Signals | None = None
        self._task = task
        self._count = 0
        self._one_wish_until = -math.inf
        self._unheard = 0
        self._unheard_until = -math.inf
        self._taker: Callable[[signal.Signals, int], None] = self._cancel

    def arrive(self, number: int, _frame: FrameType | None) -> None:
        """A signal has come; the loop is told of it when it has time."""
        now = time.monotonic()
        if number != signal.SIGINT and now < self._unheard_until:
            return
        self._unheard_until = now + ONE_WISH_S
        self._unheard += 1
        if self._unheard >= _AT_ONCE:
            os._exit(SIGNAL_BASE + number)

    def come(self, number: signal.Signals) -> None:
        """The loop is told of a signal."""
        self._unheard = 0
        if number is not signal.SIGINT:
            now = asyncio.get_running_loop().time()
            if now < self._one_wish_until:
                return
            self._one_wish_until = now + ONE_WISH_S
        self._count += 1
        self.first = self.first or number
        if self._count >= _AT_ONCE:
            os._exit(SIGNAL_BASE + number)
        self._taker(number, self._count)

    def settle(self) -> None:
        """What came is dealt with: the next signal is the first again."""
        self._count = 0
        self.first = None

    def leave(self) -> None:
        """What came was another's to heed: it brings the end at once no nearer."""
        self._count = 0

    @contextmanager
    def handled_by(self, taker: Callable[[signal.Signals, int], None]) -> Iterator[None]:
        """Tell ``taker`` of signals, and of which in their order each is, instead of cancelling."""
        before, self._taker = self._taker, taker
        try:
            yield
        finally:
            self._taker = before

    def _cancel(self, _number: signal.Signals, count: int) -> None:
        if count == 1:
            self._task.cancel()


def run(program: Callable[[StopSignals], Coroutine[Any, Any, int]]) -> int:
    """Run a program in an event loop of its own; its exit code, or 128 and the signal that ended it."""

    async def signalled() -> int:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("not in a task")
        signals = StopSignals(task)
        asyncio.get_running_loop().set_exception_handler(_Shortages())
        with _listening(signals):
            try:
                return await program(signals)
            except asyncio.CancelledError:
                if signals.first is None:
                    raise
                return SIGNAL_BASE + signals.first

    return asyncio.run(signalled())


class _Shortages:
    """Takes what the loop's callbacks raise. Memory that is short is no error of ours, and told elsewhere."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Take what one callback has raised."""
        if not isinstance(context.get("exception"), MemoryError):
            loop.default_exception_handler(context)
            return
        relieve()
        self._count += 1
        if self._count >= _MOST_SHORTAGES:  # a callback that can do nothing is called again and again
            os.write(STDERR, f"multirsh: {NO_MEMORY}\n".encode())
            os._exit(ExitCode.INTERNAL)


@contextmanager
def _listening(signals: StopSignals) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    heard = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    for number in heard:
        loop.add_signal_handler(number, signals.come, number)
        # What wakes the loop is its descriptor (signal.set_wakeup_fd()); the function it sets does nothing.
        signal.signal(number, signals.arrive)
        signal.siginterrupt(number, False)
    try:
        yield
    finally:
        for number in heard:
            loop.remove_signal_handler(number)


LOOK_AGAIN_S: Final = 1.0
"""Seconds until a terminal that belongs to another job is listened to again."""

KEYS_BYTES: Final = 4096


class RunController:
    """Carries out what comes while a run goes on.

    Ctrl-C rises by a step each time: no new hosts; end what runs and close in
    order; out now. SIGTERM and SIGHUP begin at the second step: who sends
    those is not there to be told what another one would do.
    """

    def __init__(
        self, run: Run, printer: Printer, writer: Writer, *, patience: float, is_gentle: bool = True
    ) -> None:
        """Begin to listen to nothing yet.

        Args:
            run: Which.
            printer: Says what is done, and tells the status.
            writer: Shows it.
            patience: Seconds that a stdout that takes nothing gets once the run is stopped.
            is_gentle: Whether Ctrl-C begins at the first step; else it does at the second, too.
        """
        self._run = run
        self._printer = printer
        self._writer = writer
        self._patience = patience
        self._is_gentle = is_gentle
        self._step = 0
        self._is_over = False
        self._reads_keys = False
        self._gives_way = False

    def stop(self, number: signal.Signals, _count: int) -> None:
        """A signal that means stop has come."""
        self._step = self._step + 1 if number is signal.SIGINT and self._is_gentle else max(self._step + 1, 2)
        match self._step:
            case 1:
                self._run.drain(signal=number)
                self._printer.say(
                    f"multirsh: {number.name}: no new hosts are started; "
                    "once more ends the commands that run, a third time leaves them"
                )
                self.tell_status()
            case 2:
                self._printer.say(f"multirsh: {number.name}: ending the commands; once more leaves them")
                self._run.stop(signal=number)
                asyncio.get_running_loop().call_later(self._patience, self._writer.hurry)
            case _:
                self._run.abandon(signal=number)
                self._writer.hurry()

    def tell_status(self) -> None:
        """Say how far the run is."""
        now = asyncio.get_running_loop().time()
        self._printer.waits_for(self._run.waits())
        for line in self._printer.status(now, starts_more=not self._step):
            self._printer.say(line)

    @contextmanager
    def status_on_request(self, *, keys: bool) -> Iterator[None]:
        """Tell the status at SIGUSR1, and, with ``keys``, at Enter on the terminal."""
        loop = asyncio.get_running_loop()
        before = signal.getsignal(signal.SIGUSR1)
        loop.add_signal_handler(signal.SIGUSR1, self.tell_status)
        self._reads_keys = keys
        if keys:
            self._listen()
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGUSR1)
            signal.signal(signal.SIGUSR1, before)
            loop.remove_reader(STDIN)
            self._is_over = True

    @contextmanager
    def not_to_keys(self) -> Iterator[None]:
        """Read no keys meanwhile: what is typed is the answer to a question."""
        self._gives_way = True
        asyncio.get_running_loop().remove_reader(STDIN)
        try:
            yield
        finally:
            self._gives_way = False
            if self._reads_keys:
                self._listen()

    def _listen(self) -> None:
        if self._is_over or self._gives_way:
            return
        with suppress(OSError):  # what cannot be polled is not listened to
            asyncio.get_running_loop().add_reader(STDIN, self._on_keys)

    def _on_keys(self) -> None:
        """Enter was pressed; or the terminal is another job's, and reading it would stop us (termios(3))."""
        loop = asyncio.get_running_loop()
        try:
            is_ours = os.tcgetpgrp(STDIN) == os.getpgrp()
            pressed = os.read(STDIN, KEYS_BYTES) if is_ours else b""
        except OSError:
            is_ours, pressed = True, b""
        if pressed:
            self.tell_status()
            return
        loop.remove_reader(STDIN)
        if not is_ours:
            loop.call_later(LOOK_AGAIN_S, self._listen)
