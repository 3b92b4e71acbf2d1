"""A session of ``multirsh shell``: it reads a line, executes it and reads the next, until the end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from multirsh.cli.cli_run import CliRun, prepare_process, printing
from multirsh.cli.invocation import Invocation
from multirsh.cli.options import CommandOptions
from multirsh.cli.process import STDIN, print_err, print_out
from multirsh.cli.shell import messages
from multirsh.cli.shell.line import (
    DotCommand,
    DotName,
    LocalCommand,
    ParsedLine,
    RemoteCommand,
    SelectionChange,
    parse,
)
from multirsh.cli.shell.modes import display_in, mode_of, next_mode
from multirsh.cli.shell.selection import Selection
from multirsh.cli.signals import StopSignals
from multirsh.engine.fleet import Fleet
from multirsh.errors import MultirshError
from multirsh.events import Event, HostFinished
from multirsh.exit_code import SIGNAL_BASE, ExitCode
from multirsh.model import Status
from multirsh.output.formatting import plural
from multirsh.transports.threads import in_daemon_thread

_CHUNK: Final = 65536
"""Bytes per read of standard input."""


class LineReader(Protocol):
    """A source of lines."""

    @property
    def is_interactive(self) -> bool:
        """Whether the lines are typed at a terminal, where messages are seen before the next line."""

    async def read(self, prompt: tuple[str, str], *, keep_cursor_line: bool) -> str | None:
        """Return the next line without its newline; ``None`` at the end.

        Args:
            prompt: The two parts of the prompt, shown if the reader is interactive.
            keep_cursor_line: Whether the line of the cursor may hold output, which must stay; otherwise it
                holds at most the echo of what was typed ahead.
        """

    def discard_typeahead(self) -> bool:
        """Discard what was typed and not yet read; return whether there was any."""


class StdinLineReader:
    """A ``LineReader`` of standard input that is not a terminal."""

    is_interactive = False

    def __init__(self) -> None:
        self._rest = bytearray()

    async def read(self, prompt: tuple[str, str], *, keep_cursor_line: bool) -> str | None:  # noqa: ARG002 - shows no prompt
        """Return the next line."""
        while b"\n" not in self._rest:
            more = await in_daemon_thread(lambda: os.read(STDIN, _CHUNK), name="multirsh-shell-lines")
            if not more:
                last, self._rest = bytes(self._rest), bytearray()
                return os.fsdecode(last) if last else None
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return os.fsdecode(bytes(line.removesuffix(b"\r")))

    def discard_typeahead(self) -> bool:
        """Discard nothing, since nothing is typed."""
        return False


class ShellSession:
    """One shell, from its first prompt to its last."""

    def __init__(
        self,
        invocation: Invocation,
        cli_run: CliRun,
        selection: Selection,
        *,
        context: CommandOptions,
        open_reader: Callable[[], LineReader],
    ) -> None:
        """Create a session, which does nothing until it is run.

        Args:
            invocation: The options of the shell.
            cli_run: A run with these options, on all hosts of the shell.
            selection: The hosts that are selected at first.
            context: The directory and environment of the commands.
            open_reader: Opens the source of lines, after the prompts for passwords.
        """
        self._cli_run = cli_run
        self._selection = selection
        self._invocation = invocation
        self._mode = mode_of(invocation.display)
        self._context = context
        self._open_reader = open_reader
        self._failed_hosts: list[str] = []
        self._code: int = ExitCode.OK
        self._exit_signal: signal.Signals | None = None
        self._reading: asyncio.Timeout | None = None
        self._is_interactive = False
        self._say: Callable[[str], None] = print_err
        self._pasted: list[str] = []
        self._keep_cursor_line = False

    async def run(self, signals: StopSignals) -> int:
        """Execute all lines, and return the exit code of the last command, as sh(1) does.

        Raises:
            MultirshError: Nothing was run: options exclude each other, or a key cannot be used.
            ReaderGone: The reader of our standard output has gone away.
        """
        prepare_process()
        async with self._cli_run.fleet(self._warn, keep=True) as fleet:
            reader = self._open_reader()
            self._is_interactive = reader.is_interactive
            if self._is_interactive:
                _show(messages.welcome(self._selection))
            with signals.handled_by(lambda number, _count: self._on_signal(number, signals)):
                await self._execute_all(fleet, reader, signals)
        return self._code if self._exit_signal is None else SIGNAL_BASE + self._exit_signal

    def _warn(self, line: str) -> None:
        """Show a warning of the fleet: by the printer of the run, if there is a run."""
        self._say(line)

    async def _execute_all(self, fleet: Fleet, reader: LineReader, signals: StopSignals) -> None:
        while self._exit_signal is None:
            text = await self._next(reader)
            if text is None:
                return
            try:
                line = parse(text)
                if line == DotCommand(DotName.QUIT):
                    return
                if line is not None:
                    await self._execute(line, fleet, signals)
            except (MultirshError, OSError) as error:
                print_err(f"multirsh: {error}")
                self._code = ExitCode.USAGE
                # The lines that follow were written for what this line would have done.
                self._discard_upcoming(reader)
                if not self._is_interactive:
                    return
            if not self._continues(signals, reader):
                return

    async def _next(self, reader: LineReader) -> str | None:
        """Return the next line; ``None`` at the end, and if a signal that ends the shell comes first."""
        if self._pasted:
            return self._pasted.pop(0)
        try:
            async with asyncio.timeout(None) as self._reading:
                text = await reader.read(
                    messages.prompt(self._selection, self._mode), keep_cursor_line=self._keep_cursor_line
                )
        except TimeoutError:
            return None
        finally:
            self._reading = None
        if text is None:
            return None
        first, *self._pasted = text.split("\n")
        return first

    def _discard_upcoming(self, reader: LineReader) -> None:
        """Discard the lines that were pasted together with the last one or typed ahead, and report that."""
        if reader.discard_typeahead():
            print_err("multirsh: what was typed ahead was not run")
        left = sum(bool(line.strip()) for line in self._pasted)
        self._pasted.clear()
        if left:
            were = "was" if left == 1 else "were"
            print_err(f"multirsh: {plural(left, 'line')} of what was pasted {were} not run")

    def _on_signal(self, number: signal.Signals, signals: StopSignals) -> None:
        """Handle a signal that comes while no command runs."""
        if number is signal.SIGINT and self._is_interactive:
            if self._reading is not None:  # sent by kill(1): the prompt reads Ctrl-C as a key
                signals.leave()
            return
        self._exit_signal = number
        if self._reading is not None:
            self._reading.reschedule(0)

    def _continues(self, signals: StopSignals, reader: LineReader) -> bool:
        """Return whether the shell continues after a command, which a signal may have stopped."""
        if signals.first is None:
            return self._code != SIGNAL_BASE + signal.SIGPIPE
        if self._is_interactive and signals.first is signal.SIGINT:
            signals.settle()
            self._discard_upcoming(reader)
            return True
        self._exit_signal = self._exit_signal or signals.first
        return False

    async def _execute(self, line: ParsedLine, fleet: Fleet, signals: StopSignals) -> None:
        self._keep_cursor_line = isinstance(line, LocalCommand)
        match line:
            case RemoteCommand(text):
                self._code = await self._run_on_hosts(text, fleet, signals)
            case LocalCommand(text):
                self._code = await _run_locally(text, signals, is_interactive=self._is_interactive)
            case SelectionChange(operator, nodes):
                self._selection = self._selection.changed(operator, nodes)
            case DotCommand(name, argument):
                await self._execute_dot_command(name, argument, fleet)

    async def _run_on_hosts(self, text: str, fleet: Fleet, signals: StopSignals) -> int:
        """Run a command on the selected hosts, and return its exit code."""
        invocation = replace(self._invocation, display=display_in(self._mode, self._invocation.display))
        cli_run = invocation.make_run(self._context.command(text), self._selection.chosen)
        cli_run = replace(cli_run, reads_keys=False)  # what is typed meanwhile is the next line
        failed: list[str] = []

        def note(event: Event) -> None:
            if isinstance(event, HostFinished) and event.status is not Status.OK:
                failed.append(event.host)

        async with printing(cli_run.output) as (printer, writer):
            self._say = printer.say
            try:
                return await cli_run.carry_out(
                    fleet, signals, printer, writer, is_gentle=not self._is_interactive, also=note
                )
            finally:
                self._failed_hosts = failed
                self._say = print_err

    async def _execute_dot_command(self, name: DotName, argument: str, fleet: Fleet) -> None:
        selection = self._selection
        match name:
            case DotName.HELP:
                _show(messages.HELP)
            case DotName.HOSTS:
                print_out(messages.selected_hosts(selection))
            case DotName.GROUPS:
                print_out(messages.groups(selection))
            case DotName.FAILED:
                self._selection = selection.only(self._failed_hosts)
            case DotName.MODE:
                self._change_mode(argument)
            case DotName.STATUS:
                now = asyncio.get_running_loop().time()
                print_out(messages.status(selection, fleet.connections(), fleet.statistics(), now=now))
            case DotName.RECONNECT:
                names = selection.named(argument) if argument else set(selection.names)
                hosts = [host for name, host in selection.known.hosts.items() if name in names]
                _show(messages.connections_closed(list((await fleet.release(hosts)).values())))
            case DotName.SELECT | DotName.ALL | DotName.QUIT:
                raise AssertionError(f".{name} has another parsed form")

    def _change_mode(self, word: str) -> None:
        mode = next_mode(word, self._mode) if word else self._mode
        # Options that exclude each other in this mode are reported now.
        display_in(mode, self._invocation.display).options()
        self._mode = mode
        if self._is_interactive:
            _show(f"output: {mode}\n")


def _show(text: str) -> None:
    """Print lines on stderr."""
    for line in text.splitlines():
        print_err(line)


async def _run_locally(command: str, signals: StopSignals, *, is_interactive: bool) -> int:
    """Run ``command`` by the user's shell, with our standard streams.

    At a terminal, Ctrl-C reaches the command by itself; SIGTERM and SIGHUP are passed on to it.

    Args:
        command: A command for ``$SHELL``, or for ``/bin/sh`` if that is not set.
        signals: The signals that arrive meanwhile.
        is_interactive: Whether our standard input is a terminal, and not the file with our lines.

    Returns:
        The exit status of the command; 128 + the signal if one ended it.

    Raises:
        OSError: The shell cannot be started.
    """
    shell = os.environ.get("SHELL") or "/bin/sh"
    child = await asyncio.create_subprocess_exec(
        shell, "-c", os.fsencode(command), stdin=None if is_interactive else asyncio.subprocess.DEVNULL
    )

    def pass_on(number: signal.Signals, _count: int) -> None:
        if number is signal.SIGINT:
            if is_interactive:  # an interpreter or a pager may be sent any number of Ctrl-C
                signals.leave()
        elif child.returncode is None:
            child.send_signal(number)

    with signals.handled_by(pass_on):
        status = await child.wait()
    return status if status >= 0 else SIGNAL_BASE - status
