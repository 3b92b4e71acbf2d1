"""The shell: reads a line, does what it means, reads the next, until the end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import replace

from multirsh.cli.cli_run import CliRun, prepare_process, printing
from multirsh.cli.invocation import Invocation
from multirsh.cli.options import CommandOptions
from multirsh.cli.process import print_err, print_out
from multirsh.cli.shell import words
from multirsh.cli.shell.here import run_here
from multirsh.cli.shell.line import Choice, Command, Here, Line, Order, Word, parse
from multirsh.cli.shell.modes import mode_of, next_mode, showing_in
from multirsh.cli.shell.reader import Reader
from multirsh.cli.shell.selection import Selection
from multirsh.cli.signals import StopSignals
from multirsh.engine.fleet import Fleet
from multirsh.errors import MultirshError
from multirsh.events import Event, HostFinished
from multirsh.exit_code import SIGNAL_BASE, ExitCode
from multirsh.model import Status
from multirsh.output.formatting import plural


class Session:
    """One shell, from its first prompt to its last."""

    def __init__(
        self,
        invocation: Invocation,
        cli_run: CliRun,
        selection: Selection,
        *,
        context: CommandOptions,
        open_reader: Callable[[], Reader],
    ) -> None:
        """Begin nothing yet.

        Args:
            invocation: What the options say.
            cli_run: A run of that, over all hosts of the shell.
            selection: Whom commands are for at first.
            context: What commands find around them.
            open_reader: Gives the source of lines, once everybody's passwords are invocation for.
        """
        self._cli_run = cli_run
        self._selection = selection
        self._invocation = invocation
        self._mode = mode_of(invocation.display)
        self._context = context
        self._open_reader = open_reader
        self._not_ok: list[str] = []
        self._code: int = ExitCode.OK
        self._leaves_for: signal.Signals | None = None
        self._reading: asyncio.Timeout | None = None
        self._is_person = False
        self._say: Callable[[str], None] = print_err
        self._pasted: list[str] = []
        self._is_line_ours = True

    async def run(self, signals: StopSignals) -> int:
        """Do all lines; how to exit: as the last command did, as sh(1).

        Raises:
            MultirshError: Nothing was done, since the options cannot be meant, or a key cannot be used.
            ReaderGone: Nobody reads our standard output any more.
        """
        prepare_process()
        async with self._cli_run.fleet(self._warn, keep=True) as fleet:
            reader = self._open_reader()
            self._is_person = reader.is_person
            if self._is_person:
                _show(words.welcome(self._selection))
            with signals.handled_by(lambda number, _count: self._stop(number, signals)):
                await self._do_lines(fleet, reader, signals)
        return self._code if self._leaves_for is None else SIGNAL_BASE + self._leaves_for

    def _warn(self, line: str) -> None:
        """Tell something of the fleet's, by whoever prints now."""
        self._say(line)

    async def _do_lines(self, fleet: Fleet, reader: Reader, signals: StopSignals) -> None:
        while self._leaves_for is None:
            text = await self._next(reader)
            if text is None:
                return
            try:
                line = parse(text)
                if line == Order(Word.QUIT):
                    return
                if line is not None:
                    await self._do(line, fleet, signals)
            except (MultirshError, OSError) as error:
                print_err(f"multirsh: {error}")
                self._code = ExitCode.USAGE
                # What follows was written for what this line would have done.
                self._drop_ahead(reader)
                if not self._is_person:
                    return
            if not self._heed(signals, reader):
                return

    async def _next(self, reader: Reader) -> str | None:
        """The next line; ``None`` at the end, and where a signal comes first."""
        if self._pasted:
            return self._pasted.pop(0)
        try:
            async with asyncio.timeout(None) as self._reading:
                text = await reader.read(
                    words.prompt(self._selection, self._mode), is_line_ours=self._is_line_ours
                )
        except TimeoutError:
            return None
        finally:
            self._reading = None
        if text is None:
            return None
        first, *self._pasted = text.split("\n")
        return first

    def _drop_ahead(self, reader: Reader) -> None:
        """Forget the lines that came together with the last one, or were typed since."""
        if reader.drop_ahead():
            print_err("multirsh: not run: what was typed ahead")
        left = [line for line in self._pasted if line.strip()]
        self._pasted.clear()
        if left:
            print_err(f"multirsh: not run, of what was pasted: {plural(len(left), 'line')}")

    def _stop(self, number: signal.Signals, signals: StopSignals) -> None:
        """A signal has come while no command runs."""
        if number is signal.SIGINT and self._is_person:
            if self._reading is not None:  # not a key, which the prompt sees by itself
                signals.leave()
            return
        self._leaves_for = number
        if self._reading is not None:
            self._reading.reschedule(0)

    def _heed(self, signals: StopSignals, reader: Reader) -> bool:
        """Whether to go on after what a command may have been stopped by."""
        if signals.first is None:
            return self._code != SIGNAL_BASE + signal.SIGPIPE
        if self._is_person and signals.first is signal.SIGINT:
            signals.settle()
            self._drop_ahead(reader)
            return True
        self._leaves_for = self._leaves_for or signals.first
        return False

    async def _do(self, line: Line, fleet: Fleet, signals: StopSignals) -> None:
        self._is_line_ours = not isinstance(line, Here)
        match line:
            case Command(text):
                self._code = await self._run_on_hosts(text, fleet, signals)
            case Here(text):
                self._code = await run_here(text, signals, is_person=self._is_person)
            case Choice(change, nodes):
                self._selection = self._selection.changed(change, nodes)
            case Order(word, argument):
                await self._obey(word, argument, fleet)

    async def _run_on_hosts(self, text: str, fleet: Fleet, signals: StopSignals) -> int:
        """Run a command on the selection; its exit code."""
        invocation = replace(self._invocation, display=showing_in(self._mode, self._invocation.display))
        cli_run = invocation.make_run(self._context.command(text), self._selection.chosen)
        cli_run = replace(cli_run, reads_keys=False)  # what is typed meanwhile is the next line
        not_ok: list[str] = []

        def note(event: Event) -> None:
            if isinstance(event, HostFinished) and event.status is not Status.OK:
                not_ok.append(event.host)

        async with printing(cli_run.output) as (printer, writer):
            self._say = printer.say
            try:
                return await cli_run.carry_out(
                    fleet, signals, printer, writer, is_gentle=not self._is_person, also=note
                )
            finally:
                self._not_ok = not_ok
                self._say = print_err

    async def _obey(self, word: Word, argument: str, fleet: Fleet) -> None:
        """Carry out an order."""
        selection = self._selection
        match word:
            case Word.HELP:
                _show(words.HELP)
            case Word.HOSTS:
                print_out(words.hosts(selection))
            case Word.GROUPS:
                print_out(words.groups(selection))
            case Word.FAILED:
                self._selection = selection.only(self._not_ok)
            case Word.MODE:
                self._change_mode(argument)
            case Word.STATUS:
                now = asyncio.get_running_loop().time()
                print_out(words.status(selection, fleet.connections(), fleet.statistics(), now=now))
            case Word.RECONNECT:
                names = selection.named(argument) if argument else set(selection.names)
                hosts = [host for name, host in selection.known.hosts.items() if name in names]
                _show(words.closed(list((await fleet.release(hosts)).values())))
            case Word.SELECT | Word.ALL | Word.QUIT:
                raise AssertionError(f".{word} is read as something else")

    def _change_mode(self, word: str) -> None:
        mode = next_mode(word, self._mode) if word else self._mode
        showing_in(mode, self._invocation.display).options()  # what cannot be meant is said now
        self._mode = mode
        if self._is_person:
            _show(f"output: {mode}\n")


def _show(text: str) -> None:
    """Lines of ours, for people."""
    for line in text.splitlines():
        print_err(line)
