"""SIGINT, SIGTERM and SIGHUP stop what is under way in order, and set the exit code.

::

    first signal      the handler stops in order; without a handler, the task of the program is cancelled
    second and third  the handler is called again and stops faster; without a handler, cleaning up continues
    fourth            the process exits at once

The fourth ends the process even if the event loop has seen none of them: it may
be busy forever, with a regular expression of ``--normalize``.

SIGTERM and SIGHUP come in bursts, which count as one signal: timeout(1) sends
TERM to the process and then to its group; when a terminal is closed, the shell
and the kernel both send HUP; systemd.kill(5) has ``SendSIGHUP=``.

A signal that is ignored when the process starts stays ignored: ``nohup`` ignores
SIGHUP, and a shell without job control ignores SIGINT of background commands.
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

BURST_S: Final = 0.5
"""SIGTERM and SIGHUP within this many seconds of one another count as one signal."""

_MOST_SHORTAGES: Final = 1000
"""The process exits when this many callbacks of the loop have failed for lack of memory."""

_AT_ONCE: Final = 4
"""The number of signals that end the process at once."""


class StopSignals:
    """The stop signals so far, and their handler.

    Attributes:
        first: The first signal, or ``None``.
    """

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.first: signal.Signals | None = None
        self._task = task
        self._count = 0
        self._burst_ends = -math.inf
        self._unheard = 0
        self._unheard_until = -math.inf
        self._handler: Callable[[signal.Signals, int], None] = self._cancel

    def arrive(self, number: int, _frame: FrameType | None) -> None:
        """Count a signal when it arrives; the loop handles it in ``come`` when it is not busy."""
        now = time.monotonic()
        if number != signal.SIGINT and now < self._unheard_until:
            return
        self._unheard_until = now + BURST_S
        self._unheard += 1
        if self._unheard >= _AT_ONCE:
            os._exit(SIGNAL_BASE + number)

    def come(self, number: signal.Signals) -> None:
        """Handle a signal in the loop."""
        self._unheard = 0
        if number is not signal.SIGINT:
            now = asyncio.get_running_loop().time()
            if now < self._burst_ends:
                return
            self._burst_ends = now + BURST_S
        self._count += 1
        self.first = self.first or number
        if self._count >= _AT_ONCE:
            os._exit(SIGNAL_BASE + number)
        self._handler(number, self._count)

    def settle(self) -> None:
        """Forget all signals so far: the next one is the first again."""
        self._count = 0
        self.first = None

    def leave(self) -> None:
        """Do not count the signals so far towards the one that ends the process at once."""
        self._count = 0

    @contextmanager
    def handled_by(self, handler: Callable[[signal.Signals, int], None]) -> Iterator[None]:
        """Call ``handler`` with each signal and its number in their order, instead of cancelling the task."""
        before, self._handler = self._handler, handler
        try:
            yield
        finally:
            self._handler = before

    def _cancel(self, _number: signal.Signals, count: int) -> None:
        if count == 1:
            self._task.cancel()


def run(program: Callable[[StopSignals], Coroutine[Any, Any, int]]) -> int:
    """Run a program in an event loop of its own; return its exit code, or 128 + the signal that ended it."""

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
    """Handles exceptions of the loop's callbacks. A lack of memory is no bug, and is reported elsewhere."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle the exception of one callback."""
        if not isinstance(context.get("exception"), MemoryError):
            loop.default_exception_handler(context)
            return
        relieve()
        self._count += 1
        if self._count >= _MOST_SHORTAGES:  # a callback that fails may be called again and again
            os.write(STDERR, f"multirsh: {NO_MEMORY}\n".encode())
            os._exit(ExitCode.INTERNAL)


@contextmanager
def _listening(signals: StopSignals) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    heard = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    for number in heard:
        loop.add_signal_handler(number, signals.come, number)
        # The loop is woken by its descriptor (signal.set_wakeup_fd()); the handler that it sets does nothing.
        signal.signal(number, signals.arrive)
        signal.siginterrupt(number, False)
    try:
        yield
    finally:
        for number in heard:
            loop.remove_signal_handler(number)


LOOK_AGAIN_S: Final = 1.0
"""Seconds until keys are read again from a terminal that belonged to another job."""

KEYS_BYTES: Final = 4096


class RunController:
    """Stops a run on signals, and shows its status on request.

    Each Ctrl-C goes one step further: start no more hosts; end the running
    commands and close in order; leave at once. SIGTERM and SIGHUP begin at the
    second step, since their senders rarely send another.
    """

    def __init__(
        self, run: Run, printer: Printer, writer: Writer, *, close_timeout: float, is_gentle: bool = True
    ) -> None:
        """Take the run; nothing is handled yet.

        Args:
            run: The run.
            printer: Prints what is done, and the status.
            writer: Writes the printer's output.
            close_timeout: Seconds to wait for a blocked stdout once the run is stopped.
            is_gentle: Whether Ctrl-C begins at the first step; otherwise it begins at the second.
        """
        self._run = run
        self._printer = printer
        self._writer = writer
        self._close_timeout = close_timeout
        self._is_gentle = is_gentle
        self._step = 0
        self._is_over = False
        self._reads_keys = False
        self._gives_way = False

    def stop(self, number: signal.Signals, _count: int) -> None:
        """Go one step further, by a stop signal."""
        self._step = self._step + 1 if number is signal.SIGINT and self._is_gentle else max(self._step + 1, 2)
        match self._step:
            case 1:
                self._run.drain(signal=number)
                self._printer.say(
                    f"multirsh: {number.name}: starting no more hosts; "
                    "repeat it to end the running commands, and again to leave them running"
                )
                self.print_status()
            case 2:
                self._printer.say(
                    f"multirsh: {number.name}: ending the running commands; repeat it to leave them running"
                )
                self._run.stop(signal=number)
                asyncio.get_running_loop().call_later(self._close_timeout, self._writer.hurry)
            case _:
                self._run.abandon(signal=number)
                self._writer.hurry()

    def print_status(self) -> None:
        """Print the status of the run."""
        now = asyncio.get_running_loop().time()
        self._printer.waits_for(self._run.waits())
        for line in self._printer.status(now, starts_more=not self._step):
            self._printer.say(line)

    @contextmanager
    def status_on_request(self, *, keys: bool) -> Iterator[None]:
        """Print the status on SIGUSR1, and with ``keys`` also when Enter is pressed on the terminal."""
        loop = asyncio.get_running_loop()
        before = signal.getsignal(signal.SIGUSR1)
        loop.add_signal_handler(signal.SIGUSR1, self.print_status)
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
    def keys_paused(self) -> Iterator[None]:
        """Read no keys in the block: what is typed there is the answer to a prompt."""
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
        with suppress(OSError):  # it cannot be polled
            asyncio.get_running_loop().add_reader(STDIN, self._on_keys)

    def _on_keys(self) -> None:
        """Handle Enter. If the terminal belongs to another job, reading it would stop us (termios(3))."""
        loop = asyncio.get_running_loop()
        try:
            is_ours = os.tcgetpgrp(STDIN) == os.getpgrp()
            pressed = os.read(STDIN, KEYS_BYTES) if is_ours else b""
        except OSError:
            is_ours, pressed = True, b""
        if pressed:
            self.print_status()
            return
        loop.remove_reader(STDIN)
        if not is_ours:
            loop.call_later(LOOK_AGAIN_S, self._listen)
