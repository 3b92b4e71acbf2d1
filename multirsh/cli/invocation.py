"""An invocation of multirsh: what its options say, and the run that they make."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self

import click

from multirsh.cli import options
from multirsh.cli.options.command import is_our_stdin
from multirsh.cli.process import STDIN, print_err
from multirsh.cli.syntax import SUBCOMMANDS
from multirsh.engine.options import RunOptions
from multirsh.errors import UsageError, is_one_edit_away
from multirsh.exit_code import exit_code
from multirsh.inventory import Inventory
from multirsh.model import Host

if TYPE_CHECKING:
    from multirsh.cli.cli_run import CliRun
    from multirsh.cli.prior_run import PriorRun
    from multirsh.commands.command import Command
    from multirsh.files.jobs import CopyJob


_NAME_SOME: Final = "give a hosts file (-f hosts.yaml) or names (-w web1,web2)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """Everything that the options of a command line say, except what is to be run.

    Attributes:
        files: The hosts files.
        selection: Which of their hosts are selected.
        connection: How the hosts are reached.
        display: What is printed, and how.
        run: The options of the run.
        pauses: What happens between two batches.
        journal: What is recorded.
        stdin: The standard input of the commands; ``None`` if the subcommand has no such options.
        readers: The options that read our standard input, as they were written.
        prior: The run that this one repeats or resumes; ``None`` for a new run.
    """

    files: Sequence[str] = ()
    selection: options.HostSelection
    connection: options.ConnectionOptions = field(default_factory=options.ConnectionOptions)
    display: options.DisplayOptions
    run: RunOptions
    pauses: options.Pauses
    journal: options.JournalOptions
    stdin: options.StdinOptions | None = None
    readers: Sequence[str] = ()
    prior: PriorRun | None = None

    @classmethod
    def take(cls, parameters: dict[str, Any], words: Sequence[str] = ()) -> Self:
        """Take the shared options out of click's parameters, and leave the subcommand's own.

        Args:
            parameters: The values that click has read, by name.
            words: The words of the remote command, if there is one.

        Raises:
            UsageError: Options exclude each other, or the prior run cannot be repeated or resumed.
        """
        files = parameters.pop("files", ())
        connection = options.take(options.ConnectionOptions, parameters)
        password_file = str(connection.password_file)
        readers = {f"-f {file}": is_our_stdin(file) for file in files}
        readers |= {f"--password-file {password_file}": is_our_stdin(password_file)}
        selection = options.take(options.HostSelection, parameters)
        selection.warn_of_expansion(words)
        options.warn_of_expanded_files(files, words)
        run = options.take_run_options(parameters, sudo=connection.as_user())
        pauses = options.take(options.Pauses, parameters)
        pauses.check(run)
        journal = options.take(options.JournalOptions, parameters)
        prior = None
        if journal.rerun is not None or journal.resume is not None:
            from multirsh.cli.prior_run import PriorRun  # noqa: PLC0415 - not needed for --help

            may_differ = bool(files) or selection.sets_login or connection.is_given
            prior = PriorRun.find(journal, may_differ=may_differ)
        return cls(
            files=files,
            selection=selection,
            connection=connection,
            display=options.take(options.DisplayOptions, parameters),
            run=run,
            pauses=pauses,
            journal=journal,
            stdin=options.take(options.StdinOptions, parameters) if "no_stdin" in parameters else None,
            readers=[option for option, reads in readers.items() if reads],
            prior=prior,
        )

    def check_hosts_named(self, word: str | None = None) -> None:
        """Check that hosts are named, by an option or by the prior run.

        Args:
            word: The first word of the command, which may be a subcommand with a typing error.

        Raises:
            UsageError: No hosts are named.
        """
        if self.files or not self.selection.is_empty or self.prior is not None:
            return
        hint = _NAME_SOME
        if word is not None:
            near = [name for name in SUBCOMMANDS if is_one_edit_away(word, name)]
            hint = (
                f"did you mean multirsh {' or '.join(near)}? For a remote command, {hint}"
                if near
                else f"{hint}, or try it out: multirsh lab uptime"
            )
        raise UsageError("no hosts are named", hint=hint)

    def check_stdin(self) -> None:
        """Check that no bytes that wait on our standard input are silently dropped.

        Raises:
            UsageError: Some would be, or the options contradict each other.
        """
        if self.stdin is not None:
            self.stdin.check(read_by_others=self.readers)

    def with_sudo(self, sudo: str | None) -> Self:
        """Return the invocation with a recorded ``--sudo`` or ``--become``, unless one of them is given."""
        if self.run.sudo is not None or sudo is None:
            return self
        given = {"become" if ":" in sudo else "sudo": sudo}
        connection = replace(self.connection, **given)  # type: ignore[arg-type]  # both are str
        return replace(self, connection=connection, run=replace(self.run, sudo=connection.as_user()))

    def hosts(self) -> Sequence[Host]:
        """Return the selected hosts, with the transport of ``-R``; without a selection, the prior run's.

        Raises:
            InventoryError: A file or an expression is wrong; the error says where.
            UsageError: No host is selected, or ``--exec`` applies to none of them.
        """
        if self.prior is None:
            return self.hosts_of(options.read_inventory(self.files))
        return self._connection().routed(self.prior.hosts(self.files, self.selection))

    def hosts_of(self, inventory: Inventory) -> Sequence[Host]:
        """Return the selected hosts of an inventory that was read before; as ``hosts``."""
        return self.connection.routed(self.selection.hosts(inventory))

    def make_run(
        self,
        command: Command,
        hosts: Sequence[Host],
        job: CopyJob | None = None,
        *,
        repeats_all: bool = False,
    ) -> CliRun:
        """Make the run.

        Args:
            command: The command.
            hosts: The hosts to run it on; those that the prior run is done with are left out.
            job: What is copied instead; ``None`` for a command.
            repeats_all: Whether the command comes from the prior run, so that nothing else may differ either.

        Raises:
            UsageError: Options exclude each other, or bytes wait on standard input.
            click.exceptions.Exit: Nothing is left to do.
        """
        from multirsh.cli.cli_run import CliRun, JournalPlan, recorded_plan  # noqa: PLC0415 - not needed for --help

        self.check_stdin()
        if self.pauses.step:
            from multirsh.cli.gates import check_terminal  # noqa: PLC0415 - few runs need it

            check_terminal()
        connection, run, preface = self._connection(), self.run, None
        stdin = None if self.stdin is None else self.stdin.name
        plan = recorded_plan(command, run, stdin=stdin, copy=None if job is None else job.options)
        if self.prior is not None:
            if repeats_all:
                self.prior.check(plan)
            hosts = self.prior.remaining(hosts, plan, repeats=run.retry.repeat_command)
            preface = self.prior.announcement(hosts)
            if not hosts:
                print_err(preface)
                raise click.exceptions.Exit(exit_code(self.prior.earlier))
            plan = self.prior.continued(plan)
            run = replace(run, exit_rule=replace(run.exit_rule, earlier=self.prior.earlier))
        login = connection.password()
        return CliRun(
            hosts=hosts,
            command=command,
            job=job,
            options=run,
            pauses=self.pauses,
            reads_keys=self._may_read_keys(),
            bind_address=connection.bind_address,
            stdin=None if self.stdin is None else self.stdin.open(),
            watches_stdin=self.stdin is not None and self.stdin.must_be_asked(self.readers),
            sudo_password=connection.sudo_password(login),
            ssh=connection.ssh(login),
            rsh=connection.rsh(),
            exec_options=connection.exec_options(),
            settings=connection.settings(),
            output=self.display.beside(stdin).options(),
            report=self.display.report_file(),
            journal=None if self.journal.no_journal else JournalPlan(plan=plan, options=self.journal),
            preface=preface,
            prior=self.prior,
        )

    def _connection(self) -> options.ConnectionOptions:
        """How the hosts are reached: without a hosts file, those of a prior run as they were reached then."""
        if self.prior is None or self.files:
            return self.connection
        return self.connection.as_recorded(self.prior.reached)

    def _may_read_keys(self) -> bool:
        """Whether our standard input is a terminal that nothing else is read from."""
        return (
            (self.stdin is None or self.stdin.name is None)
            and not self.readers
            and not self.pauses.step  # what is typed is the answer to --step
            and os.isatty(STDIN)
        )
