"""A run for a person or a pipe: events to the printer, its bytes to our streams, signals to the run."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from multirsh.cli.attention import Attention
from multirsh.cli.descriptors import tell
from multirsh.cli.machine import quiet_shortage, raise_descriptor_limit, spare_addresses
from multirsh.cli.options import NO_PAUSES, Pauses
from multirsh.cli.recording import Recording
from multirsh.cli.signals import StopSignals
from multirsh.cli.stdin import LATE, bytes_wait
from multirsh.cli.terminal import paused_by_prompts
from multirsh.cli.writer import Writer
from multirsh.commands.command import Command
from multirsh.engine.emitter import NO_RECORD, Record
from multirsh.engine.fleet import Fleet
from multirsh.engine.hooks import RunHooks
from multirsh.engine.options import RunOptions
from multirsh.engine.run import Run
from multirsh.events import Event, RunFinished
from multirsh.exit_code import SIGNAL_BASE, ExitCode
from multirsh.journal.record import RecordedRoutes
from multirsh.model import Host, Settings
from multirsh.output import OutputOptions, Printer
from multirsh.shortage import NO_MEMORY, relieve
from multirsh.transports.base import Stdin, Warn
from multirsh.transports.options import ExecOptions, RshOptions, SshOptions
from multirsh.transports.passwords import PasswordSource
from multirsh.transports.threads import daemon_thread, in_daemon_thread

if TYPE_CHECKING:
    from multirsh.cli.again import Again
    from multirsh.cli.report_file import ReportFile
    from multirsh.files.jobs import CopyJob

SAID_WITHIN_S = 0.5
"""How soon a warning is shown where nothing else happens, as when every host waits for a local port."""


def _nobody(_event: Event) -> None:
    """Whom nothing has to be told."""


@contextlib.contextmanager
def _pausing_for_prompts(printer: Printer, writer: Writer, attention: Attention) -> Iterator[None]:
    """Draw nothing and read no keys while a person is asked for a secret."""
    loop = asyncio.get_running_loop()

    async def change(asks: bool) -> None:  # noqa: FBT001 - as ``paused_by_prompts`` has it
        if asks:
            asking.enter_context(printer.asking())
            asking.enter_context(attention.not_to_keys())
            await writer.write()  # takes the progress line away
        else:
            asking.close()

    def pause(asks: bool) -> None:  # noqa: FBT001 - as ``paused_by_prompts`` has it
        with contextlib.suppress(RuntimeError):  # the loop is closed: the run is over
            asyncio.run_coroutine_threadsafe(change(asks), loop).result()

    with contextlib.ExitStack() as asking, paused_by_prompts(pause):
        yield


def prepare_process() -> None:
    """Make of this process one that may reach many hosts."""
    raise_descriptor_limit()
    spare_addresses()
    quiet_shortage()
    # Who started us may ignore it, and then nobody could tell how a program of ours has ended (wait(2)).
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


@contextlib.asynccontextmanager
async def printing(output: OutputOptions) -> AsyncGenerator[tuple[Printer, Writer], None]:
    """Print one run; whatever happens inside, what is known of it is written at the end."""
    printer = Printer(output, began=asyncio.get_running_loop().time())
    writer = Writer(printer)
    try:
        yield printer, writer
    finally:
        printer.finish()
        await writer.write()
        printer.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """All that a run from the command line needs.

    Attributes:
        hosts: Whom to run on.
        command: What to run.
        options: The options of the run.
        ssh: What ssh's options say.
        rsh: What rsh's options say.
        exec_options: What exec's options say.
        settings: What goes before every host's own settings, for other transports.
        output: How to print it.
        bind_address: The local address to leave from, or ``None``.
        stdin: The commands' standard input, or ``None``.
        asks_of_stdin: Whether bytes that come on ours are told of, at the end.
        sudo_password: What sudo is answered.
        pauses: What happens between two batches.
        job: What is copied, in place of a command; or ``None``.
        report: Where the page about the run goes, or ``None``.
        reads_keys: Whether Enter on the terminal asks for the run's status.
        recording: How the run is recorded, or ``None``.
        preface: What people are told before it begins, or ``None``.
        again: The run that it repeats or goes on with, or ``None``.
    """

    hosts: Sequence[Host]
    command: Command
    options: RunOptions
    ssh: SshOptions
    rsh: RshOptions | None
    exec_options: ExecOptions | None
    settings: Settings
    output: OutputOptions
    bind_address: str | None = None
    stdin: Stdin | None = None
    asks_of_stdin: bool = False
    sudo_password: PasswordSource | None = None
    pauses: Pauses = NO_PAUSES
    job: CopyJob | None = None
    report: ReportFile | None = None
    reads_keys: bool = False
    recording: Recording | None = None
    preface: str | None = None
    again: Again | None = None

    async def drive(self, signals: StopSignals) -> int:
        """Run to the end, and say how to exit.

        Args:
            signals: Until the run begins, they cancel; then they stop it.

        Raises:
            MultirshError: Nothing was run.
        """
        prepare_process()
        report = self.report
        try:
            async with printing(self.output) as (printer, writer):
                if self.preface is not None:
                    printer.say(self.preface)
                async with self.fleet(printer.say) as fleet:
                    code = await self.carry_out(
                        fleet, signals, printer, writer, also=_nobody if report is None else report.feed
                    )
                if self.asks_of_stdin and bytes_wait():
                    printer.say(LATE)
        finally:
            # However the run has ended, the page tells of as much as there was.
            complaint = (
                None
                if report is None
                else await daemon_thread(report.save, name="multirsh-report", or_here=True)
            )
            if complaint is not None:
                tell(complaint)
        # Unless a signal ended it, a page that is not there is the worst of it.
        return ExitCode.INTERNAL if complaint is not None and code < SIGNAL_BASE else code

    def fleet(self, warn: Warn, *, keep: bool = False) -> Fleet:
        """The hosts, and the means to reach them, not yet entered.

        Args:
            warn: Takes lines for people.
            keep: Whether connections stay open from one run to the next.
        """
        return Fleet(
            self.hosts,
            self.options,
            ssh=self.ssh,
            rsh=self.rsh,
            exec_options=self.exec_options,
            settings=self.settings,
            sudo_password=self.sudo_password,
            bind_address=self.bind_address,
            keep=keep,
            warn=warn,
        )

    async def carry_out(
        self,
        fleet: Fleet,
        signals: StopSignals,
        printer: Printer,
        writer: Writer,
        *,
        is_gentle: bool = True,
        also: Callable[[Event], None] = _nobody,
    ) -> int:
        """Run to the end on a fleet that is entered, and say how to exit.

        Args:
            fleet: Of which ``hosts`` are, or all there are.
            signals: They stop the run.
            printer: Gets the events.
            writer: Writes what the printer has.
            is_gentle: Whether the first Ctrl-C lets the commands that run come to their ends.
            also: Is given each event, too.

        Raises:
            UsageError: Nothing was run.
        """
        run = self._run_of(fleet, printer, await self._record(fleet, printer))
        run.claim()
        printer.begin(asyncio.get_running_loop().time())
        attention = Attention(
            run, printer, writer, close_timeout=self.options.timeouts.close, is_gentle=is_gentle
        )
        with (
            signals.taken_by(attention.stop),
            attention.status_on_request(keys=self.reads_keys),
            _pausing_for_prompts(printer, writer, attention),
        ):
            return await self._follow(run, printer, writer, also)

    def _run_of(self, fleet: Fleet, printer: Printer, record: Record) -> Run:
        hooks = RunHooks(journal=record)
        if self.pauses.gate is not None or self.pauses.step:
            from multirsh.cli.gates import hooks_for  # noqa: PLC0415 - few runs need it

            hooks = hooks_for(self.pauses, self.options, fleet, printer, record)
        if self.job is not None:
            return fleet.copy(self.job, self.options, hosts=self.hosts, hooks=hooks)
        return fleet.run(self.command, self.options, stdin=self.stdin, hosts=self.hosts, hooks=hooks)

    async def _record(self, fleet: Fleet, printer: Printer) -> Record:
        """What keeps the run's events.

        Raises:
            UsageError: Hosts would not be reached as the run before has reached them.
        """
        if self.recording is None and self.again is None:
            return NO_RECORD
        routes = await in_daemon_thread(
            lambda: fleet.routes(self.hosts), name="multirsh-routes", or_here=True
        )
        if self.again is not None:
            for words in self.again.compared(routes):
                printer.say(f"multirsh: {words}")
            routes = self.again.all_routes(routes)
        if self.recording is None:
            return NO_RECORD
        loop = asyncio.get_running_loop()

        def warn(words: str) -> None:
            loop.call_soon_threadsafe(printer.say, f"multirsh: {words}")

        return self.recording.recorder(warn, RecordedRoutes(routes, self.ssh.config_file)) or NO_RECORD

    async def _follow(self, run: Run, printer: Printer, writer: Writer, also: Callable[[Event], None]) -> int:
        code: int = ExitCode.INTERNAL
        complained = 0
        async with asyncio.TaskGroup() as group:
            over = asyncio.Event()
            group.create_task(self._tick(run, printer, writer, over))
            async for batch in run.event_batches():
                for event in batch:
                    printer.feed(event)
                    also(event)
                    if isinstance(event, RunFinished):
                        code = event.exit_code
                await _written(printer, writer)
                for complaint in writer.complaints[complained:]:
                    printer.say(complaint)
                complained = len(writer.complaints)
                if writer.lost_reader:
                    run.stop(signal=signal.SIGPIPE)
                elif writer.failure is not None:
                    run.stop()
            over.set()
        if printer.is_cut:
            printer.say(f"multirsh: {NO_MEMORY}: what was to be shown is not complete")
            return code if code >= SIGNAL_BASE else ExitCode.INTERNAL
        if writer.failure is not None:
            printer.say(f"multirsh: cannot write to standard output: {writer.failure}")
            return ExitCode.INTERNAL
        if writer.lost_reader:
            return SIGNAL_BASE + signal.SIGPIPE
        # Unless a signal ended it, that files are not whole is the worst of it.
        return ExitCode.INTERNAL if writer.complaints and code < SIGNAL_BASE else code

    async def _tick(self, run: Run, printer: Printer, writer: Writer, over: asyncio.Event) -> None:
        """Redraw the progress line, and show what was said, even when nothing happens."""
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), printer.interval_s or SAID_WITHIN_S)
            printer.waits_for(run.waits())
            if self.job is not None:
                total = self.job.total
                printer.copying(self.job.progress.bytes, None if total is None else total * len(self.hosts))
            await _written(printer, writer)


async def _written(printer: Printer, writer: Writer) -> None:
    """Write what there is; what there is no memory for is dropped, and that is told at the end."""
    try:
        await writer.write()
    except MemoryError:
        relieve()
        printer.drop()
