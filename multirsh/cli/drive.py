"""A run for a person or a pipe: events to the printer, its bytes to our streams, signals to the run."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from multirsh.cli.descriptors import STDERR, STDOUT, write_all
from multirsh.cli.signals import StopSignals
from multirsh.engine.fleet import Fleet
from multirsh.engine.limits import Limits, Timeouts
from multirsh.engine.run import Run
from multirsh.events import RunFinished
from multirsh.exit_code import SIGNAL_BASE, ExitCode, ExitRule
from multirsh.model import Host
from multirsh.output import Batch, OutputOptions, Printer
from multirsh.transports.base import Stdin
from multirsh.transports.rsh.options import RshOptions
from multirsh.transports.ssh.options import SshOptions
from multirsh.transports.threads import daemon_thread

LAST_WORDS_S = 1.0
"""How long stderr may take for the ending once stdout was given up: they may be one terminal, and stopped."""

SAID_WITHIN_S = 0.5
"""How soon a warning is shown where nothing else happens, as when every host waits for a local port."""

_DESCRIPTORS = {"stdout": STDOUT, "stderr": STDERR}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """All that a run from the command line needs.

    Attributes:
        hosts: Whom to run on.
        command: What to run.
        limits: How much at once.
        timeouts: For how long.
        ssh: What ssh's options say.
        rsh: What rsh's options say.
        output: How to print it.
        exit_rule: What the exit code is made of.
        bind_address: The local address to leave from, or ``None``.
        stdin: The commands' standard input, or ``None``.
    """

    hosts: Sequence[Host]
    command: str
    limits: Limits
    timeouts: Timeouts
    ssh: SshOptions
    rsh: RshOptions
    output: OutputOptions
    exit_rule: ExitRule
    bind_address: str | None = None
    stdin: Stdin | None = None

    async def drive(self, signals: StopSignals) -> int:
        """Run to the end, and say how to exit.

        Args:
            signals: Until the run begins, they cancel; then they stop it.

        Raises:
            MultirshError: Nothing was run.
        """
        loop = asyncio.get_running_loop()
        printer = Printer(self.output, began=loop.time())
        writer = _Writer()
        try:
            async with Fleet(
                self.hosts,
                limits=self.limits,
                timeouts=self.timeouts,
                ssh=self.ssh,
                rsh=self.rsh,
                bind_address=self.bind_address,
                warn=printer.say,
            ) as fleet:
                run = fleet.run(self.command, stdin=self.stdin, exit_rule=self.exit_rule)
                printer.begin(loop.time())
                stopper = _stopper(run, printer, writer, patience=self.timeouts.close)
                with signals.taken_by(stopper):
                    return await self._follow(run, printer, writer)
        finally:
            await writer.write(printer.close())

    async def _follow(self, run: Run, printer: Printer, writer: _Writer) -> int:
        loop = asyncio.get_running_loop()
        code: int = ExitCode.INTERNAL
        async with asyncio.TaskGroup() as group:
            ticking = group.create_task(_tick(run, printer, writer))
            async for batch in run.event_batches():
                for event in batch:
                    printer.feed(event)
                    if isinstance(event, RunFinished):
                        code = event.exit_code
                await writer.write(printer.take(loop.time()))
                if writer.lost_reader:
                    run.stop(signal=signal.SIGPIPE)
                elif writer.failure is not None:
                    run.stop()
            ticking.cancel()
        if writer.failure is not None:
            printer.say(f"multirsh: cannot write to standard output: {writer.failure}")
            return ExitCode.INTERNAL
        return SIGNAL_BASE + signal.SIGPIPE if writer.lost_reader else code


class _Writer:
    """Writes batches to our streams in a thread of its own.

    A terminal that is stopped or a slow reader of the pipe blocks that thread, and through the run's
    bounded stream the remotes; the loop goes on to answer keepalives and to close sockets.

    Attributes:
        lost_reader: The reader of stdout went away.
        failure: Why stdout cannot be written, if it is something else.
    """

    def __init__(self) -> None:
        self._gave_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._one_at_a_time = asyncio.Lock()
        self._dead: set[str] = set()
        self.lost_reader = False
        self.failure: str | None = None

    async def write(self, batch: Batch) -> None:
        """Write it all; what a dead stream would have got is dropped."""
        if batch:
            async with self._one_at_a_time:
                writing = daemon_thread(lambda: self._write(batch), name="multirsh-write")
                if self._gave_up.done():
                    await asyncio.wait((writing,), timeout=LAST_WORDS_S)
                else:
                    await asyncio.wait((writing, self._gave_up), return_when=asyncio.FIRST_COMPLETED)

    def give_up(self) -> None:
        """Wait no longer for a stdout that takes nothing; what it would have got is dropped."""
        self._dead.add("stdout")
        if not self._gave_up.done():
            self._gave_up.set_result(None)

    def _write(self, batch: Batch) -> None:
        for write in batch.writes:
            if write.stream in self._dead:
                continue
            try:
                write_all(_DESCRIPTORS[write.stream], write.data)
            except BrokenPipeError:
                self._dead.add(write.stream)
                if write.stream == "stdout":
                    self.lost_reader = True
                    self._dead.add("stderr")  # whoever does not want the output does not want the ending
            except OSError as error:
                self._dead.add(write.stream)
                if write.stream == "stdout":
                    self.failure = error.strerror


async def _tick(run: Run, printer: Printer, writer: _Writer) -> None:
    """Redraw the progress line, and show what was said, even when nothing happens."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(printer.interval_s or SAID_WITHIN_S)
        ports = run.statistics()
        printer.wait_for_ports(ports.waiting, ports.next_free)
        await writer.write(printer.take(loop.time()))


def _stopper(
    run: Run, printer: Printer, writer: _Writer, *, patience: float
) -> Callable[[signal.Signals, int], None]:
    """The first signal stops the run in order, the second closes at once.

    A stdout that is blocked gets as much patience, in seconds, as a remote that does not close.
    """

    def stop(number: signal.Signals, count: int) -> None:
        if count == 1:
            printer.say(f"multirsh: {number.name}: stopping; once more to stop waiting for the remotes")
            run.stop(signal=number)
            asyncio.get_running_loop().call_later(patience, writer.give_up)
        else:
            run.abandon()
            writer.give_up()

    return stop
