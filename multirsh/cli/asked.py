"""A command line's options taken apart, and the run that they make: the way of every subcommand that runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import click

from multirsh.cli import options
from multirsh.cli.descriptors import STDIN, tell
from multirsh.cli.stdin import Stdin, is_ours
from multirsh.engine.options import RunOptions
from multirsh.errors import UsageError
from multirsh.exit_code import exit_code
from multirsh.inventory import Inventory
from multirsh.model import Host

if TYPE_CHECKING:
    from multirsh.cli.again import Again
    from multirsh.cli.drive import Drive
    from multirsh.cli.recording import Recording
    from multirsh.commands.command import Command
    from multirsh.files.jobs import CopyJob


NAME_SOME = "give a hosts file (-f hosts.yaml) or names (-w web1,web2)"
"""The way out where nobody is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked for, but what to run.

    Attributes:
        files: The hosts files.
        choice: Whom of them.
        connecting: How to reach them.
        showing: How to print.
        run: The options of the run.
        pauses: What happens between two batches.
        keeping: What is kept of it, and which run it repeats or goes on with.
        stdin: What the commands read; ``None`` where there are no such options.
        readers: What reads our standard input: the options, as people write them.
    """

    files: Sequence[str] = ()
    choice: options.Choice
    connecting: options.Connecting = field(default_factory=options.Connecting)
    showing: options.Showing
    run: RunOptions
    pauses: options.Pauses
    keeping: options.Keeping
    stdin: Stdin | None = None
    readers: Sequence[str] = ()

    @classmethod
    def take(cls, parameters: dict[str, Any], words: Sequence[str] = ()) -> Self:
        """Take apart what click has read, and leave there what is the subcommand's own.

        Args:
            parameters: By name.
            words: Of the remote command, where there is one.
        """
        files = parameters.pop("files", ())
        connecting = options.take(options.Connecting, parameters)
        password_file = str(connecting.password_file)
        readers = {f"-f {file}": is_ours(file) for file in files}
        readers |= {f"--password-file {password_file}": is_ours(password_file)}
        choice = options.take(options.Choice, parameters)
        run = options.take_run_options(parameters, sudo=connecting.as_user())
        pauses = options.take(options.Pauses, parameters)
        pauses.check(run)
        choice.warn_of_expansion(words)
        options.warn_of_expanded_files(files, words)
        return cls(
            files=files,
            choice=choice,
            connecting=connecting,
            showing=options.take(options.Showing, parameters),
            run=run,
            pauses=pauses,
            keeping=options.take(options.Keeping, parameters),
            stdin=options.take(Stdin, parameters) if "no_stdin" in parameters else None,
            readers=[option for option, reads in readers.items() if reads],
        )

    def check_somebody(self, hint: str = NAME_SOME) -> None:
        """See to it that hosts are named.

        Args:
            hint: The way out.

        Raises:
            UsageError: Nobody is.
        """
        if not self.files and self.choice.is_empty:
            raise UsageError("no hosts are named", hint=hint)

    def check_stdin(self) -> None:
        """See to it that nothing that waits on our standard input is dropped without a word.

        Raises:
            UsageError: It would be, or the options contradict each other.
        """
        if self.stdin is not None:
            self.stdin.check(read_by_others=self.readers)

    def by(self, sudo: str | None) -> Self:
        """The same with ``--sudo`` or ``--become`` as it was recorded, where neither is given."""
        if self.connecting.sudo is not None or self.connecting.become is not None or sudo is None:
            return self
        connecting = (
            replace(self.connecting, become=sudo) if ":" in sudo else replace(self.connecting, sudo=sudo)
        )
        return replace(self, connecting=connecting, run=replace(self.run, sudo=connecting.as_user()))

    def again(self) -> Again | None:
        """The run that this one repeats or goes on with; ``None`` if it is a new one.

        Raises:
            UsageError: There is none such, or nobody can go on with it.
        """
        if self.keeping.rerun is None and self.keeping.resume is None:
            return None
        from multirsh.cli.again import Again  # noqa: PLC0415 - not needed for --help

        says_how = bool(self.files) or self.choice.says_login or self.connecting.is_said
        return Again.look(self.keeping, may_differ=says_how)

    def hosts(self, again: Again | None = None) -> Sequence[Host]:
        """The chosen hosts, with the transport that is asked for.

        Args:
            again: Whose hosts are meant where nobody is named.

        Raises:
            InventoryError: A file or an expression, with its place.
            UsageError: Nobody is chosen, or ``--exec`` is for none of them.
        """
        if again is None:
            return self.hosts_of(options.read_inventory(self.files))
        return self._connecting(again).routed(again.hosts(self.files, self.choice))

    def hosts_of(self, inventory: Inventory) -> Sequence[Host]:
        """The same, of hosts files that are read.

        Raises:
            InventoryError: An expression, with its place.
            UsageError: As of ``hosts``.
        """
        return self.connecting.routed(self.choice.hosts(inventory))

    def drive(
        self,
        command: Command,
        hosts: Sequence[Host],
        job: CopyJob | None = None,
        *,
        again: Again | None = None,
        repeats_all: bool = False,
    ) -> Drive:
        """Make the run.

        Args:
            command: What to run.
            hosts: On whom.
            job: What is copied, in place of a command.
            again: The run before, of which it is to leave out what is done.
            repeats_all: Whether its command was taken from there, so that nothing around it may differ.

        Raises:
            UsageError: The options cannot be meant together, or bytes wait on standard input.
            click.exceptions.Exit: There is nothing left to do.
        """
        from multirsh.cli.drive import Drive  # noqa: PLC0415 - the engine is not needed for --help
        from multirsh.cli.recording import plan_of  # noqa: PLC0415 - as below

        self.check_stdin()
        if self.pauses.step:
            from multirsh.cli.gates import check_terminal  # noqa: PLC0415 - few runs need it

            check_terminal()
        connecting = self._connecting(again)
        stdin = None if self.stdin is None else self.stdin.name
        login = connecting.password()
        run = self.run
        if again is not None:
            run = replace(run, exit_rule=replace(run.exit_rule, earlier=again.earlier))
        plan = plan_of(
            command,
            kind="copy" if job is not None else "run" if command.script is None else "script",
            options=run,
            stdin=stdin,
            copy=None if job is None else job.options,
        )
        if again is not None:
            hosts = self._left_by(again, hosts, plan, repeats_all=repeats_all)
            plan = again.continued(plan)
        return Drive(
            hosts=hosts,
            command=command,
            job=job,
            options=run,
            pauses=self.pauses,
            reads_keys=self._may_read_keys(),
            bind_address=connecting.bind_address,
            stdin=None if self.stdin is None else self.stdin.open(),
            asks_of_stdin=self.stdin is not None and self.stdin.asks(self.readers),
            sudo_password=connecting.sudo_password(login),
            ssh=connecting.ssh(login),
            rsh=connecting.rsh(),
            exec_options=connecting.exec_options(),
            settings=connecting.settings(),
            output=self.showing.beside(stdin).options(),
            report=self.showing.report_file(),
            recording=self._recording(plan),
            preface=None if again is None else again.words(hosts),
            again=again,
        )

    def _connecting(self, again: Again | None) -> options.Connecting:
        """How to reach the hosts: without a hosts file, those of a run before as they were reached there."""
        if again is None or self.files:
            return self.connecting
        return self.connecting.as_recorded(again.reached)

    def _left_by(
        self, again: Again, hosts: Sequence[Host], plan: Mapping[str, Any], *, repeats_all: bool
    ) -> Sequence[Host]:
        """Those of the hosts that the run before has left to do."""
        if repeats_all:
            again.check(plan)
        left = again.left(hosts, plan, repeats=self.run.retry.repeat_command)
        if not left:
            tell(again.words(left))
            raise click.exceptions.Exit(exit_code(again.earlier))
        return left

    def _recording(self, plan: Mapping[str, Any]) -> Recording | None:
        """How the run is recorded, if it is."""
        from multirsh.cli.recording import Recording  # noqa: PLC0415 - the journal is not needed for --help

        kept = self.keeping
        if kept.no_journal:
            return None
        return Recording.within(
            plan, output=kept.journal_output, size=kept.journal_size, days=kept.journal_days
        )

    def _may_read_keys(self) -> bool:
        """Whether our standard input is a terminal that nothing else is read from."""
        return (
            (self.stdin is None or self.stdin.name is None)
            and not self.readers
            and not self.pauses.step  # what is typed is the answer to --step
            and os.isatty(STDIN)
        )
