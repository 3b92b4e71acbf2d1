"""A run of the command line: its events to the printer, its bytes to our streams, and its journal."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import stat
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from multirsh.cli.options import NO_PAUSES, JournalOptions, Pauses
from multirsh.cli.options.command import LATE_BYTES, STDIN_NAME, has_waiting_bytes
from multirsh.cli.process import print_err, raise_descriptor_limit, save_address_space, silence_memory_errors
from multirsh.cli.signals import RunController, StopSignals
from multirsh.cli.terminal import paused_by_prompts
from multirsh.cli.writer import Writer
from multirsh.commands.command import Command, Script
from multirsh.engine.emitter import NO_RECORD, Record
from multirsh.engine.fleet import Fleet
from multirsh.engine.options import RunOptions
from multirsh.engine.run import Run, RunHooks
from multirsh.errors import UsageError
from multirsh.events import Event, RunFinished
from multirsh.exit_code import SIGNAL_BASE, ExitCode
from multirsh.journal import Journal, Recorder, RetentionLimits
from multirsh.journal.journal import DAY_S
from multirsh.journal.record import RecordedRoutes
from multirsh.model import Host, Settings
from multirsh.output import OutputOptions, Printer
from multirsh.shortage import NO_MEMORY, relieve
from multirsh.transports.base import Stdin, Warn
from multirsh.transports.options import ExecOptions, RshOptions, SshOptions
from multirsh.transports.passwords import PasswordSource
from multirsh.transports.threads import daemon_thread, in_daemon_thread

if TYPE_CHECKING:
    from multirsh.cli.prior_run import PriorRun
    from multirsh.cli.report_file import ReportFile
    from multirsh.files.jobs import CopyJob
    from multirsh.files.options import CopyOptions


QUIET_INTERVAL_S = 0.5
"""Seconds until a warning is shown if nothing else happens, as when every host waits for a local port."""


def _ignore(_event: Event) -> None:
    """Take an event that nothing else wants."""


@contextlib.contextmanager
def _pausing_for_prompts(printer: Printer, writer: Writer, attention: RunController) -> Iterator[None]:
    """Draw nothing and read no keys during a prompt for a secret."""
    loop = asyncio.get_running_loop()

    async def change(asks: bool) -> None:  # noqa: FBT001 - as ``paused_by_prompts`` has it
        if asks:
            asking.enter_context(printer.asking())
            asking.enter_context(attention.keys_paused())
            await writer.write()  # takes the progress line away
        else:
            asking.close()

    def pause(asks: bool) -> None:  # noqa: FBT001 - as ``paused_by_prompts`` has it
        with contextlib.suppress(RuntimeError):  # the loop is closed: the run is over
            asyncio.run_coroutine_threadsafe(change(asks), loop).result()

    with contextlib.ExitStack() as asking, paused_by_prompts(pause):
        yield


def prepare_process() -> None:
    """Prepare this process to reach many hosts."""
    raise_descriptor_limit()
    save_address_space()
    silence_memory_errors()
    # If our parent ignored it, so would we, and the exit statuses of our children would be lost (wait(2)).
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


@contextlib.asynccontextmanager
async def printing(output: OutputOptions) -> AsyncGenerator[tuple[Printer, Writer], None]:
    """Print one run. Whatever happens in the block, everything known of the run is written at its end."""
    printer = Printer(output, began=asyncio.get_running_loop().time())
    writer = Writer(printer)
    try:
        yield printer, writer
    finally:
        printer.finish()
        await writer.write()
        printer.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class CliRun:
    """A run of the command line, with everything that it needs.

    Attributes:
        hosts: The hosts to run on.
        command: The command.
        options: The options of the run.
        ssh: The options of ssh.
        rsh: The options of rsh; ``None`` for the settings alone.
        exec_options: The options of exec; ``None`` for the settings alone.
        settings: Settings that take precedence over every host's own, for the other transports.
        output: How it is printed.
        bind_address: The local address to connect from; ``None`` for each route's own.
        stdin: The standard input of the commands; ``None`` for an input that is at its end.
        watches_stdin: Whether bytes that arrive on our standard input are reported at the end.
        sudo_password: The source of the password that sudo is given; ``None`` for no password.
        pauses: What happens between two batches.
        job: What is copied instead; ``None`` for a command.
        report: The HTML report to write; ``None`` for no report.
        reads_keys: Whether Enter on the terminal shows the status of the run.
        journal: What is recorded; ``None`` for no record.
        preface: A line to print before the run begins; ``None`` for no line.
        prior: The run that it repeats or resumes; ``None`` for a new run.
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
    watches_stdin: bool = False
    sudo_password: PasswordSource | None = None
    pauses: Pauses = NO_PAUSES
    job: CopyJob | None = None
    report: ReportFile | None = None
    reads_keys: bool = False
    journal: JournalPlan | None = None
    preface: str | None = None
    prior: PriorRun | None = None

    async def run(self, signals: StopSignals) -> int:
        """Run to the end, and return the exit code.

        Args:
            signals: The stop signals. They cancel this task until the run begins; then they stop the run.

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
                        fleet, signals, printer, writer, also=_ignore if report is None else report.feed
                    )
                if self.watches_stdin and has_waiting_bytes():
                    printer.say(LATE_BYTES)
        finally:
            # However the run has ended, the report shows everything that happened.
            complaint = (
                None
                if report is None
                else await daemon_thread(report.save, name="multirsh-report", or_here=True)
            )
            if complaint is not None:
                print_err(complaint)
        # Unless a signal ended the run, a missing report is the worst result.
        return ExitCode.INTERNAL if complaint is not None and code < SIGNAL_BASE else code

    def fleet(self, warn: Warn, *, keep: bool = False) -> Fleet:
        """Return the fleet of the run, not yet entered.

        Args:
            warn: Called with each warning, a line for people.
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
        also: Callable[[Event], None] = _ignore,
    ) -> int:
        """Run to the end on a fleet that was entered, and return the exit code.

        Args:
            fleet: The fleet; ``hosts`` are some or all of its hosts.
            signals: The stop signals, which stop the run.
            printer: Receives the events.
            writer: Writes the printer's output.
            is_gentle: Whether the first Ctrl-C lets running commands finish.
            also: Called with each event as well.

        Raises:
            UsageError: Nothing was run.
        """
        run = self._run_of(fleet, printer, await self._record(fleet, printer))
        run.claim()
        printer.begin(asyncio.get_running_loop().time())
        attention = RunController(
            run, printer, writer, close_timeout=self.options.timeouts.close, is_gentle=is_gentle
        )
        with (
            signals.handled_by(attention.stop),
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
        """Return what records the run.

        Raises:
            UsageError: Hosts would be reached in another way than in the prior run.
        """
        if self.journal is None and self.prior is None:
            return NO_RECORD
        routes = await in_daemon_thread(
            lambda: fleet.routes(self.hosts), name="multirsh-routes", or_here=True
        )
        if self.prior is not None:
            for words in self.prior.compared(routes):
                printer.say(f"multirsh: {words}")
            routes = self.prior.all_routes(routes)
        if self.journal is None:
            return NO_RECORD
        loop = asyncio.get_running_loop()

        def warn(words: str) -> None:
            loop.call_soon_threadsafe(printer.say, f"multirsh: {words}")

        return self.journal.recorder(warn, RecordedRoutes(routes, self.ssh.config_file)) or NO_RECORD

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
            printer.say(f"multirsh: {NO_MEMORY}: the output shown is incomplete")
            return code if code >= SIGNAL_BASE else ExitCode.INTERNAL
        if writer.failure is not None:
            printer.say(f"multirsh: cannot write to standard output: {writer.failure}")
            return ExitCode.INTERNAL
        if writer.lost_reader:
            return SIGNAL_BASE + signal.SIGPIPE
        # Unless a signal ended the run, incomplete files are the worst result.
        return ExitCode.INTERNAL if writer.complaints and code < SIGNAL_BASE else code

    async def _tick(self, run: Run, printer: Printer, writer: Writer, over: asyncio.Event) -> None:
        """Redraw the progress line, and show what was said, even when nothing happens."""
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), printer.interval_s or QUIET_INTERVAL_S)
            printer.waits_for(run.waits())
            if self.job is not None:
                total = self.job.total
                printer.copying(self.job.progress.bytes, None if total is None else total * len(self.hosts))
            await _written(printer, writer)


