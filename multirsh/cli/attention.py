"""What a person says to a run under way: stop, once or more urgently; or how is it going."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from multirsh.cli.descriptors import STDIN
from multirsh.cli.writer import Writer
from multirsh.engine.run import Run
from multirsh.output import Printer

LOOK_AGAIN_S: Final = 1.0
"""Seconds until a terminal that belongs to another job is listened to again."""

KEYS_BYTES: Final = 4096


class Attention:
    """Carries out what comes while a run goes on.

    Ctrl-C rises by a step each time: no new hosts; end what runs and close in
    order; out now. SIGTERM and SIGHUP begin at the second step: who sends
    those is not there to be told what another one would do.
    """

    def __init__(
        self, run: Run, printer: Printer, writer: Writer, *, close_timeout: float, is_gentle: bool = True
    ) -> None:
        """Begin to listen to nothing yet.

        Args:
            run: Which.
            printer: Says what is done, and tells the status.
            writer: Shows it.
            close_timeout: Seconds that a stdout that takes nothing gets once the run is stopped.
            is_gentle: Whether Ctrl-C begins at the first step; else it does at the second, too.
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
                asyncio.get_running_loop().call_later(self._close_timeout, self._writer.hurry)
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