async def _written(printer: Printer, writer: Writer) -> None:
    """Write all output so far. What does not fit in memory is dropped, and reported at the end of the run."""
    try:
        await writer.write()
    except MemoryError:
        relieve()
        printer.drop()


HASHED_AT_MOST: Final = 64 * 1024 * 1024
"""Bytes; a larger ``--stdin-file`` is identified by its size and time, since reading it twice takes too
long."""

MOST_RECORDS: Final = 5000
"""The largest number of records, however small: each run reads their index when it begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalPlan:
    """How one run is recorded.

    Attributes:
        plan: What the run does, which ``--resume`` compares.
        options: How much is recorded, and how long records are kept.
    """

    plan: Mapping[str, Any]
    options: JournalOptions

    def recorder(self, warn: Callable[[str], object], reached: RecordedRoutes) -> Recorder | None:
        """Return what records the run; ``None`` if it cannot be recorded.

        Args:
            reached: How its hosts are reached.
            warn: Called with the reason, also if recording fails later; then from another thread.
        """
        try:
            journal = Journal()
        except UsageError as error:
            warn(f"the run is not recorded: {error}")
            return None
        return Recorder(
            journal,
            plan={
                **self.plan,
                "reached": replace(reached, ssh_config=_absolute(reached.ssh_config)).to_dict(),
            },
            limits=RetentionLimits(
                records=MOST_RECORDS,
                age_s=self.options.journal_days * DAY_S,
                size=self.options.journal_size,
            ),
            output_bytes=self.options.journal_output,
            warn=warn,
        )


def _absolute(config_file: str | None) -> str | None:
    """Return the absolute path of a file of ``-F``: the next run may start in another directory."""
    if config_file is None or config_file == "none":
        return config_file
    return os.path.abspath(config_file)  # noqa: PTH100 - links stay as they are


def recorded_plan(
    command: Command, options: RunOptions, *, stdin: str | None, copy: CopyOptions | None
) -> dict[str, Any]:
    """Return what a run does on each host, as its record has it: no secrets, and only the names of ``--env``.

    Args:
        command: The command; for a copy, its title.
        options: The options of the run. Those that change what happens on a host are recorded.
        stdin: The file that the commands read, ``-`` for our standard input; ``None`` for no input.
        copy: How files are copied; ``None`` for a command.
    """
    plan = {
        "kind": "copy" if copy is not None else "run" if command.script is None else "script",
        "command": command.title,
        "cwd": command.directory,
        "sudo": None if options.sudo is None else options.sudo.option_value,
        "env": sorted(command.environment),
        "template": command.is_template,
        "tty": command.tty,
        "script": None if command.script is None else _digest_of(command.script),
        "stdin": None if stdin is None else _input(stdin),
        "copy": None if copy is None else copy.describe(),
    }
    return {key: value for key, value in plan.items() if value}


def _digest_of(script: Script) -> str:
    words = "\0".join(script.interpreter).encode(errors="surrogateescape")
    return hashlib.sha256(words + b"\0\0" + script.content).hexdigest()


def _input(name: str) -> str:
    """Return what identifies an input, so that it can be compared."""
    if name == STDIN_NAME:
        return "ours"
    try:
        # A pipe would wait for its writer here, and be opened again by whatever reads it.
        if not stat.S_ISREG(os.stat(name).st_mode):  # noqa: PTH116 - the kind and the size by one look
            return name
        size = Path(name).stat().st_size
        if size > HASHED_AT_MOST:
            return f"{size} bytes of {Path(name).stat().st_mtime_ns}"
        return f"sha256 {hashlib.sha256(Path(name).read_bytes()).hexdigest()}"
    except OSError:
        return name  # opening it will report the error
